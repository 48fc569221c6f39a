/* Goal: a child cannot exceed its limits, the status distinguishes an end by a limit from all others, and the report
 * says what the child used. */
#include "program.h"
#include "tasks.h"

#include <errno.h>

enum { MIB = 1 << 20, MEMORY = 64 * MIB, CHUNK = 256 * 1024 };

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Takes memory until there is no more, or until it has `most` bytes; returns how much it got. */
static size_t take_memory(size_t most)
{
    size_t taken = 0;
    volatile char *block;

    while (taken < most && (block = malloc(CHUNK)) != NULL) {
        for (size_t at = 0; at < CHUNK; at += 4096)
            block[at] = 1;
        taken += CHUNK;
    }
    return taken;
}

/* The fault is intended: the undefined behaviour sanitizer must let it happen. */
__attribute__((noinline, no_sanitize("undefined", "address"))) static void access_nothing(void)
{
    static int *volatile nothing;

    *nothing = 1;
}

typedef enum shortage {
    SHORT_CRASH,
    SHORT_FORGET,
    SHORT_ABORT,
    SHORT_EXIT,
    SHORT_SAY,
    SHORT_NOT,
    HANDLED_CRASH, /* the task goes on without the memory, */
    HANDLED_ABORT,
    HANDLED_EXIT,
    HANDLED_SAY, /* and at last returns a code of its own */
    NEVER_CRASH, /* it has asked for no memory */
    NEVER_ABORT,
    NEVER_EXIT
} shortage;

static void end_as_said(shortage what)
{
    if (what == SHORT_ABORT || what == HANDLED_ABORT || what == NEVER_ABORT)
        abort();
    if (what == SHORT_EXIT || what == HANDLED_EXIT || what == NEVER_EXIT)
        exit(1);
    access_nothing();
}

XF_ENTRY(run_short)
{
    shortage what = *(const shortage *)xf_call_input(call, NULL);

    if (errno != 0)
        return 100;
    if (what == SHORT_NOT)
        take_memory(MEMORY / 2);
    else if (what < SHORT_NOT)
        take_memory(SIZE_MAX);
    else if (what <= HANDLED_SAY)
        errno = ENOMEM; /* as after an allocation that failed */
    if (what == SHORT_FORGET || what == SHORT_NOT)
        errno = 0;
    if (what == SHORT_SAY)
        return XF_TASK_NO_MEMORY;
    if (what == HANDLED_SAY)
        return 3;
    end_as_said(what);
    return 0;
}

XF_TASK(take, const size_t *in, size_t *out)
{
    *out = take_memory(*in);
    return 0;
}

XF_TASK(compute, const int *in, int *out)
{
    uint64_t until = uv_hrtime() + 100000000;

    if (*in == 1)
        support_ignore_cpu_signal();
    while (*in != 2 || uv_hrtime() < until)
        *(volatile unsigned *)out += 1;
    return 0;
}

/* Waits to be asked to stop, and returns *in; if it is negative, never returns. */
XF_TASK(wait_to_stop, const int *in, int *out)
{
    *out = 0;
    xf_log(call, XF_LOG_INFO, "begun");
    while (!xf_stop_requested(call, XF_FOREVER))
        continue;
    if (*in < 0)
        hang();
    return *in;
}

XF_ENTRY(fail)
{
    return *(const int *)xf_call_input(call, NULL);
}

XF_TASK(open_many, const int *in, int *out)
{
    uv_fs_t request;

    for (*out = 0; *out < *in; ++*out) {
        int fd = uv_fs_open(NULL, &request, "/dev/null", UV_FS_O_RDONLY, 0, NULL);
        uv_fs_req_cleanup(&request);
        if (fd < 0)
            return 0;
    }
    return 0;
}

static void on_end(uv_process_t *process, int64_t status, int signal)
{
    (void)process, (void)status, (void)signal;
}

/* Starts processes, which end with this one, until a start fails. */
XF_TASK(start_many, const int *in, int *out)
{
    enum { MOST = 10 };
    static uv_process_t processes[MOST];
    char path[4096];
    size_t size = sizeof path;
    char *arguments[] = {path, (char *)"idle", NULL};
    uv_process_options_t options = {.file = path, .args = arguments, .exit_cb = on_end};

    (void)in;
    uv_exepath(path, &size);
    support_leave_root();
    for (*out = 0; *out < MOST; ++*out)
        if (uv_spawn(uv_default_loop(), &processes[*out], &options) < 0)
            return 0;
    return 0;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void expect_end_short(shortage what, xf_end kind, int code)
{
    const xf_process_options options = {.limits.memory = MEMORY};

    expect_end(start(&run_short, &what, sizeof what, &options), kind, code);
}

static void memory_is_refused_beyond_its_limit(void **state)
{
    const xf_process_options options = {.limits.memory = MEMORY};
    size_t most = 4 * (size_t)MEMORY;
    xf_process *process;

    (void)state;
    if (!support_limits_memory())
        skip();
    process = start(&take, &most, sizeof most, &options);
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_in_range(*(const size_t *)xf_process_result(process, NULL), MEMORY / 4, MEMORY);
    xf_process_free(process);
}

static void an_end_by_refused_memory_is_recognized(void **state)
{
    (void)state;
    if (!support_limits_memory())
        skip();
    expect_end_short(SHORT_CRASH, XF_END_MEMORY_LIMIT, 0);
    expect_end_short(SHORT_ABORT, XF_END_MEMORY_LIMIT, 0);
    expect_end_short(SHORT_EXIT, XF_END_MEMORY_LIMIT, 0);
    expect_end_short(SHORT_SAY, XF_END_MEMORY_LIMIT, 0);
}

/* The library also checks how much memory is left below the limit. */
static void errno_need_not_say_it(void **state)
{
    (void)state;
    if (!support_limits_memory())
        skip();
    expect_end_short(SHORT_FORGET, XF_END_MEMORY_LIMIT, 0);
}

static void a_crash_with_room_left_is_a_crash(void **state)
{
    (void)state;
    if (!support_limits_memory())
        skip();
    expect_end_short(SHORT_NOT, XF_END_CRASHED, XF_CRASH_ACCESS);
}

static const struct {
    shortage what;
    xf_end kind;
    int code;
} with_room[] = {{HANDLED_CRASH, XF_END_CRASHED, XF_CRASH_ACCESS},
                 {HANDLED_ABORT, XF_END_CRASHED, XF_CRASH_ABORT},
                 {HANDLED_EXIT, XF_END_EXITED, 1},
                 {HANDLED_SAY, XF_END_FAILED, 3},
                 {NEVER_CRASH, XF_END_CRASHED, XF_CRASH_ACCESS},
                 {NEVER_ABORT, XF_END_CRASHED, XF_CRASH_ABORT},
                 {NEVER_EXIT, XF_END_EXITED, 1}};

enum { WITH_ROOM = sizeof with_room / sizeof *with_room };

/* A sanitizer needs more than the limit for itself. */
static void skip_if_sanitized(void)
{
    if (support_limits() && !support_limits_memory())
        skip();
}

/* Neither is what the system refused before, nor what errno says from the start. */
static void what_was_refused_before_is_no_reason(void **state)
{
    (void)state;
    skip_if_sanitized();
    for (size_t i = 0; i < WITH_ROOM; i++)
        expect_end_short(with_room[i].what, with_room[i].kind, with_room[i].code);
}

static void a_crash_after_a_refusal_says_so(void **state)
{
    const xf_process_options options = {.limits.memory = MEMORY};
    shortage what[] = {HANDLED_CRASH, NEVER_CRASH};

    (void)state;
    skip_if_sanitized();
    for (int i = 0; i < 2; i++) {
        xf_process *process = start(&run_short, &what[i], sizeof *what, &options);
        join(process);
        assert_true((strstr(xf_process_report(process)->message, "no memory") != NULL) == (i == 0));
        xf_process_free(process);
    }
}

static void it_is_none_in_a_pool_either(void **state)
{
    const xf_process_options process = {.limits.memory = MEMORY};
    xf_pool *pool;

    (void)state;
    skip_if_sanitized();
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 1, .process = &process}), 0);
    for (size_t i = 0; i < WITH_ROOM; i++) {
        const xf_map map = {.task = &run_short, .in = &with_room[i].what, .size = sizeof with_room[i].what};
        xf_future *future;
        assert_int_equal(xf_pool_submit(&future, pool, &map), 0);
        assert_int_equal(xf_future_wait(future, XF_FOREVER), XF_EFAILED);
        assert_int_equal(xf_future_status(future, 0).kind, with_room[i].kind);
        assert_int_equal(xf_future_status(future, 0).code, with_room[i].code);
        xf_future_free(future);
    }
    xf_pool_free(pool);
}

XF_ENTRY(return_much)
{
    const size_t *size = xf_call_input(call, NULL);

    return xf_call_output(call, *size) ? 0 : XF_TASK_NO_MEMORY;
}

/* Its own limit does not leave the memory that the pool's limit leaves. */
static void a_report_names_the_limit_that_was_reached(void **state)
{
    const xf_process_options process = {.limits.memory = MEMORY};
    const size_t size = MEMORY + MEMORY / 4;
    const xf_map map = {.task = &return_much, .in = &size, .size = sizeof size};

    (void)state;
    if (!support_limits_memory())
        skip();
    for (int i = 0; i < 2; i++) {
        bool is_small = i == 1; /* the pool's limit is the smaller one */
        xf_pool_options options = {.workers = 1, .process = &process, .guard_pages = true};
        const char *message;
        xf_future *future;
        xf_pool *pool;
        options.memory_limit = is_small ? MEMORY / 8 : 4 * (size_t)MEMORY;
        assert_int_equal(xf_pool_create(&pool, &options), 0);
        assert_int_equal(xf_pool_submit(&future, pool, &map), 0);
        assert_int_equal(xf_future_wait(future, XF_FOREVER), XF_EFAILED);
        message = xf_future_report(future, 0)->message;
        assert_true((strstr(message, "memory_limit of the pool") != NULL) == is_small);
        assert_true((strstr(message, "the worker had no memory") != NULL) == !is_small);
        xf_future_free(future);
        xf_pool_free(pool);
    }
}

static void without_a_limit_memory_is_no_reason(void **state)
{
    int what = XF_TASK_NO_MEMORY;
    const xf_process_options options = {.limits.wall_ms = 60000};

    (void)state;
    expect_end(start(&fail, &what, sizeof what, NULL), XF_END_FAILED, XF_TASK_NO_MEMORY);
    expect_end(start(&fail, &what, sizeof what, &options), XF_END_FAILED, XF_TASK_NO_MEMORY);
}

static void a_pool_reports_it_for_the_item(void **state)
{
    const xf_process_options process = {.limits.memory = MEMORY};
    const xf_pool_options options = {.workers = 1, .process = &process};
    const size_t most = MEMORY / 8;
    shortage what = SHORT_CRASH;
    xf_pool *pool;
    xf_future *future;

    (void)state;
    if (!support_limits_memory())
        skip();
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &run_short, .in = &what, .size = sizeof what}), 0);
    assert_int_equal(xf_future_wait(future, XF_FOREVER), XF_EFAILED);
    assert_int_equal(xf_future_status(future, 0).kind, XF_END_MEMORY_LIMIT);
    xf_future_free(future);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &take, .in = &most, .size = sizeof most}), 0);
    assert_int_equal(xf_future_wait(future, XF_FOREVER), 0);
    xf_future_free(future);
    xf_pool_free(pool);
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void used_up_time_is_recognized(void **state)
{
    const xf_process_options options = {.limits.cpu_ms = 500};
    int how[] = {0, 1}; /* if the signal is ignored, the end comes a second later */

    (void)state;
    if (!support_limits())
        skip();
    expect_end(start(&compute, &how[0], sizeof *how, &options), XF_END_CPU_LIMIT, 0);
    expect_end(start(&compute, &how[1], sizeof *how, &options), XF_END_CPU_LIMIT, 0);
}

static void a_task_is_asked_to_stop_when_its_time_is_over(void **state)
{
    const xf_process_options options = {.limits.wall_ms = 50};
    int what = 5;
    xf_process *process = start(&wait_to_stop, &what, sizeof what, &options);

    (void)state;
    join(process);
    assert_string_equal(xf_process_report(process)->message, "it ran longer than limits.wall_ms");
    expect_end(process, XF_END_TIMED_OUT, 0);
}

/* A task that has not begun at its timeout never begins, so the timeout is doubled until it has. */
static void one_that_then_returns_0_is_done(void **state)
{
    xf_process_options options = {.limits.wall_ms = 25};
    int what = 0;
    bool has_begun = false;

    (void)state;
    while (!has_begun) {
        xf_process *process;
        options.limits.wall_ms *= 2;
        process = start(&wait_to_stop, &what, sizeof what, &options);
        join(process);
        has_begun = xf_process_report(process)->log_count > 0;
        expect_end(process, has_begun ? XF_END_DONE : XF_END_TIMED_OUT, 0);
    }
}

static void one_that_goes_on_is_killed(void **state)
{
    const xf_process_options options = {.limits.wall_ms = 50, .grace_ms = 50};
    int what = -1;

    (void)state;
    expect_end(start(&wait_to_stop, &what, sizeof what, &options), XF_END_TIMED_OUT, 0);
}

/* No thread waits, so the supervisor watches the timeout. */
static void time_is_kept_while_nobody_waits(void **state)
{
    const xf_process_options options = {.limits.wall_ms = 50};
    int what = 5;
    xf_process *process = start(&wait_to_stop, &what, sizeof what, &options);

    (void)state;
    assert_true(support_sentinel_ready(xf_process_sentinel(process), 60000));
    expect_end(process, XF_END_TIMED_OUT, 0);
}

static void one_that_was_terminated_before_is_terminated(void **state)
{
    const xf_process_options options = {.limits.wall_ms = 60000};
    int what = 5;
    xf_process *process = start(&wait_to_stop, &what, sizeof what, &options);

    (void)state;
    xf_process_terminate(process);
    expect_end(process, XF_END_TERMINATED, 0);
}

/* ---- Files and processes --------------------------------------------------------------------- */

static void files_are_limited_or_refused(void **state)
{
    const xf_process_options options = {.limits.files = 16};
    int most = 100;
    xf_process *process = NULL;
    int rc = xf_process_start(&process, &open_many, &most, sizeof most, &options);

    (void)state;
    if (rc == XF_ENOTSUP) {
        assert_non_null(strstr(xf_error_detail(), "limits.files"));
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_in_range(*(const int *)xf_process_result(process, NULL), 4, 16);
    xf_process_free(process);
}

static void processes_are_limited(void **state)
{
    const xf_process_options options = {.limits.processes = 2};
    int nothing = 0, least = support_limits_memory() ? 2 : 1; /* a sanitizer's own thread counts on Linux, too */
    xf_process *process;

    (void)state;
    if (!support_limits())
        skip();
    process = start(&start_many, &nothing, sizeof nothing, &options);
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_in_range(*(const int *)xf_process_result(process, NULL), least, 2);
    xf_process_free(process);
}

static void negative_limits_are_refused(void **state)
{
    static const xf_process_options bad[] = {
        {.limits.cpu_ms = -1}, {.limits.wall_ms = -1}, {.limits.files = -1}, {.limits.processes = -1}};
    xf_process *process;
    size_t most = 0;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(xf_process_start(&process, &take, &most, sizeof most, &bad[i]), XF_EINVAL);
        assert_non_null(strstr(xf_error_detail(), "-1"));
    }
}

/* ---- The system's own limit ------------------------------------------------------------------ */

enum { SMALL = 96 * MIB };

/* Runs in another process, in a group with little memory, and prints how its child ended. */
static void run_in_small_group(const char *name)
{
    size_t most = 4 * (size_t)SMALL;
    xf_process *process;

    if (!support_join_small_group(name, SMALL)) {
        puts("no group");
        return;
    }
    process = start(&take, &most, sizeof most, NULL);
    puts(xf_end_name(join(process).kind));
    xf_process_free(process);
    process = start(&wait_to_stop, &(int){-1}, sizeof(int), NULL);
    support_kill(xf_process_pid(process));
    puts(xf_end_name(join(process).kind));
    xf_process_free(process);
}

/* A later kill by another process is not taken for the system's. */
static void a_kill_for_lack_of_memory_is_recognized(void **state)
{
    char name[64], first[64];
    const char *arguments[] = {"group", name, NULL};
    program *program;

    (void)state;
    snprintf(name, sizeof name, "crossfork-test-%d", (int)uv_os_getpid());
    program = program_start(NULL, arguments, NULL);
    snprintf(first, sizeof first, "%s", program_line(program));
    if (strcmp(first, "no group") != 0) {
        assert_string_equal(first, "out of memory");
        assert_string_equal(program_line(program), "killed");
    }
    assert_int_equal(program_end(program, NULL), 0);
    support_remove_small_group(name);
    if (strcmp(first, "no group") == 0)
        skip();
}

/* ---- What was used --------------------------------------------------------------------------- */

static void a_report_has_what_was_used(void **state)
{
    size_t most = 48 * MIB;
    int how = 2;
    xf_process *process;
    const xf_report *report;

    (void)state;
    if (!support_limits())
        skip();
    process = start(&take, &most, sizeof most, NULL);
    join(process);
    report = xf_process_report(process);
    assert_true(report->memory_peak >= most && report->memory_peak < 16 * most);
    xf_process_free(process);
    process = start(&compute, &how, sizeof how, NULL);
    join(process);
    report = xf_process_report(process);
    assert_true(report->cpu_time > 0.001 && report->cpu_time < 10);
    xf_process_free(process);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_refused_beyond_its_limit),
        cmocka_unit_test(an_end_by_refused_memory_is_recognized),
        cmocka_unit_test(errno_need_not_say_it),
        cmocka_unit_test(a_crash_with_room_left_is_a_crash),
        cmocka_unit_test(what_was_refused_before_is_no_reason),
        cmocka_unit_test(a_crash_after_a_refusal_says_so),
        cmocka_unit_test(it_is_none_in_a_pool_either),
        cmocka_unit_test(without_a_limit_memory_is_no_reason),
        cmocka_unit_test(a_pool_reports_it_for_the_item),
        cmocka_unit_test(a_report_names_the_limit_that_was_reached),
        cmocka_unit_test(used_up_time_is_recognized),
        cmocka_unit_test(a_task_is_asked_to_stop_when_its_time_is_over),
        cmocka_unit_test(one_that_then_returns_0_is_done),
        cmocka_unit_test(one_that_goes_on_is_killed),
        cmocka_unit_test(time_is_kept_while_nobody_waits),
        cmocka_unit_test(one_that_was_terminated_before_is_terminated),
        cmocka_unit_test(files_are_limited_or_refused),
        cmocka_unit_test(processes_are_limited),
        cmocka_unit_test(negative_limits_are_refused),
        cmocka_unit_test(a_kill_for_lack_of_memory_is_recognized),
        cmocka_unit_test(a_report_has_what_was_used),
    };

    xf_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "idle") == 0)
        hang();
    if (argc > 2 && strcmp(argv[1], "group") == 0) {
        run_in_small_group(argv[2]);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
