/* Goal: a wait for many things returns exactly those that are ready, as soon as they are, whichever process made them
 * ready or died, and sleeps until then. */
#include "wait_things.h"

#include <stdatomic.h>

/* ---- Things ---------------------------------------------------------------------------------- */

static void expect_only(const xf_wait_item *items, int count, int which)
{
    for (int i = 0; i < count; i++)
        if (items[i].ready != (i == which))
            fail_msg("item %d is%s ready, and only %d should be", i, items[i].ready ? "" : " not", which);
}

/* Waits until that item is ready, and no other. */
static void expect_ready(xf_wait_item *items, int count, int which)
{
    int rc = xf_wait(items, count, PATIENCE_MS);

    if (rc != 1)
        print_error("xf_wait: %d, %s (%s)\n", rc, xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 1);
    expect_only(items, count, which);
}

/* ---- Looking --------------------------------------------------------------------------------- */

static void exactly_the_ready_ones_are_marked(void **state)
{
    xf_wait_item items[THINGS + 1] = {{0}};
    things things;

    (void)state;
    make_things(&things);
    list_things(&things, items);
    assert_int_equal(xf_wait(items, THINGS + 1, 0), XF_ETIMEDOUT);
    expect_only(items, THINGS + 1, -1);
    assert_int_equal(xf_queue_put(things.queue, "m", 1, 0), 0);
    expect_ready(items, THINGS + 1, GET);
    assert_int_equal(xf_wait(items, THINGS + 1, 0), 1);
    expect_only(items, THINGS + 1, GET);
    get_one(things.queue);
    assert_int_equal(xf_wait(items, THINGS + 1, 0), XF_ETIMEDOUT);
    xf_event_set(things.event);
    receive_one(things.full_other);
    assert_int_equal(xf_wait(items, THINGS + 1, XF_FOREVER), 2);
    for (int i = 0; i <= THINGS; i++)
        assert_int_equal(items[i].ready, i == EVENT || i == SEND);
    xf_event_clear(things.event);
    get_one(things.full_queue);
    assert_int_equal(xf_wait(items, THINGS + 1, PATIENCE_MS), 2);
    for (int i = 0; i <= THINGS; i++)
        assert_int_equal(items[i].ready, i == PUT || i == SEND);
    free_things(&things);
}

static void time_passes(void **state)
{
    xf_wait_item items[THINGS + 1];
    uint64_t before;
    xf_pipe *order;
    things things;

    (void)state;
    make_things(&things);
    list_things(&things, items);
    items[THINGS] = (xf_wait_item){.kind = XF_WAIT_PROCESS, .process = start_maker(&things, &order)};
    give_order(order, 'm');
    assert_int_equal(receive_number(items[THINGS].process), 1); /* it has opened everything */
    for (int i = 0; i <= THINGS; i++)
        items[i].ready = true;
    before = uv_hrtime();
    assert_int_equal(xf_wait(items, THINGS + 1, 60), XF_ETIMEDOUT);
    assert_true(uv_hrtime() - before >= 60 * UINT64_C(1000000));
    expect_only(items, THINGS + 1, -1);
    before = uv_hrtime();
    assert_int_equal(xf_wait(&items[THINGS], 1, 30), XF_ETIMEDOUT);
    assert_true(uv_hrtime() - before >= 30 * UINT64_C(1000000));
    xf_pipe_free(order);
    expect_end(items[THINGS].process, XF_END_DONE, 0);
    free_things(&things);
}

static void mistakes_are_reported(void **state)
{
    xf_pipe_options simplex = {.simplex = true};
    xf_pipe *one, *other;
    xf_wait_item item = {0};

    (void)state;
    assert_int_equal(xf_wait(&item, 0, 0), XF_EINVAL);
    assert_int_equal(xf_wait(&item, 1, 0), XF_EINVAL);
    item.kind = XF_WAIT_GET;
    assert_int_equal(xf_wait(&item, 1, 0), XF_EINVAL);
    assert_non_null(strstr(xf_error_detail(), "item 0"));
    assert_int_equal(xf_pipe_create(&one, &other, &simplex), 0);
    item = (xf_wait_item){.kind = XF_WAIT_SEND, .pipe = one};
    assert_int_equal(xf_wait(&item, 1, XF_FOREVER), XF_ESTATE);
    item = (xf_wait_item){.kind = XF_WAIT_RECEIVE, .pipe = other};
    assert_int_equal(xf_wait(&item, 1, XF_FOREVER), XF_ESTATE);
    item.kind = (xf_wait_kind)99;
    assert_int_equal(xf_wait(&item, 1, 0), XF_EINVAL);
    xf_pipe_free(one);
    xf_pipe_free(other);
}

/* ---- Being woken ----------------------------------------------------------------------------- */

/* A child makes each thing ready in turn, while this process waits for all. */
static void each_thing_wakes(void **state)
{
    xf_wait_item items[THINGS + 1];
    xf_process *process;
    xf_pipe *order;
    things things;

    (void)state;
    make_things(&things);
    process = start_maker(&things, &order);
    list_things(&things, items);
    items[THINGS] = (xf_wait_item){.kind = XF_WAIT_MESSAGE, .process = process};
    for (int round = 0; round < 3; round++) {
        give_order(order, 'g');
        expect_ready(items, THINGS + 1, GET);
        get_one(things.queue);
        give_order(order, 'p');
        expect_ready(items, THINGS + 1, PUT);
        assert_int_equal(xf_queue_put(things.full_queue, "x", 1, 0), 0);
        give_order(order, 'r');
        expect_ready(items, THINGS + 1, RECEIVE);
        receive_one(things.pipe);
        give_order(order, 's');
        expect_ready(items, THINGS + 1, SEND);
        assert_int_equal(xf_pipe_send(things.full_pipe, "x", 1, 0), 0);
        give_order(order, 'e');
        expect_ready(items, THINGS + 1, EVENT);
        xf_event_clear(things.event);
        give_order(order, 'm');
        expect_ready(items, THINGS + 1, THINGS);
        assert_int_equal(receive_number(process), 1);
    }
    items[THINGS].kind = XF_WAIT_PROCESS;
    xf_pipe_free(order);
    expect_ready(items + THINGS, 1, 0);
    expect_end(process, XF_END_DONE, 0);
    free_things(&things);
}

static void an_event_that_was_set_meanwhile_counts(void **state)
{
    xf_wait_item items[THINGS];
    xf_process *process;
    xf_pipe *order;
    things things;
    int rc;

    (void)state;
    make_things(&things);
    process = start_maker(&things, &order);
    list_things(&things, items);
    do { /* the event may have been set before the wait began */
        give_order(order, 'b');
        rc = xf_wait(items, THINGS, 100);
    } while (rc == XF_ETIMEDOUT);
    assert_int_equal(rc, 1);
    expect_only(items, THINGS, EVENT);
    xf_pipe_free(order);
    expect_end(process, XF_END_DONE, 0);
    free_things(&things);
}

static void the_end_of_a_queue_is_a_reason(void **state)
{
    xf_wait_item items[THINGS];
    things things;

    (void)state;
    make_things(&things);
    list_things(&things, items);
    assert_int_equal(xf_queue_close(things.queue), 0);
    expect_ready(items, THINGS, GET);
    items[GET].kind = XF_WAIT_NOTHING;
    assert_int_equal(xf_queue_close(things.full_queue), 0);
    expect_ready(items, THINGS, PUT);
    assert_int_equal(xf_queue_put(things.full_queue, "m", 1, 0), XF_EEND);
    free_things(&things);
}

XF_TASK(square, const int *in, int *out)
{
    (void)call;
    *out = *in * *in;
    return 0;
}

/* Futures of two pools: each one is reported once it is complete, and then left out. */
static void futures_are_reported(void **state)
{
    enum { POOLS = 2, EACH = 60, COUNT = POOLS * EACH };
    xf_wait_item items[COUNT];
    xf_pool_options two = {.workers = 2};
    xf_pool *pools[POOLS];
    int left = COUNT;

    (void)state;
    for (int i = 0; i < POOLS; i++)
        assert_int_equal(xf_pool_create(&pools[i], &two), 0);
    for (int i = 0; i < COUNT; i++) {
        items[i] = (xf_wait_item){.kind = XF_WAIT_FUTURE};
        assert_int_equal(
            xf_pool_submit(&items[i].future, pools[i % POOLS], &(xf_map){.task = &square, .in = &i, .size = sizeof i}),
            0);
    }
    while (left > 0) {
        int ready = xf_wait(items, COUNT, PATIENCE_MS);
        assert_true(ready > 0);
        left -= ready;
        for (int i = 0; i < COUNT; i++)
            if (items[i].ready) {
                assert_int_equal(*(const int *)xf_future_result(items[i].future, 0, NULL), i * i);
                items[i].kind = XF_WAIT_NOTHING;
                ready--;
            }
        assert_int_equal(ready, 0);
    }
    for (int i = 0; i < COUNT; i++)
        xf_future_free(items[i].future);
    for (int i = 0; i < POOLS; i++)
        xf_pool_free(pools[i]);
}

static void join_it(void *process)
{
    xf_status status;

    (void)xf_process_join(process, &status, XF_FOREVER);
}

/* Another thread reads from the process, because it joins it. */
static void a_message_is_reported_while_another_thread_joins(void **state)
{
    xf_wait_item item = {.kind = XF_WAIT_MESSAGE};
    uv_thread_t joiner;
    xf_pipe *order;
    things things;

    (void)state;
    make_things(&things);
    item.process = start_maker(&things, &order);
    assert_int_equal(uv_thread_create(&joiner, join_it, item.process), 0);
    for (int i = 0; i < 20; i++) {
        give_order(order, 'm');
        expect_ready(&item, 1, 0);
        assert_int_equal(receive_number(item.process), 1);
    }
    xf_pipe_free(order);
    item.kind = XF_WAIT_PROCESS;
    expect_ready(&item, 1, 0);
    uv_thread_join(&joiner);
    expect_end(item.process, XF_END_DONE, 0);
    free_things(&things);
}

/* ---- Many ------------------------------------------------------------------------------------ */

static xf_ref reference(const xf_wait_item *item)
{
    xf_ref ref;

    switch (item->kind) {
    case XF_WAIT_GET:
        assert_int_equal(xf_queue_ref(item->queue, &ref), 0);
        break;
    case XF_WAIT_RECEIVE:
        assert_int_equal(xf_pipe_ref(item->arg, &ref), 0);
        break;
    default:
        assert_int_equal(xf_event_ref(item->event, &ref), 0);
    }
    return ref;
}

static int make_one_ready(const xf_ref *ref)
{
    xf_queue *queue;
    xf_pipe *pipe;
    xf_event *event;
    int rc;

    if (ref->kind == XF_KIND_QUEUE) {
        rc = xf_queue_open(&queue, ref);
        if (rc == 0) {
            rc = xf_queue_put(queue, "m", 1, 0);
            xf_queue_free(queue);
        }
    } else if (ref->kind == XF_KIND_PIPE) {
        rc = xf_pipe_open(&pipe, ref);
        if (rc == 0) {
            rc = xf_pipe_send(pipe, "m", 1, 0);
            xf_pipe_free(pipe);
        }
    } else {
        rc = xf_event_open(&event, ref);
        if (rc == 0) {
            xf_event_set(event);
            xf_event_free(event);
        }
    }
    return rc;
}

/* Gets references through the queue that is its input, and makes each object ready. */
XF_TASK(make_each_ready, const xf_ref *in, int *out)
{
    xf_queue *orders;
    xf_ref ref;
    size_t size;
    int rc = xf_queue_open(&orders, in);

    while (rc == 0 && (rc = xf_queue_get_into(orders, &ref, sizeof ref, &size, XF_FOREVER)) == 0)
        rc = make_one_ready(&ref);
    *out = rc;
    return rc == XF_EEND ? 0 : xf_fail(call, rc, "%s (%s)", xf_err_name(rc), xf_error_detail());
}

static void consume(xf_wait_item *item)
{
    if (item->kind == XF_WAIT_GET)
        get_one(item->queue);
    else if (item->kind == XF_WAIT_RECEIVE)
        receive_one(item->pipe);
    else
        xf_event_clear(item->event);
}

static void one_of_hundreds_wakes(void **state)
{
    static xf_wait_item items[MANY + 1];
    xf_process *process;
    xf_queue *orders;
    xf_ref ref;

    (void)state;
    make_many(items);
    assert_int_equal(xf_queue_create(&orders, NULL), 0);
    assert_int_equal(xf_queue_ref(orders, &ref), 0);
    process = start(&make_each_ready, &ref, sizeof ref, NULL);
    items[MANY] = (xf_wait_item){.kind = XF_WAIT_PROCESS, .process = process};
    for (int i = 0; i < MANY; i += 17) {
        int which = (i * 101) % MANY;
        ref = reference(&items[which]);
        assert_int_equal(xf_queue_put(orders, &ref, sizeof ref, 0), 0);
        expect_ready(items, MANY + 1, which);
        consume(&items[which]);
    }
    assert_int_equal(xf_wait(items, MANY + 1, 20), XF_ETIMEDOUT);
    assert_int_equal(xf_queue_close(orders), 0);
    expect_ready(items, MANY + 1, MANY);
    expect_end(process, XF_END_DONE, 0);
    xf_queue_free(orders);
    free_many(items);
}

/* ---- Deaths ---------------------------------------------------------------------------------- */

/* The child with the other ends is killed: both pipes and the process become ready; queues and the event have no owner.
 */
static void deaths_are_reported(void **state)
{
    xf_wait_item items[THINGS + 1];
    xf_process *process;
    xf_pipe *order;
    things things;

    (void)state;
    make_things(&things);
    process = start_maker(&things, &order);
    list_things(&things, items);
    items[THINGS] = (xf_wait_item){.kind = XF_WAIT_PROCESS, .process = process};
    give_order(order, 'm');
    assert_int_equal(receive_number(process), 1); /* it has opened everything */
    xf_pipe_free(things.other);
    xf_pipe_free(things.full_other);
    things.other = things.full_other = NULL;
    give_order(order, 'k');
    while (items[THINGS].kind || items[RECEIVE].kind || items[SEND].kind) {
        assert_true(xf_wait(items, THINGS + 1, PATIENCE_MS) > 0);
        for (int i = 0; i <= THINGS; i++)
            if (items[i].ready) {
                assert_true(i == THINGS || i == RECEIVE || i == SEND);
                items[i].kind = XF_WAIT_NOTHING;
            }
    }
    assert_int_equal(xf_pipe_send(things.full_pipe, "m", 1, 0), XF_EEND);
    assert_int_equal(xf_wait(items, THINGS, 30), XF_ETIMEDOUT);
    expect_end(process, XF_END_KILLED, 0);
    xf_pipe_free(order);
    free_things(&things);
}

XF_TASK(put_for_ever, const xf_ref *in, int *out)
{
    xf_queue *queue;
    int rc = xf_queue_open(&queue, in);

    (void)call;
    for (uint64_t i = 0; rc == 0; i++)
        rc = xf_queue_put(queue, &i, sizeof i, XF_FOREVER);
    *out = rc;
    return 0;
}

/* A put that a killed producer has left unfinished blocks nobody. */
static void a_killed_producer_holds_nobody_up(void **state)
{
    xf_wait_item items[3] = {{.kind = XF_WAIT_GET}};
    xf_queue_options small = {.capacity = 8};
    xf_ref ref;

    (void)state;
    assert_int_equal(xf_queue_create(&items[0].queue, &small), 0);
    assert_int_equal(xf_queue_ref(items[0].queue, &ref), 0);
    for (int round = 0; round < 2; round++) {
        xf_process *doomed = start(&put_for_ever, &ref, sizeof ref, NULL);
        xf_process *other = start(&put_for_ever, &ref, sizeof ref, NULL);
        items[1] = (xf_wait_item){.kind = XF_WAIT_PROCESS, .process = doomed};
        items[2] = (xf_wait_item){.kind = XF_WAIT_PROCESS, .process = other};
        for (int got = 0; got < 300; got++) {
            assert_true(xf_wait(items, 3, PATIENCE_MS) > 0);
            if (items[0].ready)
                get_one(items[0].queue);
            if (got == 100)
                xf_process_kill(doomed);
            if (items[1].ready)
                items[1].kind = XF_WAIT_NOTHING;
            assert_false(items[2].ready);
        }
        xf_process_free(doomed);
        xf_process_free(other);
        while (xf_wait(items, 1, 0) == 1)
            get_one(items[0].queue);
    }
    xf_queue_free(items[0].queue);
}

/* ---- In children ----------------------------------------------------------------------------- */

/* Waits for a message, for the request to stop, and for a process of its own. */
XF_ENTRY(wait_in_child)
{
    const xf_ref *in = xf_call_input(call, NULL);
    xf_wait_item items[] = {{.kind = XF_WAIT_GET}, {.kind = XF_WAIT_STOP, .call = call}, {.kind = XF_WAIT_PROCESS}};
    int rc = xf_queue_open(&items[0].queue, in), n = 7;

    if (rc == 0)
        rc = xf_process_start(&items[2].process, &square, &n, sizeof n, NULL);
    if (rc == 0)
        rc = xf_wait(items, 3, XF_FOREVER);
    if (rc != 1 || !items[2].ready || xf_process_join(items[2].process, NULL, 0) < 0)
        return xf_fail(call, 1, "of its process: %d (%s)", rc, xf_error_detail());
    xf_process_free(items[2].process);
    (void)xf_cleanup(); /* no thread is left */
    (void)send_number(call, 1);
    rc = xf_wait(items, 2, XF_FOREVER);
    if (rc != 1 || !items[0].ready)
        return xf_fail(call, 2, "of the message: %d (%s)", rc, xf_error_detail());
    (void)xf_queue_close(items[0].queue);
    (void)send_number(call, 2);
    items[0].kind = XF_WAIT_NOTHING;
    rc = xf_wait(items, 2, XF_FOREVER);
    return rc == 1 && items[1].ready && xf_stop_requested(call, 0) ? 0 : xf_fail(call, 3, "of the stop: %d", rc);
}

static void children_wait_too(void **state)
{
    xf_process_options patient = {.grace_ms = PATIENCE_MS};
    xf_process *process;
    xf_queue *queue;
    xf_ref ref;

    (void)state;
    assert_int_equal(xf_queue_create(&queue, NULL), 0);
    assert_int_equal(xf_queue_ref(queue, &ref), 0);
    process = start(&wait_in_child, &ref, sizeof ref, &patient);
    assert_int_equal(receive_number(process), 1);
    assert_int_equal(xf_queue_put(queue, "m", 1, 0), 0);
    assert_int_equal(receive_number(process), 2);
    xf_process_terminate(process);
    expect_end(process, XF_END_DONE, 0);
    xf_queue_free(queue);
}

/* Waits in a worker until it is asked to stop. */
XF_TASK(wait_in_worker, const xf_ref *in, int *out)
{
    xf_wait_item stop = {.kind = XF_WAIT_STOP, .call = call};
    xf_event *begun;

    *out = xf_event_open(&begun, in);
    if (*out < 0)
        return xf_fail(call, *out, "%s", xf_error_detail());
    xf_event_set(begun);
    xf_event_free(begun);
    *out = xf_wait(&stop, 1, XF_FOREVER);
    return *out == 1 ? 11 : 12;
}

static void workers_wait_too(void **state)
{
    xf_process_options patient = {.grace_ms = PATIENCE_MS};
    xf_pool_options options = {.workers = 1, .process = &patient};
    xf_wait_item items[2] = {{.kind = XF_WAIT_EVENT}, {.kind = XF_WAIT_FUTURE}};
    xf_pool *pool;
    xf_ref ref;

    (void)state;
    assert_int_equal(xf_event_create(&items[0].event, NULL), 0);
    assert_int_equal(xf_event_ref(items[0].event, &ref), 0);
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    assert_int_equal(
        xf_pool_submit(&items[1].future, pool, &(xf_map){.task = &wait_in_worker, .in = &ref, .size = sizeof ref}), 0);
    expect_ready(items, 2, 0);
    items[0].kind = XF_WAIT_NOTHING;
    xf_future_cancel(items[1].future);
    expect_ready(items, 2, 1);
    assert_int_equal(xf_future_status(items[1].future, 0).kind, XF_END_CANCELLED);
    xf_future_free(items[1].future);
    xf_pool_free(pool);
    xf_event_free(items[0].event);
}

/* Waits for a message and many other things, as on an older system. */
XF_ENTRY(wait_when_older)
{
    enum { OTHERS = 150 };
    static xf_wait_item items[OTHERS + 1];
    const xf_ref *in = xf_call_input(call, NULL);
    int rc = 0;

    for (int i = 0; i < OTHERS && rc == 0; i++) {
        items[i] = (xf_wait_item){.kind = XF_WAIT_EVENT};
        rc = xf_event_create(&items[i].event, NULL);
    }
    items[OTHERS].kind = XF_WAIT_GET;
    if (rc == 0)
        rc = xf_queue_open(&items[OTHERS].queue, in);
    if (rc < 0)
        return xf_fail(call, rc, "%s", xf_error_detail());
    (void)send_number(call, support_be_older());
    for (int n = 0; n < 3; n++) {
        rc = xf_wait(items, OTHERS + 1, PATIENCE_MS);
        if (rc != 1 || !items[OTHERS].ready)
            return xf_fail(call, 1, "%d", rc);
        get_one(items[OTHERS].queue);
        (void)send_number(call, n);
    }
    return 0;
}

static void older_systems_will_do(void **state)
{
    xf_process *process;
    xf_queue *queue;
    xf_ref ref;

    (void)state;
    assert_int_equal(xf_queue_create(&queue, NULL), 0);
    assert_int_equal(xf_queue_ref(queue, &ref), 0);
    process = start(&wait_when_older, &ref, sizeof ref, NULL);
    if (!receive_number(process))
        print_message("           as on this system\n");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(xf_queue_put(queue, "m", 1, 0), 0);
        assert_int_equal(receive_number(process), i);
    }
    expect_end(process, XF_END_DONE, 0);
    xf_queue_free(queue);
}

/* ---- Threads --------------------------------------------------------------------------------- */

XF_TASK(say_something, const int *in, int *out)
{
    xf_log(call, XF_LOG_INFO, "something");
    *out = *in;
    return 0;
}

static void wait_for_the_speaker(xf_process *process, const xf_log_line *line, void *arg)
{
    xf_wait_item item = {.kind = XF_WAIT_PROCESS, .process = process};

    (void)line;
    *(int *)arg = xf_wait(&item, 1, PATIENCE_MS);
}

static void a_log_callback_cannot_wait_for_its_process(void **state)
{
    int result = 0, n = 0;
    xf_process_options options = {.on_log = wait_for_the_speaker, .on_log_arg = &result};
    xf_process *process = start(&say_something, &n, sizeof n, &options);

    (void)state;
    expect_end(process, XF_END_DONE, 0);
    assert_int_equal(result, XF_EDEADLK);
}

enum { RIVALS = 3, MESSAGES = 300 };

typedef struct rival {
    xf_wait_item items[2]; /* the queue of messages, and the event that ends the waiting */
    _Atomic int *got;
} rival;

static void compete(void *arg)
{
    rival *rival = arg;
    xf_message message;

    while (xf_wait(rival->items, 2, PATIENCE_MS) > 0 && !rival->items[1].ready)
        if (xf_queue_get(rival->items[0].queue, &message, 0) == 0) {
            xf_message_free(&message);
            if (atomic_fetch_add(rival->got, 1) + 1 == MESSAGES)
                xf_event_set(rival->items[1].event);
        }
}

/* Several threads wait for the same queue: each message is got once. */
static void threads_wait_for_the_same(void **state)
{
    rival rivals[RIVALS];
    uv_thread_t threads[RIVALS];
    _Atomic int got = 0;
    xf_wait_item room = {.kind = XF_WAIT_PUT};
    xf_queue_options small = {.capacity = 4, .spin_us = -1};
    xf_event *over;

    (void)state;
    assert_int_equal(xf_queue_create(&room.queue, &small), 0);
    assert_int_equal(xf_event_create(&over, NULL), 0);
    for (int i = 0; i < RIVALS; i++) {
        rivals[i] = (rival){{{.kind = XF_WAIT_GET, .queue = room.queue}, {.kind = XF_WAIT_EVENT, .event = over}}, &got};
        assert_int_equal(uv_thread_create(&threads[i], compete, &rivals[i]), 0);
    }
    for (int i = 0; i < MESSAGES; i++) {
        expect_ready(&room, 1, 0);
        assert_int_equal(xf_queue_put(room.queue, &i, sizeof i, 0), 0);
    }
    for (int i = 0; i < RIVALS; i++)
        uv_thread_join(&threads[i]);
    assert_int_equal(atomic_load(&got), MESSAGES);
    room.kind = XF_WAIT_GET;
    assert_int_equal(xf_wait(&room, 1, 0), XF_ETIMEDOUT);
    xf_queue_free(room.queue);
    xf_event_free(over);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_ready_ones_are_marked),
        cmocka_unit_test(time_passes),
        cmocka_unit_test(mistakes_are_reported),
        cmocka_unit_test(each_thing_wakes),
        cmocka_unit_test(an_event_that_was_set_meanwhile_counts),
        cmocka_unit_test(the_end_of_a_queue_is_a_reason),
        cmocka_unit_test(futures_are_reported),
        cmocka_unit_test(a_message_is_reported_while_another_thread_joins),
        cmocka_unit_test(one_of_hundreds_wakes),
        cmocka_unit_test(deaths_are_reported),
        cmocka_unit_test(a_killed_producer_holds_nobody_up),
        cmocka_unit_test(children_wait_too),
        cmocka_unit_test(workers_wait_too),
        cmocka_unit_test(older_systems_will_do),
        cmocka_unit_test(a_log_callback_cannot_wait_for_its_process),
        cmocka_unit_test(threads_wait_for_the_same),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
