/* Goal: an invalid parameter of a function of Windows' universal C library makes that call fail, and does not end the
 * child: libuv, which is in every process, sets the library so. */
#include "tasks.h"

#include <errno.h>

XF_ENTRY(close_nothing)
{
    FILE *volatile nothing = NULL;

    errno = 0;
    return fclose(nothing) == EOF && errno == EINVAL ? 0 : xf_fail(call, 1, "fclose says %d", errno);
}

static void an_invalid_parameter_is_an_error(void **state)
{
    (void)state;
    expect_end(start(&close_nothing, NULL, 0, NULL), XF_END_DONE, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_invalid_parameter_is_an_error)};

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
