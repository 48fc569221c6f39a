/* Goal: futures complete and can be freed in any order, and a generator is read no further than its window. */
#include "pool_tasks.h"

static void exactly_the_complete_future_is_found(void **state)
{
    xf_pool *pool = open_workers(2);
    xf_future *futures[2] = {order_one(pool, PATIENT, NULL), NULL};

    (void)state;
    assert_int_equal(xf_future_wait_any(futures, 1, 10), XF_ETIMEDOUT);
    futures[1] = order_one(pool, FINE, NULL);
    assert_int_equal(xf_future_wait_any(futures, 2, 60000), 1);
    assert_int_equal(xf_future_wait_all(futures, 2, 10), XF_ETIMEDOUT);
    xf_future_cancel(futures[0]);
    assert_int_equal(xf_future_wait_all(futures, 2, 60000), XF_EFAILED);
    xf_future_free(futures[0]);
    xf_future_free(futures[1]);
    xf_pool_free(pool);
}

typedef struct source {
    size_t next, end;
    int error;
    size_t given; /* results that the pool has returned */
    size_t window;
} source;

static int next_number(void *arg, xf_bytes *input)
{
    source *source = arg;

    assert_true(source->next - source->given <= source->window);
    if (source->next == source->end)
        return source->error;
    source->next++;
    *input = (xf_bytes){&source->next, sizeof source->next};
    return 1;
}

static void a_generator_is_pulled_through_a_window(void **state)
{
    xf_pool *pool = open_workers(2);

    (void)state;
    for (int unordered = 0; unordered < 2; unordered++) {
        source source = {.end = 300, .error = -77, .window = 5};
        xf_imap_options options;
        xf_imap *imap;
        xf_future *future;
        size_t index, sum = 0;
        int rc;
        options =
            (xf_imap_options){.task = &give, .next = next_number, .arg = &source, .window = 5, .unordered = unordered};
        assert_int_equal(xf_imap_create(&imap, pool, &options), 0);
        while ((rc = xf_imap_next(imap, &future, &index, 60000)) == 1) {
            size_t size = 0;
            assert_non_null(xf_future_result(future, 0, &size));
            assert_int_equal(size, index + 1);
            assert_true(unordered || index == source.given);
            source.given++;
            sum += index;
            xf_future_free(future);
        }
        assert_int_equal(rc, -77);
        assert_int_equal(source.given, 300);
        assert_int_equal(sum, 299 * 300 / 2);
        assert_int_equal(xf_imap_next(imap, &future, &index, 0), 0);
        xf_imap_free(imap);
    }
    assert_int_equal(stats_of(pool).futures, 0);
    xf_pool_free(pool);
}

enum { MUCH = 4 << 20 };

/* The third input does not fit the pool's limit. */
static int next_is_larger(void *arg, xf_bytes *input)
{
    static const char much[MUCH] = "much";
    int *count = arg;

    *input = (xf_bytes){much, ++*count == 3 ? MUCH : 8};
    return 1;
}

static void an_input_that_cannot_be_submitted_has_its_reason(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .memory_limit = MUCH / 4});
    xf_imap_options options = {.task = &reverse, .next = next_is_larger};
    int count = 0;
    xf_imap *imap;
    xf_future *future;

    (void)state;
    options.arg = &count;
    assert_int_equal(xf_imap_create(&imap, pool, &options), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(xf_imap_next(imap, &future, NULL, 60000), 1);
        xf_future_free(future);
    }
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = NULL}), XF_EINVAL); /* another reason */
    assert_int_equal(xf_imap_next(imap, &future, NULL, 60000), XF_ENOMEM);
    assert_int_equal(count, 3);
    assert_non_null(strstr(xf_error_detail(), "input 2"));
    assert_non_null(strstr(xf_error_detail(), "memory_limit"));
    xf_imap_free(imap);
    xf_pool_free(pool);
}

static void an_abandoned_generator_leaves_nothing(void **state)
{
    xf_pool *pool = open_workers(2);
    source source = {.end = 1000, .window = 8};
    xf_imap_options options = {.task = &give, .next = next_number, .arg = &source};
    xf_imap *imap;

    (void)state;
    assert_int_equal(xf_imap_create(&imap, pool, &options), 0);
    xf_imap_free(imap);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    xf_pool_free(pool);
}

static void futures_may_outlive_their_pool(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *done = order_one(pool, FINE, NULL), *hanging = order_one(pool, HANG, NULL);

    (void)state;
    assert_int_equal(xf_future_wait(done, 60000), 0);
    xf_pool_free(pool);
    xf_future_free(done);
    xf_future_free(hanging);
}

static void a_future_that_was_given_up_is_completed_all_the_same(void **state)
{
    xf_pool *pool = open_workers(2);

    (void)state;
    for (int i = 0; i < 500; i++)
        xf_future_free(order_one(pool, i % 100 == 7 ? DIE : FINE, NULL));
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    assert_int_equal(stats_of(pool).done + stats_of(pool).lost, 500);
    assert_int_equal(stats_of(pool).lost, 5);
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_complete_future_is_found),
        cmocka_unit_test(a_generator_is_pulled_through_a_window),
        cmocka_unit_test(an_input_that_cannot_be_submitted_has_its_reason),
        cmocka_unit_test(an_abandoned_generator_leaves_nothing),
        cmocka_unit_test(futures_may_outlive_their_pool),
        cmocka_unit_test(a_future_that_was_given_up_is_completed_all_the_same),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
