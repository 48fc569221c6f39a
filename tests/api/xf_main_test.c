/* Goal: a program that does not call xf_main gets XF_EMAIN, and never more than one child. */
#include "program.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

/* Runs the program of without_xf_main.c in a mode, and compares all that it prints with one text or another. */
static void check_prints_either(const char *mode, const char *expected, const char *other)
{
    const char *const arguments[] = {mode, NULL};
    char *output;
    int64_t code = program_end(program_start(WITHOUT_XF_MAIN, arguments, NULL), &output);

    for (char *at = output; (at = strchr(at, '\r'));)
        memmove(at, at + 1, strlen(at));
    assert_string_equal(output, strcmp(output, other) == 0 ? other : expected);
    assert_int_equal(code, 0);
    free(output);
}

static void check_prints(const char *mode, const char *expected)
{
    check_prints_either(mode, expected, expected);
}

static void a_program_without_xf_main_starts_no_child(void **state)
{
    (void)state;
    check_prints("never", "XF_EMAIN: call xf_main at the top of main\n");
}

#define UNREACHED "one child of one\nstart failure XF_EMAIN\n"
#define ENDED "the child's main ended with exit code 3 before it reached xf_main\n"
#define EARLY UNREACHED ENDED
#define AT_ONCE "XF_EMAIN: " ENDED /* the server's main has ended before it was asked for a child */
#define LATE UNREACHED "the child did not reach xf_main within 300 ms\n"

static void a_child_whose_main_ends_early_is_named(void **state)
{
    (void)state;
    check_prints("returns", EARLY);
    check_prints_either("server returns", EARLY, AT_ONCE);
}

static void a_child_whose_main_does_not_come_to_xf_main_is_killed(void **state)
{
    (void)state;
    check_prints("hangs", LATE);
    check_prints("server hangs", LATE);
}

static void a_child_whose_main_starts_processes_itself_starts_none(void **state)
{
    (void)state;
    check_prints("bomb", EARLY);
    check_prints_either("server bomb", EARLY, AT_ONCE);
}

static void a_child_without_its_arguments_is_still_a_child(void **state)
{
    (void)state;
    check_prints("blind", "one child of one\ndone XF_OK\n");
    check_prints("server blind", "one child of one\ndone XF_OK\n");
}

static void the_argument_of_children_is_not_for_people(void **state)
{
    const char *const arguments[] = {"--crossfork-child=12345,0", NULL};

    (void)state;
    assert_int_equal(program_end(program_start(WITHOUT_XF_MAIN, arguments, NULL), NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_without_xf_main_starts_no_child),
        cmocka_unit_test(a_child_whose_main_ends_early_is_named),
        cmocka_unit_test(a_child_whose_main_does_not_come_to_xf_main_is_killed),
        cmocka_unit_test(a_child_whose_main_starts_processes_itself_starts_none),
        cmocka_unit_test(a_child_without_its_arguments_is_still_a_child),
        cmocka_unit_test(the_argument_of_children_is_not_for_people),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
