/* Goal: both twins keep every sentence of src/os/child.h about what a child is started with. */
#include "seam.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

/* ---- Roles ----------------------------------------------------------------------------------- */

static void be_say(const char *argument)
{
    say(argument);
    say("\n");
}

static void be_handles(const char *argument)
{
    char byte;

    (void)argument;
    say_number((int64_t)support_handles());
    hear_parent(&byte, 1);
}

static void be_stdout(const char *argument)
{
    fprintf(stdout, "out %s", argument);
    fflush(stdout);
    fprintf(stderr, "err %s", argument);
    fflush(stderr);
}

static void be_stdout_flood(const char *argument)
{
    size_t size = (size_t)atoll(argument);

    for (size_t at = 0; at < size; at++)
        putc('a' + (int)(at % 26), stdout);
    fflush(stdout);
}

static void be_stdin(const char *argument)
{
    (void)argument;
    say(getc(stdin) == EOF ? "end\n" : "something\n");
    say(printf("dropped") == 7 && fflush(stdout) == 0 ? "written\n" : "refused\n");
}

static void be_environment(const char *argument)
{
    static char value[65536];
    size_t size = sizeof value;

    say(uv_os_getenv(argument, value, &size) == 0 ? value : "(none)");
    say("\n");
}

static void be_directory(const char *argument)
{
    char path[4096];
    size_t size = sizeof path;

    (void)argument;
    require(uv_cwd(path, &size) == 0);
    say(path);
    say("\n");
}

static void be_pass_on(const char *argument)
{
    os_child *child = start_below(argument);
    os_end end;

    while (os_child_end(child, &end) == XF_EAGAIN) {
        require(os_child_wait(child, PATIENCE) == 0);
        hear_below(child);
    }
    require(end.kind == OS_EXITED && end.code == 0);
}

static const seam_role roles[] = {
    {"say", be_say},
    {"handles", be_handles},
    {"stdout", be_stdout},
    {"stdout_flood", be_stdout_flood},
    {"stdin", be_stdin},
    {"environment", be_environment},
    {"directory", be_directory},
    {"pass_on", be_pass_on},
    {0},
};

/* ---- Starting -------------------------------------------------------------------------------- */

static void fork_is_refused_where_there_is_none(void **state)
{
    os_start start = role_start("hello");
    kid kid;

    (void)state;
    if (os.has_fork)
        skip();
    start.method = OS_FORK;
    assert_int_equal(try_start(&kid, &start), XF_ENOTSUP);
}

/* As programs do whose main is not given them. */
static void a_child_finds_its_own_command_line(void **state)
{
    static const char *const additions[] = {"XF_TEST_NO_ARGUMENTS=1", NULL};
    os_start start = role_start("hello");
    kid kid;

    (void)state;
    start.environment = additions;
    kid = start_as(&start);
    expect_line(&kid, "hello");
    finish_well(&kid);
}

static void siblings_have_the_same_handles(void **state)
{
    enum { SIBLINGS = 5 };
    kid kids[SIBLINGS];
    int64_t handles[SIBLINGS];

    (void)state;
    for (int i = 0; i < SIBLINGS; i++) {
        kids[i] = start_role("handles");
        handles[i] = hear_number(&kids[i]);
    }
    for (int i = 0; i < SIBLINGS; i++) {
        assert_int_equal(handles[i], handles[0]);
        send_text(&kids[i], "!");
        finish_well(&kids[i]);
    }
}

static void start_many(void *first)
{
    enum { MANY = 50 };
    char role[32], line[32];

    for (int i = 0; i < MANY; i++) {
        int number = *(int *)first + i;
        kid kid;
        snprintf(role, sizeof role, "say %d", number);
        kid = start_role(role);
        hear_line(&kid, line, sizeof line);
        assert_int_equal(atoi(line), number);
        finish_well(&kid);
    }
}

static void two_threads_start_children_at_the_same_time(void **state)
{
    int first[2] = {1000, 2000};
    uv_thread_t thread;

    (void)state;
    if (method == OS_FORK)
        skip();
    assert_int_equal(uv_thread_create(&thread, start_many, &first[0]), 0);
    start_many(&first[1]);
    uv_thread_join(&thread);
}

/* ---- Standard streams ------------------------------------------------------------------------ */

static void captured_streams_are_kept_apart(void **state)
{
    kid kid = start_captured("stdout text");

    (void)state;
    expect_stream(&kid, OS_STDERR, "err text");
    expect_stream(&kid, OS_STDOUT, "out text");
    wait_end(&kid);
    assert_int_equal(drain(&kid, OS_STDOUT), XF_EEND);
    assert_int_equal(drain(&kid, OS_STDERR), XF_EEND);
    close_kid(&kid);
}

static void captured_streams_can_be_read_after_the_end(void **state)
{
    kid kid = start_captured("stdout text");

    (void)state;
    wait_end_unread(&kid);
    expect_stream(&kid, OS_STDOUT, "out text");
    expect_stream(&kid, OS_STDERR, "err text");
    close_kid(&kid);
}

/* Output is appended; one file may serve for both, and is opened by this process. */
static void a_stream_can_be_a_file(void **state)
{
    char path[64], text[64] = "";
    os_start start = role_start("stdout text");
    FILE *file;
    kid kid;

    (void)state;
    snprintf(path, sizeof path, "os_start_test.%d", (int)uv_os_getpid());
    start.stdio[1] = start.stdio[2] = XF_STDIO_FILE;
    start.stdio_path[1] = start.stdio_path[2] = path;
    for (int i = 0; i < 2; i++) {
        start.directory = i ? ".." : NULL;
        kid = start_as(&start);
        finish_well(&kid);
    }
    file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(text, 1, sizeof text - 1, file), 4 * 8);
    fclose(file);
    assert_string_equal(text, "out texterr textout texterr text");
    start = role_start("stdin");
    start.stdio[0] = XF_STDIO_FILE;
    start.stdio_path[0] = path;
    kid = start_as(&start);
    hear_line(&kid, text, sizeof text);
    assert_string_equal(text, "something");
    finish_well(&kid);
    remove(path);
    assert_int_equal(try_start(&kid, &start), XF_ENOENT);
    assert_non_null(strstr(xf_error_detail(), path));
}

static void what_a_child_used_is_reported(void **state)
{
    kid kid = start_role("hello");
    char line[64];
    os_end end;

    (void)state;
    hear_line(&kid, line, sizeof line);
    end = finish(&kid);
    assert_true(!end.refused && end.cpu_time >= 0 && end.cpu_time < 60);
    if (support_limits())
        assert_in_range(end.memory_peak, 65536, (uint64_t)1 << 36);
}

/* A child that cannot be given its limits does not start. */
static void limits_are_put_on_or_refused(void **state)
{
    const xf_limits cpu = {.cpu_ms = 500}, files = {.files = 64};
    os_start start = role_start("spin");
    char line[64];
    kid kid;
    int rc;

    (void)state;
    start.limits = &files;
    rc = try_start(&kid, &start);
    assert_true(rc == 0 || rc == XF_ENOTSUP);
    if (rc == 0)
        kill_and_finish(&kid);
    start.limits = &cpu;
    if (!support_limits())
        skip();
    kid = start_as(&start);
    hear_line(&kid, line, sizeof line);
    assert_int_equal(finish(&kid).kind, OS_CPU_LIMIT);
}

static void a_captured_stream_may_be_large(void **state)
{
    enum { SIZE = 1 << 20 };
    kid kid = start_captured("stdout_flood 1048576");
    char *heard = malloc(SIZE);

    (void)state;
    assert_non_null(heard);
    hear_stream(&kid, OS_STDOUT, heard, SIZE);
    for (size_t at = 0; at < SIZE; at++)
        assert_int_equal(heard[at], 'a' + (int)(at % 26));
    free(heard);
    finish_well(&kid);
}

static void inherited_output_is_the_parents_own(void **state)
{
    kid kid = start_captured("pass_on stdout text");

    (void)state;
    expect_stream(&kid, OS_STDOUT, "out text");
    expect_stream(&kid, OS_STDERR, "err text");
    finish_well(&kid);
}

static void null_gives_nothing_and_takes_everything(void **state)
{
    kid kid = start_role("stdin");

    (void)state;
    expect_line(&kid, "end");
    expect_line(&kid, "written");
    finish_well(&kid);
}

/* ---- Directory and environment --------------------------------------------------------------- */

/* A new directory whose name has letters of many alphabets. */
static void make_directory(char *outer, char *inner, size_t size)
{
    char base[2048];
    size_t length = sizeof base;
    uv_fs_t request;

    assert_int_equal(uv_os_tmpdir(base, &length), 0);
    snprintf(outer, size, "%s/crossfork-XXXXXX", base);
    assert_int_equal(uv_fs_mkdtemp(NULL, &request, outer, NULL), 0);
    snprintf(outer, size, "%s", request.path);
    uv_fs_req_cleanup(&request);
    snprintf(inner, size, "%.2000s/a b'\xc3\xa4\xe6\x97\xa5", outer);
    assert_int_equal(uv_fs_mkdir(NULL, &request, inner, 0700, NULL), 0);
    uv_fs_req_cleanup(&request);
}

static void remove_directory(const char *path)
{
    uv_fs_t request;

    assert_int_equal(uv_fs_rmdir(NULL, &request, path, NULL), 0);
    uv_fs_req_cleanup(&request);
}

static void a_child_has_the_directory_it_was_given(void **state)
{
    char outer[4096], inner[4096], line[4096];
    os_start start = role_start("directory");
    kid kid;

    (void)state;
    make_directory(outer, inner, sizeof inner);
    start.directory = inner;
    kid = start_as(&start);
    hear_line(&kid, line, sizeof line);
    finish_well(&kid);
    assert_true(strlen(line) > 12);
    assert_string_equal(line + strlen(line) - 7, "b'\xc3\xa4\xe6\x97\xa5");
    remove_directory(inner);
    remove_directory(outer);
}

static void a_child_has_this_process_directory(void **state)
{
    char own[4096], line[4096];
    size_t size = sizeof own;
    kid kid = start_role("directory");

    (void)state;
    assert_int_equal(uv_cwd(own, &size), 0);
    hear_line(&kid, line, sizeof line);
    assert_string_equal(line, own);
    finish_well(&kid);
}

static void expect_refused_directory(const char *directory, int code)
{
    os_start start = role_start("hello");
    size_t handles = support_handles(), mappings = support_mappings();
    kid kid;

    start.directory = directory;
    assert_int_equal(try_start(&kid, &start), code);
    assert_non_null(strstr(xf_error_detail(), directory));
    assert_true(support_handles() <= handles);
    assert_int_equal(support_mappings(), mappings);
}

static void a_directory_that_is_none_is_refused(void **state)
{
    char file[4096];
    size_t size = sizeof file;

    (void)state;
    assert_int_equal(uv_exepath(file, &size), 0);
    expect_refused_directory("no/such/directory", XF_ENOENT);
    expect_refused_directory(file, XF_ENOTDIR);
}

static void expect_variable(const char *const *environment, const char *name, const char *value)
{
    static char role[64], line[65536];
    os_start start;
    kid kid;

    snprintf(role, sizeof role, "environment %s", name);
    start = role_start(role);
    start.environment = environment;
    kid = start_as(&start);
    hear_line(&kid, line, sizeof line);
    assert_string_equal(line, value);
    finish_well(&kid);
}

static void the_environment_is_changed(void **state)
{
    static const char *const additions[] = {"XF_TEST_NEW=\xc3\xa4 = \xe6\x97\xa5", "XF_TEST_CHANGED=after",
                                            "XF_TEST_EMPTY=", "XF_TEST_GONE", NULL};
    static const char *const in_turn[] = {"XF_TEST_CHANGED",
                                          "XF_TEST_CHANGED=again",
                                          "XF_TEST_NEW=new",
                                          "XF_TEST_NEW",
                                          "XF_TEST_NEVER",
                                          "XF_TEST_GON",
                                          NULL};
    char own[64];
    size_t size = sizeof own;

    (void)state;
    uv_os_setenv("XF_TEST_OWN", "\xe6\x97\xa5");
    uv_os_setenv("XF_TEST_CHANGED", "before");
    uv_os_setenv("XF_TEST_GONE", "here");
    expect_variable(additions, "XF_TEST_NEW", "\xc3\xa4 = \xe6\x97\xa5");
    expect_variable(additions, "XF_TEST_CHANGED", "after");
    expect_variable(additions, "XF_TEST_EMPTY", "");
    expect_variable(additions, "XF_TEST_OWN", "\xe6\x97\xa5");
    expect_variable(additions, "XF_TEST_GONE", "(none)");
    expect_variable(NULL, "XF_TEST_CHANGED", "before");
    expect_variable(in_turn, "XF_TEST_CHANGED", "again");
    expect_variable(in_turn, "XF_TEST_NEW", "(none)");
    expect_variable(in_turn, "XF_TEST_GONE", "here");
    assert_int_equal(uv_os_getenv("XF_TEST_CHANGED", own, &size), 0);
    assert_string_equal(own, "before");
    assert_int_equal(uv_os_getenv("XF_TEST_NEW", own, &size), UV_ENOENT);
    uv_os_unsetenv("XF_TEST_OWN");
    uv_os_unsetenv("XF_TEST_CHANGED");
    uv_os_unsetenv("XF_TEST_GONE");
}

static void a_large_environment_arrives(void **state)
{
    enum { VARIABLES = 8, LENGTH = 30000 };
    static char text[VARIABLES][LENGTH + 1];
    const char *additions[VARIABLES + 1] = {0};

    (void)state;
    for (int i = 0; i < VARIABLES; i++) {
        int length = snprintf(text[i], LENGTH, "XF_TEST_%d=", i);
        memset(text[i] + length, 'a' + i, (size_t)(LENGTH - length));
        additions[i] = text[i];
    }
    expect_variable(additions, "XF_TEST_0", text[0] + strlen("XF_TEST_0="));
    expect_variable(additions, "XF_TEST_7", text[7] + strlen("XF_TEST_0="));
}

static void use_everything(void)
{
    captured_streams_are_kept_apart(NULL);
    a_directory_that_is_none_is_refused(NULL);
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    expect_nothing_left(use_everything);
}

/* ---- The program ----------------------------------------------------------------------------- */

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(fork_is_refused_where_there_is_none),
    cmocka_unit_test(a_child_finds_its_own_command_line),
    cmocka_unit_test(siblings_have_the_same_handles),
    cmocka_unit_test(two_threads_start_children_at_the_same_time),
    cmocka_unit_test(captured_streams_are_kept_apart),
    cmocka_unit_test(captured_streams_can_be_read_after_the_end),
    cmocka_unit_test(a_stream_can_be_a_file),
    cmocka_unit_test(what_a_child_used_is_reported),
    cmocka_unit_test(limits_are_put_on_or_refused),
    cmocka_unit_test(a_captured_stream_may_be_large),
    cmocka_unit_test(inherited_output_is_the_parents_own),
    cmocka_unit_test(null_gives_nothing_and_takes_everything),
    cmocka_unit_test(a_child_has_the_directory_it_was_given),
    cmocka_unit_test(a_child_has_this_process_directory),
    cmocka_unit_test(a_directory_that_is_none_is_refused),
    cmocka_unit_test(the_environment_is_changed),
    cmocka_unit_test(a_large_environment_arrives),
    cmocka_unit_test(nothing_is_left_behind),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
