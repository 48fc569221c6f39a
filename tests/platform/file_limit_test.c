/* Goal: a limit on the sizes of files (RLIMIT_FSIZE) makes calls fail with an error that names it, and does not end the
 * program by the signal that the system sends with its refusal, SIGXFSZ. */
#include "tasks.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT = 1 << 20, SMALL = 50000 };

XF_ENTRY(fail_always)
{
    return xf_fail(call, 7, "as ordered");
}

/* Gives more than the limit allows. */
XF_ENTRY(give_much)
{
    void *output = xf_call_output(call, 4 * LIMIT);

    if (!output)
        return xf_fail(call, 9, "%s", xf_error_detail());
    return 0;
}

XF_ENTRY(do_nothing)
{
    (void)call;
    return 0;
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_DFL);
}

static int lift_limit(void **state)
{
    (void)state;
    limit_files(RLIM_INFINITY);
    return 0;
}

static void expect_refusal(int rc)
{
    assert_int_equal(rc, XF_ENOMEM);
    if (!strstr(xf_error_detail(), "RLIMIT_FSIZE"))
        fail_msg("%s", xf_error_detail());
}

static void what_is_shared_is_refused(void **state)
{
    xf_shm *shm;
    xf_queue *queue;
    xf_pool *pool;
    xf_process *process;
    char *input = calloc(1, 2 * LIMIT);

    (void)state;
    limit_files(LIMIT);
    expect_refusal(xf_shm_create(&shm, 2 * LIMIT, NULL));
    expect_refusal(xf_queue_create(&queue, NULL));
    expect_refusal(xf_pool_create(&pool, NULL));
    expect_refusal(xf_process_start(&process, &do_nothing, input, 2 * LIMIT, NULL));
    free(input);
}

/* The black box of a child needs more, except where it is no file (fork). */
static void a_start_fails_or_works(void **state)
{
    xf_process *process;
    int rc;

    (void)state;
    limit_files(SMALL);
    rc = xf_process_start(&process, &do_nothing, NULL, 0, NULL);
    if (rc == 0)
        expect_end(process, XF_END_DONE, 0);
    else
        expect_refusal(rc);
}

static void a_result_that_is_too_large_fails(void **state)
{
    xf_process *process;

    (void)state;
    limit_files(LIMIT);
    process = start(&give_much, NULL, 0, NULL);
    join(process);
    assert_non_null(strstr(xf_process_report(process)->message, "RLIMIT_FSIZE"));
    expect_end(process, XF_END_FAILED, 9);
}

/* The input just fits, and the file has some bytes more. */
static void a_task_that_is_too_large_is_not_saved(void **state)
{
    char directory[] = "/tmp/crossfork-limit-XXXXXX", *input = calloc(1, LIMIT);
    xf_process_options options = {.save_failures = directory};
    xf_process *process;

    (void)state;
    assert_non_null(mkdtemp(directory));
    limit_files(LIMIT);
    process = start(&fail_always, input, LIMIT, &options);
    join(process);
    assert_string_equal(xf_process_report(process)->saved, "");
    assert_non_null(strstr(xf_process_report(process)->message, "not saved: RLIMIT_FSIZE"));
    expect_end(process, XF_END_FAILED, 7);
    free(input);
    assert_int_equal(rmdir(directory), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_is_shared_is_refused, lift_limit),
        cmocka_unit_test_teardown(a_start_fails_or_works, lift_limit),
        cmocka_unit_test_teardown(a_result_that_is_too_large_fails, lift_limit),
        cmocka_unit_test_teardown(a_task_that_is_too_large_is_not_saved, lift_limit),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
