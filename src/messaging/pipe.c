#include "messaging/pipe.h"

#include "base/clock.h"
#include "base/error.h"
#include "messaging/ring.h"
#include "objects/object.h"
#include "os/cancel.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { PIPE_VERSION = 2, DEFAULT_ROOM = 144, DEFAULT_CAPACITY = 1024, PEER_CHECK_MS = 50 };

/* The processes that have an end open. */
typedef struct side {
    _Atomic uint32_t expected; /* a reference was taken, and no process has opened the end since */
    _Atomic uint64_t members[XF_PIPE_PROCESSES_MAX];
} side;

/* The head has a page of its own, before the rings. */
typedef struct pipe_head {
    uint64_t rings_at[2]; /* the ring that side 0 sends by, and that of side 1; 0: the side does not send */
    side sides[2];
} pipe_head;

enum { HEAD_AT = OS_PAGE };

_Static_assert(sizeof(pipe_head) <= OS_PAGE, "the head fits a page");

struct xf_pipe {
    object *object;
    pipe_head *head;
    int side;
    _Atomic uint64_t *member; /* this process, in members of its side */
    bool sends, receives;
    ring out, in;
    _Atomic uint64_t next_check; /* of uv_hrtime: when to check whether the other side is open */
};

/* ---- Sides ----------------------------------------------------------------------------------- */

static int enter_side(xf_pipe *pipe)
{
    side *side = &pipe->head->sides[pipe->side];
    uint64_t me = os_self_process();

    for (int i = 0; i < XF_PIPE_PROCESSES_MAX; i++) {
        uint64_t process = atomic_load(&side->members[i]);
        if ((process == 0 || !os_process_lives(process)) &&
            atomic_compare_exchange_strong(&side->members[i], &process, me)) {
            pipe->member = &side->members[i];
            atomic_store(&side->expected, 0);
            return 0;
        }
    }
    return error_detail(XF_ELIMIT, "%d processes have this end of a pipe open", XF_PIPE_PROCESSES_MAX);
}

/* Whether a living process has that side open, or is expected to open it. */
static bool is_open(side *side)
{
    if (atomic_load(&side->expected))
        return true;
    for (int i = 0; i < XF_PIPE_PROCESSES_MAX; i++) {
        uint64_t process = atomic_load(&side->members[i]);
        if (process && os_process_lives(process))
            return true;
    }
    return false;
}

/* Shuts both rings down when one side is closed: that side sends no more, and nobody receives what is sent to it. */
static void shut_down_rings(xf_pipe *pipe)
{
    if (pipe->receives)
        (void)ring_shut_down(&pipe->in);
    if (pipe->sends)
        (void)ring_shut_down(&pipe->out);
}

/* Whether the other side was found closed just now.  It is checked every PEER_CHECK_MS at most. */
static bool found_peer_closed(xf_pipe *pipe)
{
    uint64_t now = uv_hrtime(), due = atomic_load_explicit(&pipe->next_check, memory_order_relaxed);

    if (now < due ||
        !atomic_compare_exchange_strong(&pipe->next_check, &due, now + PEER_CHECK_MS * (uint64_t)CLOCK_NS_PER_MS) ||
        is_open(&pipe->head->sides[1 - pipe->side]))
        return false;
    shut_down_rings(pipe);
    return true;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static int pipe_plan(const xf_pipe_options *options, ring_plan *plan)
{
    size_t room = options->message_size ? options->message_size : DEFAULT_ROOM;

    if (room > RING_CELL_MAX || options->spin_us < -1)
        return error_detail(XF_EINVAL, "option message_size is %zu, spin_us %d", options->message_size,
                            options->spin_us);
    *plan = (ring_plan){.capacity = options->capacity ? options->capacity : DEFAULT_CAPACITY,
                        .room = (room + 15) / 16 * 16,
                        .memory = ring_memory(options->memory_limit),
                        .spin_us = ring_spin_us(options->spin_us)};
    return 0;
}

static int create_rings(object *object, const ring_plan *plan, bool simplex, uint64_t size)
{
    pipe_head *head = (pipe_head *)((char *)object->shm.address + HEAD_AT);
    ring ring;
    int rc = os_shm_commit(&object->shm, HEAD_AT, OS_PAGE);

    for (int side = simplex ? 1 : 0; rc == 0 && side < 2; side++) {
        uint64_t at = HEAD_AT + OS_PAGE + (simplex ? 0 : (uint64_t)side * size);
        rc = ring_create(&ring, &object->shm, at, plan);
        head->rings_at[side] = at;
    }
    return rc;
}

/* Sets up the view that a side has of the object. */
static int attach_side(xf_pipe *pipe, int side)
{
    const os_shm *shm = &pipe->object->shm;
    uint64_t out, in;
    int rc = 0;

    if (pipe->object->size + OBJECT_HEAD < HEAD_AT + OS_PAGE)
        return error_detail(XF_EPROTO, "a pipe of %zu bytes", pipe->object->size);
    pipe->head = (pipe_head *)((char *)shm->address + HEAD_AT);
    pipe->side = side;
    out = pipe->head->rings_at[side];
    in = pipe->head->rings_at[1 - side];
    pipe->sends = out != 0;
    pipe->receives = in != 0;
    if (out % OS_PAGE || in % OS_PAGE)
        return error_detail(XF_EPROTO, "the rings of a pipe are not at a page");
    if (pipe->sends)
        rc = ring_attach(&pipe->out, shm, out);
    if (rc == 0 && pipe->receives)
        rc = ring_attach(&pipe->in, shm, in);
    return rc < 0 ? rc : enter_side(pipe);
}

static int open_end(xf_pipe **out, object *object, int side)
{
    xf_pipe *pipe = calloc(1, sizeof *pipe);
    int rc;

    if (!pipe)
        return error_detail(XF_ENOMEM, "a pipe");
    pipe->object = object;
    rc = attach_side(pipe, side);
    if (rc < 0) {
        free(pipe);
        return rc;
    }
    *out = pipe;
    return 0;
}

/* Opens both ends of a new object.  Each end closes the object when it is freed. */
static int open_ends(xf_pipe **one, xf_pipe **other, object *object)
{
    struct object *again;
    int rc = object_open(&again, &object->ref, XF_KIND_PIPE, PIPE_VERSION);

    if (rc < 0)
        return rc;
    rc = open_end(one, object, 0);
    if (rc == 0) {
        rc = open_end(other, again, 1);
        if (rc == 0)
            return 0;
        free(*one);
    }
    object_close(again);
    return rc;
}

int xf_pipe_create(xf_pipe **one, xf_pipe **other, const xf_pipe_options *options)
{
    OS_HOLD_CANCEL;
    static const xf_pipe_options defaults;
    ring_plan plan;
    object *object;
    uint64_t size;
    int rc;

    options = options ? options : &defaults;
    rc = pipe_plan(options, &plan);
    if (rc == 0)
        rc = ring_size(&plan, &size);
    if (rc == 0)
        rc = object_create(&object, XF_KIND_PIPE, PIPE_VERSION,
                           (size_t)(HEAD_AT + OS_PAGE + (options->simplex ? 1 : 2) * size - OBJECT_HEAD),
                           OS_SHM_RESERVED);
    if (rc < 0)
        return rc;
    rc = create_rings(object, &plan, options->simplex, size);
    if (rc == 0)
        rc = open_ends(one, other, object);
    if (rc < 0)
        object_close(object);
    return rc;
}

/* The reference says which end it is of. */
int xf_pipe_ref(xf_pipe *pipe, xf_ref *ref)
{
    int rc = object_ref(pipe->object, ref);

    if (rc == 0) {
        ref->reserved = (uint32_t)pipe->side;
        atomic_store(&pipe->head->sides[pipe->side].expected, 1);
    }
    return rc;
}

int xf_pipe_open(xf_pipe **pipe, const xf_ref *ref)
{
    xf_ref whole = *ref;
    object *object;
    int rc;

    if (ref->reserved > 1)
        return error_detail(XF_EINVAL, "the reference is not of a pipe");
    whole.reserved = 0;
    rc = object_open(&object, &whole, XF_KIND_PIPE, PIPE_VERSION);
    if (rc < 0)
        return rc;
    rc = open_end(pipe, object, (int)ref->reserved);
    if (rc < 0)
        object_close(object);
    return rc;
}

static void leave_side(xf_pipe *pipe)
{
    atomic_store(pipe->member, 0);
    if (!is_open(&pipe->head->sides[pipe->side]))
        shut_down_rings(pipe);
}

void xf_pipe_free(xf_pipe *pipe)
{
    if (!pipe)
        return;
    if (object_is_own(pipe->object))
        leave_side(pipe);
    object_close(pipe->object);
    free(pipe);
}

/* ---- Sending and receiving ------------------------------------------------------------------- */

/* A process that is killed does not close its end.  So a wait goes in slices, and the other side is checked between
 * them. */
static uint64_t next_slice(uint64_t deadline)
{
    uint64_t next = uv_hrtime() + PEER_CHECK_MS * (uint64_t)CLOCK_NS_PER_MS;

    return deadline < next ? deadline : next;
}

/* Whether to try again after a slice.  If the other side was found closed, the next try says what is left. */
static bool tries_again(xf_pipe *pipe, int rc, uint64_t deadline)
{
    return rc == XF_ETIMEDOUT && (found_peer_closed(pipe) || uv_hrtime() < deadline);
}

static int pipe_result(int rc)
{
    return rc == XF_EEND ? error_detail(rc, "the other end of the pipe is closed") : rc;
}

int pipe_check(const xf_pipe *pipe, bool send)
{
    if (!object_is_own(pipe->object))
        return object_not_own();
    if (send ? pipe->sends : pipe->receives)
        return 0;
    return error_detail(XF_ESTATE, "this end of the pipe only %s", send ? "receives" : "sends");
}

static bool can_transfer(xf_pipe *pipe, bool send, wait_target *target)
{
    return send ? ring_can_push(&pipe->out, target) : ring_can_pop(&pipe->in, target);
}

bool pipe_is_ready(xf_pipe *pipe, bool send, wait_target *target)
{
    if (can_transfer(pipe, send, target) || (found_peer_closed(pipe) && can_transfer(pipe, send, target)))
        return true;
    if (target)
        target->recheck_ms = target->recheck_ms < PEER_CHECK_MS ? target->recheck_ms : PEER_CHECK_MS;
    return false;
}

int xf_pipe_send(xf_pipe *pipe, const void *data, size_t size, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = pipe_check(pipe, true);

    if (rc == 0)
        rc = error_check_data(data, size, "data");
    if (rc < 0)
        return rc;
    do
        rc = ring_push(&pipe->out, data, size, next_slice(deadline));
    while (tries_again(pipe, rc, deadline));
    return pipe_result(rc);
}

int xf_pipe_receive(xf_pipe *pipe, xf_message *message, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = pipe_check(pipe, false);

    if (rc < 0)
        return rc;
    do
        rc = ring_pop(&pipe->in, message, next_slice(deadline));
    while (tries_again(pipe, rc, deadline));
    return pipe_result(rc);
}

int xf_pipe_receive_into(xf_pipe *pipe, void *room, size_t size, size_t *got, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = pipe_check(pipe, false);

    if (rc == 0)
        rc = error_check_data(room, size, "room");
    if (rc < 0)
        return rc;
    do
        rc = ring_pop_into(&pipe->in, room, size, got, next_slice(deadline));
    while (tries_again(pipe, rc, deadline));
    return pipe_result(rc);
}

int xf_pipe_peek(xf_pipe *pipe, size_t *size, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = pipe_check(pipe, false);

    if (rc < 0)
        return rc;
    do
        rc = ring_peek(&pipe->in, size, next_slice(deadline));
    while (tries_again(pipe, rc, deadline));
    return pipe_result(rc);
}

uint64_t pipe_memory(const xf_pipe *pipe)
{
    return pipe->receives ? pipe->in.plan.memory : 0;
}
