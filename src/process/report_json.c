/* Writes a report as JSON.  docs/report.md describes each member. */
#include "base/error.h"
#include "base/number.h"
#include "base/printable.h"
#include "crossfork/report.h"
#include "os/cancel.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { JSON_VERSION = 1 };

/* Writes a string.  Bytes that are not UTF-8 become U+FFFD; controls, those of the direction of text too, and
 * characters with a meaning in HTML are escaped. */
static void put_json_text(FILE *stream, const char *text, size_t size)
{
    fputc('"', stream);
    for (size_t at = 0; at < size;) {
        printable_char next = printable_read(text + at, size - at);
        if (!next.is_text)
            fputs("\\ufffd", stream);
        else if (printable_is_control(next.code) || next.code == '"' || next.code == '\\' || next.code == '<')
            fprintf(stream, "\\u%04x", (unsigned)next.code);
        else
            fwrite(text + at, 1, next.length, stream);
        at += next.length;
    }
    fputc('"', stream);
}

static void put_json_member(FILE *stream, const char *name, const char *text)
{
    fprintf(stream, ", \"%s\": ", name);
    put_json_text(stream, text, strlen(text));
}

/* Numbers that JSON cannot write (RFC 8259, 6), as a broken child may send them, are null. */
static void put_json_number(FILE *stream, const char *separator, const char *name, double value)
{
    char text[NUMBER_SIZE];

    fprintf(stream, "%s\"%s\": %s", separator, name, isfinite(value) ? number_write(text, value, 6) : "null");
}

/* Addresses are strings of hexadecimal digits, because a double cannot hold all of them. */
static void put_json_address(FILE *stream, const char *name, uint64_t value)
{
    fprintf(stream, ", \"%s\": \"0x%" PRIx64 "\"", name, value);
}

static void put_json_log(FILE *stream, const xf_report *report)
{
    static const char *const sources[] = {"log", "stdout", "stderr"};

    fprintf(stream, ", \"log_total\": %" PRIu64 ", \"log\": [", report->log_total);
    for (size_t i = 0; i < report->log_count; i++) {
        const xf_log_line *line = &report->log[i];
        put_json_number(stream, i ? ", {" : "{", "time", line->time);
        fprintf(stream, ", \"level\": %d, \"source\": \"%s\", \"item\": %" PRIu64, (int)line->level,
                sources[line->source], line->item);
        put_json_member(stream, "task", line->task);
        put_json_member(stream, "text", line->text);
        fputc('}', stream);
    }
    fputc(']', stream);
}

static void put_json_stack(FILE *stream, const xf_report *report)
{
    fputs(", \"stack\": [", stream);
    for (size_t i = 0; i < report->stack_count; i++) {
        const xf_frame *frame = &report->stack[i];
        fprintf(stream, "%s{\"line\": %d, \"inlined\": %s", i ? ", " : "", frame->line,
                frame->inlined ? "true" : "false");
        put_json_member(stream, "function", frame->function);
        put_json_member(stream, "file", frame->file);
        put_json_member(stream, "module", frame->module);
        put_json_member(stream, "build_id", frame->build_id);
        put_json_address(stream, "offset", frame->offset);
        put_json_address(stream, "address", frame->address);
        fputc('}', stream);
    }
    fputs("], \"registers\": {", stream);
    for (size_t i = 0; i < report->register_count; i++)
        fprintf(stream, "%s\"%s\": \"0x%" PRIx64 "\"", i ? ", " : "", report->registers[i].name,
                report->registers[i].value);
    fputc('}', stream);
}

int xf_report_json(const xf_report *report, FILE *stream)
{
    OS_HOLD_CANCEL;

    if (!report)
        return error_detail(XF_EINVAL, "report is NULL");
    fprintf(stream, "{\"crossfork_report\": %d", JSON_VERSION);
    put_json_member(stream, "kind", report->kind_name);
    fprintf(stream, ", \"code\": %d", report->status.code);
    put_json_member(stream, "code_name", report->code_name);
    fprintf(stream, ", \"system\": %" PRId64, report->status.system);
    put_json_member(stream, "message", report->message);
    put_json_member(stream, "name", report->name);
    put_json_member(stream, "task", report->task);
    fprintf(stream, ", \"item\": %" PRIu64 ", \"attempt\": %d, \"pid\": %" PRId64, report->item, report->attempt,
            report->pid);
    put_json_member(stream, "phase", xf_phase_name(report->phase));
    put_json_number(stream, ", ", "started", report->started);
    put_json_number(stream, ", ", "ended", report->ended);
    put_json_number(stream, ", ", "heard", report->heard);
    put_json_number(stream, ", ", "cpu_time", report->cpu_time);
    fprintf(stream, ", \"memory_peak\": %" PRIu64, report->memory_peak);
    fprintf(stream, ", \"done\": %" PRIu64 ", \"total\": %" PRIu64, report->done, report->total);
    put_json_address(stream, "fault_address", report->fault_address);
    put_json_stack(stream, report);
    put_json_log(stream, report);
    fputs(", \"stderr\": ", stream);
    put_json_text(stream, report->stderr_tail, report->stderr_tail_size);
    put_json_member(stream, "dump", report->dump);
    put_json_member(stream, "saved", report->saved);
    fputs("}\n", stream);
    if (fflush(stream) != 0 || ferror(stream))
        return error_detail(XF_EIO, "the stream does not take the report of process %s", report->name);
    return 0;
}
