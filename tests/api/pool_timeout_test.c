/* Goal: items that take too long, whose map has a deadline, that are cancelled, or whose pool is terminated end soon,
 * and no other item ends with them. */
#include "pool_tasks.h"

XF_TASK(is_asked, const int *in, int *out)
{
    *out = *in + xf_stop_requested(call, 0);
    return 0;
}

/* The worker lives on, and its next items have the numbers of jobs and chunks that the obedient one had. */
static void an_item_that_obeyed_leaves_no_request_behind(void **state)
{
    xf_pool *pool = open_workers(1);
    int in[20] = {0}, out[20];

    (void)state;
    for (int round = 0; round < 6; round++) {
        xf_future *future = order_one(pool, PATIENT, &(xf_map){.timeout_ms = round % 2 ? 20 : 0});
        if (round % 2 == 0)
            xf_future_cancel(future);
        assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
        xf_future_free(future);
        for (int i = 0; i < 40; i++) {
            size_t count = i % 2 ? 20 : 1;
            assert_int_equal(
                xf_pool_map(pool, &(xf_map){.task = &is_asked, .in = in, .out = out, .count = count, .chunk = 1}), 0);
            for (size_t k = 0; k < count; k++)
                assert_int_equal(out[k], 0);
        }
    }
    xf_pool_free(pool);
}

static void cancelling_with_much_in_flight_costs_nothing_else(void **state)
{
    enum { SIZE = 100 << 20 };
    xf_pool *pool = open_workers(2);
    char *text = calloc(1, SIZE);
    xf_future *futures[3];

    (void)state;
    assert_non_null(text);
    for (int i = 0; i < 3; i++)
        assert_int_equal(xf_pool_submit(&futures[i], pool, &(xf_map){.task = &reverse, .in = text, .size = SIZE}), 0);
    xf_future_cancel(futures[0]);
    xf_future_cancel(futures[2]);
    assert_int_equal(xf_future_wait(futures[1], 60000), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(xf_future_wait(futures[i], 60000), XF_ETIMEDOUT);
        xf_future_free(futures[i]);
    }
    expect_squares(pool, 100, NULL);
    await_memory(pool, 0);
    free(text);
    xf_pool_free(pool);
}

static void an_item_that_takes_too_long_is_ended(void **state)
{
    xf_pool *pool = open_workers(2);
    xf_map options = {.timeout_ms = 50};
    order orders[8] = {{FINE, 0}, {HANG, 1}, {FINE, 2}, {PATIENT, 3}, {FINE, 4}, {FINE, 5}, {HANG, 6}, {FINE, 7}};
    xf_future *future = order_many(pool, orders, 8, &options);

    (void)state;
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < 8; i++)
        assert_string_equal(xf_end_name(xf_future_status(future, i).kind),
                            xf_end_name(orders[i].what == FINE ? XF_END_DONE : XF_END_TIMED_OUT));
    assert_string_equal(xf_future_report(future, 1)->kind_name, "timed out");
    xf_future_free(future);
    expect_squares(pool, 100, NULL);
    xf_pool_free(pool);
}

/* ---- Deadlines ------------------------------------------------------------------------------- */

static void expect_never_began(xf_future *future, size_t item)
{
    const xf_report *report = xf_future_report(future, item);

    assert_string_equal(xf_end_name(xf_future_status(future, item).kind), xf_end_name(XF_END_TIMED_OUT));
    assert_non_null(report);
    assert_int_equal(report->attempt, 0);
    assert_int_equal(report->phase, XF_PHASE_STARTING);
    assert_string_equal(report->message, "the deadline had passed before it began");
}

static void a_deadline_counts_the_wait_for_a_worker(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *running = order_one(pool, HANG, NULL), *waiting, *many;
    order orders[50] = {{FINE, 0}};

    (void)state;
    waiting = order_one(pool, FINE, &(xf_map){.deadline_ms = 50});
    many = order_many(pool, orders, 50, &(xf_map){.deadline_ms = 30, .timeout_ms = 10000, .chunk = 20});
    assert_int_equal(xf_future_wait(waiting, 60000), XF_EFAILED);
    expect_never_began(waiting, 0);
    assert_int_equal(xf_future_wait(many, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(many), 50);
    expect_never_began(many, 0);
    expect_never_began(many, 49);
    assert_int_equal(xf_future_wait(running, 0), XF_ETIMEDOUT); /* it has none */
    xf_future_cancel(running);
    expect_kind(running, XF_END_CANCELLED, 0);
    xf_future_free(waiting);
    xf_future_free(many);
    expect_squares(pool, 100, NULL);
    xf_pool_free(pool);
}

/* More items than workers, each of which would take for ever: one grace is waited for, and not one for each. */
static void a_deadline_is_for_all_items_of_a_map(void **state)
{
    static order orders[1000] = {{FINE, 0}, {FINE, 0}, {FINE, 0}};
    xf_pool *pool = open_workers(2);
    xf_map map = {.task = &obey, .in = orders, .count = 1000, .chunk = 100, .deadline_ms = 500};
    xf_future *future = NULL;
    int began = 0;

    (void)state;
    for (size_t i = 3; i < 1000; i++)
        orders[i].what = i == 3 ? PATIENT : HANG;
    map.results = &future;
    assert_int_equal(xf_pool_map(pool, &map), XF_EFAILED);
    for (size_t i = 0; i < 1000; i++) {
        if (xf_future_status(future, i).kind == XF_END_DONE && orders[i].what == FINE)
            continue;
        assert_int_equal(xf_future_status(future, i).kind, XF_END_TIMED_OUT);
        began += xf_future_report(future, i)->attempt;
    }
    assert_in_range(began, 0, 2);
    assert_in_range(stats_of(pool).replaced, 0, 2);
    xf_future_free(future);
    expect_squares(pool, 100, &(xf_map){.deadline_ms = 60000});
    xf_pool_free(pool);
}

/* Each attempt kills its worker, and there could be very many. */
static void a_deadline_ends_retries(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .max_attempts = 1000000});

    (void)state;
    expect_kind(order_one(pool, DIE, &(xf_map){.deadline_ms = 100}), XF_END_TIMED_OUT, 0);
    expect_squares(pool, 100, NULL);
    xf_pool_free(pool);
}

static void count_call(xf_future *future, void *arg)
{
    (void)future;
    uv_sem_post(arg);
}

/* Also of a future that the program has freed. */
static void a_deadline_has_callbacks_called(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *running = order_one(pool, HANG, NULL);
    uv_sem_t calls;

    (void)state;
    assert_int_equal(uv_sem_init(&calls, 0), 0);
    for (int i = 0; i < 3; i++)
        xf_future_free(
            order_one(pool, FINE, &(xf_map){.deadline_ms = 20 + i, .on_failure = count_call, .arg = &calls}));
    for (int i = 0; i < 3; i++)
        uv_sem_wait(&calls);
    uv_sem_destroy(&calls);
    xf_future_cancel(running);
    expect_kind(running, XF_END_CANCELLED, 0);
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static int give_orders(void *arg, xf_bytes *input)
{
    static const order hang = {HANG, 0};
    int *left = arg;

    *input = (xf_bytes){&hang, sizeof hang};
    return (*left)-- > 0;
}

static void each_input_of_a_generator_has_a_deadline(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_imap_options options = {.task = &obey, .next = give_orders, .window = 3, .deadline_ms = 50};
    int left = 5;
    xf_imap *imap;
    xf_future *future;

    (void)state;
    options.arg = &left;
    assert_int_equal(xf_imap_create(&imap, pool, &options), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(xf_imap_next(imap, &future, NULL, 60000), 1);
        expect_kind(future, XF_END_TIMED_OUT, 0);
    }
    assert_int_equal(xf_imap_next(imap, &future, NULL, 60000), 0);
    xf_imap_free(imap);
    xf_pool_free(pool);
}

static void a_deadline_is_not_negative(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &reverse, .deadline_ms = -1}), XF_EINVAL);
    assert_non_null(strstr(xf_error_detail(), "deadline_ms"));
    xf_pool_free(pool);
}

/* ---- Cancelling ------------------------------------------------------------------------------ */

static void a_cancelled_item_ends_whether_it_likes_or_not(void **state)
{
    const int whats[] = {PATIENT, STUBBORN};
    xf_pool *pool = open_workers(1);

    (void)state;
    for (int i = 0; i < 2; i++) {
        xf_future *running = order_one(pool, whats[i], NULL), *waiting = order_one(pool, FINE, NULL);
        xf_worker_stats worker;
        xf_pool_stats stats;
        do
            xf_pool_stats_get(pool, &stats, &worker, 1);
        while (stats.queued != 1);
        xf_future_cancel(waiting);
        expect_kind(waiting, XF_END_CANCELLED, 0);
        xf_future_cancel(running);
        expect_kind(running, XF_END_CANCELLED, 0);
        expect_squares(pool, 100, NULL);
    }
    assert_int_equal(stats_of(pool).lost, 0);
    xf_pool_free(pool);
}

/* Waits to be asked to stop, and returns its input then. */
XF_TASK(stop_with_code, const int *in, int *out)
{
    *out = *in;
    return xf_stop_requested(call, XF_FOREVER) ? *in : 99;
}

/* Cancels while the first item of the first chunk runs. */
static void expect_cancelled_but_for_the_first(xf_pool *pool, int first_code)
{
    int codes[10] = {first_code, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    xf_future *future;

    assert_int_equal(
        xf_pool_map_async(&future, pool, &(xf_map){.task = &stop_with_code, .in = codes, .count = 10, .chunk = 5}), 0);
    while (stats_of(pool).queued != 5)
        continue;
    xf_future_cancel(future);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < 10; i++)
        assert_string_equal(xf_end_name(xf_future_status(future, i).kind),
                            xf_end_name(i == 0 && first_code == 0 ? XF_END_DONE : XF_END_CANCELLED));
    xf_future_free(future);
}

/* Whether a batch function runs the items, or, for guard pages, each is run by itself. */
static void the_rest_of_a_cancelled_chunk_does_not_fail(void **state)
{
    xf_process_options process = {.grace_ms = 60000};

    (void)state;
    for (int guarded = 0; guarded < 2; guarded++) {
        xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .process = &process, .guard_pages = guarded});
        expect_cancelled_but_for_the_first(pool, 9);
        expect_cancelled_but_for_the_first(pool, 0);
        expect_squares(pool, 100, NULL);
        assert_int_equal(stats_of(pool).replaced, 0);
        xf_pool_free(pool);
    }
}

static void terminating_with_much_queued_is_prompt(void **state)
{
    enum { COUNT = 10000 };
    xf_pool *pool = open_workers(2);
    static order orders[COUNT];
    xf_future *future, *single[50];

    (void)state;
    for (int i = 0; i < COUNT; i++)
        orders[i].what = HANG;
    future = order_many(pool, orders, COUNT, NULL);
    for (int i = 0; i < 50; i++)
        single[i] = order_one(pool, HANG, NULL);
    assert_int_equal(xf_pool_terminate(pool, 60000), 0);
    assert_int_equal(xf_future_wait(future, 0), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), COUNT);
    assert_int_equal(xf_future_status(future, 0).kind, XF_END_CANCELLED);
    assert_int_equal(xf_future_status(future, COUNT - 1).kind, XF_END_CANCELLED);
    for (int i = 0; i < 50; i++)
        expect_kind(single[i], XF_END_CANCELLED, 0);
    xf_future_free(future);
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_that_obeyed_leaves_no_request_behind),
        cmocka_unit_test(cancelling_with_much_in_flight_costs_nothing_else),
        cmocka_unit_test(an_item_that_takes_too_long_is_ended),
        cmocka_unit_test(a_deadline_counts_the_wait_for_a_worker),
        cmocka_unit_test(a_deadline_is_for_all_items_of_a_map),
        cmocka_unit_test(a_deadline_ends_retries),
        cmocka_unit_test(a_deadline_has_callbacks_called),
        cmocka_unit_test(each_input_of_a_generator_has_a_deadline),
        cmocka_unit_test(a_deadline_is_not_negative),
        cmocka_unit_test(a_cancelled_item_ends_whether_it_likes_or_not),
        cmocka_unit_test(the_rest_of_a_cancelled_chunk_does_not_fail),
        cmocka_unit_test(terminating_with_much_queued_is_prompt),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
