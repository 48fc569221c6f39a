/* Goal: a pool does all of its work once, and gives each output, for inputs and outputs of every size. */
#include "pool_tasks.h"

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Reverses as many bytes as its name says, and checks the alignment of input and output. */
#define TURN(size)                                                                                                     \
    typedef struct bytes##size {                                                                                       \
        unsigned char at[size];                                                                                        \
    } bytes##size;                                                                                                     \
    XF_TASK(turn##size, const bytes##size *in, bytes##size *out)                                                       \
    {                                                                                                                  \
        if ((uintptr_t)in % 16 != 0 || (uintptr_t)out % 16 != 0)                                                       \
            return 1;                                                                                                  \
        for (size_t i = 0; i < size; i++)                                                                              \
            out->at[i] = in->at[size - 1 - i];                                                                         \
        return 0;                                                                                                      \
    }

TURN(1)
TURN(16)
TURN(17)
TURN(32)
TURN(64)
TURN(65)
TURN(5000)

/* ---- Doing work ------------------------------------------------------------------------------ */

static void a_map_gives_every_output(void **state)
{
    xf_pool *pool = open_workers(2);

    (void)state;
    for (size_t count = 0; count < 70; count++)
        expect_squares(pool, count, NULL);
    expect_squares(pool, 100000, NULL);
    xf_pool_free(pool);
}

static void every_chunk_size_gives_every_output(void **state)
{
    xf_pool *pool = open_workers(3);

    (void)state;
    for (size_t chunk = 1; chunk < 40; chunk += 3)
        expect_squares(pool, 1000, &(xf_map){.chunk = chunk});
    expect_squares(pool, 1000, &(xf_map){.chunk = 1000000});
    xf_pool_free(pool);
}

static void large_inputs_give_every_output(void **state)
{
    const size_t chunks[] = {0, 1, 1000, 99999, 400000, 1000002};

    (void)state;
    for (int workers = 1; workers <= 3; workers++) {
        xf_pool *pool = open_workers(workers);
        for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++)
            expect_squares(pool, 1000003, &(xf_map){.chunk = chunks[i]});
        await_memory(pool, 0);
        xf_pool_free(pool);
    }
}

static void inputs_of_any_length_come_back(void **state)
{
    static char text[300000];
    const xf_bytes in[] = {{"abc", 3}, {"", 0}, {text, sizeof text}, {"0123456789", 10}};
    xf_pool *pool = open_workers(2);
    xf_future *future;
    const char *out;
    size_t size;

    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)i;
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &reverse, .bytes = in, .count = 4}), 0);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    for (size_t i = 0; i < 4; i++) {
        out = xf_future_result(future, i, &size);
        assert_int_equal(size, in[i].size);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(out[k], ((const char *)in[i].data)[size - 1 - k]);
    }
    xf_future_free(future);
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void single_tasks_give_small_and_large_outputs(void **state)
{
    const size_t sizes[] = {0, 1, 64, 65, 4000, 5000, 70000, 3 << 20};
    xf_pool *pool = open_workers(1);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        xf_future *future;
        const unsigned char *out;
        size_t size;
        assert_int_equal(
            xf_pool_submit(&future, pool, &(xf_map){.task = &give, .in = &sizes[i], .size = sizeof *sizes}), 0);
        assert_int_equal(xf_future_wait(future, 60000), 0);
        out = xf_future_result(future, 0, &size);
        assert_int_equal(size, sizes[i]);
        assert_true(size == 0 || (out[0] == 0x5A && out[size - 1] == 0x5A));
        xf_future_free(future);
    }
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void single_tasks_take_small_and_large_inputs(void **state)
{
    unsigned char in[200];
    xf_pool *pool = open_workers(1);

    (void)state;
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)i;
    for (size_t length = 0; length <= sizeof in; length++) {
        xf_future *future;
        const unsigned char *out;
        size_t size;
        assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &reverse, .in = in, .size = length}), 0);
        assert_int_equal(xf_future_wait(future, 60000), 0);
        out = xf_future_result(future, 0, &size);
        assert_int_equal(size, length);
        for (size_t i = 0; i < length; i++)
            assert_int_equal(out[i], in[length - 1 - i]);
        xf_future_free(future);
    }
    await_memory(pool, 0);
    xf_pool_free(pool);
}

/* Each task runs while futures of others are open, whose results do not change. */
static void single_tasks_of_every_declared_size_give_their_output(void **state)
{
    xf_task *const tasks[] = {&turn1, &turn16, &turn17, &turn32, &turn64, &turn65, &turn5000};
    enum { TASKS = sizeof tasks / sizeof *tasks, EACH = 30 };
    static unsigned char in[5000 + EACH];
    xf_pool *pool = open_workers(2);
    xf_future *futures[TASKS * EACH];

    (void)state;
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i * 7);
    for (size_t i = 0; i < TASKS * EACH; i++) {
        xf_task *task = tasks[i % TASKS];
        assert_int_equal(
            xf_pool_submit(&futures[i], pool, &(xf_map){.task = task, .in = in + i / TASKS, .size = task->input_size}),
            0);
    }
    assert_int_equal(xf_future_wait_all(futures, TASKS * EACH, 60000), 0);
    for (size_t i = 0; i < TASKS * EACH; i++) {
        size_t size;
        const unsigned char *out = xf_future_result(futures[i], 0, &size);
        assert_int_equal(size, tasks[i % TASKS]->output_size);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(out[k], in[i / TASKS + size - 1 - k]);
    }
    for (size_t i = 0; i < TASKS * EACH; i++)
        xf_future_free(futures[i]);
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void two_hundred_workers_sum_rightly(void **state)
{
    xf_pool *pool = open_workers(200);

    (void)state;
    expect_squares(pool, 20000, &(xf_map){.chunk = 1});
    assert_int_equal(stats_of(pool).started, 200);
    xf_pool_free(pool);
}

static void two_threads_map_at_the_same_time(void **state)
{
    mapper mappers[2] = {{open_workers(2), 0}, {NULL, 0}};

    (void)state;
    mappers[1].pool = mappers[0].pool;
    for (int i = 0; i < 2; i++)
        assert_int_equal(uv_thread_create(&mappers[i].thread, map_often, &mappers[i]), 0);
    for (int i = 0; i < 2; i++)
        uv_thread_join(&mappers[i].thread);
    xf_pool_free(mappers[0].pool);
}

static void submit_and_wait(void *arg)
{
    for (int i = 0; i < 40; i++)
        expect_kind(order_one(((mapper *)arg)->pool, i % 10 == 7 ? FAIL : FINE, NULL),
                    i % 10 == 7 ? XF_END_FAILED : XF_END_DONE, i % 10 == 7 ? 7 : 0);
}

static void threads_that_wait_for_their_own_all_return(void **state)
{
    enum { THREADS = 8 };
    xf_pool *pool = open_workers(2);
    mapper waiters[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        waiters[i].pool = pool;
        assert_int_equal(uv_thread_create(&waiters[i].thread, submit_and_wait, &waiters[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&waiters[i].thread);
    xf_pool_free(pool);
}

/* ---- Mistakes -------------------------------------------------------------------------------- */

static void wrong_use_is_refused(void **state)
{
    xf_task unknown = {.name = "unknown"};
    xf_pool *pool;
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = -2}), XF_EINVAL);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = XF_POOL_WORKERS_MAX + 1}), XF_EINVAL);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.initializer = &unknown}), XF_ENOTASK);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.initializer = &build}), XF_ESIZE);
    pool = open_workers(1);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &reverse}), XF_ESIZE);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &unknown}), XF_ENOTASK);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &square, .in = "abc", .size = 3}), XF_ESIZE);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &reverse, .in = "a", .size = 1, .timeout_ms = -1}),
                     XF_EINVAL);
    xf_pool_free(pool);
    xf_pool_free(NULL);
    xf_future_free(NULL);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_gives_every_output),
        cmocka_unit_test(every_chunk_size_gives_every_output),
        cmocka_unit_test(large_inputs_give_every_output),
        cmocka_unit_test(inputs_of_any_length_come_back),
        cmocka_unit_test(single_tasks_give_small_and_large_outputs),
        cmocka_unit_test(single_tasks_take_small_and_large_inputs),
        cmocka_unit_test(single_tasks_of_every_declared_size_give_their_output),
        cmocka_unit_test(two_hundred_workers_sum_rightly),
        cmocka_unit_test(two_threads_map_at_the_same_time),
        cmocka_unit_test(threads_that_wait_for_their_own_all_return),
        cmocka_unit_test(wrong_use_is_refused),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
