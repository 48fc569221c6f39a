/* Goal: a watch calls back on its loop whenever something is ready, and can be stopped at any time. */
#include "wait_things.h"

typedef struct seen {
    things things;
    xf_pipe *order;
    xf_process *process;
    int reports[THINGS + 1];
    int again;
} seen;

/* Consumes what is ready, and orders the next thing; leaves the event set for a while. */
static void on_ready(xf_watch *watch, const xf_wait_item *items, int count, void *arg)
{
    static const char orders[] = "gprse";
    seen *seen = arg;

    assert_int_equal(count, THINGS + 1);
    for (int i = 0; i < THINGS; i++) {
        if (!items[i].ready)
            continue;
        seen->reports[i]++;
        if (i == GET)
            get_one(seen->things.queue);
        if (i == PUT)
            assert_int_equal(xf_queue_put(seen->things.full_queue, "x", 1, 0), 0);
        if (i == RECEIVE)
            receive_one(seen->things.pipe);
        if (i == SEND)
            assert_int_equal(xf_pipe_send(seen->things.full_pipe, "x", 1, 0), 0);
        if (i == EVENT && seen->reports[i] < 3) /* the event is reported again */
            continue;
        if (i == EVENT)
            xf_event_clear(seen->things.event);
        if (i == EVENT)
            xf_pipe_free(seen->order);
        else
            give_order(seen->order, orders[i + 1]);
    }
    seen->reports[THINGS] += items[THINGS].ready;
    if (items[THINGS].ready)
        xf_watch_stop(watch);
}

static void a_watch_tells_a_loop(void **state)
{
    xf_wait_item items[THINGS + 1];
    xf_watch *watch;
    uv_loop_t loop;
    seen seen = {0};

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    make_things(&seen.things);
    seen.process = start_maker(&seen.things, &seen.order);
    list_things(&seen.things, items);
    items[THINGS] = (xf_wait_item){.kind = XF_WAIT_PROCESS, .process = seen.process};
    assert_int_equal(
        xf_watch_start(&watch, &loop,
                       &(xf_watch_options){.items = items, .count = THINGS + 1, .callback = on_ready, .arg = &seen}),
        0);
    give_order(seen.order, 'g');
    uv_run(&loop, UV_RUN_DEFAULT); /* until the watch is stopped */
    assert_int_equal(uv_loop_close(&loop), 0);
    for (int i = 0; i <= THINGS; i++)
        assert_int_equal(seen.reports[i], i == EVENT ? 3 : 1);
    expect_end(seen.process, XF_END_DONE, 0);
    free_things(&seen.things);
}

static void never(xf_watch *watch, const xf_wait_item *items, int count, void *arg)
{
    (void)watch, (void)items, (void)count, (void)arg;
    fail_msg("nothing is ready");
}

static void count_it(xf_watch *watch, const xf_wait_item *items, int count, void *arg)
{
    (void)watch, (void)items, (void)count;
    ++*(int *)arg;
}

static void a_watch_can_be_stopped_at_any_time(void **state)
{
    static xf_wait_item items[MANY];
    xf_watch *watch;
    uv_loop_t loop;
    size_t handles, mappings;
    int reports = 0;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    make_many(items);
    assert_int_equal(xf_cleanup(), 0); /* the supervisor of the tests before */
    handles = support_handles();
    mappings = support_mappings();
    for (int round = 0; round < 6; round++) {
        assert_int_equal(
            xf_watch_start(&watch, &loop, &(xf_watch_options){.items = items, .count = MANY, .callback = never}), 0);
        if (round % 2)
            uv_sleep(5); /* nothing happens for a while, so that a watch that sleeps is stopped as well */
        uv_run(&loop, UV_RUN_NOWAIT);
        xf_watch_stop(watch);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    xf_event_set(items[MANY - 1].event);
    assert_int_equal(
        xf_watch_start(&watch, &loop,
                       &(xf_watch_options){.items = items, .count = MANY, .callback = count_it, .arg = &reports}),
        0);
    while (reports < 5)
        uv_run(&loop, UV_RUN_ONCE);
    xf_watch_stop(watch);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(reports, 5);
    assert_int_equal(support_handles(), handles);
    assert_int_equal(support_mappings(), mappings);
    assert_int_equal(xf_watch_start(&watch, &loop, &(xf_watch_options){.items = items, .count = 0, .callback = never}),
                     XF_EINVAL);
    xf_watch_stop(NULL);
    assert_int_equal(uv_loop_close(&loop), 0);
    free_many(items);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_tells_a_loop),
        cmocka_unit_test(a_watch_can_be_stopped_at_any_time),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
