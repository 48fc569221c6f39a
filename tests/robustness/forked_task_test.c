/* Goal: a process that a task forks by itself counts for nothing.  It ends where the task ends, if not before; what it
 * writes, prints, logs, how it crashes or exits is not what the task did; no item runs twice, and no worker is lost.
 *
 * Windows has no fork: nothing can copy a process there, so there is nothing to test. */
#include "os/memory.h"
#include "pool_tasks.h"
#include "scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE = 300000, ITEMS = 60 };

/* ---- The copy returns from the task, too ----------------------------------------------------- */

/* Waits for a copy of this process, which has to exit with that code. */
static int await_copy(xf_call *call, pid_t copy, int code)
{
    int status = 0;

    if (copy < 0 || waitpid(copy, &status, 0) != copy)
        return xf_fail(call, 90, "there is no copy");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        return xf_fail(call, 91, "the copy ended with status %x", (unsigned)status);
    return 0;
}

XF_TASK(copy_returns, const int *in, int *out)
{
    int rc;
    pid_t copy;

    *out = *in;
    copy = fork();
    if (copy == 0) {
        bool sees = *out == *in;
        *out = -1;
        return sees ? 0 : 1;
    }
    rc = await_copy(call, copy, 0);
    if (rc == 0 && *out != *in)
        rc = xf_fail(call, 92, "the copy wrote %d", *out);
    *out = *in * 2;
    return rc;
}

/* An output that is not copied afterwards, but written in its place. */
XF_ENTRY(copy_returns_large)
{
    int in = *(const int *)xf_call_input(call, NULL), rc;
    int *out = xf_call_output(call, LARGE);
    pid_t copy;

    out[0] = out[LARGE / sizeof *out - 1] = in;
    copy = fork();
    if (copy == 0) {
        bool sees = out[LARGE / sizeof *out - 1] == in;
        memset(out, 0x55, LARGE);
        return sees ? 0 : 1;
    }
    rc = await_copy(call, copy, 0);
    if (rc == 0 && (out[0] != in || out[LARGE / sizeof *out - 1] != in))
        rc = xf_fail(call, 92, "the copy wrote %d", out[0]);
    out[0] = in * 2;
    return rc;
}

/* The copy asks for another output, fails, and says so. */
XF_ENTRY(copy_fails)
{
    int in = *(const int *)xf_call_input(call, NULL), rc;
    int *out = xf_call_output(call, sizeof *out);
    pid_t copy = fork();

    if (copy == 0) {
        memset(xf_call_output(call, LARGE), 1, LARGE);
        return xf_fail(call, 7, "the copy fails");
    }
    rc = await_copy(call, copy, 1);
    *out = in * 2;
    return rc;
}

/* Forks a copy that goes on when this process calls this function again, in another item, or ends. */
static pid_t fork_for_later(void)
{
    static int held = -1; /* the copy's pipe, which nobody writes to */
    int ends[2];
    char byte;
    pid_t copy;

    if (held >= 0)
        close(held);
    held = -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        abort();
    copy = fork();
    if (copy == 0) {
        close(ends[1]);
        while (read(ends[0], &byte, 1) < 0)
            ;
    } else {
        held = ends[1];
    }
    close(ends[0]);
    return copy;
}

/* Nobody waits for the copy, which returns after the task has ended; the copy forks another one. */
XF_TASK(copies_return_later, const int *in, int *out)
{
    if (fork_for_later() == 0) {
        (void)fork();
        *out = -1;
        return 3;
    }
    *out = *in * 2;
    return 0;
}

static xf_task *const returning[] = {&copy_returns, &copy_returns_large, &copy_fails, &copies_return_later};

enum { RETURNING = sizeof returning / sizeof *returning };

static void processes_whose_copies_return(void **state)
{
    (void)state;
    for (int i = 0; i < RETURNING; i++) {
        int in = 21;
        xf_process *process = start(returning[i], &in, sizeof in, NULL);
        join(process);
        if (xf_process_result(process, NULL))
            assert_int_equal(*(const int *)xf_process_result(process, NULL), 42);
        expect_end(process, XF_END_DONE, 0);
    }
}

static void expect_doubled(xf_pool *pool, xf_task *task, size_t chunk)
{
    int in[ITEMS];
    xf_future *future = NULL;
    xf_map map = {.task = task, .in = in, .count = ITEMS, .chunk = chunk};
    xf_bytes bytes[ITEMS];

    for (int i = 0; i < ITEMS; i++) {
        in[i] = i;
        bytes[i] = (xf_bytes){&in[i], sizeof in[i]};
    }
    if (task->input_size == XF_ANY_SIZE) {
        map.in = NULL;
        map.bytes = bytes;
    }
    assert_int_equal(xf_pool_map_async(&future, pool, &map), 0);
    assert_int_not_equal(xf_future_wait(future, LONGEST_MS), XF_ETIMEDOUT);
    if (xf_future_failures(future) > 0)
        xf_report_print(xf_future_report(future, xf_future_failure(future, 0)), stderr);
    assert_int_equal(xf_future_failures(future), 0);
    for (size_t i = 0; i < ITEMS; i++)
        assert_int_equal(*(const int *)xf_future_result(future, i, NULL), 2 * (int)i);
    xf_future_free(future);
}

static void items_whose_copies_return(void **state)
{
    (void)state;
    for (int workers = -1; workers <= 2; workers += workers < 0 ? 2 : 1) {
        xf_pool *pool = open_workers(workers < 0 ? XF_POOL_INLINE : workers);
        for (int i = 0; i < RETURNING; i++)
            for (size_t chunk = 1; chunk <= 20; chunk += 19)
                expect_doubled(pool, returning[i], chunk);
        assert_int_equal(stats_of(pool).replaced, 0);
        xf_pool_free(pool);
    }
}

typedef struct noted {
    char path[200];
    int number;
} noted;

/* Notes each run of an item, whichever process runs it. */
XF_TASK(note_run, const noted *in, int *out)
{
    char line[12];
    int fd = open(in->path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    ssize_t written = write(fd, line, (size_t)snprintf(line, sizeof line, "%d\n", in->number));

    close(fd);
    (void)(in->number % 2 ? fork() : fork_for_later());
    *out = written > 0 ? in->number : -1;
    return 0;
}

static void no_item_runs_twice(void **state)
{
    static noted in[ITEMS];
    int out[ITEMS], runs[ITEMS] = {0}, number;
    xf_pool *pool = open_workers(2);
    char path[200];
    FILE *file;

    (void)state;
    snprintf(path, sizeof path, "%.180s/runs", scratch);
    for (int i = 0; i < ITEMS; i++) {
        snprintf(in[i].path, sizeof in[i].path, "%s", path);
        in[i].number = i;
    }
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &note_run, .in = in, .out = out, .count = ITEMS}), 0);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, LONGEST_MS), 0);
    assert_int_equal(stats_of(pool).replaced, 0);
    xf_pool_free(pool);
    file = fopen(path, "r");
    while (fscanf(file, "%d", &number) == 1)
        runs[number]++;
    fclose(file);
    unlink(path);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(runs[i], 1);
        assert_int_equal(out[i], i);
    }
}

XF_TASK(prepare_in_copy, const int *in, int *out)
{
    pid_t copy = fork();

    *out = 0;
    if (copy == 0)
        return 5;
    built = *in;
    return await_copy(call, copy, 1);
}

XF_TASK(tell_built, const int *in, int *out)
{
    *out = built + *in;
    return 0;
}

static void an_initializer_whose_copy_fails(void **state)
{
    int prepared = 40, in = 2, out = 0;
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1,
                                                 .initializer = &prepare_in_copy,
                                                 .initializer_input = &prepared,
                                                 .initializer_size = sizeof prepared});

    (void)state;
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &tell_built, .in = &in, .out = &out, .count = 1}), 0);
    assert_int_equal(out, 42);
    xf_pool_free(pool);
}

/* ---- The copy ends by itself ----------------------------------------------------------------- */

/* How the copy ends, and then how the task ends. */
typedef struct ways {
    int copy, task;
} ways;

enum { RETURNS, EXITS, QUITS, ABORTS, FAULTS, DIES, EXECUTES, VFORKED_QUITS, VFORKED_ABORTS, FORKS_TWICE, WAYS };

static volatile uintptr_t nowhere = 8;

static void fault_now(void)
{
    *(volatile int *)nowhere = 1;
}

static void end_copy(int way)
{
    switch (way) {
    case EXITS:
        exit(9);
    case ABORTS:
    case VFORKED_ABORTS:
        abort();
    case FAULTS:
        fault_now();
        break;
    case DIES:
        kill(getpid(), SIGKILL);
        break;
    case EXECUTES:
        execl("/bin/sh", "sh", "-c", "kill -SEGV $$", (char *)NULL);
        break;
    case FORKS_TWICE:
        if (fork() == 0)
            abort();
        break;
    }
    _exit(0);
}

/* vfork lends the task's memory to the copy. */
static pid_t copy_that_ends(int way)
{
    pid_t copy;

    if (way == VFORKED_QUITS || way == VFORKED_ABORTS) {
        copy = vfork();
        if (copy == 0) {
            if (way == VFORKED_ABORTS)
                abort();
            _exit(0);
        }
        return copy;
    }
    copy = fork();
    if (copy == 0)
        end_copy(way);
    return copy;
}

XF_TASK(end_after_copy, const ways *in, int *out)
{
    pid_t copy = in->copy == RETURNS ? fork() : copy_that_ends(in->copy);

    *out = 42;
    if (copy == 0)
        return 8;
    waitpid(copy, NULL, 0);
    switch (in->task) {
    case EXITS:
        exit(3);
    case ABORTS:
        abort();
    case FAULTS:
        fault_now();
        break;
    case DIES:
        kill(getpid(), SIGKILL);
    }
    return 0;
}

/* The stack, if there is one, is the task's own. */
static void expect_end_of_task(const xf_report *report, int way)
{
    static const xf_end kinds[WAYS] = {
        [EXITS] = XF_END_EXITED, [ABORTS] = XF_END_CRASHED, [FAULTS] = XF_END_CRASHED, [DIES] = XF_END_KILLED};
    static const int codes[WAYS] = {[EXITS] = 3, [ABORTS] = XF_CRASH_ABORT, [FAULTS] = XF_CRASH_ACCESS};

    if (report->status.kind != kinds[way] || report->status.code != codes[way])
        xf_report_print(report, stderr);
    assert_string_equal(xf_end_name(report->status.kind), xf_end_name(kinds[way]));
    assert_int_equal(report->status.code, codes[way]);
    assert_int_equal(report->phase, XF_PHASE_RUNNING);
    assert_true(way != DIES || report->stack_count == 0);
    assert_true(way != FAULTS || report->fault_address == 8);
    assert_true(way == FAULTS || report->fault_address == 0);
    if (XF_TEST_SYMBOLS && way == FAULTS)
        assert_string_equal(report->stack[0].function, "fault_now");
    for (size_t i = 0; i < report->stack_count; i++)
        assert_null(strstr(report->stack[i].function, "end_copy"));
}

static void processes_whose_copies_end(void **state)
{
    (void)state;
    for (int copy = 0; copy < WAYS; copy++)
        for (int task = 0; task <= DIES; task++) {
            ways in = {copy, task};
            xf_process *process = start(&end_after_copy, &in, sizeof in, NULL);
            xf_status status = join(process);
            if (task == RETURNS || task == QUITS)
                assert_string_equal(xf_end_name(status.kind), xf_end_name(XF_END_DONE));
            else
                expect_end_of_task(xf_process_report(process), task);
            xf_process_free(process);
        }
}

static void items_whose_copies_end(void **state)
{
    xf_pool *pool = open_workers(1);

    (void)state;
    for (int copy = 0; copy < WAYS; copy++)
        for (int task = 0; task <= DIES; task++) {
            ways in = {copy, task};
            int out = 0;
            xf_future *future = NULL;
            xf_map map = {.task = &end_after_copy, .in = &in, .out = &out, .count = 1, .results = &future};
            bool is_done = task == RETURNS || task == QUITS;
            assert_int_equal(xf_pool_map(pool, &map), is_done ? 0 : XF_EFAILED);
            if (is_done)
                assert_int_equal(out, 42);
            else
                expect_end_of_task(xf_future_report(future, 0), task);
            xf_future_free(future);
        }
    xf_pool_free(pool);
}

/* ---- What the copy says ---------------------------------------------------------------------- */

/* Returns 0 if no call of the copy reaches anybody. */
static int call_in_copy(xf_call *call, bool sends)
{
    bool refused = xf_log(call, XF_LOG_ERROR, "from the copy") == XF_ESTATE && strstr(xf_error_detail(), "forked");

    if (sends)
        refused = refused && xf_send(call, "copy", 4) == XF_ESTATE;
    xf_progress(call, 1000, 1000);
    return refused && !xf_stop_requested(call, 0) && !xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

XF_TASK(talk, const int *in, int *out)
{
    pid_t copy;
    int rc;

    xf_progress(call, 1, 2);
    xf_log(call, XF_LOG_INFO, "before");
    if (*in)
        send_number(call, 1);
    printf("before\n");
    copy = fork();
    if (copy == 0) {
        printf("copy\n");
        rc = call_in_copy(call, *in);
        if (rc == 0)
            exit(0); /* which writes out what it has printed */
        return rc;
    }
    rc = await_copy(call, copy, 0);
    printf("after\n");
    xf_log(call, XF_LOG_INFO, "after");
    if (*in)
        send_number(call, 2);
    *out = 42;
    return rc;
}

static char logged[200];

static void keep_log(xf_process *process, const xf_log_line *line, void *arg)
{
    (void)process, (void)arg;
    strncat(logged, line->text, sizeof logged - strlen(logged) - 1);
    strncat(logged, "|", sizeof logged - strlen(logged) - 1);
}

static void a_copy_says_nothing_for_its_task(void **state)
{
    int sends = 1;
    xf_process_options options = {.stdout_to = XF_STDIO_CAPTURE, .on_log = keep_log};
    xf_process *process = start(&talk, &sends, sizeof sends, &options);
    char *output;

    (void)state;
    logged[0] = 0;
    assert_int_equal(receive_number(process), 1);
    assert_int_equal(receive_number(process), 2);
    join(process);
    assert_string_equal(logged, "before|after|");
    assert_int_equal(xf_process_output(process, 1, &output, NULL), 0);
    assert_string_equal(output, "before\ncopy\nafter\n");
    xf_memory_free(output);
    expect_end(process, XF_END_DONE, 0);
}

static void a_copy_says_nothing_for_its_item(void **state)
{
    xf_process_options process = {.stdout_to = XF_STDIO_LOG, .on_log = keep_log};
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .process = &process});
    int sends = 0, out = 0;

    (void)state;
    logged[0] = 0;
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &talk, .in = &sends, .out = &out, .count = 1}), 0);
    assert_int_equal(out, 42);
    xf_pool_free(pool);
    assert_string_equal(logged, "before|before|copy|after|after|");
}

/* What was printed before the fork, and in either process after it, appears once, though both return. */
/* The last item ends the worker, before the worker has told what the items before have said. */
XF_TASK(copy_says_it_failed, const int *in, int *out)
{
    pid_t copy;

    *out = *in;
    if (*in == 3)
        support_kill_self();
    copy = fork();
    return copy == 0 ? xf_fail(call, 7, "the copy fails") : await_copy(call, copy, 1);
}

static void a_copy_has_no_item_fail(void **state)
{
    static const int in[3] = {1, 2, 3};
    xf_pool *pool = open_workers(1);
    xf_future *future = NULL;

    (void)state;
    assert_int_equal(
        xf_pool_map_async(&future, pool, &(xf_map){.task = &copy_says_it_failed, .in = in, .count = 3, .chunk = 3}), 0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 1);
    assert_int_equal(xf_future_status(future, 2).kind, XF_END_KILLED);
    xf_future_free(future);
    xf_pool_free(pool);
}

XF_TASK(print_in_both, const int *in, int *out)
{
    pid_t copy;

    printf("one\n");
    copy = fork();
    printf(copy ? "three\n" : "two\n");
    *out = *in;
    return copy ? await_copy(call, copy, 0) : 0;
}

static void what_is_printed_appears_once(void **state)
{
    int in = 1;
    xf_process_options options = {.stdout_to = XF_STDIO_CAPTURE};
    xf_process *process = start(&print_in_both, &in, sizeof in, &options);
    char *output;

    (void)state;
    join(process);
    assert_int_equal(xf_process_output(process, 1, &output, NULL), 0);
    assert_string_equal(output, "one\ntwo\nthree\n");
    xf_memory_free(output);
    expect_end(process, XF_END_DONE, 0);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* The seam: a copy has such a segment as memory of its own; it can only read it where the descriptor is gone. */
static void a_copy_cannot_write_to_a_copied_segment(void **state)
{
    (void)state;
    for (int lost = 0; lost <= 1; lost++) {
        os_shm shm, other;
        int status;
        pid_t copy;
        assert_int_equal(os_shm_create(&shm, 3 * OS_PAGE, OS_SHM_COPIED), 0);
        assert_int_equal(os_shm_create(&other, 3 * OS_PAGE, 0), 0);
        *(int *)shm.address = 5;
        if (lost)
            assert_true(dup2((int)other.handle, (int)shm.handle) >= 0);
        copy = fork();
        if (copy == 0) {
            if (*(volatile int *)shm.address != 5)
                _exit(1);
            signal(SIGSEGV, SIG_DFL);
            *(volatile int *)shm.address = 6;
            _exit(*(volatile int *)shm.address == 6 ? 0 : 2);
        }
        assert_int_equal(waitpid(copy, &status, 0), copy);
        assert_true(lost ? !WIFEXITED(status) || WEXITSTATUS(status) > 2 : status == 0);
        assert_int_equal(*(int *)shm.address, 5);
        assert_int_equal(*(int *)other.address, 0);
        os_shm_close(&other);
        os_shm_close(&shm);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_whose_copies_return),
        cmocka_unit_test(items_whose_copies_return),
        cmocka_unit_test(no_item_runs_twice),
        cmocka_unit_test(an_initializer_whose_copy_fails),
        cmocka_unit_test(processes_whose_copies_end),
        cmocka_unit_test(items_whose_copies_end),
        cmocka_unit_test(a_copy_says_nothing_for_its_task),
        cmocka_unit_test(a_copy_says_nothing_for_its_item),
        cmocka_unit_test(a_copy_has_no_item_fail),
        cmocka_unit_test(what_is_printed_appears_once),
        cmocka_unit_test(a_copy_cannot_write_to_a_copied_segment),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
