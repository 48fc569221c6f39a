#include "messaging/pipe.h"

#include "base/clock.h"
#include "base/error.h"
#include "messaging/ring.h"
#include "objects/object.h"
#include "protocol/inbox.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { PIPE_VERSION = 2, DEFAULT_ROOM = 144, DEFAULT_CAPACITY = 1024, LOOK_MS = 50 };

/* Who has an end open. */
typedef struct side {
    _Atomic uint32_t expected; /* a reference was taken, and nobody has opened the end since */
    _Atomic uint64_t members[XF_PIPE_PROCESSES_MAX];
} side;

/* At a page of its own, before the lanes. */
typedef struct pipe_head {
    uint64_t lanes_at[2]; /* what side 0 sends, and what side 1 sends; 0: it sends nothing */
    side sides[2];
} pipe_head;

enum { HEAD_AT = OS_PAGE };

_Static_assert(sizeof(pipe_head) <= OS_PAGE, "the head fits a page");

struct xf_pipe {
    object *object;
    pipe_head *head;
    int side;
    _Atomic uint64_t *member; /* this process in side */
    bool sends, receives;
    lane out, in;
    _Atomic uint64_t next_look; /* of uv_hrtime: at the other side */
};

/* ---- Sides ----------------------------------------------------------------------------------- */

static int enter(xf_pipe *pipe)
{
    side *side = &pipe->head->sides[pipe->side];
    uint64_t me = os_self_process();

    for (int i = 0; i < XF_PIPE_PROCESSES_MAX; i++) {
        uint64_t who = atomic_load(&side->members[i]);
        if ((who == 0 || !os_process_lives(who)) && atomic_compare_exchange_strong(&side->members[i], &who, me)) {
            pipe->member = &side->members[i];
            atomic_store(&side->expected, 0);
            return 0;
        }
    }
    return error_detail(XF_ELIMIT, "%d processes have this end of a pipe open", XF_PIPE_PROCESSES_MAX);
}

/* Whether some living process has that side open, or is to open it. */
static bool is_there(side *side)
{
    if (atomic_load(&side->expected))
        return true;
    for (int i = 0; i < XF_PIPE_PROCESSES_MAX; i++) {
        uint64_t who = atomic_load(&side->members[i]);
        if (who && os_process_lives(who))
            return true;
    }
    return false;
}

/* Ends both lanes, for one of the sides has gone: it sends no more, and nobody receives what is sent to it. */
static void end_lanes(xf_pipe *pipe)
{
    if (pipe->receives)
        (void)ring_shut_down(&pipe->in);
    if (pipe->sends)
        (void)ring_shut_down(&pipe->out);
}

/* Whether the other side has been found gone just now. */
static bool has_gone(xf_pipe *pipe)
{
    uint64_t now = uv_hrtime(), due = atomic_load_explicit(&pipe->next_look, memory_order_relaxed);

    if (now < due ||
        !atomic_compare_exchange_strong(&pipe->next_look, &due, now + LOOK_MS * (uint64_t)CLOCK_NS_PER_MS) ||
        is_there(&pipe->head->sides[1 - pipe->side]))
        return false;
    end_lanes(pipe);
    return true;
}

/* ---- Making, handing over, ending ------------------------------------------------------------ */

static int plan_from(const xf_pipe_options *options, ring_plan *plan)
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

static int make_lanes(object *object, const ring_plan *plan, bool simplex, uint64_t size)
{
    pipe_head *head = (pipe_head *)((char *)object->shm.address + HEAD_AT);
    lane lane;
    int rc = os_shm_commit(&object->shm, HEAD_AT, OS_PAGE);

    for (int side = simplex ? 1 : 0; rc == 0 && side < 2; side++) {
        uint64_t at = HEAD_AT + OS_PAGE + (simplex ? 0 : (uint64_t)side * size);
        rc = ring_create(&lane, &object->shm, at, plan);
        head->lanes_at[side] = at;
    }
    return rc;
}

/* Looks at the lanes of an object as that side does. */
static int attach(xf_pipe *pipe, int side)
{
    const os_shm *shm = &pipe->object->shm;
    uint64_t out, in;
    int rc = 0;

    if (pipe->object->size + OBJECT_HEAD < HEAD_AT + OS_PAGE)
        return error_detail(XF_EPROTO, "a pipe of %zu bytes", pipe->object->size);
    pipe->head = (pipe_head *)((char *)shm->address + HEAD_AT);
    pipe->side = side;
    out = pipe->head->lanes_at[side];
    in = pipe->head->lanes_at[1 - side];
    pipe->sends = out != 0;
    pipe->receives = in != 0;
    if (out % OS_PAGE || in % OS_PAGE)
        return error_detail(XF_EPROTO, "a pipe with its lanes nowhere");
    if (pipe->sends)
        rc = ring_attach(&pipe->out, shm, out);
    if (rc == 0 && pipe->receives)
        rc = ring_attach(&pipe->in, shm, in);
    return rc < 0 ? rc : enter(pipe);
}

static int open_end(xf_pipe **out, object *object, int side)
{
    xf_pipe *pipe = calloc(1, sizeof *pipe);
    int rc;

    if (!pipe)
        return error_detail(XF_ENOMEM, "a pipe");
    pipe->object = object;
    rc = attach(pipe, side);
    if (rc < 0) {
        free(pipe);
        return rc;
    }
    *out = pipe;
    return 0;
}

/* Opens both ends of a new object, each of which closes it then. */
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
    static const xf_pipe_options defaults;
    ring_plan plan;
    object *object;
    uint64_t size;
    int rc;

    options = options ? options : &defaults;
    rc = plan_from(options, &plan);
    if (rc == 0)
        rc = ring_size(&plan, &size);
    if (rc == 0)
        rc = object_create(&object, XF_KIND_PIPE, PIPE_VERSION,
                           (size_t)(HEAD_AT + OS_PAGE + (options->simplex ? 1 : 2) * size - OBJECT_HEAD),
                           OS_SHM_RESERVED);
    if (rc < 0)
        return rc;
    rc = make_lanes(object, &plan, options->simplex, size);
    if (rc == 0)
        rc = open_ends(one, other, object);
    if (rc < 0)
        object_close(object);
    return rc;
}

/* A reference of the second end differs by a number in it. */
int xf_pipe_ref(xf_pipe *pipe, xf_ref *ref)
{
    int rc = object_ref(pipe->object, ref);

    if (rc == 0) {
        ref->place = (uint32_t)pipe->side;
        atomic_store(&pipe->head->sides[pipe->side].expected, 1);
    }
    return rc;
}

int xf_pipe_open(xf_pipe **pipe, const xf_ref *ref)
{
    xf_ref whole = *ref;
    object *object;
    int rc;

    if (ref->place > 1)
        return error_detail(XF_EINVAL, "the reference is not of a pipe");
    whole.place = 0;
    rc = object_open(&object, &whole, XF_KIND_PIPE, PIPE_VERSION);
    if (rc < 0)
        return rc;
    rc = open_end(pipe, object, (int)ref->place);
    if (rc < 0)
        object_close(object);
    return rc;
}

void xf_pipe_free(xf_pipe *pipe)
{
    if (!pipe)
        return;
    atomic_store(pipe->member, 0);
    if (!is_there(&pipe->head->sides[pipe->side]))
        end_lanes(pipe);
    object_close(pipe->object);
    free(pipe);
}

/* ---- Sending and receiving ------------------------------------------------------------------- */

/* Waits go in slices, between which the other side is looked at: one that is killed says nothing. */
static uint64_t slice(uint64_t deadline)
{
    uint64_t next = uv_hrtime() + LOOK_MS * (uint64_t)CLOCK_NS_PER_MS;

    return deadline < next ? deadline : next;
}

/* Whether to go on waiting after a slice; once the other side is found gone, what comes next tells. */
static bool goes_on(xf_pipe *pipe, int rc, uint64_t deadline)
{
    return rc == XF_ETIMEDOUT && (has_gone(pipe) || uv_hrtime() < deadline);
}

int pipe_check(const xf_pipe *pipe, bool send)
{
    if (send ? pipe->sends : pipe->receives)
        return 0;
    return error_detail(XF_ESTATE, "this end of the pipe only %s", send ? "receives" : "sends");
}

static bool look(xf_pipe *pipe, bool send, wait_target *target)
{
    return send ? ring_wait_poll(&pipe->out, &pipe->out.head->freed, ring_has_room, NULL, target)
                : ring_wait_poll(&pipe->in, &pipe->in.head->filled, ring_has_message, NULL, target);
}

bool pipe_is_ready(xf_pipe *pipe, bool send, wait_target *target)
{
    if (look(pipe, send, target) || (has_gone(pipe) && look(pipe, send, target)))
        return true;
    if (target)
        target->recheck_ms = target->recheck_ms < LOOK_MS ? target->recheck_ms : LOOK_MS;
    return false;
}

int xf_pipe_send(xf_pipe *pipe, const void *data, size_t size, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = pipe_check(pipe, true);

    if (rc < 0)
        return rc;
    do
        rc = ring_push(&pipe->out, data, size, slice(deadline));
    while (goes_on(pipe, rc, deadline));
    return rc == XF_EEND ? error_detail(rc, "the other end of the pipe has gone") : rc;
}

/* Claims the next message of at most that size, as ring_take does. */
static int take(xf_pipe *pipe, ring_message *hold, uint64_t most, uint64_t deadline)
{
    int rc = pipe_check(pipe, false);

    if (rc < 0)
        return rc;
    do
        rc = ring_take(&pipe->in, hold, most, slice(deadline));
    while (goes_on(pipe, rc, deadline));
    return rc == XF_EEND ? error_detail(rc, "the other end of the pipe has gone") : rc;
}

int xf_pipe_receive(xf_pipe *pipe, xf_message *message, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    ring_message hold = {.size = DEFAULT_ROOM};
    int rc = XF_ESIZE;

    while (rc == XF_ESIZE) {
        parcel *parcel = parcel_make((size_t)hold.size);
        if (!parcel)
            return error_detail(XF_ENOMEM, "a message of %llu bytes", (unsigned long long)hold.size);
        rc = take(pipe, &hold, parcel->size, deadline);
        if (rc < 0) {
            parcel_free(parcel);
            continue;
        }
        ring_copy_out(&pipe->in, &hold, parcel->bytes);
        parcel->size = (size_t)hold.size;
        *message = (xf_message){parcel_data(parcel), parcel->size, parcel};
    }
    return rc;
}

int xf_pipe_receive_into(xf_pipe *pipe, void *room, size_t size, size_t *got, int timeout_ms)
{
    ring_message hold;
    int rc = take(pipe, &hold, size, clock_deadline(timeout_ms));

    if (rc == 0)
        ring_copy_out(&pipe->in, &hold, room);
    if (rc == 0 || rc == XF_ESIZE)
        *got = (size_t)hold.size;
    return rc == XF_ESIZE ? error_detail(rc, "a message of %zu bytes, and room for %zu", *got, size) : rc;
}

int xf_pipe_poll(xf_pipe *pipe, size_t *size, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms), found = 0;
    int rc = pipe_check(pipe, false);

    if (rc < 0)
        return rc;
    do
        rc = ring_peek(&pipe->in, &found, slice(deadline));
    while (goes_on(pipe, rc, deadline));
    if (rc == 0)
        *size = (size_t)found;
    return rc == XF_EEND ? error_detail(rc, "the other end of the pipe has gone") : rc;
}

uint64_t pipe_memory(const xf_pipe *pipe)
{
    return pipe->receives ? pipe->in.plan.memory : 0;
}
