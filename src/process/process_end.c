/* Judging how a child ended. */
#include "base/clock.h"
#include "base/error.h"
#include "process/process.h"

#include <stdlib.h>
#include <string.h>

const char *xf_end_name(xf_end kind)
{
    static const char *const names[] = {"running",   "done",       "failed",         "exited",        "crashed",
                                        "killed",    "terminated", "protocol error", "start failure", "unknown end",
                                        "timed out", "cancelled",  "memory limit",   "CPU limit",     "out of memory"};

    return kind >= 0 && (size_t)kind < sizeof names / sizeof *names ? names[kind] : "?";
}

const char *xf_crash_name(xf_crash crash)
{
    static const char *const names[] = {
        "fault", "abort", "access violation", "division by zero", "stack overflow", "illegal instruction", "trap"};

    return crash >= 0 && (size_t)crash < sizeof names / sizeof *names ? names[crash] : "?";
}

const char *xf_phase_name(xf_phase phase)
{
    static const char *const names[] = {"starting", "loading", "running", "sending", "ended"};

    return phase >= 0 && (size_t)phase < sizeof names / sizeof *names ? names[phase] : "?";
}

/* ---- Judging --------------------------------------------------------------------------------- */

static void say(xf_process *process, const char *text)
{
    snprintf(process->message, sizeof process->message, "%s", text);
}

static xf_status status_of(xf_end kind, int code, const xf_process *process)
{
    return (xf_status){kind, code, process->end.system};
}

/* Of a child that was asked to stop, or then killed: why. */
static xf_status judge_stopped(xf_process *process)
{
    if (process->timed_out)
        say(process, "it ran longer than limits.wall_ms");
    return status_of(process->timed_out ? XF_END_TIMED_OUT : XF_END_TERMINATED, 0, process);
}

/* A crash or an exit after memory was refused, or a task that says that it had none. */
static bool died_of_memory(const xf_process *process, const xf_status *status)
{
    if (!process->limits.memory)
        return false;
    if (status->kind == XF_END_FAILED)
        return status->code == XF_TASK_NO_MEMORY;
    return (status->kind == XF_END_CRASHED || status->kind == XF_END_EXITED) && process->end.refused;
}

static xf_status judge_memory(xf_process *process, xf_status status)
{
    char text[160];

    if (!died_of_memory(process, &status))
        return status;
    if (status.kind != XF_END_FAILED) {
        snprintf(text, sizeof text, "it %s when there was no more of limits.memory", xf_end_name(status.kind));
        say(process, text);
    }
    return status_of(XF_END_MEMORY_LIMIT, 0, process);
}

/* The child said how its task ended. */
static xf_status judge_goodbye(xf_process *process)
{
    static const xf_end kinds[] = {
        [WIRE_DONE] = XF_END_DONE,
        [WIRE_FAILED] = XF_END_FAILED,
        [WIRE_UNSTARTED] = XF_END_START_FAILED,
    };

    if (process->inbox.outcome == WIRE_STOPPED)
        return judge_stopped(process);
    return judge_memory(process, status_of(kinds[process->inbox.outcome], process->inbox.code, process));
}

static xf_status judge_unreached(xf_process *process)
{
    char text[128];

    if (process->start_timed_out)
        snprintf(text, sizeof text, "the child did not reach xf_main within %d ms", process->start_timeout_ms);
    else
        snprintf(text, sizeof text, "the child's main ended with exit code %d before it reached xf_main",
                 process->end.code);
    say(process, text);
    return status_of(XF_END_START_FAILED, XF_EMAIN, process);
}

/* The child said nothing about its end: what the system says counts. */
static xf_status judge_end(xf_process *process, xf_phase phase)
{
    const os_end *end = &process->end;

    if (end->kind == OS_UNSTARTED) {
        say(process, "the server could not fork");
        return status_of(XF_END_START_FAILED, end->code, process);
    }
    if (process->start_timed_out)
        return judge_unreached(process);
    if (process->kill_asked && (end->kind == OS_KILLED || end->kind == OS_LOST || phase == XF_PHASE_STARTING))
        return judge_stopped(process);
    switch (end->kind) {
    case OS_EXITED:
        if (phase == XF_PHASE_STARTING && !process->inbox.hello)
            return judge_unreached(process);
        say(process, process->in.begin < process->in.end ? "the process exited in the middle of a frame"
                                                         : "the process exited inside the task");
        return judge_memory(process, status_of(XF_END_EXITED, end->code, process));
    case OS_CRASHED:
        return judge_memory(process, status_of(XF_END_CRASHED, end->code, process));
    case OS_CPU_LIMIT:
        say(process, "it used up limits.cpu_ms");
        return status_of(XF_END_CPU_LIMIT, 0, process);
    case OS_OUT_OF_MEMORY:
        say(process, "the system killed it because memory was short");
        return status_of(XF_END_OUT_OF_MEMORY, 0, process);
    case OS_KILLED:
        say(process, "somebody else killed it");
        return status_of(XF_END_KILLED, 0, process);
    default:
        say(process, "its exit status was taken by someone else");
        return status_of(XF_END_UNKNOWN, 0, process);
    }
}

static xf_status judge(xf_process *process, xf_phase phase)
{
    if (process->protocol_error)
        return status_of(process->protocol_error == XF_EBUILD ? XF_END_START_FAILED : XF_END_PROTOCOL_ERROR,
                         process->protocol_error, process);
    return process->inbox.bye ? judge_goodbye(process) : judge_end(process, phase);
}

static const char *code_name(const xf_status *status)
{
    switch (status->kind) {
    case XF_END_CRASHED:
        return xf_crash_name((xf_crash)status->code);
    case XF_END_PROTOCOL_ERROR:
    case XF_END_START_FAILED:
        return xf_err_name(status->code);
    case XF_END_FAILED:
        return status->code < 0 && status->code >= XF_ESTATE ? xf_err_name(status->code) : "";
    default:
        return "";
    }
}

/* Copies the last lines out of the box, which the child wrote and so is not trusted. */
static void report_log(xf_process *process)
{
    const box *box = process->box.address;
    uint64_t total = atomic_load_explicit(&box->line_count, memory_order_acquire);
    size_t count = total < XF_REPORT_LOG_LINES ? (size_t)total : XF_REPORT_LOG_LINES;

    process->report.log_total = total;
    process->texts = count > 0 ? calloc(count, sizeof *process->texts) : NULL;
    for (size_t i = 0; process->texts && i < count; i++) {
        const box_line *from = &box->lines[(total - count + i) % (XF_REPORT_LOG_LINES + 1)];
        line_text *to = &process->texts[i];
        uint32_t size = from->size < sizeof from->text ? from->size : sizeof from->text;
        memcpy(to->task, from->task, sizeof from->task); /* a 0 more is behind each */
        memcpy(to->text, from->text, size);
        process->lines[i] = (xf_log_line){.time = from->time,
                                          .level = (xf_log_level)from->level,
                                          .text = to->text,
                                          .pid = process->pid,
                                          .task = to->task,
                                          .item = from->item};
    }
    process->report.log = process->lines;
    process->report.log_count = process->texts ? count : 0;
}

static void report_progress(xf_process *process, const box *box)
{
    uint64_t heartbeat = atomic_load(&box->heartbeat), now = uv_hrtime();

    process->report.done = atomic_load(&box->done);
    process->report.total = atomic_load(&box->total);
    if (heartbeat > 0 && heartbeat <= now)
        process->report.heard = process->report.ended - (double)(now - heartbeat) / 1e9;
}

/* Where it was matters for an end that it did not tell itself. */
static void report_trace(xf_process *process)
{
    xf_report *report = &process->report;

    const os_record_head *record = box_record(process->box.address);
    bool is_stale = atomic_load(&record->state) == OS_RECORD_STALE;

    if (process->inbox.bye || (is_stale && (process->end.kind != OS_CRASHED || process->end.system != record->system)))
        return;
    process->trace = stack_trace_take(record);
    if (!process->trace)
        return;
    report->fault_address = stack_trace_fault_address(process->trace);
    report->registers = stack_trace_registers(process->trace, &report->register_count);
}

char *report_add_reason(const char *message, const char *why)
{
    size_t size = strlen(message) + strlen(why) + 16;
    char *text = malloc(size);

    if (text)
        snprintf(text, size, "%s%snot saved: %s", message, *message ? "; " : "", why);
    return text;
}

/* Says in the report where the task was saved, or why it was not. */
static void save_failure(xf_process *process)
{
    xf_report *report = &process->report;

    report->saved = "";
    if (!process->replay.data || !replay_file_is_wanted(report->status.kind))
        return;
    if (replay_file_save(&process->replay, process->save_to, process->task->name, report->status, &process->saved) ==
        0) {
        report->saved = process->saved;
        return;
    }
    process->unsaved = report_add_reason(report->message, xf_error_detail());
    if (process->unsaved)
        report->message = process->unsaved;
}

void process_end_judge(xf_process *process)
{
    xf_report *report = &process->report;
    box *box = process->box.address;
    uint32_t phase = atomic_load(&box->phase); /* written by the child, and so not trusted */

    report->phase = phase <= XF_PHASE_SENDING ? (xf_phase)phase : XF_PHASE_SENDING;
    report->status = judge(process, report->phase);
    if (process->inbox.bye)
        report->phase = XF_PHASE_ENDED;
    report->kind_name = xf_end_name(report->status.kind);
    report->code_name = code_name(&report->status);
    report->message = process->inbox.failure ? process->inbox.failure : process->message;
    report->name = process->name;
    report->task = process->task->name;
    report->pid = process->pid;
    report->ended = clock_now();
    report->memory_peak = process->end.memory_peak;
    report->cpu_time = process->end.cpu_time;
    report_log(process);
    report_trace(process);
    report_progress(process, box);
    report->dump = process->dump;
    report->stderr_tail = capture_tail(&process->captured[1], XF_REPORT_STDERR_BYTES, &report->stderr_tail_size);
    save_failure(process);
    process->ended = true;
}

/* ---- Copies ---------------------------------------------------------------------------------- */

/* Everything but the trace in one block: the report, its lines, its texts. */
typedef struct kept_report {
    xf_report report;
    trace *trace;
    xf_log_line lines[];
} kept_report;

static char *append(char **end, const char *text, size_t size)
{
    char *copy = memcpy(*end, text, size);

    copy[size] = 0;
    *end += size + 1;
    return copy;
}

/* The members that are text. */
#define REPORT_TEXTS(X) X(message) X(name) X(task) X(dump) X(saved)

xf_report *report_copy(const xf_report *report, trace *trace)
{
    size_t size = sizeof(kept_report) + report->log_count * sizeof *report->log + report->stderr_tail_size + 1;
    kept_report *copy;
    char *end;

#define ADD_SIZE(text) size += strlen(report->text) + 1;
    REPORT_TEXTS(ADD_SIZE)
    for (size_t i = 0; i < report->log_count; i++)
        size += strlen(report->log[i].text) + strlen(report->log[i].task) + 2;
    copy = malloc(size);
    if (!copy)
        return NULL;
    copy->report = *report;
    copy->trace = stack_trace_share(trace);
    end = (char *)(copy->lines + report->log_count);
    for (size_t i = 0; i < report->log_count; i++) {
        copy->lines[i] = report->log[i];
        copy->lines[i].text = append(&end, report->log[i].text, strlen(report->log[i].text));
        copy->lines[i].task = append(&end, report->log[i].task, strlen(report->log[i].task));
    }
    copy->report.log = copy->lines;
#define COPY_TEXT(text) copy->report.text = append(&end, report->text, strlen(report->text));
    REPORT_TEXTS(COPY_TEXT)
    copy->report.stderr_tail = append(&end, report->stderr_tail, report->stderr_tail_size);
    return &copy->report;
}

void report_free(xf_report *report)
{
    kept_report *copy = (kept_report *)report;

    if (report)
        stack_trace_free(copy->trace);
    free(copy);
}

void report_find_stack(xf_report *report)
{
    kept_report *copy = (kept_report *)report;

    if (copy->trace)
        report->stack = stack_trace_frames(copy->trace, &report->stack_count);
}
