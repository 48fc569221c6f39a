/* Goal: whatever a child has written into its black box, its parent makes a sound report of it: the crash record
 * becomes frames, the lines become texts, what is printed has no command for a terminal, and the JSON is JSON.
 *
 * An input changes a box in which everything is as it should be: see fuzz_patch. */
#include "base/printable.h"
#include "fuzz.h"
#include "posix/os_private.h"
#include "process/box_lines.h"
#include "process/report.h"
#include "process/stack_helper.h"

/* In the place of the helper: what this process does without one. */
bool stack_helper_ask(const void *record, stack_helper_found found, void *arg)
{
    (void)record, (void)found, (void)arg;
    return false;
}

static void make_sound(black_box *box)
{
    static const char maps[] = "400000-500000 r-xp 00001000 08:01 77 /opt/app/decoder\n"
                               "7f0000000000-7f0000100000 r-xp 00000000 08:01 78 /lib/libc.so.6\n";
    os_record *record = (os_record *)black_box_record(box);

    memset(box, 0, sizeof *box);
    atomic_store(&box->line_count, 40);
    for (int i = 0; i <= XF_REPORT_LOG_LINES; i++) {
        box->lines[i] = (black_box_line){.time = i, .size = 4, .task = "task"};
        memcpy(box->lines[i].text, "text", 4);
    }
    atomic_store(&record->head.state, OS_RECORD_WHOLE);
    record->head.register_count = 18;
    for (uint32_t i = 0; i < OS_REGISTERS_MAX; i++)
        record->head.registers[i] = 0x400010;
    record->stack_at = 0x400000; /* registers point to it, too */
    record->stack_size = sizeof record->stack;
    for (size_t i = 0; i + 16 <= sizeof record->stack; i += 16) {
        uint64_t frame[2] = {0x400000 + i + 32, 0x400100 + i};
        memcpy(record->stack + i, frame, sizeof frame);
    }
    memcpy(record->maps, maps, sizeof maps - 1);
    record->maps_size = sizeof maps - 1;
}

static void look_at_frames(xf_report *report, stack_trace *trace)
{
    report->stack = stack_trace_frames(trace, &report->stack_count);
    report->registers = stack_trace_registers(trace, &report->register_count);
    report->fault_address = stack_trace_fault_address(trace);
    CHECK(report->stack_count <= OS_FRAMES_MAX && report->register_count <= OS_REGISTERS_MAX);
    for (size_t i = 0; i < report->stack_count; i++)
        CHECK(fuzz_text(report->stack[i].module) < 1024);
}

/* ---- What is printed ------------------------------------------------------------------------- */

static void check_characters(const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        printable_char next = printable_read(text + at, size - at);
        CHECK(next.is_text && (!printable_is_control(next.code) || next.code == '\n' || next.code == '\t'));
        at += next.length;
    }
}

static const char *skip_value(const char *at);

static const char *skip_string(const char *at)
{
    CHECK(*at++ == '"');
    for (; *at != '"'; at++) {
        CHECK((unsigned char)*at >= ' ');
        if (*at == '\\')
            CHECK(*++at == 'u' && strspn(at + 1, "0123456789abcdef") >= 4);
    }
    return at + 1;
}

static const char *skip_number(const char *at)
{
    at += *at == '-';
    CHECK(*at >= '0' && *at <= '9');
    CHECK(*at != '0' || at[1] < '0' || at[1] > '9');
    at += strspn(at, "0123456789");
    if (*at == '.') {
        CHECK(at[1] >= '0' && at[1] <= '9');
        at += 1 + strspn(at + 1, "0123456789");
    }
    return at;
}

/* An object or an array, as this library writes them: RFC 8259. */
static const char *skip_list(const char *at, char end)
{
    for (at++; *at != end; at += *at == ',' ? 2 : 0) {
        if (end == '}') {
            at = skip_string(at);
            CHECK(at[0] == ':' && at[1] == ' ');
            at += 2;
        }
        at = skip_value(at);
        CHECK(*at == end || (at[0] == ',' && at[1] == ' ' && at[2] != end));
    }
    return at + 1;
}

static const char *skip_value(const char *at)
{
    static const char *const words[] = {"null", "true", "false"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncmp(at, words[i], strlen(words[i])) == 0)
            return at + strlen(words[i]);
    return *at == '{'   ? skip_list(at, '}')
           : *at == '[' ? skip_list(at, ']')
           : *at == '"' ? skip_string(at)
                        : skip_number(at);
}

static void check_forms(const xf_report *report)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    CHECK(stream && xf_report_print(report, stream) == 0);
    CHECK(fclose(stream) == 0);
    check_characters(text, size);
    free(text);
    stream = open_memstream(&text, &size);
    CHECK(stream && xf_report_json(report, stream) == 0);
    CHECK(fclose(stream) == 0);
    check_characters(text, size);
    CHECK(strcmp(skip_value(text), "\n") == 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static black_box box;
    static xf_log_line lines[XF_REPORT_LOG_LINES];
    fuzz_input input = {data, size};
    xf_report report = {.status = {XF_END_CRASHED, XF_CRASH_ACCESS, 11},
                        .kind_name = "crashed",
                        .code_name = "access violation",
                        .message = "",
                        .name = "worker",
                        .task = "task",
                        .stderr_tail = "",
                        .dump = "",
                        .saved = ""};
    line_text *texts;
    stack_trace *trace;

    make_sound(&box);
    fuzz_patch(&input, &box, sizeof box);
    report.log = lines;
    report.log_count = box_lines_copy(&box, 1, lines, &texts, &report.log_total);
    trace = stack_trace_take(black_box_record(&box));
    if (trace)
        look_at_frames(&report, trace);
    report.message = report.log_count > 0 ? lines[0].text : "";
    check_forms(&report);
    stack_trace_free(trace);
    free(texts);
    return 0;
}
