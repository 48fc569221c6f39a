/* Goal: whatever a worker writes into the memory that a pool shares, the program lives, each item of each future has an
 * end within seconds, and the pool works on.
 *
 * XF_SCRIBBLES=N makes so many random writes instead of the default. */
#include "pool_tasks.h"
#include "scribbles.h"

/* ---- Tests ----------------------------------------------------------------------------------- */

/* How far into a part the words are written to one by one: what is beyond repeats itself. */
static size_t extent_of(int part)
{
    static const size_t extents[PARTS] = {[PART_HEAD] = sizeof(work_head),
                                          [PART_OWN_SLOT] = 64,
                                          [PART_OTHER_SLOT] = 64,
                                          [PART_OWN_STATE] = sizeof(job_state),
                                          [PART_OTHER_STATE] = sizeof(job_state),
                                          [PART_CLAIMS] = ITEMS * 8 / 2,
                                          [PART_CURSORS] = 2 * sizeof(worker_cursor),
                                          [PART_OUT_SPANS] = 64,
                                          [PART_SLAB_WORDS] = 64,
                                          [PART_SLABS] = 256};

    return extents[part];
}

static void each_word_may_be_overwritten(void **state)
{
    static const uint64_t values[] = {0, 1, UINT64_MAX, NEIGHBOUR, UINT64_C(0x9E3779B97F4A7C15)};
    xf_pool *pool = open_hostile_pool();
    char what[100];
    int count = 0;

    (void)state;
    for (int part = 0; part < PARTS; part++)
        for (size_t at = 0; at < extent_of(part); at += 4)
            for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
                scribble order = {
                    .kind = SCRIBBLE_WORD, .part = part, .at = at, .size = at % 8 ? 4 : 8, .value = values[i]};
                snprintf(what, sizeof what, "%s at %zu, value %zu", part_names[part], at, i);
                run_order(pool, &order, what);
                count++;
            }
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
    print_message("%d words\n", count);
}

static void anything_may_be_overwritten_at_random(void **state)
{
    const char *wanted = getenv("XF_SCRIBBLES");
    int count = wanted ? atoi(wanted) : 200;
    xf_pool *pool = open_hostile_pool();
    scribble_count *written = xf_pool_buffer_alloc(pool, sizeof *written);
    char what[100];

    (void)state;
    assert_non_null(written);
    memset((void *)written, 0, sizeof *written);
    for (int i = 1; i <= count; i++) {
        scribble order = {.kind = SCRIBBLE_RANDOM,
                          .seed = (uint64_t)i * UINT64_C(0x9E3779B97F4A7C15),
                          .count = pool_segment_offset(&pool->segment, written)};
        snprintf(what, sizeof what, "seed %d", i);
        run_order(pool, &order, what);
    }
    expect_squares(pool, 1000, NULL);
    assert_true(written->in_use > written->words / 2);
    print_message("%d items wrote to %llu words, %llu of them in use\n", count, (unsigned long long)written->words,
                  (unsigned long long)written->in_use);
    xf_pool_buffer_free(pool, (void *)written);
    xf_pool_free(pool);
}

/* Says that it reads the memory of that job (its number + 1), and comes to nothing any more. */
XF_TASK(hold_memory, const uint64_t *in, int *out)
{
    worker *worker = call->backend_arg;

    *out = 0;
    atomic_store(&worker->slot->hazard, *in);
    return xf_stop_requested(call, XF_FOREVER);
}

XF_TASK(fill, const int *in, chunk *out)
{
    memset(out, *in, sizeof *out);
    return 0;
}

/* Whether the worker that runs the future's only item says so; any worker may for a moment, which looks for work. */
static bool is_held_by(const xf_pool *pool, const xf_future *holder, uint64_t hazard)
{
    const worker_slot *slots = pool->segment.slots;
    bool is_held = false;

    for (int i = 0; i < 2; i++)
        is_held |=
            atomic_load(&slots[i].intent) == job_intent(holder->number, 0) && atomic_load(&slots[i].hazard) == hazard;
    return is_held;
}

/* A worker that is stopped, or hurt, while it holds memory that is free is killed when that memory is needed. */
static void memory_that_is_held_for_ever_can_be_had(void **state)
{
    enum { CHUNKS = 5 };
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 2, .memory_limit = 8 << 20});
    int in[CHUNKS] = {1, 2, 3, 4, 5};
    xf_map map = {.task = &fill, .in = in, .count = CHUNKS};
    xf_future *future, *holder;

    (void)state;
    for (int round = 0; round < 3; round++) {
        uint64_t hazard;
        assert_int_equal(xf_pool_map_async(&future, pool, &map), 0);
        assert_int_equal(xf_future_wait(future, PATIENCE_MS), 0);
        hazard = (uint64_t)future->number + 1;
        assert_int_equal(
            xf_pool_submit(&holder, pool, &(xf_map){.task = &hold_memory, .in = &hazard, .size = sizeof hazard}), 0);
        while (!is_held_by(pool, holder, hazard))
            ;
        xf_future_free(future);
        assert_int_equal(xf_pool_map_async(&future, pool, &map), 0);
        assert_int_equal(xf_future_wait(future, PATIENCE_MS), 0);
        assert_int_equal(xf_future_wait(holder, PATIENCE_MS), XF_EFAILED);
        xf_future_free(future);
        xf_future_free(holder);
    }
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_word_may_be_overwritten),
        cmocka_unit_test(anything_may_be_overwritten_at_random),
        cmocka_unit_test(memory_that_is_held_for_ever_can_be_had),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
