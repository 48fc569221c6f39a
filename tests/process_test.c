/* Goal: a registered function runs in a child, and its end comes back. */
#include "crossfork.h"
#include "support.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

XF_TASK(square, const double *in, double *out)
{
    (void)call;
    *out = *in * *in;
    return 0;
}

static void a_task_gives_its_result(void **state)
{
    double x = 3;
    xf_process *process;
    xf_status status;
    size_t size;

    (void)state;
    assert_int_equal(xf_process_start(&process, &square, &x, sizeof x, NULL), 0);
    assert_int_equal(xf_process_join(process, XF_FOREVER, &status), 0);
    if (status.kind != XF_END_DONE)
        xf_report_print(xf_process_report(process), stderr);
    assert_int_equal(status.kind, XF_END_DONE);
    assert_true(*(const double *)xf_process_result(process, &size) == 9);
    assert_int_equal(size, sizeof x);
    xf_process_free(process);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_gives_its_result),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
