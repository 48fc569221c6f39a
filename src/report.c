/* Judging how a child ended, and telling it. */
#include "process.h"
#include "clock.h"
#include "error.h"

#include <stdlib.h>
#include <string.h>

const char *xf_end_name(xf_end kind)
{
    static const char *const names[] = {"running",       "done",        "failed",     "exited",
                                        "crashed",       "killed",      "terminated", "protocol error",
                                        "start failure", "unknown end", "timed out",  "cancelled"};

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

/* ---- Judging ---------------------------------------------------------------------------------------------------- */

static void say(xf_process *process, const char *text)
{
    snprintf(process->message, sizeof process->message, "%s", text);
}

static xf_status status_of(xf_end kind, int code, const xf_process *process)
{
    return (xf_status){kind, code, process->end.system};
}

/* The child said how its task ended. */
static xf_status judge_goodbye(const xf_process *process)
{
    static const xf_end kinds[] = {
        [WIRE_DONE] = XF_END_DONE,
        [WIRE_FAILED] = XF_END_FAILED,
        [WIRE_STOPPED] = XF_END_TERMINATED,
        [WIRE_UNSTARTED] = XF_END_START,
    };

    return status_of(kinds[process->inbox.outcome], process->inbox.code, process);
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
    return status_of(XF_END_START, XF_EMAIN, process);
}

/* The child said nothing about its end: what the system says counts. */
static xf_status judge_end(xf_process *process, xf_phase phase)
{
    const os_end *end = &process->end;

    if (end->kind == OS_UNSTARTED) {
        say(process, "the server could not fork");
        return status_of(XF_END_START, end->code, process);
    }
    if (process->start_timed_out)
        return judge_unreached(process);
    if (process->kill_asked && (end->kind == OS_KILLED || end->kind == OS_LOST || phase == XF_PHASE_STARTING))
        return status_of(XF_END_TERMINATED, 0, process);
    switch (end->kind) {
    case OS_EXITED:
        if (phase == XF_PHASE_STARTING && !process->inbox.hello)
            return judge_unreached(process);
        say(process, process->in.begin < process->in.end ? "the process exited in the middle of a frame"
                                                         : "the process exited inside the task");
        return status_of(XF_END_EXITED, end->code, process);
    case OS_CRASHED:
        return status_of(XF_END_CRASHED, end->code, process);
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
        return status_of(process->protocol_error == XF_EBUILD ? XF_END_START : XF_END_PROTOCOL, process->protocol_error,
                         process);
    return process->inbox.bye ? judge_goodbye(process) : judge_end(process, phase);
}

static const char *code_name(const xf_status *status)
{
    switch (status->kind) {
    case XF_END_CRASHED:
        return xf_crash_name((xf_crash)status->code);
    case XF_END_PROTOCOL:
    case XF_END_START:
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
                                          .level = (xf_level)from->level,
                                          .text = to->text,
                                          .pid = process->pid,
                                          .task = to->task,
                                          .item = from->item};
    }
    process->report.log = process->lines;
    process->report.log_count = process->texts ? count : 0;
}

void process_judge(xf_process *process)
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
    report_log(process);
    report->stderr_tail = capture_tail(&process->captured[1], XF_REPORT_STDERR_BYTES, &report->stderr_tail_size);
    process->ended = true;
}

/* ---- Telling ---------------------------------------------------------------------------------------------------- */

enum {
    PRINTED_MESSAGE = 1000,
    PRINTED_LINES = 12,
    PRINTED_STDERR = 1600,
    PRINTED_TEXT_LINES = 24,
    PRINTED_LOG_LINES = 2
};

/* Whether a terminal would take the bytes at text for a control: C0, DEL, or C1 in UTF-8 (U+0080 to U+009F).
 *   length  Set to how many bytes that is. */
static bool is_control(const char *text, size_t size, size_t *length)
{
    unsigned char first = (unsigned char)text[0], second = size > 1 ? (unsigned char)text[1] : 0;

    *length = first == 0xC2 && second >= 0x80 && second <= 0x9F ? 2 : 1;
    return *length == 2 || (first < ' ' && first != '\t') || first == 0x7F;
}

static void print_escaped(FILE *stream, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        fprintf(stream, "\\x%02x", (unsigned char)text[i]);
}

/* Writes text with controls as escapes, so that a child cannot play with the reader's terminal. */
static void print_part(FILE *stream, const char *text, size_t size)
{
    for (size_t at = 0, length; at < size; at += length)
        if (is_control(text + at, size - at, &length))
            print_escaped(stream, text + at, length);
        else
            fwrite(text + at, 1, length, stream);
}

/* Writes so many lines at most, all but the first indented, and without the last line end; says when some were left
 * out. */
static void print_text(FILE *stream, const char *text, size_t size, const char *indent, int most)
{
    int lines = 0;

    for (size_t at = 0; at < size && lines <= most; lines++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        bool carriage_return = length > 0 && end && text[at + length - 1] == '\r';
        if (lines > 0)
            fprintf(stream, "\n%s", indent);
        if (lines < most)
            print_part(stream, text + at, length - carriage_return);
        else
            fputs("...", stream);
        at += length + 1;
    }
}

static void print_item(const xf_report *report, FILE *stream)
{
    if (report->attempt > 0)
        fprintf(stream, "  item     %llu, attempt %d\n", (unsigned long long)report->item, report->attempt);
}

static void print_headline(const xf_report *report, FILE *stream)
{
    fprintf(stream, "crossfork: ");
    print_part(stream, report->name, strlen(report->name));
    fprintf(stream, " %s", report->kind_name);
    if (*report->code_name)
        fprintf(stream, ": %s", report->code_name);
    else if (report->status.kind == XF_END_FAILED || report->status.kind == XF_END_EXITED)
        fprintf(stream, " with code %d", report->status.code);
    if (report->status.kind == XF_END_CRASHED || report->status.kind == XF_END_KILLED)
        fprintf(stream,
                report->status.system > 255 || report->status.system < 0 ? " (system code 0x%llX)"
                                                                         : " (system code %llu)",
                (unsigned long long)report->status.system);
    fputc('\n', stream);
}

static void print_message(const xf_report *report, FILE *stream)
{
    size_t size = strlen(report->message);
    size_t shown = size < PRINTED_MESSAGE ? size : PRINTED_MESSAGE;

    if (size == 0)
        return;
    fputs("  message  ", stream);
    print_text(stream, report->message, shown, "           ", PRINTED_TEXT_LINES);
    fprintf(stream, shown < size ? " ... (%zu bytes)\n" : "\n", size);
}

static void print_log(const xf_report *report, FILE *stream)
{
    size_t first = report->log_count > PRINTED_LINES ? report->log_count - PRINTED_LINES : 0;

    if (report->log_count == 0)
        return;
    fprintf(stream, "  log      the last %zu of %llu lines\n", report->log_count - first,
            (unsigned long long)report->log_total);
    for (size_t i = first; i < report->log_count; i++) {
        fputs("    ", stream);
        print_text(stream, report->log[i].text, strlen(report->log[i].text), "    ", PRINTED_LOG_LINES);
        fputc('\n', stream);
    }
}

/* The last lines of at most PRINTED_STDERR bytes. */
static void print_stderr(const xf_report *report, FILE *stream)
{
    size_t size = report->stderr_tail_size, lines = 0;
    size_t first = size > PRINTED_STDERR ? size - PRINTED_STDERR : 0;

    for (size_t at = size; at > first; at--)
        if (report->stderr_tail[at - 1] == '\n' && at < size && ++lines == PRINTED_TEXT_LINES)
            first = at;
    if (size == 0)
        return;
    fprintf(stream, "  stderr   the last %zu bytes\n    ", size - first);
    print_text(stream, report->stderr_tail + first, size - first, "    ", PRINTED_TEXT_LINES);
    fputc('\n', stream);
}

int xf_report_print(const xf_report *report, FILE *stream)
{
    print_headline(report, stream);
    fprintf(stream, "  task     %s, pid %lld, %.3f s, while %s\n", report->task, (long long)report->pid,
            report->ended - report->started, xf_phase_name(report->phase));
    print_item(report, stream);
    print_message(report, stream);
    print_log(report, stream);
    print_stderr(report, stream);
    if (fflush(stream) != 0 || ferror(stream))
        return error_detail(XF_EIO, "the stream does not take the report of process %s", report->name);
    return 0;
}

/* ---- Copies ----------------------------------------------------------------------------------------------------- */

static char *append(char **end, const char *text, size_t size)
{
    char *copy = memcpy(*end, text, size);

    copy[size] = 0;
    *end += size + 1;
    return copy;
}

/* Everything in one block: the report, its lines, its texts. */
xf_report *report_copy(const xf_report *report)
{
    size_t size = sizeof *report + report->log_count * sizeof *report->log + report->stderr_tail_size + 1;
    xf_log_line *lines;
    xf_report *copy;
    char *end;

    size += strlen(report->message) + strlen(report->name) + strlen(report->task) + 3;
    for (size_t i = 0; i < report->log_count; i++)
        size += strlen(report->log[i].text) + strlen(report->log[i].task) + 2;
    copy = malloc(size);
    if (!copy)
        return NULL;
    *copy = *report;
    lines = (xf_log_line *)(copy + 1);
    end = (char *)(lines + report->log_count);
    for (size_t i = 0; i < report->log_count; i++) {
        lines[i] = report->log[i];
        lines[i].text = append(&end, report->log[i].text, strlen(report->log[i].text));
        lines[i].task = append(&end, report->log[i].task, strlen(report->log[i].task));
    }
    copy->log = lines;
    copy->message = append(&end, report->message, strlen(report->message));
    copy->name = append(&end, report->name, strlen(report->name));
    copy->task = append(&end, report->task, strlen(report->task));
    copy->stderr_tail = append(&end, report->stderr_tail, report->stderr_tail_size);
    return copy;
}
