/* Goal: if any call fails while the stack of a report is named, in the program or in its helper, then the report has a
 * stack without names, or none, nothing hangs, and nothing is left behind.
 *
 * Each test is a sweep: the first call fails, then the second, and so on. */
#include "faults.h"
#include "leak_check.h"
#include "tasks.h"

enum { MOST_ROUNDS = 500, ROUNDS_IN_HELPER = 20 };

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

/* Lets libraries make what they make once and keep. */
static int warm_up(void **state)
{
    xf_process *process = crashed();

    (void)state;
    assert_int_equal(is_named(xf_process_report(process)), XF_TEST_SYMBOLS);
    assert_int_equal(xf_process_free(process), 0);
    assert_int_equal(xf_cleanup(), 0);
    return 0;
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
        cmocka_unit_test(a_call_of_the_program_fails),
        cmocka_unit_test(a_call_of_the_helper_fails),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
