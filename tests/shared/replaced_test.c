/* Goal: when another build of the shared library replaces the one that runs, a new child ends with XF_EBUILD.
 *
 * Usage: replaced_test LIBRARY NEXT (see replaced.cmake) */
#include "tasks.h"

XF_ENTRY(do_nothing)
{
    (void)call;
    return 0;
}

static const char *library, *next;

static void move_file(const char *from, const char *to)
{
    uv_fs_t request;

    assert_int_equal(uv_fs_rename(NULL, &request, from, to, NULL), 0);
    uv_fs_req_cleanup(&request);
}

static void a_child_of_another_library_is_reported(void **state)
{
    char aside[4096];

    (void)state;
    snprintf(aside, sizeof aside, "%s.aside", library);
    expect_end(start(&do_nothing, NULL, 0, NULL), XF_END_DONE, 0);
    move_file(library, aside);
    move_file(next, library);
    expect_end(start(&do_nothing, NULL, 0, NULL), XF_END_START_FAILED, XF_EBUILD);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_child_of_another_library_is_reported)};

    xf_main(argc, argv);
    if (argc != 3)
        return 2;
    library = argv[1];
    next = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
