/* Goal: each callback is called once, on the right thread, whatever became of the future. */
#include "pool_tasks.h"

typedef struct counts {
    uv_sem_t done;
    int success, failure;
} counts;

static void on_success(xf_future *future, void *arg)
{
    (void)future;
    ((counts *)arg)->success++;
}

static void on_failure(xf_future *future, void *arg)
{
    assert_int_equal(xf_future_failures(future), 1);
    ((counts *)arg)->failure++;
}

static void on_done(xf_future *future, void *arg)
{
    xf_future_free(future);
    uv_sem_post(&((counts *)arg)->done);
}

static void callbacks_are_called_once(void **state)
{
    const int whats[] = {FINE, FAIL, DIE};
    xf_pool *pool = open_workers(1);
    counts counts = {.success = 0};
    xf_map options = {.on_success = on_success, .on_failure = on_failure, .on_done = on_done, .arg = &counts};

    (void)state;
    assert_int_equal(uv_sem_init(&counts.done, 0), 0);
    for (int i = 0; i < 3; i++) {
        order_one(pool, whats[i], &options);
        uv_sem_wait(&counts.done);
    }
    assert_int_equal(counts.success, 1);
    assert_int_equal(counts.failure, 2);
    uv_sem_destroy(&counts.done);
    xf_pool_free(pool);
}

static void on_map(xf_future *future, void *arg)
{
    assert_int_equal(xf_future_count(future), 1);
    uv_sem_post(&((counts *)arg)->done);
}

/* Callbacks are called for a future that is freed before, or meanwhile. */
static void callbacks_of_what_is_freed_are_called(void **state)
{
    enum { MAPS = 300 };
    xf_pool *pool = open_workers(1);
    counts counts = {.success = 0};
    xf_map options = {.on_success = on_success, .on_done = on_map, .arg = &counts};

    (void)state;
    assert_int_equal(uv_sem_init(&counts.done, 0), 0);
    for (int i = 0; i < MAPS; i++)
        expect_squares(pool, 1, &options);
    for (int i = 0; i < MAPS; i++)
        uv_sem_wait(&counts.done);
    assert_int_equal(counts.success, MAPS);
    await_memory(pool, 0);
    uv_sem_destroy(&counts.done);
    xf_pool_free(pool);
}

/* No worker has run these items, so no worker reports them. */
static void callbacks_are_called_for_what_never_ran(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *blocker = order_one(pool, PATIENT, NULL), *future;
    counts counts = {.success = 0};
    xf_map options = {.on_success = on_success, .on_failure = on_failure, .on_done = on_done, .arg = &counts};
    xf_map nothing = options;

    (void)state;
    assert_int_equal(uv_sem_init(&counts.done, 0), 0);
    nothing.task = &square;
    assert_int_equal(xf_pool_map_async(&future, pool, &nothing), 0);
    uv_sem_wait(&counts.done);
    assert_int_equal(counts.success, 1);
    xf_future_cancel(order_one(pool, FINE, &options));
    uv_sem_wait(&counts.done);
    order_one(pool, FINE, &options);
    xf_pool_cancel(pool);
    uv_sem_wait(&counts.done);
    assert_int_equal(counts.success, 1);
    assert_int_equal(counts.failure, 2);
    assert_int_equal(xf_future_wait(blocker, 60000), XF_EFAILED);
    xf_future_free(blocker);
    uv_sem_destroy(&counts.done);
    xf_pool_free(pool);
}

typedef struct on_loop {
    uv_thread_t thread;
    uv_loop_t loop;
    int calls;
} on_loop;

static void on_done_here(xf_future *future, void *arg)
{
    on_loop *here = arg;
    uv_thread_t self = uv_thread_self();

    assert_true(uv_thread_equal(&self, &here->thread));
    xf_future_free(future);
    if (++here->calls == 3)
        uv_stop(&here->loop);
}

static void on_late(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void callbacks_come_on_the_loop_that_was_given(void **state)
{
    on_loop here = {.thread = uv_thread_self()};
    xf_pool_options options = {.workers = 2, .loop = &here.loop};
    xf_map map = {.on_done = on_done_here, .arg = &here};
    uv_timer_t keep;
    xf_pool *pool;

    (void)state;
    assert_int_equal(uv_loop_init(&here.loop), 0);
    uv_timer_init(&here.loop, &keep);
    uv_timer_start(&keep, on_late, 60000, 0);
    pool = open_pool(&options);
    order_one(pool, FINE, &map);
    order_one(pool, DIE, &map);
    order_one(pool, FAIL, &map);
    uv_run(&here.loop, UV_RUN_DEFAULT);
    assert_int_equal(here.calls, 3);
    xf_pool_free(pool);
    uv_close((uv_handle_t *)&keep, NULL);
    uv_run(&here.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&here.loop), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(callbacks_are_called_once),
        cmocka_unit_test(callbacks_of_what_is_freed_are_called),
        cmocka_unit_test(callbacks_are_called_for_what_never_ran),
        cmocka_unit_test(callbacks_come_on_the_loop_that_was_given),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
