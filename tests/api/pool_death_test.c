/* Goal: a worker that dies costs the item that it was running and nothing else, and each item says how it ended. */
#include "pool_tasks.h"

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Dies while it writes its result. */
XF_ENTRY(die_giving)
{
    char *out = xf_call_output(call, 8 << 20);

    if (out)
        memset(out, 1, 4 << 20);
    support_kill_self();
}

XF_ENTRY(long_reason)
{
    static char text[1 << 20];

    memset(text, 'x', sizeof text - 1);
    return xf_fail(call, 3, "%s", text);
}

/* An object is a text that says at which stage what happens to it: "decode fails", "encode dies" and so on. */
static int suffer(const char *text, const char *stage)
{
    size_t length = strlen(stage);

    if (strncmp(text, stage, length) != 0)
        return 0;
    if (strcmp(text + length, " dies") == 0)
        support_kill_self();
    if (strcmp(text + length, " exits") == 0)
        exit(0);
    return strcmp(text + length, " fails") == 0 ? -9 : 0;
}

static int encode_text(xf_writer *writer, const void *object)
{
    return xf_writer_put(writer, object, strlen(object));
}

static int decode_as(const char *stage, const void *data, size_t size, void **object)
{
    char *text = calloc(1, size + 1);

    if (!text)
        return -1;
    memcpy(text, data, size);
    if (suffer(text, stage) < 0) {
        free(text);
        return -9;
    }
    *object = text;
    return 0;
}

static int decode_input(const void *data, size_t size, void **object)
{
    return decode_as("decode", data, size, object);
}

static int encode_output(xf_writer *writer, const void *object)
{
    int rc = suffer(object, "encode");

    return rc < 0 ? rc : encode_text(writer, object);
}

static int decode_output(const void *data, size_t size, void **object)
{
    return decode_as("result", data, size, object);
}

static const xf_codec input_codec = {encode_text, decode_input, free};
static const xf_codec output_codec = {encode_output, decode_output, free};

XF_ENTRY_CODEC(pass_on, &input_codec, &output_codec)
{
    int rc = suffer(xf_call_object(call), "run");

    if (rc == 0)
        rc = xf_call_return(call, xf_call_object(call));
    return rc < 0 ? xf_fail(call, rc, "%s", xf_error_detail()) : 0;
}

/* ---- Ends that are not good ------------------------------------------------------------------ */

static void a_failing_item_tells_why_and_the_others_are_done(void **state)
{
    order orders[100] = {{FINE, 0}};
    xf_pool *pool = open_workers(2);
    xf_future *future;

    (void)state;
    orders[30] = (order){FAIL, 300};
    orders[60] = (order){FAIL, 600};
    future = order_many(pool, orders, 100, NULL);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 2);
    assert_int_equal(xf_future_failure(future, 0), 30);
    assert_int_equal(xf_future_failure(future, 1), 60);
    assert_int_equal(xf_future_failure(future, 2), 100);
    assert_int_equal(xf_future_status(future, 60).code, 7);
    assert_string_equal(xf_future_report(future, 60)->message, "item with value 600");
    assert_int_equal(xf_future_report(future, 60)->item, 60);
    assert_null(xf_future_report(future, 61));
    assert_null(xf_future_result(future, 60, NULL));
    assert_int_equal(*(const int *)xf_future_result(future, 61, NULL), 1);
    xf_future_free(future);
    xf_pool_free(pool);
}

/* Calls xf_fail, and returns 0 all the same; the item after it may be the worker's last. */
static int say_or_die(xf_call *call, const order *order)
{
    if (order->what == FAIL)
        (void)xf_fail(call, order->value, "item with code %d", order->value);
    if (order->what == ABORT)
        abort();
    if (order->what == DIE)
        support_kill_self();
    return 0;
}

XF_TASK(say_in_batch, const order *in, int *out)
{
    *out = 1;
    return say_or_die(call, in);
}

XF_ENTRY(say_alone)
{
    int *out = xf_call_output(call, sizeof *out);

    return out ? say_or_die(call, xf_call_input(call, NULL)) : XF_TASK_NO_MEMORY;
}

enum { SAYING = 20 };

static const order sayings[SAYING] = {
    [3] = {FAIL, 76}, [4] = {FAIL, 77}, [6] = {ABORT, 0},  [9] = {FAIL, 78}, [10] = {DIE, 0},  [12] = {FAIL, 79},
    [13] = {FINE, 0}, [14] = {DIE, 0},  [17] = {FAIL, 80}, [18] = {DIE, 0},  [19] = {FAIL, 81}};

static xf_future *map_sayings(xf_pool *pool, xf_task *task, size_t chunk, bool stop_at_failure)
{
    xf_bytes bytes[SAYING];
    xf_map map = {.task = task, .bytes = bytes, .count = SAYING, .chunk = chunk, .stop_at_failure = stop_at_failure};
    xf_future *future;

    for (int i = 0; i < SAYING; i++)
        bytes[i] = (xf_bytes){&sayings[i], sizeof sayings[i]};
    if (task == &say_in_batch) {
        map.bytes = NULL;
        map.in = sayings;
    }
    assert_int_equal(xf_pool_map_async(&future, pool, &map), 0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    return future;
}

static void expect_saying(xf_future *future, size_t item, bool has_text)
{
    static const xf_end kinds[] = {
        [FINE] = XF_END_DONE, [DIE] = XF_END_KILLED, [ABORT] = XF_END_CRASHED, [FAIL] = XF_END_FAILED};
    const xf_report *report = xf_future_report(future, item);
    xf_status status = xf_future_status(future, item);
    char text[128];

    assert_string_equal(xf_end_name(status.kind), xf_end_name(kinds[sayings[item].what]));
    if (status.kind != XF_END_FAILED)
        return;
    snprintf(text, sizeof text, "item with code %d", sayings[item].value);
    assert_int_equal(status.code, sayings[item].value);
    assert_true(report->pid > 0);
    assert_null(xf_future_result(future, item, NULL));
    if (!has_text && strcmp(report->message, text) != 0)
        strcpy(text, "xf_fail was called, and the worker died before it noted the text");
    assert_string_equal(report->message, text);
}

static void a_failure_that_returned_0_outlives_its_worker(void **state)
{
    static const size_t chunks[] = {SAYING, 1, 5, 0};

    (void)state;
    for (int attempts = 1; attempts <= 2; attempts++) {
        xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .max_attempts = attempts});
        for (size_t i = 0; i < 2 * sizeof chunks / sizeof *chunks; i++) {
            xf_future *future = map_sayings(pool, i % 2 ? &say_alone : &say_in_batch, chunks[i / 2], false);
            for (size_t item = 0; item < SAYING; item++)
                expect_saying(future, item, i % 2);
            xf_future_free(future);
        }
        xf_pool_free(pool);
    }
}

/* The first chunk has the failure, and the death behind it. */
static void a_failure_that_returned_0_ends_the_rest_when_asked(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 1, .max_attempts = 2});
    xf_future *future = map_sayings(pool, &say_in_batch, 7, true);

    (void)state;
    for (size_t item = 0; item < 6; item++)
        expect_saying(future, item, false);
    for (size_t item = 7; item < SAYING; item++)
        assert_int_equal(xf_future_status(future, item).kind, XF_END_CANCELLED);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void expect_one_lost(int what, xf_end kind, int code)
{
    order orders[200];
    xf_pool *pool = open_workers(2);
    xf_future *future;
    int out[200] = {0};

    for (int i = 0; i < 200; i++)
        orders[i] = (order){i == 100 ? what : FINE, i};
    assert_int_equal(
        xf_pool_map_async(&future, pool, &(xf_map){.task = &obey, .in = orders, .out = out, .count = 200, .chunk = 16}),
        0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 1);
    assert_int_equal(xf_future_failure(future, 0), 100);
    assert_string_equal(xf_end_name(xf_future_status(future, 100).kind), xf_end_name(kind));
    assert_int_equal(xf_future_status(future, 100).code, code);
    assert_string_equal(xf_future_report(future, 100)->task, "obey");
    assert_int_equal(xf_future_report(future, 100)->attempt, 1);
    assert_true(xf_future_report(future, 100)->pid > 0);
    for (int i = 0; i < 200; i++)
        assert_true(i == 100 || out[i] == i + 1);
    xf_future_free(future);
    assert_int_equal(stats_of(pool).lost, 1);
    expect_squares(pool, 1000, NULL);
    assert_int_equal(stats_of(pool).started, 2);
    xf_pool_free(pool);
}

static void a_killed_worker_costs_one_item(void **state)
{
    (void)state;
    expect_one_lost(DIE, XF_END_KILLED, 0);
}

static void workers_killed_in_a_large_map_cost_one_item_each(void **state)
{
    enum { COUNT = 700000, APART = 100000, LOST = COUNT / APART };
    order *orders = calloc(COUNT, sizeof *orders);
    int *out = calloc(COUNT, sizeof *out);
    xf_pool *pool = open_workers(2);
    xf_future *future;
    xf_map map = {.task = &obey, .in = orders, .out = out, .count = COUNT, .results = &future};

    (void)state;
    for (int i = 0; i < COUNT; i++)
        orders[i] = (order){i % APART == 0 ? DIE : FINE, i};
    assert_int_equal(xf_pool_map(pool, &map), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), LOST);
    for (int i = 0; i < COUNT; i++) {
        xf_end kind = xf_future_status(future, (size_t)i).kind;
        if (i % APART == 0 ? kind != XF_END_KILLED : out[i] != i + 1)
            fail_msg("item %d: %s, output %d", i, xf_end_name(kind), out[i]);
    }
    xf_future_free(future);
    assert_int_equal(stats_of(pool).lost, LOST);
    await_memory(pool, 0);
    xf_pool_free(pool);
    free(orders);
    free(out);
}

static void an_exit_inside_a_task_costs_one_item(void **state)
{
    (void)state;
    expect_one_lost(EXIT, XF_END_EXITED, 0);
}

static void an_abort_costs_one_item(void **state)
{
    (void)state;
    expect_one_lost(ABORT, XF_END_CRASHED, XF_CRASH_ABORT);
}

static void an_idle_worker_that_is_killed_is_replaced(void **state)
{
    xf_pool_options options = {.workers = 2, .eager = true};
    xf_pool *pool = open_pool(&options);
    xf_worker_stats before[2], after[2];
    xf_pool_stats stats;

    (void)state;
    do
        assert_int_equal(xf_pool_stats_get(pool, &stats, before, 2), 2);
    while (!before[0].ready || !before[1].ready);
    support_kill(before[0].pid);
    assert_true(support_has_ended(before[0].pid, 60000));
    do
        expect_squares(pool, 1000, NULL);
    while (stats_of(pool).replaced == 0);
    do
        assert_int_equal(xf_pool_stats_get(pool, &stats, after, 2), 2);
    while (!after[0].ready);
    assert_int_equal(stats.lost, 0);
    assert_int_not_equal(after[0].pid, before[0].pid);
    assert_int_equal(after[1].pid, before[1].pid);
    xf_pool_free(pool);
}

static void a_bad_item_is_tried_as_often_as_asked(void **state)
{
    xf_pool_options options = {.workers = 2, .max_attempts = 3};
    xf_pool *pool = open_pool(&options);
    order orders[20];
    xf_future *future;

    (void)state;
    for (int i = 0; i < 20; i++)
        orders[i] = (order){i == 9 ? DIE : FINE, i};
    future = order_many(pool, orders, 20, NULL);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 1);
    assert_int_equal(xf_future_report(future, 9)->attempt, 3);
    xf_future_free(future);
    while (stats_of(pool).replaced < 3)
        continue;
    xf_pool_free(pool);
}

static void workers_that_all_die_lose_each_its_item(void **state)
{
    const int counts[] = {1, 2, 5, 13};

    (void)state;
    for (int k = 0; k < 4; k++) {
        xf_pool *pool = open_workers(counts[k]);
        order orders[60];
        xf_future *future;
        for (int i = 0; i < 60; i++)
            orders[i] = (order){i % 3 == 1 ? DIE : FINE, i};
        future = order_many(pool, orders, 60, &(xf_map){.chunk = 4});
        assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
        assert_int_equal(xf_future_failures(future), 20);
        for (int i = 0; i < 60; i++)
            assert_int_equal(xf_future_status(future, (size_t)i).kind, i % 3 == 1 ? XF_END_KILLED : XF_END_DONE);
        xf_future_free(future);
        xf_pool_free(pool);
    }
}

static void a_crash_while_giving_a_large_result_is_one_lost_item(void **state)
{
    xf_pool *pool = open_workers(2);
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &die_giving}), 0);
    expect_kind(future, XF_END_KILLED, 0);
    await_memory(pool, 0);
    expect_squares(pool, 100, NULL);
    xf_pool_free(pool);
}

static void a_large_reason_arrives_whole(void **state)
{
    xf_pool *pool = open_workers(2);
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &long_reason}), 0);
    expect_squares(pool, 100, NULL);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(strlen(xf_future_report(future, 0)->message), (1 << 20) - 1);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void each_stage_has_its_own_end(void **state)
{
    static const struct {
        const char *text;
        xf_end kind;
        int code;
        xf_phase phase;
    } cases[] = {
        {"fine", XF_END_DONE, 0, XF_PHASE_RUNNING},
        {"decode fails", XF_END_FAILED, XF_ECODEC, XF_PHASE_RUNNING},
        {"decode dies", XF_END_KILLED, 0, XF_PHASE_LOADING},
        {"decode exits", XF_END_EXITED, 0, XF_PHASE_LOADING},
        {"run fails", XF_END_FAILED, -9, XF_PHASE_RUNNING},
        {"run dies", XF_END_KILLED, 0, XF_PHASE_RUNNING},
        {"run exits", XF_END_EXITED, 0, XF_PHASE_RUNNING},
        {"encode fails", XF_END_FAILED, XF_ECODEC, XF_PHASE_RUNNING},
        {"encode dies", XF_END_KILLED, 0, XF_PHASE_RUNNING},
        {"result fails", XF_END_DONE, 0, XF_PHASE_RUNNING},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    xf_pool *pool = open_workers(2);
    xf_bytes in[COUNT];
    xf_future *future;
    void *object;

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        in[i] = (xf_bytes){cases[i].text, 0};
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &pass_on, .bytes = in, .count = COUNT}), 0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < COUNT; i++) {
        const xf_report *report = xf_future_report(future, i);
        assert_string_equal(xf_end_name(xf_future_status(future, i).kind), xf_end_name(cases[i].kind));
        assert_int_equal(xf_future_status(future, i).code, cases[i].code);
        assert_true(!report || report->phase == cases[i].phase);
    }
    assert_int_equal(xf_future_result_object(future, 0, &object), 0);
    assert_string_equal(object, "fine");
    free(object);
    assert_int_equal(xf_future_result_object(future, 1, &object), XF_EFAILED);
    assert_int_equal(xf_future_result_object(future, COUNT - 1, &object), XF_ECODEC);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void the_first_failure_ends_the_rest_when_asked(void **state)
{
    enum { COUNT = 3000 };
    xf_pool *pool = open_workers(2);
    static order orders[COUNT];
    xf_future *future;
    size_t cancelled = 0;

    (void)state;
    orders[3].what = FAIL;
    for (int i = COUNT / 2; i < COUNT; i++)
        orders[i].what = PATIENT;
    future = order_many(pool, orders, COUNT, &(xf_map){.chunk = 1, .stop_at_failure = true});
    xf_pool_cancel(pool); /* stops the patient items that were claimed */
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < COUNT; i++)
        cancelled += xf_future_status(future, i).kind == XF_END_CANCELLED;
    assert_true(cancelled >= COUNT / 2 - 4);
    xf_future_free(future);
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_item_tells_why_and_the_others_are_done),
        cmocka_unit_test(a_failure_that_returned_0_outlives_its_worker),
        cmocka_unit_test(a_failure_that_returned_0_ends_the_rest_when_asked),
        cmocka_unit_test(a_killed_worker_costs_one_item),
        cmocka_unit_test(workers_killed_in_a_large_map_cost_one_item_each),
        cmocka_unit_test(an_exit_inside_a_task_costs_one_item),
        cmocka_unit_test(an_abort_costs_one_item),
        cmocka_unit_test(an_idle_worker_that_is_killed_is_replaced),
        cmocka_unit_test(a_bad_item_is_tried_as_often_as_asked),
        cmocka_unit_test(workers_that_all_die_lose_each_its_item),
        cmocka_unit_test(a_crash_while_giving_a_large_result_is_one_lost_item),
        cmocka_unit_test(a_large_reason_arrives_whole),
        cmocka_unit_test(each_stage_has_its_own_end),
        cmocka_unit_test(the_first_failure_ends_the_rest_when_asked),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
