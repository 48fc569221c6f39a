#include "process/report.h"

#include "crossfork/error.h"
#include "os/cancel.h"
#include "os/child.h"
#include "process/stack_trim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Names ----------------------------------------------------------------------------------- */

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
        "fault", "abort",         "access violation", "division by zero", "stack overflow", "illegal instruction",
        "trap",  "output overrun"};

    return crash >= 0 && (size_t)crash < sizeof names / sizeof *names ? names[crash] : "?";
}

const char *xf_phase_name(xf_phase phase)
{
    static const char *const names[] = {"starting", "loading", "running", "sending", "ended"};

    return phase >= 0 && (size_t)phase < sizeof names / sizeof *names ? names[phase] : "?";
}

const char *report_error_name(int code)
{
    switch (code) {
#define ERROR_NAME(name, value, text)                                                                                  \
    case name:                                                                                                         \
        return #name;
        XF_ERRORS(ERROR_NAME)
#undef ERROR_NAME
    default:
        return "";
    }
}

/* A fault for which there is no xf_crash has the system's name. */
static const char *crash_name_of(xf_status status)
{
    const char *cause, *name = status.code == XF_CRASH_OTHER ? os_end_name(status.system, &cause) : "";

    return *name ? name : xf_crash_name((xf_crash)status.code);
}

const char *report_code_name(xf_status status)
{
    const char *cause;

    switch (status.kind) {
    case XF_END_CRASHED:
        return crash_name_of(status);
    case XF_END_KILLED:
        return os_end_name(status.system, &cause);
    case XF_END_PROTOCOL_ERROR:
    case XF_END_START_FAILED:
        return report_error_name(status.code);
    default:
        return "";
    }
}

void report_set_stack(xf_report *report, stack_trace *trace, uv_mutex_t *lock)
{
    size_t count;
    const xf_frame *frames = stack_trace_frames(trace, &count);
    size_t skip = stack_trim(report->status, frames, count);

    uv_mutex_lock(lock);
    if (!report->stack) {
        report->stack = frames + skip;
        report->stack_count = count - skip;
    }
    uv_mutex_unlock(lock);
}

/* ---- Copies ---------------------------------------------------------------------------------- */

/* Everything but the stack trace in one block: the report, its lines, its texts. */
typedef struct kept_report {
    xf_report report;
    stack_trace *trace;
    xf_log_line lines[];
} kept_report;

static char *append_text(char **end, const char *text, size_t size)
{
    char *copy = memcpy(*end, text, size);

    copy[size] = 0;
    *end += size + 1;
    return copy;
}

/* The members that are text. */
#define REPORT_TEXTS(X) X(message) X(name) X(task) X(dump) X(saved)

xf_report *report_copy(const xf_report *report, stack_trace *trace)
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
        copy->lines[i].text = append_text(&end, report->log[i].text, strlen(report->log[i].text));
        copy->lines[i].task = append_text(&end, report->log[i].task, strlen(report->log[i].task));
    }
    copy->report.log = copy->lines;
#define COPY_TEXT(text) copy->report.text = append_text(&end, report->text, strlen(report->text));
    REPORT_TEXTS(COPY_TEXT)
    copy->report.stderr_tail = append_text(&end, report->stderr_tail, report->stderr_tail_size);
    return &copy->report;
}

void report_free(xf_report *report)
{
    kept_report *copy = (kept_report *)report;

    if (report)
        stack_trace_free(copy->trace);
    free(copy);
}

void report_find_stack(xf_report *report, uv_mutex_t *lock)
{
    OS_HOLD_CANCEL;
    kept_report *copy = (kept_report *)report;

    if (copy->trace)
        report_set_stack(report, copy->trace, lock);
}

char *report_add_reason(const char *message, const char *why)
{
    size_t size = strlen(message) + strlen(why) + 16;
    char *text = malloc(size);

    if (text)
        snprintf(text, size, "%s%snot saved: %s", message, *message ? "; " : "", why);
    return text;
}
