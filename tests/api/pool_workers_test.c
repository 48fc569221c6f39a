/* Goal: the workers of a pool start, change in number, are recycled and exit as its options say, and no item is lost.
 */
#include "pool_tasks.h"

#include <stdatomic.h>

/* ---- Tasks ----------------------------------------------------------------------------------- */

XF_TASK(what_was_built, const int *in, int *out)
{
    *out = *in + built;
    return 0;
}

/* An initializer that is killed as from outside, as often as it is asked to. */
typedef struct storm {
    xf_ref counts; /* an xf_array: how many workers began, and how many of them are killed */
} storm;

enum { BEGAN, KILLED, STORM_COUNTS };

XF_TASK(survive, const storm *in, int *out)
{
    xf_array *counts = NULL;

    *out = 0;
    if (xf_array_open(&counts, &in->counts, sizeof(int64_t)) < 0)
        return 1;
    if (atomic_fetch_add(&XF_ARRAY_ATOMIC_AT(counts, int64_t, BEGAN), 1) <
        atomic_load(&XF_ARRAY_ATOMIC_AT(counts, int64_t, KILLED)))
        support_kill_self();
    xf_array_free(counts);
    return 0;
}

/* A worker that exits sets leaving, and waits for go. */
typedef struct farewell {
    xf_ref leaving, go;
} farewell;

static xf_event *leaving, *go;

XF_TASK(prepare_farewell, const farewell *in, int *out)
{
    *out = 0;
    return xf_event_open(&leaving, &in->leaving) < 0 || xf_event_open(&go, &in->go) < 0;
}

XF_ENTRY(say_farewell)
{
    (void)call;
    xf_event_set(leaving);
    return xf_event_wait(go, XF_FOREVER) < 0;
}

XF_TASK(nest, const int *in, int *out)
{
    xf_pool_options options = {.workers = 1};
    xf_pool *pool;
    int less = *in - 1, rc = xf_pool_create(&pool, &options);

    *out = 0;
    if (rc < 0)
        return xf_fail(call, rc, "%s", xf_error_detail());
    if (less > 0)
        rc = xf_pool_map(pool, &(xf_map){.task = &nest, .in = &less, .out = out, .count = 1});
    xf_pool_free(pool);
    *out += 1;
    return rc < 0 ? xf_fail(call, rc, "below") : 0;
}

/* ---- The life of a pool ---------------------------------------------------------------------- */

static void closing_completes_what_was_handed_in(void **state)
{
    enum { COUNT = 2000 };
    xf_pool *pool = open_workers(2);
    static order orders[COUNT];
    xf_future *future = order_many(pool, orders, COUNT, NULL), *late;

    (void)state;
    assert_int_equal(xf_pool_join(pool, 0), XF_ESTATE);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_submit(&late, pool, &(xf_map){.task = &reverse, .in = "a", .size = 1}), XF_ESTATE);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    assert_int_equal(xf_future_wait(future, 0), 0);
    assert_int_equal(stats_of(pool).started, 0);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void recycled_workers_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t most = 1; most <= 3; most += 2) {
        xf_pool_options options = {.workers = 2, .tasks_per_worker = most};
        xf_pool *pool = open_pool(&options);
        int64_t pids[12] = {0};
        int in[12] = {0};
        assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &own_pid, .in = in, .out = pids, .count = 12}), 0);
        for (int i = 0; i < 12; i++) {
            uint64_t same = 0;
            for (int k = 0; k < 12; k++)
                same += pids[k] == pids[i];
            assert_true(same <= most);
        }
        expect_squares(pool, 30, NULL);
        xf_pool_close(pool);
        assert_int_equal(xf_pool_join(pool, 60000), 0);
        assert_int_equal(stats_of(pool).lost, 0);
        xf_pool_free(pool);
    }
}

static void closing_early_still_recycles(void **state)
{
    xf_pool_options options = {.workers = 2, .tasks_per_worker = 3};
    xf_pool *pool = open_pool(&options);
    double in[40] = {0};
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &square, .in = in, .count = 40}), 0);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    assert_int_equal(xf_future_wait(future, 0), 0);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void the_number_of_workers_can_change_under_load(void **state)
{
    const int sizes[] = {12, 2, 1, 12, 3, 1, 8};
    xf_pool *pool = open_workers(2);
    mapper mapper = {pool, 0};

    (void)state;
    assert_int_equal(uv_thread_create(&mapper.thread, map_often, &mapper), 0);
    for (int i = 0; i < 28; i++)
        assert_int_equal(xf_pool_resize(pool, sizes[i % 7]), 0);
    uv_thread_join(&mapper.thread);
    assert_int_equal(xf_pool_resize(pool, 0), XF_EINVAL);
    assert_int_equal(stats_of(pool).lost, 0);
    xf_pool_free(pool);
}

static void workers_start_when_there_is_work(void **state)
{
    xf_pool *pool = open_workers(4);

    (void)state;
    assert_int_equal(stats_of(pool).started, 0);
    expect_kind(order_one(pool, FINE, NULL), XF_END_DONE, 0);
    assert_int_equal(stats_of(pool).started, 1);
    xf_pool_free(pool);
}

static void workers_without_work_end_when_asked(void **state)
{
    xf_pool_options options = {.workers = 3, .eager = true, .idle_ms = 20};
    xf_pool *pool = open_pool(&options);

    (void)state;
    expect_squares(pool, 1000, NULL);
    while (stats_of(pool).started > 0)
        continue;
    assert_int_equal(stats_of(pool).replaced, 0);
    expect_squares(pool, 1000, NULL);
    assert_int_equal(stats_of(pool).lost, 0);
    xf_pool_free(pool);
}

/* A worker that exits because it was idle does not check for work again. */
static void work_that_comes_when_a_worker_leaves_is_done(void **state)
{
    farewell farewell;
    xf_pool_options options = {.workers = 1,
                               .idle_ms = 5,
                               .initializer = &prepare_farewell,
                               .initializer_input = &farewell,
                               .initializer_size = sizeof farewell,
                               .finalizer = &say_farewell};
    double in = 3;
    xf_future *future;
    xf_pool *pool;

    (void)state;
    assert_int_equal(xf_event_create(&leaving, NULL), 0);
    assert_int_equal(xf_event_create(&go, NULL), 0);
    assert_int_equal(xf_event_ref(leaving, &farewell.leaving), 0);
    assert_int_equal(xf_event_ref(go, &farewell.go), 0);
    pool = open_pool(&options);
    expect_squares(pool, 1, NULL);
    assert_int_equal(xf_event_wait(leaving, 60000), 0);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &square, .in = &in, .size = sizeof in}), 0);
    xf_event_set(go);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    assert_true(*(const double *)xf_future_result(future, 0, NULL) == 9);
    xf_future_free(future);
    xf_pool_free(pool);
    xf_event_free(leaving);
    xf_event_free(go);
}

XF_ENTRY(finish_with_output)
{
    char *output = xf_call_output(call, 1);

    return output ? xf_log(call, XF_LOG_INFO, "finished") : XF_TASK_NO_MEMORY;
}

static void count_line(xf_process *process, const xf_log_line *line, void *arg)
{
    int *count = arg;

    (void)process;
    *count += strcmp(line->text, "finished") == 0;
}

/* Goal: the last item's output is the pool's, and no finalizer ends it. */
static void a_finalizer_may_have_output(void **state)
{
    int count = 0;
    xf_process_options process = {.on_log = count_line, .on_log_arg = &count};
    xf_pool_options options = {.workers = 1, .finalizer = &finish_with_output, .process = &process};
    xf_bytes in = {"abc", 3};
    xf_future *future;
    xf_pool *pool = open_pool(&options);

    (void)state;
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &reverse, .bytes = &in, .count = 1}), 0);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    assert_int_equal(xf_future_failures(future), 0);
    xf_future_free(future);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    assert_int_equal(count, 1);
    xf_pool_free(pool);
}

static void initializers_build_what_tasks_see(void **state)
{
    int value = 1000, in[10], out[10];
    xf_pool_options options = {
        .workers = 2, .initializer = &build, .initializer_input = &value, .initializer_size = sizeof value};
    xf_pool *pool = open_pool(&options);

    (void)state;
    for (int i = 0; i < 10; i++)
        in[i] = i;
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &what_was_built, .in = in, .out = out, .count = 10}), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(out[i], 1000 + i);
    xf_pool_free(pool);
}

static void an_initializer_that_does_not_work_breaks_the_pool(void **state)
{
    const int inputs[] = {-1, -3, -4};
    const char *const messages[] = {"will not build", "workers end before they are ready: crashed (abort)",
                                    "the process exited inside the task"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        int value = inputs[i];
        xf_pool_options options = {
            .workers = 2, .initializer = &build, .initializer_input = &value, .initializer_size = sizeof value};
        xf_pool *pool = open_pool(&options);
        xf_future *future = order_one(pool, FINE, NULL), *late;
        assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
        assert_int_equal(xf_future_status(future, 0).kind, XF_END_START_FAILED);
        assert_string_equal(xf_future_report(future, 0)->message, messages[i]);
        xf_future_free(future);
        assert_true(xf_pool_submit(&late, pool, &(xf_map){.task = &reverse, .in = "a", .size = 1}) < 0);
        xf_pool_free(pool);
    }
}

static xf_pool *open_in_storm(xf_array **counts, int64_t kills)
{
    static storm storm; /* which stays as long as the pool */

    assert_int_equal(xf_array_create(counts, STORM_COUNTS, sizeof(int64_t)), 0);
    assert_int_equal(xf_array_ref(*counts, &storm.counts), 0);
    XF_ARRAY_AT(*counts, int64_t, KILLED) = kills;
    return open_pool(&(xf_pool_options){
        .workers = 1, .initializer = &survive, .initializer_input = &storm, .initializer_size = sizeof storm});
}

static void kills_from_outside_do_not_end_the_pool(void **state)
{
    enum { KILLS = 8 }; /* more than an initializer may crash */
    xf_array *counts = NULL;
    xf_pool *pool = open_in_storm(&counts, KILLS);

    (void)state;
    expect_squares(pool, 100, NULL);
    assert_int_equal(XF_ARRAY_AT(counts, int64_t, BEGAN), KILLS + 1);
    xf_pool_free(pool);
    xf_array_free(counts);
}

/* The pool starts a worker now and then, and not all the time; and it ends neither while it waits for that. */
static void workers_that_are_always_killed_are_started_ever_more_slowly(void **state)
{
    enum { WAIT_MS = 700, STARTS = 20 };
    xf_array *counts = NULL;
    xf_pool *pool = open_in_storm(&counts, INT64_MAX);
    xf_future *future = order_one(pool, FINE, NULL);
    int waits = 0;

    (void)state;
    for (; waits == 0 || atomic_load(&XF_ARRAY_ATOMIC_AT(counts, int64_t, BEGAN)) < 2; waits++)
        assert_int_equal(xf_future_wait(future, WAIT_MS), XF_ETIMEDOUT);
    assert_in_range(atomic_load(&XF_ARRAY_ATOMIC_AT(counts, int64_t, BEGAN)), 2, STARTS * waits);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 0), XF_ETIMEDOUT); /* there is work, even if no worker runs */
    atomic_store(&XF_ARRAY_ATOMIC_AT(counts, int64_t, KILLED), 0);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    assert_int_equal(xf_future_status(future, 0).kind, XF_END_DONE);
    xf_future_free(future);
    xf_pool_free(pool);
    xf_array_free(counts);
}

/* A pool that waits before it starts a worker can be ended at once. */
static void a_pool_that_waits_for_a_start_can_be_freed(void **state)
{
    enum { WAIT_MS = 200 };
    xf_array *counts = NULL;
    xf_pool *pool = open_in_storm(&counts, INT64_MAX);
    xf_future *future = order_one(pool, FINE, NULL);

    (void)state;
    assert_int_equal(xf_future_wait(future, WAIT_MS), XF_ETIMEDOUT);
    assert_int_equal(xf_pool_terminate(pool, 60000), 0);
    assert_int_equal(xf_future_status(future, 0).kind, XF_END_CANCELLED);
    xf_future_free(future);
    xf_pool_free(pool);
    xf_array_free(counts);
}

static void pools_nest_to_the_limit(void **state)
{
    xf_pool *pool = open_workers(1);
    int depth = 3, out = 0;

    (void)state;
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &nest, .in = &depth, .out = &out, .count = 1}), 0);
    assert_int_equal(out, 3);
    depth = XF_DEPTH_MAX + 1;
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &nest, .in = &depth, .out = &out, .count = 1}), XF_EFAILED);
    xf_pool_free(pool);
}

static void nesting_is_limited_as_asked(void **state)
{
    (void)state;
    for (int nesting = -1; nesting <= 2; nesting++) {
        xf_pool_options options = {.workers = 1, .nesting = nesting};
        xf_pool *pool = open_pool(&options);
        for (int depth = 1; depth <= 3; depth++) {
            int out, allowed = nesting == 0 ? 3 : nesting < 0 ? 0 : nesting;
            assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &nest, .in = &depth, .out = &out, .count = 1}),
                             depth <= allowed ? 0 : XF_EFAILED);
        }
        xf_pool_free(pool);
    }
}

static void a_high_priority_goes_first(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *blocker = order_one(pool, PATIENT, NULL), *low, *high;
    double in[100] = {0};

    (void)state;
    assert_int_equal(xf_pool_map_async(&low, pool, &(xf_map){.task = &square, .in = in, .count = 100, .chunk = 1}), 0);
    high = order_one(pool, PATIENT, &(xf_map){.priority = XF_PRIORITY_HIGH});
    while (stats_of(pool).queued != 101)
        continue;
    xf_future_cancel(blocker);
    assert_int_equal(xf_future_wait(blocker, 60000), XF_EFAILED);
    while (stats_of(pool).queued != 100)
        continue;
    assert_int_equal(xf_future_wait(low, 0), XF_ETIMEDOUT);
    xf_future_cancel(high);
    assert_int_equal(xf_future_wait(low, 60000), 0);
    xf_future_free(blocker);
    xf_future_free(low);
    xf_future_free(high);
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_completes_what_was_handed_in),
        cmocka_unit_test(recycled_workers_lose_nothing),
        cmocka_unit_test(closing_early_still_recycles),
        cmocka_unit_test(the_number_of_workers_can_change_under_load),
        cmocka_unit_test(workers_start_when_there_is_work),
        cmocka_unit_test(workers_without_work_end_when_asked),
        cmocka_unit_test(work_that_comes_when_a_worker_leaves_is_done),
        cmocka_unit_test(a_finalizer_may_have_output),
        cmocka_unit_test(initializers_build_what_tasks_see),
        cmocka_unit_test(an_initializer_that_does_not_work_breaks_the_pool),
        cmocka_unit_test(kills_from_outside_do_not_end_the_pool),
        cmocka_unit_test(workers_that_are_always_killed_are_started_ever_more_slowly),
        cmocka_unit_test(a_pool_that_waits_for_a_start_can_be_freed),
        cmocka_unit_test(pools_nest_to_the_limit),
        cmocka_unit_test(nesting_is_limited_as_asked),
        cmocka_unit_test(a_high_priority_goes_first),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
