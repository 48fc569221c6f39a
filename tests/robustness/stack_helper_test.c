/* Goal: what names stacks may crash, hang, use up memory or not start at all: reports have modules and offsets then,
 * and the program goes on; and it costs no more than one process, for as long as it is used.
 *
 * The linker leads calls of libbacktrace here, which does in the helper what XF_TEST_HELPER says. */
#include "base/clock.h"
#include "os/child.h"
#include "process/stack_helper.h"
#include "tasks.h"

#include <stdatomic.h>

enum { SHORT_MS = 700 }; /* in the place of the helper's patience */

/* ---- What is wrapped ------------------------------------------------------------------------- */

static _Atomic int starts, closes;
static uv_sem_t closed; /* posted for each of them */

int __real_xf__os_child_start(os_child **child, const os_start *start);
int __wrap_xf__os_child_start(os_child **child, const os_start *start);
void __real_xf__os_child_close(os_child *child);
void __wrap_xf__os_child_close(os_child *child);
uint64_t __real_xf__clock_deadline(int timeout_ms);
uint64_t __wrap_xf__clock_deadline(int timeout_ms);
int __real_xf__symbol_find(const char *module, uint64_t offset, void *found, void *arg);
int __wrap_xf__symbol_find(const char *module, uint64_t offset, void *found, void *arg);

int __wrap_xf__os_child_start(os_child **child, const os_start *start)
{
    int rc = __real_xf__os_child_start(child, start);

    atomic_fetch_add(&starts, rc == 0);
    return rc;
}

void __wrap_xf__os_child_close(os_child *child)
{
    __real_xf__os_child_close(child);
    atomic_fetch_add(&closes, 1);
    uv_sem_post(&closed);
}

static _Atomic bool is_hasty;

uint64_t __wrap_xf__clock_deadline(int timeout_ms)
{
    return __real_xf__clock_deadline(is_hasty && timeout_ms == STACK_HELPER_MS ? SHORT_MS : timeout_ms);
}

static void use_up_memory(void)
{
    for (;;) {
        char *block = malloc(1 << 24);
        if (!block)
            abort();
        memset(block, 1, 1 << 24);
    }
}

static void use_up_time(void)
{
    for (volatile int turns = 0; turns >= 0;)
        turns = 1;
}

int __wrap_xf__symbol_find(const char *module, uint64_t offset, void *found, void *arg)
{
    char how[32];
    size_t size = sizeof how;

    if (uv_os_getenv("XF_TEST_HELPER", how, &size) != 0)
        return __real_xf__symbol_find(module, offset, found, arg);
    if (strcmp(how, "crash") == 0)
        *(volatile int *)(intptr_t)(offset & 0) = 1;
    if (strcmp(how, "exit") == 0)
        exit(0);
    if (strcmp(how, "hang") == 0)
        use_up_time();
    if (strcmp(how, "memory") == 0)
        use_up_memory();
    abort();
}

/* ---- Help ------------------------------------------------------------------------------------ */

XF_ENTRY(crash)
{
    (void)call;
    abort();
}

static void print_nowhere(const xf_report *report)
{
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_int_equal(xf_report_print(report, file), 0);
    assert_int_equal(xf_report_json(report, file), 0);
    fclose(file);
}

/* Whether some frame has a function; every one has its place. */
static bool has_names(const xf_report *report)
{
    bool named = false;

    assert_in_range(report->stack_count, 1, 1000);
    for (size_t i = 0; i < report->stack_count; i++) {
        named |= *report->stack[i].function != 0;
        assert_true(!*report->stack[i].module || report->stack[i].offset > 0);
    }
    print_nowhere(report);
    return named;
}

static bool crash_has_names(void)
{
    xf_process *process = start(&crash, NULL, 0, NULL);
    bool named;

    join(process);
    assert_int_equal(xf_process_report(process)->status.kind, XF_END_CRASHED);
    named = has_names(xf_process_report(process));
    xf_process_free(process);
    return named;
}

/* A helper that was started before has the environment of that time. */
static void set_helper(const char *how)
{
    stack_helper_end();
    if (how)
        assert_int_equal(uv_os_setenv("XF_TEST_HELPER", how), 0);
    else
        uv_os_unsetenv("XF_TEST_HELPER");
}

static void expect_no_names_but_an_end(const char *how)
{
    size_t handles, before = support_memory();

    assert_int_equal(crash_has_names(), XF_TEST_SYMBOLS);
    assert_int_equal(xf_cleanup(), 0);
    handles = support_handles();
    set_helper(how);
    assert_false(crash_has_names());
    assert_false(crash_has_names());
    set_helper(NULL);
    assert_int_equal(crash_has_names(), XF_TEST_SYMBOLS);
    assert_int_equal(xf_cleanup(), 0);
    assert_int_equal(support_handles(), handles);
    assert_int_equal(starts, closes);
    assert_true(support_memory() < before + (64 << 20));
}

/* ---- A helper that goes wrong ---------------------------------------------------------------- */

static void a_crash_costs_names_only(void **state)
{
    (void)state;
    expect_no_names_but_an_end("crash");
}

static void an_exit_costs_names_only(void **state)
{
    (void)state;
    expect_no_names_but_an_end("exit");
}

static void a_hang_costs_names_and_a_while(void **state)
{
    (void)state;
    atomic_store(&is_hasty, true);
    set_helper("hang");
    assert_false(crash_has_names());
    set_helper(NULL);
    atomic_store(&is_hasty, false);
    assert_int_equal(crash_has_names(), XF_TEST_SYMBOLS);
    assert_int_equal(xf_cleanup(), 0);
    assert_int_equal(starts, closes);
}

static void memory_is_limited(void **state)
{
    (void)state;
    if (!support_limits_memory())
        skip();
    expect_no_names_but_an_end("memory");
}

/* ---- A helper that is kept ------------------------------------------------------------------- */

static void many_reports_have_one_helper(void **state)
{
    int before;

    (void)state;
    assert_int_equal(crash_has_names(), XF_TEST_SYMBOLS);
    before = starts;
    for (int i = 0; i < 5; i++)
        assert_int_equal(crash_has_names(), XF_TEST_SYMBOLS);
    assert_in_range(starts - before, 5, 6); /* the children, and on a slow machine another helper */
    assert_int_equal(xf_cleanup(), 0);
}

static void it_ends_when_nobody_asks(void **state)
{
    (void)state;
    assert_int_equal(crash_has_names(), XF_TEST_SYMBOLS);
    while (starts != closes)
        uv_sem_wait(&closed);
    assert_int_equal(xf_cleanup(), 0);
}

static void one_that_was_killed_is_replaced(void **state)
{
    int64_t pids[4];
    size_t count;

    (void)state;
    assert_int_equal(crash_has_names(), XF_TEST_SYMBOLS);
    count = support_same_program(pids, 4);
    for (size_t i = 0; i < count && i < 4; i++)
        support_kill(pids[i]); /* the server of XF_START_FORKSERVER, too */
    for (size_t i = 0; i < count && i < 4; i++)
        assert_true(support_has_ended(pids[i], LONGEST_MS));
    assert_int_equal(crash_has_names(), XF_TEST_SYMBOLS);
    assert_int_equal(xf_cleanup(), 0);
    assert_int_equal(starts, closes);
}

static void ask_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 4; i++)
        if (crash_has_names() != XF_TEST_SYMBOLS)
            abort();
}

static void threads_share_it(void **state)
{
    uv_thread_t threads[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(uv_thread_create(&threads[i], ask_often, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(uv_thread_join(&threads[i]), 0);
    assert_int_equal(xf_cleanup(), 0);
}

/* Goal: a report is printed at the end of many programs, and none of them calls xf_cleanup after that. */
static void it_does_not_outlive_the_program(void **state)
{
    (void)state;
    assert_int_equal(crash_has_names(), XF_TEST_SYMBOLS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_costs_names_only),        cmocka_unit_test(an_exit_costs_names_only),
        cmocka_unit_test(a_hang_costs_names_and_a_while),  cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(many_reports_have_one_helper),    cmocka_unit_test(it_ends_when_nobody_asks),
        cmocka_unit_test(one_that_was_killed_is_replaced), cmocka_unit_test(threads_share_it),
        cmocka_unit_test(it_does_not_outlive_the_program),
    };

    if (uv_sem_init(&closed, 0) != 0)
        return 1;
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
