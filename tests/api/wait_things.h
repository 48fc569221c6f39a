/* The things that tests wait for: a queue, a pipe and an event. */
#ifndef WAIT_THINGS_H
#define WAIT_THINGS_H

#include "tasks.h"

enum { PATIENCE_MS = 60000, MIB = 1024 * 1024 };

/* ---- Things ---------------------------------------------------------------------------------- */

/* The objects that a wait item can refer to. */
typedef struct things {
    xf_queue *queue, *full_queue;
    xf_pipe *pipe, *other, *full_pipe, *full_other;
    xf_event *event;
} things;

typedef struct refs {
    xf_ref order; /* a pipe end: orders for the child, one letter each */
    xf_ref queue, full_queue, pipe, full_pipe, event;
} refs;

static inline void make_things(things *things)
{
    xf_queue_options one = {.capacity = 1};
    xf_pipe_options small = {.capacity = 1};

    assert_int_equal(xf_queue_create(&things->queue, NULL), 0);
    assert_int_equal(xf_queue_create(&things->full_queue, &one), 0);
    assert_int_equal(xf_queue_put(things->full_queue, "x", 1, 0), 0);
    assert_int_equal(xf_pipe_create(&things->pipe, &things->other, NULL), 0);
    assert_int_equal(xf_pipe_create(&things->full_pipe, &things->full_other, &small), 0);
    assert_int_equal(xf_pipe_send(things->full_pipe, "x", 1, 0), 0);
    assert_int_equal(xf_event_create(&things->event, NULL), 0);
}

static inline void free_things(things *things)
{
    xf_queue_free(things->queue);
    xf_queue_free(things->full_queue);
    xf_pipe_free(things->pipe);
    xf_pipe_free(things->other);
    xf_pipe_free(things->full_pipe);
    xf_pipe_free(things->full_other);
    xf_event_free(things->event);
}

enum { GET, PUT, RECEIVE, SEND, EVENT, THINGS };

/* None of them is ready. */
static inline void list_things(const things *things, xf_wait_item *items)
{
    items[GET] = (xf_wait_item){.kind = XF_WAIT_GET, .queue = things->queue};
    items[PUT] = (xf_wait_item){.kind = XF_WAIT_PUT, .queue = things->full_queue};
    items[RECEIVE] = (xf_wait_item){.kind = XF_WAIT_RECEIVE, .pipe = things->pipe};
    items[SEND] = (xf_wait_item){.kind = XF_WAIT_SEND, .pipe = things->full_pipe};
    items[EVENT] = (xf_wait_item){.kind = XF_WAIT_EVENT, .event = things->event};
}

static inline void get_one(xf_queue *queue)
{
    xf_message message;

    assert_int_equal(xf_queue_get(queue, &message, 0), 0);
    xf_message_free(&message);
}

static inline void receive_one(xf_pipe *pipe)
{
    xf_message message;

    assert_int_equal(xf_pipe_receive(pipe, &message, 0), 0);
    xf_message_free(&message);
}

/* ---- A child that makes things ready --------------------------------------------------------- */

typedef struct opened {
    xf_pipe *order, *pipe, *full_pipe;
    xf_queue *queue, *full_queue;
    xf_event *event;
} opened;

static inline int open_all(opened *opened, const refs *refs)
{
    int rc = xf_pipe_open(&opened->order, &refs->order);

    if (rc == 0)
        rc = xf_queue_open(&opened->queue, &refs->queue);
    if (rc == 0)
        rc = xf_queue_open(&opened->full_queue, &refs->full_queue);
    if (rc == 0)
        rc = xf_pipe_open(&opened->pipe, &refs->pipe);
    if (rc == 0)
        rc = xf_pipe_open(&opened->full_pipe, &refs->full_pipe);
    return rc == 0 ? xf_event_open(&opened->event, &refs->event) : rc;
}

static inline int take(int rc, xf_message *message)
{
    if (rc == 0)
        xf_message_free(message);
    return rc;
}

static inline int obey(xf_call *call, opened *opened, char order)
{
    xf_message message;

    switch (order) {
    case 'g':
        return xf_queue_put(opened->queue, "m", 1, 0);
    case 'p':
        return take(xf_queue_get(opened->full_queue, &message, 0), &message);
    case 'r':
        return xf_pipe_send(opened->pipe, "m", 1, 0);
    case 's':
        return take(xf_pipe_receive(opened->full_pipe, &message, 0), &message);
    case 'e':
        xf_event_set(opened->event);
        return 0;
    case 'b': /* an event that is set for a moment only */
        xf_event_set(opened->event);
        xf_event_clear(opened->event);
        return 0;
    case 'm':
        return send_number(call, 1);
    case 'k':
        support_kill_self();
    default:
        return XF_EINVAL;
    }
}

XF_ENTRY(make_ready)
{
    opened opened;
    char order;
    size_t size;
    int rc = open_all(&opened, xf_call_input(call, NULL));

    while (rc == 0 && (rc = xf_pipe_receive_into(opened.order, &order, 1, &size, XF_FOREVER)) == 0)
        rc = obey(call, &opened, order);
    return rc == XF_EEND ? 0 : xf_fail(call, rc, "%s (%s)", xf_err_name(rc), xf_error_detail());
}

/* Starts the child, and sets the pipe for its orders. */
static inline xf_process *start_maker(things *things, xf_pipe **order)
{
    xf_process *process;
    xf_pipe *theirs;
    refs refs;

    assert_int_equal(xf_pipe_create(order, &theirs, NULL), 0);
    assert_int_equal(xf_pipe_ref(theirs, &refs.order), 0);
    assert_int_equal(xf_queue_ref(things->queue, &refs.queue), 0);
    assert_int_equal(xf_queue_ref(things->full_queue, &refs.full_queue), 0);
    assert_int_equal(xf_pipe_ref(things->other, &refs.pipe), 0);
    assert_int_equal(xf_pipe_ref(things->full_other, &refs.full_pipe), 0);
    assert_int_equal(xf_event_ref(things->event, &refs.event), 0);
    process = start(&make_ready, &refs, sizeof refs, NULL);
    xf_pipe_free(theirs);
    return process;
}

static inline void give_order(xf_pipe *order, char what)
{
    assert_int_equal(xf_pipe_send(order, &what, 1, PATIENCE_MS), 0);
}

/* ---- Many things ----------------------------------------------------------------------------- */

enum { MANY = 240 };

/* Makes many items; arg of a pipe's item is the other end. */
static inline void make_many(xf_wait_item *items)
{
    xf_queue_options small = {.capacity = 16, .memory_limit = MIB};
    xf_pipe_options narrow = {.simplex = true, .capacity = 16, .memory_limit = MIB};
    xf_pipe *other;

    for (int i = 0; i < MANY; i += 3) {
        items[i] = (xf_wait_item){.kind = XF_WAIT_GET};
        assert_int_equal(xf_queue_create(&items[i].queue, &small), 0);
        items[i + 1] = (xf_wait_item){.kind = XF_WAIT_RECEIVE};
        assert_int_equal(xf_pipe_create(&items[i + 1].pipe, &other, &narrow), 0);
        items[i + 1].arg = other;
        items[i + 2] = (xf_wait_item){.kind = XF_WAIT_EVENT};
        assert_int_equal(xf_event_create(&items[i + 2].event, NULL), 0);
    }
}

static inline void free_many(xf_wait_item *items)
{
    for (int i = 0; i < MANY; i += 3) {
        xf_queue_free(items[i].queue);
        xf_pipe_free(items[i + 1].pipe);
        xf_pipe_free(items[i + 1].arg);
        xf_event_free(items[i + 2].event);
    }
}

#endif
