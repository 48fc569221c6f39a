/* Goal: if any call fails while the stack of a report is named, in the program or in its helper, then the report has a
 * stack without names, or none, nothing hangs, and nothing is left behind.
 *
 * Each test is a sweep: the first call fails, then the second, and so on. */
#include "faults.h"
#include "leak_check.h"
#include "tasks.h"

enum { MOST_ROUNDS = 500, ROUNDS_IN_HELPER = 20, ROUNDS_OF_FIRST = 6 };

XF_ENTRY(crash)
{
    (void)call;
    abort();
}

/* Starts a child that crashes, and returns when it has ended. */
static xf_process *crashed(void)
{
    xf_process *process = start(&crash, NULL, 0, NULL);

    join(process);
    return process;
}

/* Whether each frame has its place, and some have a name. */
static bool is_named(const xf_report *report)
{
    bool named = false;

    for (size_t i = 0; i < report->stack_count; i++) {
        named |= *report->stack[i].function != 0;
        assert_non_null(report->stack[i].module);
        assert_non_null(report->stack[i].file);
    }
    return named;
}

/* Lets libraries make what they make once and keep, with a failure and without. */
static int warm_up(void **state)
{
    (void)state;
    for (int n = 0; n <= 1; n++) {
        xf_process *process = crashed();
        faults_arm(n);
        (void)xf_process_report(process);
        assert_int_equal(!faults_disarm(), n == 0);
        if (n == 0)
            assert_int_equal(is_named(xf_process_report(process)), XF_TEST_SYMBOLS);
        assert_int_equal(xf_process_free(process), 0);
        assert_int_equal(xf_cleanup(), 0);
    }
    return 0;
}

/* Goal: the first report of a program fails as others do: each failure is in a process that has made none before. */
XF_TASK(report_first, const int *in, int *out)
{
    xf_process *process;

    (void)call;
    *out = 0;
    if (xf_process_start(&process, &crash, NULL, 0, NULL) < 0)
        return 1;
    xf_process_join(process, NULL, XF_FOREVER);
    faults_arm(*in);
    (void)xf_process_report(process);
    (void)faults_disarm();
    xf_process_free(process);
    return xf_cleanup();
}

static void a_call_of_the_first_report_fails(void **state)
{
    (void)state;
    for (int n = 1; n <= ROUNDS_OF_FIRST; n++)
        expect_end(start(&report_first, &n, sizeof n, NULL), XF_END_DONE, 0);
    assert_int_equal(xf_cleanup(), 0);
}

static void a_call_of_the_program_fails(void **state)
{
    const fault *fault = NULL;
    int n = 0;

    (void)state;
    do {
        counts before = count();
        xf_process *process = crashed();
        faults_arm(++n);
        (void)xf_process_report(process);
        fault = faults_disarm();
        if (!is_named(xf_process_report(process)) && XF_TEST_SYMBOLS)
            assert_non_null(fault);
        assert_int_equal(xf_process_free(process), 0);
        assert_int_equal(xf_cleanup(), 0);
        expect_nothing_left(&before, n, fault ? fault->name : "no call");
    } while (fault && n < MOST_ROUNDS);
    assert_in_range(n, 5, MOST_ROUNDS - 1);
}

static void a_call_of_the_helper_fails(void **state)
{
    (void)state;
    for (int n = 1; n <= ROUNDS_IN_HELPER; n++) {
        counts before = count();
        xf_process *process = crashed();
        char number[16];
        snprintf(number, sizeof number, "%d", n);
        assert_int_equal(uv_os_setenv(FAULTS_IN_CHILD, number), 0);
        (void)is_named(xf_process_report(process));
        uv_os_unsetenv(FAULTS_IN_CHILD);
        assert_int_equal(xf_process_free(process), 0);
        assert_int_equal(xf_cleanup(), 0);
        expect_nothing_left(&before, n, "of the helper");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_of_the_first_report_fails),
        cmocka_unit_test(a_call_of_the_program_fails),
        cmocka_unit_test(a_call_of_the_helper_fails),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
