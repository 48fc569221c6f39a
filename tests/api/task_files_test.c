/* Goal: tasks of other files, static and shared libraries run by each start method, with and without input and output;
 * one that the linker has left out is missed with a hint, and two of one name are refused with both places. */
#include "pool_tasks.h"
#include "task_files/tasks.h"

XF_USE(only_named);

XF_TASK_BARE(in_both)
{
    return 0;
}

static void expect_int(xf_process *process, int due)
{
    size_t size;
    const int *result;

    assert_int_equal(join(process).kind, XF_END_DONE);
    result = xf_process_result(process, &size);
    assert_int_equal(size, sizeof *result);
    assert_int_equal(*result, due);
    xf_process_free(process);
}

/* ---- Processes ------------------------------------------------------------------------------- */

static void a_task_of_another_file_runs(void **state)
{
    (void)state;
    expect_int(start(&length, &(range){3, 10}, sizeof(range), NULL), 7);
}

static void a_task_may_have_no_output(void **state)
{
    xf_process *process = start(&check, &(range){3, 10}, sizeof(range), NULL);
    size_t size = 1;

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    xf_process_result(process, &size);
    assert_int_equal(size, 0);
    xf_process_free(process);
    expect_end(start(&check, &(range){10, 3}, sizeof(range), NULL), XF_END_FAILED, 4);
}

static void a_task_may_have_no_input(void **state)
{
    int input = 1;
    xf_process *process;

    (void)state;
    expect_int(start(&next_call, NULL, 0, NULL), 1);
    assert_int_equal(xf_process_start(&process, &next_call, &input, sizeof input, NULL), XF_ESIZE);
}

static void a_task_may_have_neither(void **state)
{
    (void)state;
    expect_end(start(&note, NULL, 0, NULL), XF_END_DONE, 0);
}

static int give_nothing(xf_call *call)
{
    (void)call;
    return 0;
}

/* Registered by hand, with sizes of 0, and no output is asked for. */
static xf_task sizeless = {.name = "sizeless", .entry = give_nothing};

static void no_output_need_not_be_given(void **state)
{
    xf_pool *pool = open_workers(2);

    (void)state;
    expect_end(start(&sizeless, NULL, 0, NULL), XF_END_DONE, 0);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &sizeless, .count = 5}), 0);
    xf_pool_free(pool);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static void expect_lengths(xf_pool *pool, size_t count)
{
    range *in = calloc(count, sizeof *in);
    int *out = calloc(count, sizeof *out);

    for (size_t i = 0; i < count; i++)
        in[i].to = (int)i;
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &length, .in = in, .out = out, .count = count}), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(out[i], i);
    free(in);
    free(out);
}

static void expect_checks(xf_pool *pool, size_t count)
{
    range *in = calloc(count, sizeof *in);
    xf_future *future;

    in[count - 1].from = 1;
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &check, .in = in, .count = count}), 0);
    assert_int_equal(xf_future_wait(future, LONGEST_MS), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 1);
    assert_int_equal(xf_future_status(future, count - 1).code, 4);
    assert_string_equal(xf_future_report(future, count - 1)->message, "0 comes before 1");
    xf_future_free(future);
    free(in);
}

static void expect_calls(xf_pool *pool, size_t count)
{
    int *out = calloc(count, sizeof *out);

    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &next_call, .out = out, .count = count}), 0);
    for (size_t i = 0; i < count; i++)
        assert_true(out[i] >= 1);
    free(out);
}

static void expect_submissions(xf_pool *pool)
{
    size_t size = 1;
    xf_future *future;

    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &note}), 0);
    assert_int_equal(xf_future_wait(future, LONGEST_MS), 0);
    assert_non_null(xf_future_result(future, 0, &size));
    assert_int_equal(size, 0);
    xf_future_free(future);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &next_call}), 0);
    assert_int_equal(xf_future_wait(future, LONGEST_MS), 0);
    assert_true(*(const int *)xf_future_result(future, 0, &size) > 0);
    xf_future_free(future);
}

static void expect_all_forms(const xf_pool_options *options)
{
    static const size_t counts[] = {1, 2, 1000};
    xf_pool *pool = open_pool(options);

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        expect_lengths(pool, counts[i]);
        expect_checks(pool, counts[i]);
        expect_calls(pool, counts[i]);
        assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &note, .count = counts[i]}), 0);
    }
    expect_submissions(pool);
    xf_pool_free(pool);
}

static void pools_run_tasks_of_each_form(void **state)
{
    (void)state;
    expect_all_forms(&(xf_pool_options){.workers = 2});
    expect_all_forms(&(xf_pool_options){.workers = 1, .guard_pages = true});
}

/* Comes last: what its tasks count, forked children would have seen. */
static void an_inline_pool_runs_tasks_of_each_form(void **state)
{
    (void)state;
    expect_all_forms(&(xf_pool_options){.workers = XF_POOL_INLINE});
}

/* Initializers without output, finalizers without either. */
static void a_pool_is_initialized_by_tasks_without_output(void **state)
{
    int out = 0;
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .initializer = &note, .finalizer = &note});

    (void)state;
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &next_call, .out = &out, .count = 1}), 0);
    assert_int_equal(out, 101);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, LONGEST_MS), 0);
    xf_pool_free(pool);
}

/* ---- Libraries ------------------------------------------------------------------------------- */

static void a_task_of_a_static_library_is_used_by_name(void **state)
{
    xf_task *task = xf_task_find("only_named");

    (void)state;
    assert_non_null(task);
    expect_int(start(task, NULL, 0, NULL), 5);
    assert_non_null(xf_task_find("copy")); /* is linked, because the tasks of its file are */
}

static void a_task_that_the_linker_left_out_is_missed_with_a_hint(void **state)
{
    (void)state;
    assert_null(xf_task_find("left_out"));
    assert_non_null(strstr(xf_error_detail(), "XF_USE(left_out)"));
}

#ifdef XF_TEST_SHARED_TASKS
static void a_task_of_a_shared_library_runs(void **state)
{
    double in[] = {2, 4, 6}, out[3];
    xf_pool *pool = open_workers(2);

    (void)state;
    expect_end(start(&halve, in, sizeof *in, NULL), XF_END_DONE, 0);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &halve, .in = in, .out = out, .count = 3}), 0);
    assert_true(out[0] == 1 && out[2] == 3);
    xf_pool_free(pool);
}

/* On POSIX the linker has given both files one variable. */
static void a_task_of_the_program_and_of_a_library_says_where_both_are(void **state)
{
    xf_process *process;

    (void)state;
    assert_int_equal(xf_process_start(&process, &in_both, NULL, 0, NULL), XF_EDUPTASK);
    assert_non_null(strstr(xf_error_detail(), "called in_both"));
    assert_non_null(strstr(xf_error_detail(), "task_files_test.c:"));
    assert_non_null(strstr(xf_error_detail(), "in task_files_test"));
    assert_non_null(strstr(xf_error_detail(), "shared.c:"));
    assert_non_null(strstr(xf_error_detail(), "shared_tasks."));
}
#endif

#ifdef XF_TEST_OTHER_COPY
static void a_task_that_another_copy_of_the_library_knows_is_refused(void **state)
{
    xf_process *process;
    xf_pool *pool = open_workers(1);

    (void)state;
    assert_int_equal(xf_process_start(&process, &of_another_copy, NULL, 0, NULL), XF_ENOTASK);
    assert_non_null(strstr(xf_error_detail(), "another copy"));
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &of_another_copy, .count = 1}), XF_ENOTASK);
    xf_pool_free(pool);
}
#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_of_another_file_runs),
        cmocka_unit_test(a_task_may_have_no_output),
        cmocka_unit_test(a_task_may_have_no_input),
        cmocka_unit_test(a_task_may_have_neither),
        cmocka_unit_test(no_output_need_not_be_given),
        cmocka_unit_test(pools_run_tasks_of_each_form),
        cmocka_unit_test(a_pool_is_initialized_by_tasks_without_output),
        cmocka_unit_test(a_task_of_a_static_library_is_used_by_name),
        cmocka_unit_test(a_task_that_the_linker_left_out_is_missed_with_a_hint),
#ifdef XF_TEST_SHARED_TASKS
        cmocka_unit_test(a_task_of_a_shared_library_runs),
        cmocka_unit_test(a_task_of_the_program_and_of_a_library_says_where_both_are),
#endif
#ifdef XF_TEST_OTHER_COPY
        cmocka_unit_test(a_task_that_another_copy_of_the_library_knows_is_refused),
#endif
        cmocka_unit_test(an_inline_pool_runs_tasks_of_each_form),
    };

    xf_task_register(&sizeless);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
