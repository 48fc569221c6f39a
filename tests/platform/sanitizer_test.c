/* Goal: a report contains the text that a sanitizer prints before it ends a child.  Built with the address sanitizer
 * only. */
#include "tasks.h"

static volatile int past = 1;

__attribute__((noinline)) static int write_behind(char *block, size_t size)
{
    block[size - 1 + (size_t)past] = 1;
    return 0;
}

XF_ENTRY(overrun)
{
    char *block = malloc(16);
    int rc = write_behind(block, 16);

    (void)call;
    free(block);
    return rc;
}

static void the_report_has_what_the_sanitizer_says(void **state)
{
    xf_process *process = start(&overrun, NULL, 0, &(xf_process_options){.stderr_to = XF_STDIO_CAPTURE});
    const xf_report *report;

    (void)state;
    assert_int_equal(join(process).kind, XF_END_EXITED);
    report = xf_process_report(process);
    assert_non_null(strstr(report->stderr_tail, "heap-buffer-overflow"));
    assert_non_null(strstr(report->stderr_tail, "write_behind"));
    assert_non_null(strstr(report->stderr_tail, "SUMMARY: AddressSanitizer"));
    xf_process_free(process);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_report_has_what_the_sanitizer_says)};

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
