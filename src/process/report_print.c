/* Prints a report for a person, on one screen. */
#include "base/error.h"
#include "base/number.h"
#include "base/path.h"
#include "base/printable.h"
#include "crossfork/report.h"
#include "os/cancel.h"
#include "os/machine.h"
#include "process/task_boundary.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum {
    PRINTED_MESSAGE = 1000,
    PRINTED_LINES = 12,
    PRINTED_STDERR = 1600,
    PRINTED_TEXT_LINES = 24,
    PRINTED_LOG_LINES = 2,
    PRINTED_FRAMES = 16
};

/* Writes at most that many lines, all but the first indented, without the last line end.  An ellipsis stands for the
 * lines that were left out. */
static void print_lines(FILE *stream, const char *text, size_t size, const char *indent, int most)
{
    int lines = 0;

    for (size_t at = 0; at < size && lines <= most; lines++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        bool carriage_return = length > 0 && end && text[at + length - 1] == '\r';
        if (lines > 0)
            fprintf(stream, "\n%s", indent);
        if (lines < most)
            printable_write(stream, text + at, length - carriage_return);
        else
            fputs("...", stream);
        at += length + 1;
    }
}

/* Whether a text must not be cut before that byte. */
static bool is_inside_character(char byte)
{
    return (byte & 0xC0) == 0x80;
}

static void print_facts(const xf_report *report, FILE *stream)
{
    char number[NUMBER_SIZE];

    fputs("  task     ", stream);
    printable_write(stream, report->task, strlen(report->task));
    fprintf(stream, ", pid %lld, %s s, while %s", (long long)report->pid,
            number_write(number, report->ended - report->started, 3), xf_phase_name(report->phase));
    if (report->memory_peak > 0)
        fprintf(stream, ", peak %s MiB", number_write(number, (double)report->memory_peak / (1 << 20), 1));
    if (report->memory_peak > 0)
        fprintf(stream, ", cpu %s s", number_write(number, report->cpu_time, 3));
    fputc('\n', stream);
}

static void print_item(const xf_report *report, FILE *stream)
{
    if (report->attempt > 0)
        fprintf(stream, "  item     %llu, attempt %d\n", (unsigned long long)report->item, report->attempt);
}

/* Progress matters for a task that did not come to its end. */
static void print_progress(const xf_report *report, FILE *stream)
{
    char number[NUMBER_SIZE];

    if (report->status.kind == XF_END_DONE || report->status.kind == XF_END_FAILED)
        return;
    if (report->total > 0)
        fprintf(stream, "  progress %llu of %llu\n", (unsigned long long)report->done,
                (unsigned long long)report->total);
    if (report->heard > 0 && report->ended - report->heard >= 1)
        fprintf(stream, "  silent   for %s s before that\n", number_write(number, report->ended - report->heard, 1));
}

static void print_headline(const xf_report *report, FILE *stream)
{
    fprintf(stream, "crossfork: ");
    printable_write(stream, report->name, strlen(report->name));
    fprintf(stream, " %s", report->kind_name);
    if (*report->code_name)
        fprintf(stream, ": %s", report->code_name);
    else if (report->status.kind == XF_END_FAILED || report->status.kind == XF_END_EXITED ||
             report->status.kind == XF_END_START_FAILED || report->status.kind == XF_END_PROTOCOL_ERROR)
        fprintf(stream, " with code %d", report->status.code);
    if (report->status.kind == XF_END_CRASHED || report->status.kind == XF_END_KILLED)
        fprintf(stream,
                report->status.system > 255 || report->status.system < 0 ? " (system code 0x%llX)"
                                                                         : " (system code %llu)",
                (unsigned long long)report->status.system);
    if (report->stack_count > 0 && report->status.code == XF_CRASH_ACCESS && report->status.kind == XF_END_CRASHED)
        fprintf(stream, " at address 0x%llx", (unsigned long long)report->fault_address);
}

static void print_message(const xf_report *report, FILE *stream)
{
    size_t size = strlen(report->message);
    size_t shown = size < PRINTED_MESSAGE ? size : PRINTED_MESSAGE;

    while (shown < size && shown > 0 && is_inside_character(report->message[shown]))
        shown--;
    if (size == 0)
        return;
    fputs("  message  ", stream);
    print_lines(stream, report->message, shown, "           ", PRINTED_TEXT_LINES);
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
        print_lines(stream, report->log[i].text, strlen(report->log[i].text), "    ", PRINTED_LOG_LINES);
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
    fprintf(stream, "  stderr   the last %zu bytes%s\n    ", size - first,
            report->attempt > 0 ? " of the worker, which ran other items before" : "");
    print_lines(stream, report->stderr_tail + first, size - first, "    ", PRINTED_TEXT_LINES);
    fputc('\n', stream);
}

static void print_frame(const xf_frame *frame, FILE *stream)
{
    if (*frame->function)
        printable_write(stream, frame->function, strlen(frame->function));
    if (*frame->file) {
        fputs(" at ", stream);
        printable_write(stream, frame->file, strlen(frame->file));
        fprintf(stream, ":%d", frame->line);
    }
    if (frame->inlined)
        fputs(" (inlined)", stream);
    else if (!*frame->module)
        fprintf(stream, "0x%llx", (unsigned long long)frame->address);
    else if (!*frame->file) {
        fputs(*frame->function ? " in " : "", stream);
        printable_write(stream, path_base(frame->module), strlen(path_base(frame->module)));
        fprintf(stream, "+0x%llx", (unsigned long long)frame->offset);
    }
}

static void print_stack(const xf_report *report, FILE *stream)
{
    size_t count = task_boundary_find(report->stack, report->stack_count);
    size_t shown = count < PRINTED_FRAMES ? count : PRINTED_FRAMES;

    for (size_t i = 0; i < shown; i++) {
        fputs(i == 0 ? "  stack    " : "           ", stream);
        print_frame(&report->stack[i], stream);
        fputc('\n', stream);
    }
    if (shown < count)
        fprintf(stream, "           ... and %zu more\n", count - shown);
}

static void print_path(const char *name, const char *path, FILE *stream)
{
    if (!*path)
        return;
    fprintf(stream, "  %-9s", name);
    printable_write(stream, path, strlen(path));
    fputc('\n', stream);
}

/* https://no-color.org */
static bool wants_colour(FILE *stream)
{
    char value[2];
    size_t size = sizeof value;
    int rc = uv_os_getenv("NO_COLOR", value, &size);

    if (rc == UV_ENOBUFS || (rc == 0 && *value))
        return false;
    return stream == stdout ? os_terminal_colours(1) : stream == stderr && os_terminal_colours(2);
}

static const char *colour_of(xf_end kind)
{
    return kind == XF_END_DONE                                     ? "\x1b[32m"
           : kind == XF_END_TERMINATED || kind == XF_END_CANCELLED ? "\x1b[33m"
                                                                   : "\x1b[31m";
}

int xf_report_print(const xf_report *report, FILE *stream)
{
    OS_HOLD_CANCEL;
    bool coloured;

    if (!report)
        return error_detail(XF_EINVAL, "report is NULL");
    coloured = wants_colour(stream);
    if (coloured)
        fprintf(stream, "\x1b[1m%s", colour_of(report->status.kind));
    print_headline(report, stream);
    fputs(coloured ? "\x1b[0m\n" : "\n", stream);
    print_facts(report, stream);
    print_item(report, stream);
    print_progress(report, stream);
    print_message(report, stream);
    print_stack(report, stream);
    print_log(report, stream);
    print_stderr(report, stream);
    print_path("dump", report->dump, stream);
    print_path("replay", report->saved, stream);
    if (fflush(stream) != 0 || ferror(stream))
        return error_detail(XF_EIO, "the stream does not take the report of process %s", report->name);
    return 0;
}
