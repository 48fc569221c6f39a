/* Writes a report as JSON.  docs/report.md describes each member. */
#include "base/error.h"
#include "crossfork/report.h"

#include <inttypes.h>
#include <string.h>

enum { JSON_VERSION = 1 };

/* The number of bytes of the UTF-8 character at text; 0 when there is none (Unicode 15, table 3-7). */
static size_t utf8_length(const unsigned char *text, size_t left)
{
    unsigned char first = text[0], low = 0x80, high = 0xBF;
    size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;

    if (first == 0xE0)
        low = 0xA0;
    if (first == 0xED)
        high = 0x9F;
    if (first == 0xF0)
        low = 0x90;
    if (first == 0xF4)
        high = 0x8F;
    if (length > left || (length > 1 && (text[1] < low || text[1] > high)))
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

/* Writes a string.  Bytes that are not UTF-8 become U+FFFD; controls and characters with a meaning in HTML are
 * escaped. */
static void put_json_text(FILE *stream, const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + size;

    fputc('"', stream);
    while (at < end) {
        size_t length = utf8_length(at, (size_t)(end - at));
        if (length == 0)
            fputs("\\ufffd", stream);
        else if (*at < ' ' || *at == '"' || *at == '\\' || *at == '<' || *at == 0x7F)
            fprintf(stream, "\\u%04x", *at);
        else
            fwrite(at, 1, length, stream);
        at += length ? length : 1;
    }
    fputc('"', stream);
}

static void put_json_member(FILE *stream, const char *name, const char *text)
{
    fprintf(stream, ", \"%s\": ", name);
    put_json_text(stream, text, strlen(text));
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
        fprintf(stream, "%s{\"time\": %.6f, \"level\": %d, \"source\": \"%s\", \"item\": %" PRIu64, i ? ", " : "",
                line->time, (int)line->level, sources[line->source], line->item);
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
    fprintf(stream,
            ", \"started\": %.6f, \"ended\": %.6f, \"heard\": %.6f, \"cpu_time\": %.6f, \"memory_peak\": %" PRIu64,
            report->started, report->ended, report->heard, report->cpu_time, report->memory_peak);
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
