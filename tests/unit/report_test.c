/* Goal: a report of each end has exactly the expected text, and nothing that a child sent can deceive the reader. */
#include "base/number.h"
#include "faults.h"
#include "tasks.h"

#include <locale.h>
#include <math.h>
#include <uv.h>

/* ---- Help ------------------------------------------------------------------------------------ */

/* A file that only this process uses. */
static const char *file_name(void)
{
    static char name[4200];
    char directory[4096];
    size_t size = sizeof directory;

    assert_int_equal(uv_os_tmpdir(directory, &size), 0);
    snprintf(name, sizeof name, "%s/crossfork-report-%lld", directory, (long long)uv_os_getpid());
    return name;
}

/* Returns a report as text, for people or for tools; valid until the next call. */
static const char *form_of(const xf_report *report, int (*form)(const xf_report *report, FILE *stream))
{
    static char text[20000];
    FILE *file = fopen(file_name(), "w+b");
    size_t size;

    assert_non_null(file);
    assert_int_equal(form(report, file), 0);
    rewind(file);
    size = fread(text, 1, sizeof text - 1, file);
    text[size] = 0;
    assert_int_equal(fclose(file), 0);
    remove(file_name());
    return text;
}

static const char *print(const xf_report *report)
{
    return form_of(report, xf_report_print);
}

/* Makes the report of an end. */
static xf_report make(xf_end kind, int code, int64_t system)
{
    return (xf_report){.status = {kind, code, system},
                       .kind_name = xf_end_name(kind),
                       .code_name = "",
                       .message = "",
                       .name = "worker 1",
                       .task = "area",
                       .pid = 4711,
                       .phase = XF_PHASE_RUNNING,
                       .started = 1000.5,
                       .ended = 1002.75,
                       .stderr_tail = "",
                       .dump = "",
                       .saved = ""};
}

#define FACTS "  task     area, pid 4711, 2.250 s, while running\n"

static void expect_headline(xf_report report, const char *headline)
{
    char expected[400];

    snprintf(expected, sizeof expected, "%s\n%s", headline, FACTS);
    assert_string_equal(print(&report), expected);
}

static xf_report with_code(xf_report report, const char *code_name)
{
    report.code_name = code_name;
    return report;
}

/* Copies a text n times, one after the other. */
static const char *repeat(const char *text, size_t n)
{
    static char repeated[20000];

    *repeated = 0;
    for (size_t i = 0; i < n; i++)
        memcpy(repeated + i * strlen(text), text, strlen(text) + 1);
    return repeated;
}

/* ---- The headline ---------------------------------------------------------------------------- */

static void every_end_has_its_headline(void **state)
{
    (void)state;
    expect_headline(make(XF_END_DONE, 0, 0), "crossfork: worker 1 done");
    expect_headline(make(XF_END_FAILED, 7, 1), "crossfork: worker 1 failed with code 7");
    expect_headline(make(XF_END_FAILED, -3000, 1), "crossfork: worker 1 failed with code -3000");
    expect_headline(with_code(make(XF_END_FAILED, XF_ENOMEM, 1), "XF_ENOMEM"), "crossfork: worker 1 failed: XF_ENOMEM");
    expect_headline(make(XF_END_EXITED, 3, 3), "crossfork: worker 1 exited with code 3");
    expect_headline(make(XF_END_TERMINATED, 0, 9), "crossfork: worker 1 terminated");
    expect_headline(with_code(make(XF_END_PROTOCOL_ERROR, XF_ELIMIT, 9), "XF_ELIMIT"),
                    "crossfork: worker 1 protocol error: XF_ELIMIT");
    expect_headline(with_code(make(XF_END_START_FAILED, XF_EMAIN, 0), "XF_EMAIN"),
                    "crossfork: worker 1 start failure: XF_EMAIN");
    expect_headline(make(XF_END_UNKNOWN, 0, 0), "crossfork: worker 1 unknown end");
}

static void an_item_of_a_pool_is_named(void **state)
{
    xf_report report = make(XF_END_TIMED_OUT, 0, 0);

    (void)state;
    report.item = 41;
    report.attempt = 2;
    assert_non_null(strstr(print(&report), "\n  item     41, attempt 2\n"));
}

static void the_systems_code_is_printed_where_it_says_more(void **state)
{
    (void)state;
    expect_headline(with_code(make(XF_END_CRASHED, XF_CRASH_ACCESS, 11), "access violation"),
                    "crossfork: worker 1 crashed: access violation (system code 11)");
    expect_headline(with_code(make(XF_END_CRASHED, XF_CRASH_ACCESS, 0xC0000005), "access violation"),
                    "crossfork: worker 1 crashed: access violation (system code 0xC0000005)");
    expect_headline(make(XF_END_KILLED, 0, 9), "crossfork: worker 1 killed (system code 9)");
}

static void every_phase_is_printed(void **state)
{
    static const char *const names[] = {"starting", "loading", "running", "sending", "ended"};

    (void)state;
    for (int phase = XF_PHASE_STARTING; phase <= XF_PHASE_ENDED; phase++) {
        char expected[200];
        xf_report report = make(XF_END_DONE, 0, 0);
        report.phase = (xf_phase)phase;
        snprintf(expected, sizeof expected, "crossfork: worker 1 done\n  task     area, pid 4711, 2.250 s, while %s\n",
                 names[phase]);
        assert_string_equal(print(&report), expected);
        assert_string_equal(xf_phase_name((xf_phase)phase), names[phase]);
    }
}

/* ---- What the child said --------------------------------------------------------------------- */

static void everything_has_its_place(void **state)
{
    static const xf_log_line lines[] = {{.time = 1.5, .level = XF_LOG_INFO, .text = "the first"},
                                        {.time = 2.5, .level = XF_LOG_ERROR, .text = "the second\nin two rows"}};
    xf_report report = make(XF_END_FAILED, 7, 1);

    (void)state;
    report.message = "width -1 is negative\nheight too";
    report.log = lines;
    report.log_count = 2;
    report.log_total = 2;
    report.stderr_tail = "one\ntwo\n";
    report.stderr_tail_size = 8;
    assert_string_equal(print(&report),
                        "crossfork: worker 1 failed with code 7\n" FACTS "  message  width -1 is negative\n"
                        "           height too\n"
                        "  log      the last 2 of 2 lines\n"
                        "    the first\n"
                        "    the second\n"
                        "    in two rows\n"
                        "  stderr   the last 8 bytes\n"
                        "    one\n"
                        "    two\n");
}

static void control_characters_are_escapes(void **state)
{
    static const xf_log_line line = {.time = 1, .level = XF_LOG_INFO, .text = "\x1b]0;title\x07 \r\nnext\x7f"};
    static const char tail[] = "a\0b\x01\tc\r\n";
    xf_report report = make(XF_END_FAILED, 7, 1);

    (void)state;
    report.name = "wor\x1b[31mker";
    report.message = "\x1b[2J gr\xC3\xBC\xC3\x9F \b\v\f\x1f";
    report.log = &line;
    report.log_count = 1;
    report.log_total = 1;
    report.stderr_tail = tail;
    report.stderr_tail_size = sizeof tail - 1;
    assert_string_equal(print(&report), "crossfork: wor\\x1b[31mker failed with code 7\n" FACTS
                                        "  message  \\x1b[2J gr\xC3\xBC\xC3\x9F \\x08\\x0b\\x0c\\x1f\n"
                                        "  log      the last 1 of 1 lines\n"
                                        "    \\x1b]0;title\\x07 \n"
                                        "    next\\x7f\n"
                                        "  stderr   the last 8 bytes\n"
                                        "    a\\x00b\\x01\tc\n");
}

/* A terminal that reads UTF-8 takes U+0080 to U+009F for controls as well: U+009B is the same as ESC [. */
static void control_characters_of_two_bytes_are_escapes(void **state)
{
    xf_report report = make(XF_END_FAILED, 7, 1);

    (void)state;
    report.message = "\xC2\x9B"
                     "31m and \xC2\x80, but \xC2\xA0 is none";
    assert_null(strstr(print(&report), "\xC2\x9B"));
    assert_null(strstr(print(&report), "\xC2\x80"));
    assert_non_null(strstr(print(&report), "31m and "));
    assert_non_null(strstr(print(&report), ", but \xC2\xA0 is none\n"));
}

/* A report in the name of which each text that a child can send has these characters. */
static xf_report make_hostile(const char *text)
{
    static xf_log_line line;
    static xf_frame frame;
    xf_report report = make(XF_END_CRASHED, XF_CRASH_ACCESS, 11);

    line = (xf_log_line){.text = text, .task = text};
    frame = (xf_frame){.function = text, .file = text, .module = text, .build_id = text};
    report.message = report.name = report.task = report.dump = report.saved = report.stderr_tail = text;
    report.stderr_tail_size = strlen(text);
    report.log = &line;
    report.stack = &frame;
    report.log_count = report.stack_count = report.log_total = 1;
    return report;
}

/* How often a part is in a text. */
static int occurrences(const char *text, const char *part)
{
    int count = 0;

    for (; (text = strstr(text, part)); text += strlen(part))
        count++;
    return count;
}

/* Those that turn the direction of text can make a reader see another file name, or another message, than there is. */
static void characters_that_are_commands_are_escapes(void **state)
{
    static const struct {
        const char *sent, *printed;
        bool is_json; /* the same escape */
    } texts[] = {
        {"\xC2\x80", "\\u0080", true},
        {"\xC2\x9B", "\\u009b", true},
        {"\xC2\x9F", "\\u009f", true},
        {"\xD8\x9C", "\\u061c", true},
        {"\xE2\x80\x8E", "\\u200e", true},
        {"\xE2\x80\x8F", "\\u200f", true},
        {"\xE2\x80\xA8", "\\u2028", true},
        {"\xE2\x80\xA9", "\\u2029", true},
        {"\xE2\x80\xAA", "\\u202a", true},
        {"\xE2\x80\xAE", "\\u202e", true},
        {"\xE2\x81\xA6", "\\u2066", true},
        {"\xE2\x81\xA9", "\\u2069", true},
        {"\x80", "\\x80", false},
        {"\x9B", "\\x9b", false},
        {"\xC3", "\\xc3", false},
        {"\xC0\x80", "\\xc0\\x80", false},
        {"\xED\xA0\x80", "\\xed\\xa0\\x80", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        xf_report report = make_hostile(texts[i].sent);
        const char *printed = print(&report);
        assert_null(strstr(printed, texts[i].sent));
        assert_int_equal(occurrences(printed, texts[i].printed), 9);
        printed = form_of(&report, xf_report_json);
        assert_null(strstr(printed, texts[i].sent));
        assert_int_equal(occurrences(printed, texts[i].is_json ? texts[i].printed : "\\ufffd") > 0, true);
    }
}

static void all_other_characters_stay(void **state)
{
    static const char *const texts[] = {"\xC2\xA0",     "\xC3\xA4",     "\xD7\xA9",         "\xE2\x80\x8D",
                                        "\xE2\x82\xAC", "\xEF\xBF\xBD", "\xF0\x9F\x98\x80", "\t"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        xf_report report = make_hostile(texts[i]);
        assert_int_equal(occurrences(print(&report), texts[i]), 9);
    }
}

static void a_message_is_cut_between_characters(void **state)
{
    xf_report report = make(XF_END_FAILED, 7, 1);

    (void)state;
    for (int ahead = 0; ahead < 4; ahead++) {
        char message[1200] = "";
        memset(message, 'm', (size_t)ahead);
        while (strlen(message) < 1100)
            strcat(message, "\xF0\x9F\x98\x80");
        report.message = message;
        assert_null(strstr(print(&report), "\\x"));
    }
}

static void a_long_message_is_cut(void **state)
{
    char expected[2000];
    xf_report report = make(XF_END_FAILED, 7, 1);

    (void)state;
    report.message = repeat("m", 1000);
    snprintf(expected, sizeof expected, "crossfork: worker 1 failed with code 7\n" FACTS "  message  %s\n",
             report.message);
    assert_string_equal(print(&report), expected);
    report.message = repeat("m", 5000);
    snprintf(expected, sizeof expected,
             "crossfork: worker 1 failed with code 7\n" FACTS "  message  %.1000s ... (5000 bytes)\n", report.message);
    assert_string_equal(print(&report), expected);
}

static void the_last_twelve_lines_are_shown(void **state)
{
    char texts[20][32], expected[600] = "crossfork: worker 1 done\n" FACTS "  log      the last 12 of 1000 lines\n";
    xf_log_line lines[20];
    xf_report report = make(XF_END_DONE, 0, 0);

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(texts[i], sizeof texts[i], "line %d", 980 + i);
        lines[i] = (xf_log_line){.time = i, .level = XF_LOG_INFO, .text = texts[i]};
        if (i >= 8)
            strcat(strcat(strcat(expected, "    "), texts[i]), "\n");
    }
    report.log = lines;
    report.log_count = 20;
    report.log_total = 1000;
    assert_string_equal(print(&report), expected);
}

static void the_end_of_a_long_error_stream_is_shown(void **state)
{
    char expected[2000];
    xf_report report = make(XF_END_DONE, 0, 0);

    (void)state;
    report.stderr_tail = repeat("0123456789", 410);
    report.stderr_tail_size = 4096;
    snprintf(expected, sizeof expected,
             "crossfork: worker 1 done\n" FACTS "  stderr   the last 1600 bytes\n    %.1600s\n",
             report.stderr_tail + 4096 - 1600);
    assert_string_equal(print(&report), expected);
}

static size_t count_lines(const char *text)
{
    size_t count = 0;

    while ((text = strchr(text, '\n'))) {
        text++;
        count++;
    }
    return count;
}

/* The limit holds for text that is all line ends too. */
static void a_report_is_a_screen_of_text(void **state)
{
    xf_log_line lines[XF_REPORT_LOG_LINES];
    xf_report report = make(XF_END_DONE, 0, 0);

    (void)state;
    report.message = report.stderr_tail = repeat("a\n", 2000);
    report.stderr_tail_size = 4000;
    for (int i = 0; i < XF_REPORT_LOG_LINES; i++)
        lines[i] = (xf_log_line){.time = i, .level = XF_LOG_INFO, .text = report.message + 3000};
    report.log = lines;
    report.log_count = XF_REPORT_LOG_LINES;
    report.log_total = XF_REPORT_LOG_LINES;
    assert_in_range(count_lines(print(&report)), 5, 100);
}

/* ---- The stream ------------------------------------------------------------------------------ */

static void no_report_is_an_error(void **state)
{
    (void)state;
    faults_forget_detail();
    assert_int_equal(xf_report_print(NULL, stderr), XF_EINVAL);
    assert_string_not_equal(xf_error_detail(), "");
    assert_int_equal(xf_report_json(NULL, stderr), XF_EINVAL);
}

static void a_stream_that_takes_nothing_is_an_error(void **state)
{
    FILE *file = fopen(file_name(), "wb");
    xf_report report = make(XF_END_DONE, 0, 0);

    (void)state;
    assert_non_null(file);
    fclose(file);
    file = fopen(file_name(), "rb");
    assert_non_null(file);
    faults_forget_detail();
    assert_int_equal(xf_report_print(&report, file), XF_EIO);
    assert_string_not_equal(xf_error_detail(), "");
    fclose(file);
    remove(file_name());
}

/* ---- Stacks, and what else is known ---------------------------------------------------------- */

static const xf_frame frames[] = {
    {0x401136, "/opt/app/decoder", "ab12", 0x1136, "read_size", "src/read.c", 41, true},
    {0x401136, "/opt/app/decoder", "ab12", 0x1136, "decode", "src/decode.c", 120, false},
    {0x7f0000001234, "C:\\lib\\png.dll", "", 0x180001234, "png_read", "", 0, false},
    {0x7f0000005678, "/lib/libc.so.6", "", 0x5678, "", "", 0, false},
    {0xdead, "", "", 0xdead, "", "", 0, false},
    {0x401200, "/opt/app/decoder", "ab12", 0x1200, "task_boundary", "/src/process/task_boundary.c", 1, false},
    {0x401300, "/opt/app/decoder", "ab12", 0x1300, "main", "src/main.c", 9, false},
};

static xf_report make_crash(void)
{
    xf_report report = with_code(make(XF_END_CRASHED, XF_CRASH_ACCESS, 11), "access violation");

    report.stack = frames;
    report.stack_count = sizeof frames / sizeof *frames;
    return report;
}

static void a_stack_is_printed_down_to_the_task(void **state)
{
    xf_report report = make_crash();

    (void)state;
    assert_string_equal(print(&report),
                        "crossfork: worker 1 crashed: access violation (system code 11) at address 0x0\n" FACTS
                        "  stack    read_size at src/read.c:41 (inlined)\n"
                        "           decode at src/decode.c:120\n"
                        "           png_read in png.dll+0x180001234\n"
                        "           libc.so.6+0x5678\n"
                        "           0xdead\n");
}

/* Goal: crossfork's own frames are left out where they are known for certain, and nothing of the program's ever is. */
static void only_crossforks_own_frames_are_left_out(void **state)
{
    static const struct {
        const char *function, *file;
        bool is_own;
    } cases[] = {
        {"task_boundary", "/usr/src/crossfork/src/process/task_boundary.c", true},
        {"xf__task_boundary", "/usr/src/crossfork/src/process/task_boundary.c", true},
        {"task_boundary", "C:\\crossfork\\src\\process\\task_boundary.c", true},
        {"task_boundary.isra.0", "../src/process/task_boundary.c", true},
        {"xf__task_boundary", "", true},
        {"xf__task_boundary.constprop.0", "", true},
        {"task_boundary", "", false},
        {"task_boundary", "/home/me/app/task_boundary.c", false},
        {"task_boundary_of_mine", "/usr/src/crossfork/src/process/task_boundary.c", false},
        {"xf__task_boundary", "/home/me/app/main.c", false},
        {"run_items", "/usr/src/crossfork/src/process/task_boundary.c", false},
        {"run_task", "/home/me/app/main.c", false},
        {"", "", false},
    };
    xf_frame stack[3] = {frames[1], frames[5], frames[6]};
    xf_report report = make_crash();

    (void)state;
    report.stack = stack;
    report.stack_count = 3;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stack[1].function = cases[i].function;
        stack[1].file = cases[i].file;
        assert_int_equal(!strstr(print(&report), "main at src/main.c:9\n"), cases[i].is_own);
        assert_non_null(strstr(print(&report), "decode at src/decode.c:120\n"));
    }
}

static void a_deep_stack_is_cut(void **state)
{
    xf_frame many[50];
    xf_report report = make_crash();

    (void)state;
    for (int i = 0; i < 50; i++)
        many[i] = frames[1];
    report.stack = many;
    report.stack_count = 50;
    assert_non_null(strstr(print(&report), "           ... and 34 more\n"));
    assert_int_equal(count_lines(print(&report)), 2 + 16 + 1);
}

static void progress_and_silence_are_printed_of_unfinished_tasks(void **state)
{
    xf_report report = make(XF_END_KILLED, 0, 9);

    (void)state;
    report.done = 37;
    report.total = 100;
    report.heard = 1001.5;
    report.dump = "/tmp/core\x1b";
    report.saved = "/tmp/saved";
    assert_string_equal(print(&report), "crossfork: worker 1 killed (system code 9)\n" FACTS "  progress 37 of 100\n"
                                        "  silent   for 1.2 s before that\n"
                                        "  dump     /tmp/core\\x1b\n"
                                        "  replay   /tmp/saved\n");
}

/* ---- For tools ------------------------------------------------------------------------------- */

static void a_tool_gets_all_of_it_as_json(void **state)
{
    static const xf_log_line line = {1.5, XF_LOG_WARNING, "a \"quoted\" text", XF_SOURCE_STDERR, 4711, "area", 7};
    static const xf_register registers[] = {{"rip", 0x401136}, {"rsp", UINT64_MAX}};
    xf_report report = make_crash();

    (void)state;
    report.stack_count = 1;
    report.registers = registers;
    report.register_count = 2;
    report.log = &line;
    report.log_count = 1;
    report.log_total = 33;
    report.item = 7;
    report.attempt = 2;
    assert_string_equal(
        form_of(&report, xf_report_json),
        "{\"crossfork_report\": 1, \"kind\": \"crashed\", \"code\": 2, \"code_name\": \"access violation\", "
        "\"system\": 11, "
        "\"message\": \"\", \"name\": \"worker 1\", \"task\": \"area\", \"item\": 7, \"attempt\": 2, \"pid\": 4711, "
        "\"phase\": \"running\", \"started\": 1000.500000, \"ended\": 1002.750000, \"heard\": 0.000000, "
        "\"cpu_time\": 0.000000, \"memory_peak\": 0, \"done\": 0, \"total\": 0, \"fault_address\": \"0x0\", "
        "\"stack\": [{\"line\": 41, \"inlined\": true, \"function\": \"read_size\", \"file\": \"src/read.c\", "
        "\"module\": \"/opt/app/decoder\", \"build_id\": \"ab12\", \"offset\": \"0x1136\", \"address\": "
        "\"0x401136\"}], "
        "\"registers\": {\"rip\": \"0x401136\", \"rsp\": \"0xffffffffffffffff\"}, \"log_total\": 33, \"log\": "
        "[{\"time\": 1.500000, "
        "\"level\": 30, \"source\": \"stderr\", \"item\": 7, \"task\": \"area\", \"text\": \"a \\u0022quoted\\u0022 "
        "text\"}], "
        "\"stderr\": \"\", \"dump\": \"\", \"saved\": \"\"}\n");
}

static void json_is_utf_8_whatever_the_child_sent(void **state)
{
    static const struct {
        const char *sent, *printed;
    } texts[] = {
        {"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"\x80 \xC3 \xC0\x80 \xE0\x80\x80 \xED\xA0\x80 \xF4\x90\x80\x80 \xF8",
         "\\ufffd \\ufffd \\ufffd\\ufffd \\ufffd\\ufffd\\ufffd \\ufffd\\ufffd\\ufffd \\ufffd\\ufffd\\ufffd\\ufffd "
         "\\ufffd"},
        {"\x1b[31m\n\\</script>", "\\u001b[31m\\u000a\\u005c\\u003c/script>"},
        {"\xE2\x82", "\\ufffd\\ufffd"},
    };
    char printed[400];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        xf_report report = make(XF_END_FAILED, 1, 1);
        report.message = texts[i].sent;
        snprintf(printed, sizeof printed, "\"message\": \"%s\", \"name\"", texts[i].printed);
        assert_non_null(strstr(form_of(&report, xf_report_json), printed));
    }
}

/* Goal: the text is JSON (RFC 8259) whatever a child has put in the place of a time. */
static void json_has_no_number_that_is_none(void **state)
{
    const struct {
        double time;
        const char *json;
    } times[] = {{NAN, "null"},       {-NAN, "null"},       {INFINITY, "null"}, {-INFINITY, "null"},
                 {-0.0, "-0.000000"}, {5e-324, "0.000000"}, {-1.5, "-1.500000"}};

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        xf_report report = make(XF_END_DONE, 0, 0);
        xf_log_line line = {.time = times[i].time, .text = "", .task = ""};
        char expected[64];
        report.log = &line;
        report.log_count = 1;
        report.heard = report.cpu_time = times[i].time;
        snprintf(expected, sizeof expected, "\"time\": %s, ", times[i].json);
        assert_non_null(strstr(form_of(&report, xf_report_json), expected));
        snprintf(expected, sizeof expected, "\"heard\": %s, \"cpu_time\": %s, ", times[i].json, times[i].json);
        assert_non_null(strstr(form_of(&report, xf_report_json), expected));
    }
}

static void json_has_the_largest_number(void **state)
{
    xf_report report = make(XF_END_DONE, 0, 0);
    xf_log_line line = {.time = -1.7976931348623157e308, .text = "", .task = ""};
    const char *number;

    (void)state;
    report.log = &line;
    report.log_count = 1;
    number = strstr(form_of(&report, xf_report_json), "\"time\": -17976931348623157");
    assert_non_null(number);
    assert_int_equal(strspn(number + strlen("\"time\": -"), "0123456789"), 309);
    assert_non_null(strstr(number, ".000000, \"level\": 0"));
}

static void a_point_is_put_whatever_the_locale_has(void **state)
{
    static const struct {
        const char *printed, *plain;
    } numbers[] = {{"1,5", "1.5"}, {"-0,250", "-0.250"}, {"1\xD9\xAB\x35", "1.5"}, {"12.5", "12.5"},
                   {"7", "7"},     {"-7", "-7"},         {"1e+06", "1e+06"},       {"1,5e-07", "1.5e-07"}};
    char text[NUMBER_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        number_put_point(strcpy(text, numbers[i].printed));
        assert_string_equal(text, numbers[i].plain);
    }
}

/* Takes a locale in which numbers have a comma; false when there is none. */
static bool take_comma(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de-DE", "German"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_ALL, names[i]) && *localeconv()->decimal_point == ',')
            return true;
    setlocale(LC_ALL, "C");
    return false;
}

static void a_locale_with_a_comma_changes_nothing(void **state)
{
    xf_report report = make(XF_END_KILLED, 0, 9);
    char plain[20000], plain_json[20000];
    xf_advice advice;

    (void)state;
    report.heard = 1001.5;
    report.memory_peak = 3 << 19;
    report.cpu_time = 0.125;
    strcpy(plain, print(&report));
    strcpy(plain_json, form_of(&report, xf_report_json));
    if (!take_comma())
        skip();
    assert_string_equal(print(&report), plain);
    assert_string_equal(form_of(&report, xf_report_json), plain_json);
    assert_int_equal(xf_advise(&advice, &(xf_workload){.own = 1536}), 0);
    assert_non_null(strstr(advice.why, "1.5 KiB"));
    setlocale(LC_ALL, "C");
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void every_end_has_a_name(void **state)
{
    static const char *const names[] = {[XF_END_NONE] = "running",
                                        [XF_END_DONE] = "done",
                                        [XF_END_FAILED] = "failed",
                                        [XF_END_EXITED] = "exited",
                                        [XF_END_CRASHED] = "crashed",
                                        [XF_END_KILLED] = "killed",
                                        [XF_END_TERMINATED] = "terminated",
                                        [XF_END_PROTOCOL_ERROR] = "protocol error",
                                        [XF_END_START_FAILED] = "start failure",
                                        [XF_END_UNKNOWN] = "unknown end",
                                        [XF_END_TIMED_OUT] = "timed out",
                                        [XF_END_CANCELLED] = "cancelled",
                                        [XF_END_MEMORY_LIMIT] = "memory limit",
                                        [XF_END_CPU_LIMIT] = "CPU limit",
                                        [XF_END_OUT_OF_MEMORY] = "out of memory"};

    (void)state;
    for (int kind = XF_END_NONE; kind <= XF_END_OUT_OF_MEMORY; kind++)
        assert_string_equal(xf_end_name((xf_end)kind), names[kind]);
    assert_string_equal(xf_end_name((xf_end)(XF_END_OUT_OF_MEMORY + 1)), "?");
    assert_string_equal(xf_end_name((xf_end)-1), "?");
}

static void every_crash_has_a_name(void **state)
{
    static const char *const names[] = {[XF_CRASH_OTHER] = "fault",
                                        [XF_CRASH_ABORT] = "abort",
                                        [XF_CRASH_ACCESS] = "access violation",
                                        [XF_CRASH_DIVIDE] = "division by zero",
                                        [XF_CRASH_STACK_OVERFLOW] = "stack overflow",
                                        [XF_CRASH_ILLEGAL] = "illegal instruction",
                                        [XF_CRASH_TRAP] = "trap",
                                        [XF_CRASH_OVERRUN] = "output overrun"};

    (void)state;
    for (int crash = XF_CRASH_OTHER; crash <= XF_CRASH_OVERRUN; crash++)
        assert_string_equal(xf_crash_name((xf_crash)crash), names[crash]);
    assert_string_equal(xf_crash_name((xf_crash)(XF_CRASH_OVERRUN + 1)), "?");
    assert_string_equal(xf_crash_name((xf_crash)-1), "?");
}

static void an_unknown_phase_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(xf_phase_name((xf_phase)(XF_PHASE_ENDED + 1)), "?");
    assert_string_equal(xf_phase_name((xf_phase)-1), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_end_has_its_headline),
        cmocka_unit_test(an_item_of_a_pool_is_named),
        cmocka_unit_test(the_systems_code_is_printed_where_it_says_more),
        cmocka_unit_test(every_phase_is_printed),
        cmocka_unit_test(everything_has_its_place),
        cmocka_unit_test(control_characters_are_escapes),
        cmocka_unit_test(control_characters_of_two_bytes_are_escapes),
        cmocka_unit_test(characters_that_are_commands_are_escapes),
        cmocka_unit_test(all_other_characters_stay),
        cmocka_unit_test(a_message_is_cut_between_characters),
        cmocka_unit_test(a_long_message_is_cut),
        cmocka_unit_test(the_last_twelve_lines_are_shown),
        cmocka_unit_test(the_end_of_a_long_error_stream_is_shown),
        cmocka_unit_test(a_report_is_a_screen_of_text),
        cmocka_unit_test(a_stream_that_takes_nothing_is_an_error),
        cmocka_unit_test(a_stack_is_printed_down_to_the_task),
        cmocka_unit_test(only_crossforks_own_frames_are_left_out),
        cmocka_unit_test(a_deep_stack_is_cut),
        cmocka_unit_test(progress_and_silence_are_printed_of_unfinished_tasks),
        cmocka_unit_test(a_tool_gets_all_of_it_as_json),
        cmocka_unit_test(json_is_utf_8_whatever_the_child_sent),
        cmocka_unit_test(json_has_no_number_that_is_none),
        cmocka_unit_test(json_has_the_largest_number),
        cmocka_unit_test(a_point_is_put_whatever_the_locale_has),
        cmocka_unit_test(a_locale_with_a_comma_changes_nothing),
        cmocka_unit_test(every_end_has_a_name),
        cmocka_unit_test(every_crash_has_a_name),
        cmocka_unit_test(an_unknown_phase_has_a_name),
        cmocka_unit_test(no_report_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
