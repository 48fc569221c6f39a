/* Goal: no process is orphaned, nothing leaks from one child into the next, and many can start at the same time. */
#include "program.h"
#include "tasks.h"

#include <signal.h>
#include <uv.h>

/* How long a dead process may still be visible. */
enum { END_MS = 1000 };

XF_ENTRY(spin_on)
{
    send_number(call, uv_os_getpid());
    for (;;)
        ;
    return 0;
}

/* Starts a grandchild, sends its pid, and spins. */
XF_ENTRY(start_grandchild)
{
    xf_process *grandchild;

    if (xf_process_start(&grandchild, &spin_on, NULL, 0, NULL) < 0)
        return 1;
    send_number(call, receive_number(grandchild));
    for (;;)
        ;
    return 0;
}

/* Starts a program that crossfork does not know, sends its pid, and spins. */
XF_ENTRY(start_stranger)
{
    const char *const arguments[] = {"stranger", NULL};
    program *stranger = program_start(NULL, arguments, NULL);

    send_number(call, program_number(stranger));
    for (;;)
        ;
    return 0;
}

XF_ENTRY(do_nothing)
{
    (void)call;
    return 0;
}

XF_ENTRY(wait_for_stop)
{
    send_number(call, 1);
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

/* Sends how many handles it has; waits before and after, so that its siblings live at the same time. */
XF_ENTRY(count_handles)
{
    send_number(call, (int64_t)support_handles());
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

/* Starts itself one level further down, to the limit. */
XF_TASK(descend, const int *in, int *out)
{
    int next = *in + 1, rc;
    xf_process *process;
    xf_status status;

    (void)call;
    rc = xf_process_start(&process, &descend, &next, sizeof next, NULL);
    if (rc == XF_EDEPTH) {
        *out = *in;
        return 0;
    }
    if (rc < 0)
        return rc;
    xf_process_join(process, &status, XF_FOREVER);
    *out = status.kind == XF_END_DONE ? *(const int *)xf_process_result(process, NULL) : -1;
    return 0;
}

/* Has begun a failure and an output when it starts a child of its own, which does not get either of them. */
XF_ENTRY(start_from_the_middle)
{
    xf_process *process;
    xf_status status;

    xf_fail(call, 5, "not this one");
    memset(xf_call_output(call, 100), 'x', 100);
    if (xf_process_start(&process, &do_nothing, NULL, 0, NULL) < 0)
        return 1;
    xf_process_join(process, &status, XF_FOREVER);
    send_number(call, status.kind == XF_END_DONE && !*xf_process_report(process)->message);
    return 5;
}

static void a_child_knows_nothing_of_its_parents_call(void **state)
{
    xf_process *process = start(&start_from_the_middle, NULL, 0, NULL);

    (void)state;
    assert_int_equal(receive_number(process), 1);
    expect_end(process, XF_END_FAILED, 5);
}

static void the_grandchild_ends_with_the_child(void **state)
{
    xf_process *child = start(&start_grandchild, NULL, 0, NULL);
    int64_t grandchild = receive_number(child);

    (void)state;
    assert_true(support_alive(grandchild));
    support_kill(xf_process_pid(child));
    assert_true(support_has_ended(grandchild, END_MS));
    expect_end(child, XF_END_KILLED, 0);
}

static void a_killed_child_takes_its_descendants_along(void **state)
{
    xf_process *child = start(&start_grandchild, NULL, 0, NULL);
    int64_t grandchild = receive_number(child);

    (void)state;
    xf_process_kill(child);
    assert_true(support_has_ended(grandchild, END_MS));
    expect_end(child, XF_END_TERMINATED, 0);
}

static void a_program_that_a_task_started_ends_too(void **state)
{
    xf_process *child = start(&start_stranger, NULL, 0, NULL);
    int64_t stranger = receive_number(child);

    (void)state;
    assert_true(support_alive(stranger));
    xf_process_kill(child);
    assert_true(support_has_ended(stranger, END_MS));
    expect_end(child, XF_END_TERMINATED, 0);
}

static void a_hundred_short_children(void **state)
{
    xf_process *processes[100];

    (void)state;
    for (int i = 0; i < 100; i++)
        processes[i] = start(&do_nothing, NULL, 0, NULL);
    for (int i = 0; i < 100; i++)
        expect_end(processes[i], XF_END_DONE, 0);
}

static void a_hundred_terminated_right_after_start(void **state)
{
    xf_process *processes[100];

    (void)state;
    for (int i = 0; i < 100; i++) {
        processes[i] = start(&spin_on, NULL, 0, &(xf_process_options){.grace_ms = i % 2 ? -1 : 100});
        xf_process_terminate(processes[i]);
    }
    for (int i = 0; i < 100; i++)
        expect_end(processes[i], XF_END_TERMINATED, 0);
}

static void a_hundred_killed_right_after_start(void **state)
{
    xf_process *processes[100];

    (void)state;
    for (int i = 0; i < 100; i++) {
        processes[i] = start(&spin_on, NULL, 0, NULL);
        xf_process_kill(processes[i]);
    }
    for (int i = 0; i < 100; i++)
        expect_end(processes[i], XF_END_TERMINATED, 0);
}

static void siblings_have_equally_many_handles(void **state)
{
    xf_process *siblings[5];
    int64_t first = 0;

    (void)state;
    for (int i = 0; i < 5; i++) {
        int64_t count;
        siblings[i] = start(&count_handles, NULL, 0, NULL);
        count = receive_number(siblings[i]);
        if (i == 0)
            first = count;
        assert_int_equal(count, first);
    }
    for (int i = 0; i < 5; i++) {
        xf_process_terminate(siblings[i]);
        expect_end(siblings[i], XF_END_DONE, 0);
    }
}

static void start_200(void *failures)
{
    for (int i = 0; i < 200; i++) {
        xf_process *process;
        xf_status status = {XF_END_NONE, 0, 0};
        if (xf_process_start(&process, &do_nothing, NULL, 0, NULL) < 0) {
            ++*(int *)failures;
            continue;
        }
        xf_process_join(process, &status, XF_FOREVER);
        *(int *)failures += status.kind != XF_END_DONE;
        xf_process_free(process);
    }
}

static void two_threads_start_at_the_same_time(void **state)
{
    int failures[2] = {0, 0};
    uv_thread_t threads[2];

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(uv_thread_create(&threads[i], start_200, &failures[i]), 0);
    for (int i = 0; i < 2; i++) {
        uv_thread_join(&threads[i]);
        assert_int_equal(failures[i], 0);
    }
}

static void everything_is_given_back(void **state)
{
    size_t handles, mappings;

    (void)state;
    for (int round = 0; round < 3; round++) {
        xf_process *process = start(&do_nothing, NULL, 0, NULL);
        expect_end(process, XF_END_DONE, 0);
        assert_int_equal(xf_cleanup(), 0);
        if (round == 0) {
            handles = support_handles();
            mappings = support_mappings();
        }
        assert_int_equal(support_handles(), handles);
        assert_int_equal(support_mappings(), mappings);
    }
}

static void nesting_has_a_limit(void **state)
{
    int depth = 1;
    xf_process *process = start(&descend, &depth, sizeof depth, NULL);

    (void)state;
    join(process);
    assert_int_equal(*(const int *)xf_process_result(process, NULL), XF_DEPTH_MAX);
    expect_end(process, XF_END_DONE, 0);
}

/* ---- Programs that have children when they end ----------------------------------------------- */

static void print_pid(void)
{
    printf("%lld\n", (long long)uv_os_getpid());
    fflush(stdout);
}

static int role_stranger(void)
{
    print_pid();
    for (;;)
        ;
    return 0;
}

/* ---- Tasks that do what they can to live on -------------------------------------------------- */

XF_ENTRY(close_all)
{
    (void)call;
    support_let_go(true);
    print_pid();
    for (;;)
        ;
    return 0;
}

XF_ENTRY(change_all)
{
    (void)call;
    support_let_go(false);
    print_pid();
    for (;;)
        ;
    return 0;
}

XF_ENTRY(become_a_stranger)
{
    (void)call;
    support_become("stranger");
}

static xf_task *clinging_task(const char *name)
{
    return strcmp(name, "close") == 0 ? &close_all : strcmp(name, "change") == 0 ? &change_all : &become_a_stranger;
}

/* Runs such a task, which prints its process's id, in a process, or in a pool's worker. */
static int role_clinging(const char *name, bool in_pool)
{
    xf_task *task = clinging_task(name);
    xf_process *process;
    xf_pool *pool;

    if (!in_pool) {
        process = start(task, NULL, 0, NULL);
        xf_process_join(process, NULL, XF_FOREVER);
    } else if (xf_pool_create(&pool, &(xf_pool_options){.workers = 1}) == 0) {
        xf_future *future;
        if (xf_pool_submit(&future, pool, &(xf_map){.task = task}) == 0)
            xf_future_wait(future, XF_FOREVER);
    }
    return 1;
}

static void expect_end_with_parent(const char *name, const char *place)
{
    const char *const arguments[] = {place, name, NULL};
    program *parent = program_start(NULL, arguments, NULL);
    int64_t child = program_number(parent);
    bool is_gone;

    assert_true(child > 0 && support_alive(child));
    support_kill(program_pid(parent));
    is_gone = support_has_ended(child, END_MS);
    if (!is_gone)
        support_kill(child);
    program_end(parent, NULL);
    if (!is_gone)
        fail_msg("%s in a %s lives on", name, place);
}

static void a_child_that_closes_all_ends_too(void **state)
{
    (void)state;
    expect_end_with_parent("close", "process");
    expect_end_with_parent("close", "pool");
}

static void a_child_that_changes_all_ends_too(void **state)
{
    (void)state;
    expect_end_with_parent("change", "process");
    expect_end_with_parent("change", "pool");
}

static void a_child_that_becomes_another_program_ends_too(void **state)
{
    (void)state;
    expect_end_with_parent("become", "process");
    expect_end_with_parent("become", "pool");
}

static int64_t start_spinning(xf_process **process)
{
    *process = start(&spin_on, NULL, 0, NULL);
    return receive_number(*process);
}

/* Starts a child that spins, and waits for it, or returns from main at once. */
static int role_parent(bool leave)
{
    xf_process *process;

    printf("%lld\n", (long long)start_spinning(&process));
    fflush(stdout);
    if (leave)
        return 42;
    xf_process_join(process, NULL, XF_FOREVER);
    return 0;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Gets a Ctrl-C together with its child, which ignores it and is terminated later. */
static int role_interrupted(void)
{
    xf_process *process;
    xf_status status;

    support_lead_group();
    process = start(&wait_for_stop, NULL, 0, NULL);
    receive_number(process);
    signal(SIGINT, on_interrupt);
    if (!support_interrupt_group()) {
        xf_process_free(process);
        return 77;
    }
    while (!interrupted)
        continue;
    if (xf_process_join(process, &status, 100) != XF_ETIMEDOUT)
        return 1;
    xf_process_terminate(process);
    status = join(process);
    xf_process_free(process);
    return status.kind == XF_END_DONE ? 0 : 2;
}

static void a_killed_parent_leaves_no_child(void **state)
{
    const char *const arguments[] = {"parent", NULL};
    program *parent = program_start(NULL, arguments, NULL);
    int64_t child = program_number(parent);

    (void)state;
    assert_true(child > 0 && support_alive(child));
    support_kill(program_pid(parent));
    assert_true(support_has_ended(child, END_MS));
    program_end(parent, NULL);
}

static void a_parent_that_ends_leaves_no_child(void **state)
{
    const char *const arguments[] = {"leave", NULL};
    program *parent = program_start(NULL, arguments, NULL);
    int64_t child = program_number(parent);

    (void)state;
    assert_true(child > 0);
    assert_int_equal(program_end(parent, NULL), 42);
    assert_true(support_has_ended(child, END_MS));
}

static void ctrl_c_is_the_parents_business(void **state)
{
    const char *const arguments[] = {"interrupted", NULL};
    int64_t code = program_end(program_start(NULL, arguments, NULL), NULL);

    (void)state;
    if (code == 77)
        skip(); /* this system cannot send a Ctrl-C */
    assert_int_equal(code, 0);
}

static int run_role(int argc, char **argv)
{
    const char *role = argv[1];

    if (argc > 2)
        return role_clinging(argv[2], strcmp(role, "pool") == 0);
    if (strcmp(role, "stranger") == 0)
        return role_stranger();
    if (strcmp(role, "interrupted") == 0)
        return role_interrupted();
    return role_parent(strcmp(role, "leave") == 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_knows_nothing_of_its_parents_call),
        cmocka_unit_test(the_grandchild_ends_with_the_child),
        cmocka_unit_test(a_killed_child_takes_its_descendants_along),
        cmocka_unit_test(a_program_that_a_task_started_ends_too),
        cmocka_unit_test(a_hundred_short_children),
        cmocka_unit_test(a_hundred_terminated_right_after_start),
        cmocka_unit_test(a_hundred_killed_right_after_start),
        cmocka_unit_test(siblings_have_equally_many_handles),
        cmocka_unit_test(two_threads_start_at_the_same_time),
        cmocka_unit_test(everything_is_given_back),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(a_killed_parent_leaves_no_child),
        cmocka_unit_test(a_parent_that_ends_leaves_no_child),
        cmocka_unit_test(a_child_that_closes_all_ends_too),
        cmocka_unit_test(a_child_that_changes_all_ends_too),
        cmocka_unit_test(a_child_that_becomes_another_program_ends_too),
        cmocka_unit_test(ctrl_c_is_the_parents_business),
    };

    xf_main(argc, argv);
    return argc > 1 ? run_role(argc, argv) : cmocka_run_group_tests(tests, NULL, NULL);
}
