/* Goal: a pool without workers does the same in the calling thread. */
#include "pool_tasks.h"

static void an_inline_pool_does_the_same_here(void **state)
{
    xf_pool_options options = {.workers = XF_POOL_INLINE};
    xf_pool *pool = open_pool(&options);
    int in[1] = {0};
    int64_t pid = 0;
    xf_future *future;

    (void)state;
    expect_squares(pool, 1000, NULL);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &own_pid, .in = in, .out = &pid, .count = 1}), 0);
    assert_int_equal(pid, uv_os_getpid());
    future = order_one(pool, FAIL, NULL);
    assert_int_equal(xf_future_wait(future, 0), XF_EFAILED);
    expect_kind(future, XF_END_FAILED, 7);
    assert_int_equal(xf_pool_resize(pool, 2), XF_ESTATE);
    assert_int_equal(stats_of(pool).started, 0);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 0), 0);
    xf_pool_free(pool);
}

static void square_a_hundred_times(void *pool)
{
    for (int i = 0; i < 100; i++)
        expect_squares(pool, 3, NULL);
}

static void threads_share_an_inline_pool(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = XF_POOL_INLINE});
    uv_thread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(uv_thread_create(&threads[i], square_a_hundred_times, pool), 0);
    for (int i = 0; i < 4; i++)
        uv_thread_join(&threads[i]);
    xf_pool_free(pool);
}

static void an_inline_pool_recycles_nobody(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = XF_POOL_INLINE, .tasks_per_worker = 2});

    (void)state;
    expect_squares(pool, 10, NULL);
    xf_pool_free(pool);
}

static xf_future *own_future;

XF_TASK(cancel_at_three, const int *in, int *out)
{
    *out = *in;
    if (*in == 3)
        xf_future_cancel(own_future);
    return 0;
}

/* With guard pages each item is run by itself, and no batch function runs the chunk. */
static void a_task_cancels_what_comes_after_it(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = XF_POOL_INLINE, .guard_pages = true});
    int in[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    xf_map map = {.task = &cancel_at_three, .in = in, .count = 8};

    (void)state;
    for (map.chunk = 1; map.chunk < 10; map.chunk++) {
        assert_int_equal(xf_pool_map_async(&own_future, pool, &map), 0);
        assert_int_equal(xf_future_wait(own_future, 0), XF_EFAILED);
        for (size_t i = 0; i < 8; i++)
            assert_int_equal(xf_future_status(own_future, i).kind, i <= 3 ? XF_END_DONE : XF_END_CANCELLED);
        xf_future_free(own_future);
    }
    xf_pool_free(pool);
}

/* In a task or a callback of the inline pool itself. */
static xf_pool *running_pool;
static int map_result, wait_result;
static char free_detail[200];

static int use_own_pool_entry(xf_call *call)
{
    double in = 1, out;
    xf_future *future = NULL;

    map_result = xf_pool_map(running_pool, &(xf_map){.task = &square, .in = &in, .out = &out, .count = 1});
    if (xf_pool_map_async(&future, running_pool, &(xf_map){.task = &square, .in = &in, .count = 1}) < 0)
        return 1;
    wait_result = xf_future_wait(future, XF_FOREVER);
    xf_future_free(future);
    xf_pool_free(running_pool);
    snprintf(free_detail, sizeof free_detail, "%s", xf_error_detail());
    xf_call_output(call, 0);
    return 0;
}

static xf_task use_own_pool = {.name = "use_own_pool", .entry = use_own_pool_entry};

static void free_own_pool(xf_future *future, void *pool)
{
    (void)future;
    xf_pool_free(pool);
    snprintf(free_detail, sizeof free_detail, "%s", xf_error_detail());
}

/* It would wait for the thread that waits. */
static void a_task_of_an_inline_pool_cannot_wait_for_it(void **state)
{
    (void)state;
    running_pool = open_workers(XF_POOL_INLINE);
    assert_int_equal(xf_pool_map(running_pool, &(xf_map){.task = &use_own_pool, .count = 1}), 0);
    assert_int_equal(map_result, XF_EDEADLK);
    assert_int_equal(wait_result, XF_EDEADLK);
    assert_non_null(strstr(free_detail, "inline pool"));
    expect_squares(running_pool, 10, NULL);
    *free_detail = 0;
    expect_squares(running_pool, 1, &(xf_map){.on_done = free_own_pool, .arg = running_pool});
    assert_non_null(strstr(free_detail, "inline pool"));
    expect_squares(running_pool, 10, NULL);
    xf_pool_free(running_pool);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_inline_pool_does_the_same_here),
        cmocka_unit_test(threads_share_an_inline_pool),
        cmocka_unit_test(an_inline_pool_recycles_nobody),
        cmocka_unit_test(a_task_cancels_what_comes_after_it),
        cmocka_unit_test(a_task_of_an_inline_pool_cannot_wait_for_it),
    };

    assert_int_equal(xf_task_register(&use_own_pool), 0);
    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
