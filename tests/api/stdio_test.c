/* Goal: a child's standard streams go to files, or line by line to on_log, in order with the lines that it logs. */
#include "protocol/line_splitter.h"
#include "tasks.h"

enum { MANY = 500 };

/* ---- What on_log got ------------------------------------------------------------------------- */

typedef struct got {
    char text[2 * MANY + 16][80];
    xf_log_source source[2 * MANY + 16];
    int count;
} got;

static got got_lines;

static void on_log(xf_process *process, const xf_log_line *line, void *arg)
{
    got *got = arg;

    (void)process;
    assert_true(got->count < 2 * MANY + 16);
    snprintf(got->text[got->count], sizeof *got->text, "%s", line->text);
    got->source[got->count++] = line->source;
}

static int place_of(const char *text, xf_log_source source)
{
    for (int i = 0; i < got_lines.count; i++)
        if (strcmp(got_lines.text[i], text) == 0) {
            assert_int_equal(got_lines.source[i], source);
            return i;
        }
    print_error("no line \"%s\"\n", text);
    fail();
    return -1;
}

static xf_process_options logged(void)
{
    got_lines.count = 0;
    return (xf_process_options){
        .stdout_to = XF_STDIO_LOG, .stderr_to = XF_STDIO_LOG, .on_log = on_log, .on_log_arg = &got_lines};
}

static void expect_output(xf_process *process, int stream, const char *text)
{
    char *data, *from, *to;

    assert_int_equal(xf_process_output(process, stream, &data, NULL), 0);
    for (from = to = data; *from; from++) /* Windows has \r\n */
        if (*from != '\r')
            *to++ = *from;
    *to = 0;
    assert_string_equal(data, text);
    xf_memory_free(data);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

XF_ENTRY(say_much)
{
    printf("a\n");
    xf_log(call, XF_LOG_INFO, "b");
    fprintf(stderr, "c\n");
    xf_log(call, XF_LOG_INFO, "d");
    printf("e");
    xf_log(call, XF_LOG_INFO, "f");
    printf("g\n");
    fprintf(stderr, "h");
    return 0;
}

static void printed_lines_are_in_order_with_logged_ones(void **state)
{
    const xf_process_options options = logged();
    xf_process *process = start(&say_much, NULL, 0, &options);
    int b, d, f;

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_int_equal(got_lines.count, 8);
    b = place_of("b", XF_SOURCE_LOG);
    d = place_of("d", XF_SOURCE_LOG);
    f = place_of("f", XF_SOURCE_LOG);
    assert_true(b < d && d < f);
    assert_true(place_of("a", XF_SOURCE_STDOUT) < b);
    assert_true(place_of("c", XF_SOURCE_STDERR) < d && place_of("c", XF_SOURCE_STDERR) > b);
    assert_true(place_of("e", XF_SOURCE_STDOUT) < f && place_of("e", XF_SOURCE_STDOUT) > b);
    assert_true(place_of("g", XF_SOURCE_STDOUT) > f && place_of("h", XF_SOURCE_STDERR) > d);
    expect_output(process, 1, "a\neg\n");
    expect_output(process, 2, "c\nh");
    xf_process_free(process);
}

XF_ENTRY(say_by_turns)
{
    for (int i = 0; i < MANY; i++) {
        printf("printed %d\n", i);
        xf_log(call, XF_LOG_INFO, "logged %d", i);
    }
    return 0;
}

static void many_lines_alternate(void **state)
{
    const xf_process_options options = logged();
    xf_process *process = start(&say_by_turns, NULL, 0, &options);
    char expected[80];

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_int_equal(got_lines.count, 2 * MANY);
    for (int i = 0; i < 2 * MANY; i++) {
        snprintf(expected, sizeof expected, i % 2 ? "logged %d" : "printed %d", i / 2);
        assert_string_equal(got_lines.text[i], expected);
    }
    xf_process_free(process);
}

/* Prints and aborts, as a sanitizer does. */
XF_ENTRY(say_and_abort)
{
    xf_log(call, XF_LOG_INFO, "before");
    fprintf(stderr, "==1==ERROR: something bad\n");
    fflush(stderr);
    abort();
    return 0;
}

static void the_last_words_of_a_crash_are_in_the_report(void **state)
{
    const xf_process_options options = logged();
    xf_process *process = start(&say_and_abort, NULL, 0, &options);

    (void)state;
    assert_int_equal(join(process).kind, XF_END_CRASHED);
    assert_int_equal(strncmp(xf_process_report(process)->stderr_tail, "==1==ERROR: something bad", 25), 0);
    assert_true(place_of("==1==ERROR: something bad", XF_SOURCE_STDERR) > place_of("before", XF_SOURCE_LOG));
    xf_process_free(process);
}

#define ELSEWHERE "stdio_test.elsewhere"

XF_ENTRY(redirect)
{
    if (!freopen(xf_call_input(call, NULL), "w", stdout))
        return 1;
    fclose(stderr);
    printf("not for the parent\n");
    xf_log(call, XF_LOG_INFO, "logged");
    return 0;
}

static void read_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = 0;
    fclose(file);
}

/* Returns a name for this process alone, because several of these tests run at a time. */
static const char *own_name(const char *name)
{
    static char path[2][128];
    static int next;

    next = !next;
    snprintf(path[next], sizeof path[next], "%s.%d", name, (int)uv_os_getpid());
    remove(path[next]);
    return path[next];
}

static void a_stream_that_the_task_redirects_has_no_marks(void **state)
{
    const xf_process_options options = logged();
    const char *path = own_name(ELSEWHERE);
    xf_process *process = start(&redirect, path, strlen(path) + 1, &options);
    char text[256];

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_int_equal(got_lines.count, 1);
    place_of("logged", XF_SOURCE_LOG);
    read_file(path, text, sizeof text);
    assert_string_equal(text, "not for the parent\n");
    remove(path);
    xf_process_free(process);
}

XF_ENTRY(forge_marks)
{
    char mark[LINE_SPLITTER_MARK + 1];

    for (uint64_t i = 0; i < 1000; i++) {
        line_splitter_make_mark(mark, i, i);
        fputs(mark, stdout);
        fputs("\x1e\n\x1e", stdout);
    }
    xf_log(call, XF_LOG_INFO, "logged");
    return 0;
}

static void forged_marks_are_text(void **state)
{
    const xf_process_options options = logged();
    xf_process *process = start(&forge_marks, NULL, 0, &options);
    char *data;
    size_t size;

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_int_equal(got_lines.count, 1000 + 2);
    assert_int_equal(xf_process_output(process, 1, &data, &size), 0);
    assert_in_range(size, 1000 * (LINE_SPLITTER_MARK + 3), 1000 * (LINE_SPLITTER_MARK + 4));
    xf_memory_free(data);
    xf_process_free(process);
}

/* A mark without a frame delays no more than one buffer, and nothing is lost. */
static void a_mark_that_is_never_passed_does_no_harm(void **state)
{
    char mark[LINE_SPLITTER_MARK + 1], *space;
    line_splitter lines;
    line_splitter_piece piece;
    size_t room, total = 0, put = 0;

    (void)state;
    assert_int_equal(line_splitter_open(&lines, 7), 0);
    line_splitter_make_mark(mark, 7, 1);
    for (int i = 0; i < 100000; i++) {
        space = line_splitter_space(&lines, &room);
        assert_true(room > 0);
        if (room > LINE_SPLITTER_MARK) {
            memcpy(space, mark, LINE_SPLITTER_MARK);
            memcpy(space + LINE_SPLITTER_MARK, "x", 1);
        } else {
            memset(space, 'x', room);
        }
        put += room > LINE_SPLITTER_MARK ? 1 : room;
        line_splitter_filled(&lines, room > LINE_SPLITTER_MARK ? LINE_SPLITTER_MARK + 1 : room);
        while (line_splitter_next(&lines, false, &piece))
            total += piece.size;
    }
    while (line_splitter_next(&lines, true, &piece))
        total += piece.size;
    assert_int_equal(total, put);
    line_splitter_close(&lines);
}

/* ---- Files ----------------------------------------------------------------------------------- */

XF_ENTRY(copy_input)
{
    char line[80] = "";

    if (!fgets(line, sizeof line, stdin))
        return 1;
    printf("out %s", line);
    fflush(stdout);
    fprintf(stderr, "err %s", line);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Paths are relative to the program's directory, also for a child in another directory. */
static void streams_are_files(void **state)
{
    const char *in = own_name("stdio_test.in"), *out = own_name("stdio_test.\xC3\xA4"); /* a umlaut */
    const xf_process_options options = {.stdin_from = XF_STDIO_FILE,
                                        .stdin_path = in,
                                        .stdout_to = XF_STDIO_FILE,
                                        .stdout_path = out,
                                        .stderr_to = XF_STDIO_FILE,
                                        .stderr_path = out,
                                        .directory = ".."};
    const xf_process_options read = {
        .stdin_from = XF_STDIO_FILE, .stdin_path = out, .stdout_to = XF_STDIO_CAPTURE, .stderr_to = XF_STDIO_NULL};
    xf_process *process;
    uv_fs_t request;

    (void)state;
    write_file(in, "line\n");
    expect_end(start(&copy_input, NULL, 0, &options), XF_END_DONE, 0);
    expect_end(start(&copy_input, NULL, 0, &options), XF_END_DONE, 0);
    process = start(&copy_input, NULL, 0, &read);
    join(process);
    expect_output(process, 1, "out out line\n");
    xf_process_free(process);
    assert_int_equal(uv_fs_stat(NULL, &request, out, NULL), 0);
    assert_in_range(request.statbuf.st_size, 4 * 9, 4 * 9 + 4);
    uv_fs_req_cleanup(&request);
    assert_int_equal(uv_fs_unlink(NULL, &request, out, NULL), 0);
    uv_fs_req_cleanup(&request);
    remove(in);
}

static void expect_refusal(const xf_process_options *options, int code, const char *detail)
{
    xf_process *process;

    assert_int_equal(xf_process_start(&process, &copy_input, NULL, 0, options), code);
    if (!strstr(xf_error_detail(), detail))
        print_error("%s\n", xf_error_detail());
    assert_non_null(strstr(xf_error_detail(), detail));
}

static void refuse_all(void)
{
    expect_refusal(&(xf_process_options){.stdin_from = XF_STDIO_FILE, .stdin_path = "no/such"}, XF_ENOENT, "no/such");
    expect_refusal(&(xf_process_options){.stdout_to = XF_STDIO_FILE, .stdout_path = "no/such"}, XF_ENOENT, "no/such");
    expect_refusal(&(xf_process_options){.stderr_to = XF_STDIO_FILE, .stderr_path = ".."}, XF_EACCESS, "..");
    expect_refusal(&(xf_process_options){.stdin_from = XF_STDIO_FILE, .stdin_path = ".."}, XF_EACCESS, "..");
    expect_refusal(&(xf_process_options){.stdin_from = XF_STDIO_FILE}, XF_EINVAL, "stdin_path");
    expect_refusal(&(xf_process_options){.stdout_to = XF_STDIO_FILE}, XF_EINVAL, "stdout_path");
    expect_refusal(&(xf_process_options){.stdin_from = XF_STDIO_CAPTURE}, XF_EINVAL, "stdin_from");
    expect_refusal(&(xf_process_options){.stdin_from = XF_STDIO_LOG}, XF_EINVAL, "stdin_from");
    assert_int_equal(xf_cleanup(), 0);
}

/* In the first round libuv makes things that it keeps. */
static void files_that_cannot_be_had_are_named(void **state)
{
    size_t handles;

    (void)state;
    refuse_all();
    handles = support_handles();
    refuse_all();
    assert_int_equal(support_handles(), handles);
}

/* ---- What the program has not flushed ------------------------------------------------------- */

enum { OWN_FILES = 40, PATH_SIZE = 100 };

/* How the task ends, after it has opened files: so many that one gets the number that the program's file had. */
enum { FLUSHES_ALL, CLOSES_ALL, EXITS, RETURNS, RUNS_SHELL, PENDING_WAYS };

typedef struct own_files {
    char paths[OWN_FILES][PATH_SIZE];
    int way;
} own_files;

XF_TASK(write_own_files, const own_files *in, int *out)
{
    FILE *files[OWN_FILES];

    for (int i = 0; i < OWN_FILES; i++) {
        files[i] = fopen(in->paths[i], "w");
        if (!files[i])
            return xf_fail(call, 1, "%s", in->paths[i]);
        fprintf(files[i], "own\n");
        if (in->way != FLUSHES_ALL)
            fflush(files[i]);
    }
    printf("task\n");
    fflush(stdout); /* so that it comes before what a shell prints */
    *out = in->way;
    if (in->way == FLUSHES_ALL)
        fflush(NULL);
    for (int i = 0; i < OWN_FILES && in->way == CLOSES_ALL; i++)
        fclose(files[i]);
    if (in->way == RUNS_SHELL && system("echo shell"))
        return 2;
    if (in->way == EXITS)
        exit(0);
    return 0;
}

static void expect_file(const char *path, const char *expected)
{
    char text[200] = "";
    FILE *file = fopen(path, "r");
    size_t size;

    assert_non_null(file);
    size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    assert_string_equal(text, expected);
}

static void run_with_pending(FILE *log, int way)
{
    own_files in = {.way = way};
    xf_process_options options = {.stdout_to = XF_STDIO_CAPTURE};
    xf_process *process;

    for (int i = 0; i < OWN_FILES; i++)
        snprintf(in.paths[i], PATH_SIZE, "%.90s.%d", own_name("stdio_test.own"), i);
    fprintf(log, "secret %d\n", way);
    printf("pending");
    process = start(&write_own_files, &in, sizeof in, &options);
    assert_int_equal(join(process).kind, way == EXITS ? XF_END_EXITED : XF_END_DONE);
    expect_output(process, 1, way == RUNS_SHELL ? "task\nshell\n" : "task\n");
    xf_process_free(process);
    for (int i = 0; i < OWN_FILES; i++) {
        expect_file(in.paths[i], "own\n");
        remove(in.paths[i]);
    }
}

/* A file that the program has written to and not flushed, and a line on its standard output. */
static void what_is_pending_is_written_once_and_where_it_belongs(void **state)
{
    char path[PATH_SIZE];
    FILE *log;

    (void)state;
    snprintf(path, sizeof path, "%.90s", own_name("stdio_test.log"));
    log = fopen(path, "w");
    assert_non_null(log);
    for (int way = 0; way < PENDING_WAYS; way++)
        run_with_pending(log, way);
    fclose(log);
    expect_file(path, "secret 0\nsecret 1\nsecret 2\nsecret 3\nsecret 4\n");
    remove(path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_cannot_be_had_are_named),
        cmocka_unit_test(printed_lines_are_in_order_with_logged_ones),
        cmocka_unit_test(many_lines_alternate),
        cmocka_unit_test(the_last_words_of_a_crash_are_in_the_report),
        cmocka_unit_test(a_stream_that_the_task_redirects_has_no_marks),
        cmocka_unit_test(forged_marks_are_text),
        cmocka_unit_test(a_mark_that_is_never_passed_does_no_harm),
        cmocka_unit_test(streams_are_files),
        cmocka_unit_test(what_is_pending_is_written_once_and_where_it_belongs),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
