/* Goal: a pool uses no more memory than its limit, returns all of it, and leaves nothing behind. */
#include "pool_tasks.h"

XF_TASK(fill_chunk, const int *in, chunk *out)
{
    out->at[0] = (char)*in;
    return 0;
}

/* Overwrites its input. */
XF_TASK(overwrite, const double *in, int *out)
{
    *(double *)(uintptr_t)in = -*in;
    *out = 0;
    return 0;
}

static void pool_memory_is_used_in_place(void **state)
{
    enum { COUNT = 5000 };
    xf_pool *pool = open_workers(2);
    double *in = xf_pool_buffer_alloc(pool, COUNT * sizeof *in), *out = xf_pool_buffer_alloc(pool, COUNT * sizeof *out);
    size_t before = stats_of(pool).memory;
    xf_future *future;

    (void)state;
    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &square, .in = in, .out = out, .count = COUNT}),
                     0);
    assert_true(stats_of(pool).memory - before < COUNT * sizeof *in + 100000);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    assert_ptr_equal(xf_future_result(future, 7, NULL), out + 7);
    assert_true(out[7] == 49);
    xf_future_free(future);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &overwrite, .in = in + 7, .size = sizeof *in}), 0);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    assert_true(in[7] == -7);
    xf_future_free(future);
    await_memory(pool, before);
    xf_pool_buffer_free(pool, in);
    xf_pool_buffer_free(pool, out);
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void a_huge_map_needs_eight_bytes_an_item_beside_its_data(void **state)
{
    enum { COUNT = 10000000 };
    xf_pool *pool = open_workers(2);
    double *in = calloc(COUNT, sizeof *in);
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &square, .in = in, .count = COUNT, .chunk = 1}),
                     0);
    assert_true(stats_of(pool).memory < (size_t)COUNT * (2 * sizeof *in + 8) + 200000);
    assert_int_equal(xf_future_wait(future, 120000), 0);
    xf_future_free(future);
    free(in);
    xf_pool_free(pool);
}

static void memory_beyond_the_limit_is_refused_and_comes_back(void **state)
{
    xf_pool_options options = {.workers = 1, .memory_limit = 8 << 20};
    xf_pool *pool = open_pool(&options);
    size_t huge = 64 << 20;
    xf_future *future;
    void *most;

    (void)state;
    assert_null(xf_pool_buffer_alloc(pool, 9 << 20));
    most = xf_pool_buffer_alloc(pool, (8 << 20) - 64); /* and guard bytes */
    assert_non_null(most);
    assert_null(xf_pool_buffer_alloc(pool, 1));
    xf_pool_buffer_free(pool, most);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &give, .in = &huge, .size = sizeof huge}), 0);
    expect_kind(future, XF_END_FAILED, XF_TASK_NO_MEMORY);
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

enum { FULL = 600 };

/* Fills a pool with outputs until there is no room, and then for one small output after the other. */
static void a_full_pool_fails_items_and_loses_no_worker(void **state)
{
    static size_t sizes[FULL];
    static xf_bytes in[FULL];
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 2, .memory_limit = 4 << 20});
    xf_future *future;
    size_t done = 0;

    (void)state;
    for (size_t i = 0; i < FULL; i++) {
        sizes[i] = (size_t)(1 << 20) >> i % 15;
        in[i] = (xf_bytes){&sizes[i], sizeof sizes[i]};
    }
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &give, .bytes = in, .count = FULL}), 0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < FULL; i++) {
        xf_status status = xf_future_status(future, i);
        done += status.kind == XF_END_DONE;
        if (status.kind == XF_END_DONE)
            continue;
        assert_int_equal(status.kind, XF_END_FAILED);
        assert_int_equal(status.code, XF_TASK_NO_MEMORY);
        assert_non_null(strstr(xf_future_report(future, i)->message, "memory_limit"));
    }
    assert_in_range(done, 4, FULL - 1);
    assert_int_equal(stats_of(pool).replaced, 0);
    assert_int_equal(stats_of(pool).lost, 0);
    xf_future_free(future);
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

/* Returns its input. */
XF_TASK(fail_with, const int *in, char *out)
{
    *out = 0;
    return *in;
}

enum { MANY = 50000 }; /* items that fail: there is no room for a note of each */

static xf_future *fail_many(xf_pool *pool, int count, int codes)
{
    int *in = calloc((size_t)count, sizeof *in);
    xf_future *future;

    for (int i = 0; i < count; i++)
        in[i] = 7 + i % codes;
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &fail_with, .in = in, .count = (size_t)count}),
                     0);
    free(in);
    return future;
}

static void failures_beyond_the_room_for_notes_are_kept_together(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 2, .memory_limit = 1 << 20});
    xf_future *future = fail_many(pool, MANY, 1);

    (void)state;
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), xf_future_count(future));
    for (size_t i = 0; i < xf_future_count(future); i++) {
        assert_int_equal(xf_future_status(future, i).kind, XF_END_FAILED);
        assert_int_equal(xf_future_status(future, i).code, 7);
    }
    assert_int_equal(stats_of(pool).replaced, 0);
    xf_future_free(future);
    xf_pool_free(pool);
}

/* Each item has failed, whether that could be noted or not.  Returns how many are known to have. */
static size_t expect_failures(xf_future *future)
{
    size_t known = 0;

    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < xf_future_count(future); i++) {
        xf_status status = xf_future_status(future, i);
        assert_true(status.kind == XF_END_UNKNOWN || (status.kind == XF_END_FAILED && status.code == 7 + (int)(i % 2)));
        known += status.kind == XF_END_FAILED;
        assert_non_null(xf_future_report(future, i));
    }
    assert_int_equal(xf_future_failures(future), xf_future_count(future));
    return known;
}

static void failures_that_cannot_be_noted_are_not_known(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 2, .memory_limit = 1 << 20});
    xf_future *future = fail_many(pool, MANY, 2);

    (void)state;
    assert_true(expect_failures(future) > 1000);
    assert_int_equal(stats_of(pool).replaced, 0);
    xf_future_free(future);
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

/* Notes may be in more memory than the limit. */
static void failures_are_known_where_their_notes_fill_what_is_kept_back(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .memory_limit = 1 << 20});

    (void)state;
    for (int count = 16000; count <= 32000; count += 4000) {
        xf_future *future = fail_many(pool, count, 2);
        size_t known = expect_failures(future);
        assert_true(count > 20000 || known == (size_t)count);
        xf_future_free(future);
    }
    xf_pool_free(pool);
}

/* The memory of a future that was freed can be used for the next one, even if a worker still accesses it. */
static void memory_that_was_just_freed_can_be_had(void **state)
{
    enum { ROUNDS = 300, COUNT = 8 };
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 2, .memory_limit = COUNT * sizeof(chunk) * 3 / 2});
    int in[COUNT] = {0};
    xf_future *future;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &fill_chunk, .in = in, .count = COUNT}), 0);
        assert_int_equal(xf_future_wait(future, 60000), 0);
        xf_future_free(future);
        if (round % 2 == 0)
            expect_squares(pool, 1, NULL); /* its job is used again later */
    }
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void use_a_pool(void)
{
    xf_pool *pool = open_workers(2);
    xf_future *future;

    expect_squares(pool, 1000, NULL);
    expect_kind(order_one(pool, DIE, NULL), XF_END_KILLED, 0);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &reverse, .in = "abc", .size = 3}), 0);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    xf_future_free(future);
    xf_pool_free(pool);
    assert_int_equal(xf_cleanup(), 0);
}

static void nothing_is_left_behind(void **state)
{
    enum { TURNS = 6 };
    size_t handles, mappings;

    (void)state;
    use_a_pool();
    handles = support_handles();
    mappings = support_mappings();
    for (int turn = 0; turn < TURNS; turn++)
        use_a_pool();
    assert_true(support_handles() < handles + TURNS);
    assert_int_equal(support_mappings(), mappings);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_memory_is_used_in_place),
        cmocka_unit_test(a_huge_map_needs_eight_bytes_an_item_beside_its_data),
        cmocka_unit_test(memory_beyond_the_limit_is_refused_and_comes_back),
        cmocka_unit_test(a_full_pool_fails_items_and_loses_no_worker),
        cmocka_unit_test(failures_beyond_the_room_for_notes_are_kept_together),
        cmocka_unit_test(failures_that_cannot_be_noted_are_not_known),
        cmocka_unit_test(failures_are_known_where_their_notes_fill_what_is_kept_back),
        cmocka_unit_test(memory_that_was_just_freed_can_be_had),
        cmocka_unit_test(nothing_is_left_behind),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
