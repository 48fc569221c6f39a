/* Goal: what Windows' universal C library calls an invalid parameter, for which it ends the process, is a crash with a
 * stack like any other. */
#include "tasks.h"

XF_ENTRY(close_nothing)
{
    FILE *volatile nothing = NULL;

    (void)call;
    return fclose(nothing);
}

static bool was_in(const xf_report *report, const char *function)
{
    for (size_t i = 0; i < report->stack_count; i++)
        if (strcmp(report->stack[i].function, function) == 0)
            return true;
    return false;
}

static void an_invalid_parameter_is_a_crash(void **state)
{
    xf_process *process = start(&close_nothing, NULL, 0, NULL);
    xf_status status = join(process);

    (void)state;
    assert_int_equal(status.kind, XF_END_CRASHED);
    assert_int_equal(status.code, XF_CRASH_ABORT);
    assert_true(was_in(xf_process_report(process), "close_nothing"));
    xf_process_free(process);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_invalid_parameter_is_a_crash)};

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
