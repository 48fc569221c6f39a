#include "process/process_end.h"

#include "base/clock.h"
#include "base/error.h"
#include "process/report.h"
#include "process/task_file_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Judging --------------------------------------------------------------------------------- */

static void set_message(xf_process *process, const char *text)
{
    snprintf(process->message, sizeof process->message, "%s", text);
}

/* Why the system has ended the child, where its signal or exception says so. */
static void set_cause(xf_process *process, const char *otherwise)
{
    const char *cause;

    (void)os_end_name(process->end.system, &cause);
    if (*cause || *otherwise)
        set_message(process, *cause ? cause : otherwise);
}

static xf_status status_with(xf_end kind, int code, const xf_process *process)
{
    return (xf_status){kind, code, process->end.system};
}

/* Judges a child that was asked to stop, or was killed after that. */
static xf_status judge_stopped(xf_process *process)
{
    if (process->timed_out)
        set_message(process, "it ran longer than limits.wall_ms");
    return status_with(process->timed_out ? XF_END_TIMED_OUT : XF_END_TERMINATED, 0, process);
}

/* Whether lack of memory has ended a child: it crashed or exited with next to nothing left of its limit, or its task
 * returned that it had none. */
static bool died_of_memory(const xf_process *process, const xf_status *status)
{
    if (!process->limits.memory)
        return false;
    if (status->kind == XF_END_FAILED)
        return status->code == XF_TASK_NO_MEMORY;
    return (status->kind == XF_END_CRASHED || status->kind == XF_END_EXITED) && process->end.refused;
}

/* A crash that was not for lack of memory, as far as can be seen, may still be the use of what an allocation did not
 * give: the message says so. */
static void note_last_failure(xf_process *process, const xf_status *status)
{
    const os_record_head *record = black_box_record(process->box.address);

    if (process->limits.memory && !*process->message && status->kind == XF_END_CRASHED &&
        atomic_load(&record->state) == OS_RECORD_WHOLE && record->error == ENOMEM)
        set_message(process, "limits.memory was not used up, but the last call that failed there had found no memory");
}

static xf_status judge_memory(xf_process *process, xf_status status)
{
    char text[160];

    if (!died_of_memory(process, &status)) {
        note_last_failure(process, &status);
        return status;
    }
    if (status.kind != XF_END_FAILED) {
        snprintf(text, sizeof text, "it %s when there was no more of limits.memory", xf_end_name(status.kind));
        set_message(process, text);
    }
    return status_with(XF_END_MEMORY_LIMIT, 0, process);
}

/* Judges a child that has reported how its task ended. */
static xf_status judge_goodbye(xf_process *process)
{
    static const xf_end kinds[] = {
        [FRAME_OUTCOME_DONE] = XF_END_DONE,
        [FRAME_OUTCOME_FAILED] = XF_END_FAILED,
        [FRAME_OUTCOME_FAILED_BY_US] = XF_END_FAILED,
        [FRAME_OUTCOME_UNSTARTED] = XF_END_START_FAILED,
    };

    if (process->inbox.outcome == FRAME_OUTCOME_STOPPED && !process->stop_asked) {
        set_message(process, "the child says that it was asked to stop, and it was not");
        return status_with(XF_END_PROTOCOL_ERROR, XF_EPROTO, process);
    }
    if (process->inbox.outcome == FRAME_OUTCOME_STOPPED)
        return judge_stopped(process);
    return judge_memory(process, status_with(kinds[process->inbox.outcome], process->inbox.code, process));
}

static xf_status judge_unreached(xf_process *process)
{
    char text[128];

    if (process->start_timed_out)
        snprintf(text, sizeof text, "the child did not reach xf_main within %d ms", process->start_timeout_ms);
    else
        snprintf(text, sizeof text, "the child's main ended with exit code %d before it reached xf_main",
                 process->end.code);
    set_message(process, text);
    return status_with(XF_END_START_FAILED, XF_EMAIN, process);
}

/* Judges a child that the system did not let begin. */
static xf_status judge_unstarted(xf_process *process)
{
    char text[128];

    snprintf(text, sizeof text, "the child could not be made, or could not begin: %s", xf_strerror(process->end.code));
    set_message(process, process->end.system ? text : "the fork server ended before it made the child");
    return status_with(XF_END_START_FAILED, process->end.code, process);
}

/* Judges a child that has not reported its end: the system's word counts. */
static xf_status judge_end(xf_process *process, xf_phase phase)
{
    const os_end *end = &process->end;

    if (end->kind == OS_UNSTARTED)
        return judge_unstarted(process);
    if (process->start_timed_out)
        return judge_unreached(process);
    if (process->kill_asked && (end->kind == OS_KILLED || end->kind == OS_LOST || phase == XF_PHASE_STARTING))
        return judge_stopped(process);
    switch (end->kind) {
    case OS_EXITED:
        if (phase == XF_PHASE_STARTING && !process->inbox.hello)
            return judge_unreached(process);
        set_message(process, process->in.begin < process->in.end ? "the process exited in the middle of a frame"
                                                                 : "the process exited inside the task");
        return judge_memory(process, status_with(XF_END_EXITED, end->code, process));
    case OS_CRASHED:
        set_cause(process, "");
        return judge_memory(process, status_with(XF_END_CRASHED, end->code, process));
    case OS_CPU_LIMIT:
        set_message(process, "it used up limits.cpu_ms");
        return status_with(XF_END_CPU_LIMIT, 0, process);
    case OS_OUT_OF_MEMORY:
        set_message(process, "the system killed it because memory was short");
        return status_with(XF_END_OUT_OF_MEMORY, 0, process);
    case OS_KILLED:
        set_cause(process, "another process killed it");
        return status_with(XF_END_KILLED, 0, process);
    default:
        set_message(process, "another part of the program took its exit status");
        return status_with(XF_END_UNKNOWN, 0, process);
    }
}

static xf_status judge_child(xf_process *process, xf_phase phase)
{
    if (process->protocol_error)
        return status_with(process->protocol_error == XF_EBUILD ? XF_END_START_FAILED : XF_END_PROTOCOL_ERROR,
                           process->protocol_error, process);
    return process->inbox.bye ? judge_goodbye(process) : judge_end(process, phase);
}

/* ---- What else is known ---------------------------------------------------------------------- */

static void copy_progress(xf_process *process, const black_box *box)
{
    uint64_t heartbeat = atomic_load(&box->heartbeat), now = uv_hrtime();

    process->report.done = atomic_load(&box->done);
    process->report.total = atomic_load(&box->total);
    if (heartbeat > 0 && heartbeat <= now)
        process->report.heard = process->report.ended - (double)(now - heartbeat) / 1e9;
}

/* Copies the stack, which matters for an end that the child did not report. */
static void find_where_it_was(xf_process *process)
{
    xf_report *report = &process->report;
    const os_record_head *record = black_box_record(process->box.address);

    if (process->inbox.bye)
        return;
    if (atomic_load(&record->state) == OS_RECORD_STALE &&
        (process->end.kind != OS_CRASHED || process->end.system != record->system))
        return;
    process->trace = stack_trace_take(record);
    if (!process->trace)
        return;
    report->fault_address = stack_trace_fault_address(process->trace);
    report->registers = stack_trace_registers(process->trace, &report->register_count);
}

/* Puts into the report where the task was saved, or why it was not. */
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
    black_box *box = process->box.address;
    uint32_t phase = atomic_load(&box->phase); /* the child wrote it, so it is not trusted */

    report->phase = phase <= XF_PHASE_SENDING ? (xf_phase)phase : XF_PHASE_SENDING;
    report->status = judge_child(process, report->phase);
    if (process->inbox.bye)
        report->phase = XF_PHASE_ENDED;
    report->kind_name = xf_end_name(report->status.kind);
    report->code_name = report_code_name(report->status);
    if (process->inbox.bye && process->inbox.outcome == FRAME_OUTCOME_FAILED_BY_US)
        report->code_name = report_error_name(report->status.code);
    report->message = process->inbox.failure ? process->inbox.failure : process->message;
    report->name = process->name;
    report->task = process->task->name;
    report->pid = process->pid;
    report->ended = clock_now();
    report->memory_peak = process->end.memory_peak;
    report->cpu_time = process->end.cpu_time;
    report->log = process->lines;
    report->log_count = box_lines_copy(box, process->pid, process->lines, &process->texts, &report->log_total);
    find_where_it_was(process);
    copy_progress(process, box);
    report->dump = process->dump;
    report->stderr_tail = tail_buffer_get(&process->captured[1], XF_REPORT_STDERR_BYTES, &report->stderr_tail_size);
    save_failure(process);
    process->ended = true;
}

void process_end_take_dump(xf_process *process)
{
    char task[TASK_FILE_NAME_SIZE], name[1024];
    int rc;

    task_file_name(task, process->task->name);
    snprintf(name, sizeof name, "%s/crossfork-%s-%lld", process->dumps, task, (long long)process->pid);
    rc = os_child_dump(process->child, name, process->dump, sizeof process->dump);
    if (rc < 0)
        process->dump[0] = 0;
    if (rc < 0 && rc != XF_EAGAIN)
        snprintf(process->message, sizeof process->message, "no dump: %s", xf_error_detail());
}
