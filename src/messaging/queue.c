#include "crossfork/queue.h"

#include "base/clock.h"
#include "base/error.h"
#include "messaging/queue.h"
#include "messaging/ring.h"
#include "objects/object.h"
#include "protocol/inbox.h"
#include "protocol/task_table.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE_VERSION = 2, DEFAULT_ROOM = 144 };

/* The lane begins at a page of its own: what is before it is the object's head. */
enum { LANE_AT = OS_PAGE };

struct xf_queue {
    object *object;
    lane lane;
};

/* ---- Making, handing over, ending ------------------------------------------------------------ */

static int plan_from(const xf_queue_options *options, ring_plan *plan)
{
    size_t room = options->message_size ? options->message_size : DEFAULT_ROOM;

    if (options->capacity > XF_QUEUE_MAX || room > RING_CELL_MAX || options->spin_us < -1)
        return error_detail(XF_EINVAL, "option capacity is %zu, message_size %zu, spin_us %d", options->capacity,
                            options->message_size, options->spin_us);
    *plan = (ring_plan){.capacity = options->capacity,
                        .room = (room + 15) / 16 * 16,
                        .memory = ring_memory(options->memory_limit),
                        .spin_us = ring_spin_us(options->spin_us),
                        .hands = options->counts_tasks ? RING_CONSUMERS : 0};
    return 0;
}

static int create(xf_queue *queue, const ring_plan *plan)
{
    uint64_t size;
    int rc = ring_size(plan, &size);

    if (rc == 0)
        rc = object_create(&queue->object, XF_KIND_QUEUE, QUEUE_VERSION, (size_t)(LANE_AT + size - OBJECT_HEAD),
                           OS_SHM_RESERVED);
    if (rc < 0)
        return rc;
    rc = ring_create(&queue->lane, &queue->object->shm, LANE_AT, plan);
    if (rc < 0)
        object_close(queue->object);
    return rc;
}

int xf_queue_create(xf_queue **out, const xf_queue_options *options)
{
    static const xf_queue_options defaults;
    ring_plan plan;
    xf_queue *queue;
    int rc = plan_from(options ? options : &defaults, &plan);

    if (rc < 0)
        return rc;
    queue = calloc(1, sizeof *queue);
    if (!queue)
        return error_detail(XF_ENOMEM, "a queue");
    rc = create(queue, &plan);
    if (rc < 0) {
        free(queue);
        return rc;
    }
    *out = queue;
    return 0;
}

int xf_queue_ref(xf_queue *queue, xf_ref *ref)
{
    return object_ref(queue->object, ref);
}

int xf_queue_open(xf_queue **out, const xf_ref *ref)
{
    xf_queue *queue = calloc(1, sizeof *queue);
    int rc;

    if (!queue)
        return error_detail(XF_ENOMEM, "a queue");
    rc = object_open(&queue->object, ref, XF_KIND_QUEUE, QUEUE_VERSION);
    if (rc < 0)
        goto free_queue;
    rc = ring_attach(&queue->lane, &queue->object->shm, LANE_AT);
    if (rc < 0)
        goto close_object;
    *out = queue;
    return 0;

close_object:
    object_close(queue->object);
free_queue:
    free(queue);
    return rc;
}

int xf_queue_close(xf_queue *queue)
{
    return ring_shut_down(&queue->lane);
}

void xf_queue_free(xf_queue *queue)
{
    if (!queue)
        return;
    object_close(queue->object);
    free(queue);
}

/* ---- Putting --------------------------------------------------------------------------------- */

int xf_queue_put(xf_queue *queue, const void *data, size_t size, int timeout_ms)
{
    return ring_push(&queue->lane, data, size, clock_deadline(timeout_ms));
}

int xf_queue_put_many(xf_queue *queue, const xf_bytes *messages, int count, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = 0, put = 0;

    if (count < 1)
        return error_detail(XF_EINVAL, "%d messages", count);
    while (put < count && rc == 0) {
        rc = ring_push(&queue->lane, messages[put].data, messages[put].size, deadline);
        put += rc == 0;
    }
    return put > 0 ? put : rc;
}

int xf_queue_put_object(xf_queue *queue, const xf_codec *codec, const void *object, int timeout_ms)
{
    xf_writer writer = {0};
    int rc = codec_encode(codec, "a queue", object, &writer);

    if (rc == 0)
        rc = xf_queue_put(queue, writer.data, writer.size, timeout_ms);
    writer_free(&writer);
    return rc;
}

/* place: the block, and how large a message it was taken for. */
int xf_queue_reserve(xf_queue *queue, size_t size, xf_slot *slot, int timeout_ms)
{
    uint64_t block;
    void *data;
    int rc = ring_reserve(&queue->lane, size, clock_deadline(timeout_ms), &block, &data);

    if (rc == 0)
        *slot = (xf_slot){data, size, {block, size}};
    return rc;
}

int xf_queue_commit(xf_queue *queue, xf_slot *slot, int timeout_ms)
{
    int rc;

    if (slot->size > slot->place[1])
        return error_detail(XF_EINVAL, "%zu bytes in a slot of %llu", slot->size, (unsigned long long)slot->place[1]);
    ring_blocks_shrink(&queue->lane.store, slot->place[0], slot->place[1], slot->size);
    slot->place[1] = slot->size;
    rc = ring_commit(&queue->lane, slot->place[0], slot->size, clock_deadline(timeout_ms));
    if (rc == 0)
        *slot = (xf_slot){0};
    return rc;
}

void xf_queue_cancel(xf_queue *queue, xf_slot *slot)
{
    if (slot->place[0])
        ring_cancel(&queue->lane, slot->place[0], slot->place[1]);
    *slot = (xf_slot){0};
}

/* ---- Getting --------------------------------------------------------------------------------- */

static int take(xf_queue *queue, ring_message *hold, uint64_t most, uint64_t deadline)
{
    int rc = ring_inflight_open(&queue->lane);

    return rc < 0 ? rc : ring_take(&queue->lane, hold, most, deadline);
}

/* Gets a message into memory that is there before the message is claimed; that may take several turns. */
static int get(xf_queue *queue, parcel **out, uint64_t deadline)
{
    ring_message hold = {.size = queue->lane.plan.room};
    int rc = XF_ESIZE;

    while (rc == XF_ESIZE) {
        parcel *parcel = parcel_make(hold.size);
        uint64_t room = hold.size;
        if (!parcel)
            return error_detail(XF_ENOMEM, "a message of %llu bytes", (unsigned long long)room);
        rc = take(queue, &hold, room, deadline);
        if (rc == 0) {
            ring_copy_out(&queue->lane, &hold, parcel->bytes);
            parcel->size = (size_t)hold.size;
            *out = parcel;
        } else {
            parcel_free(parcel);
        }
    }
    return rc;
}

int xf_queue_get(xf_queue *queue, xf_message *message, int timeout_ms)
{
    parcel *parcel = NULL;
    int rc = get(queue, &parcel, clock_deadline(timeout_ms));

    if (rc == 0)
        *message = (xf_message){parcel_data(parcel), parcel->size, parcel};
    return rc;
}

int xf_queue_get_into(xf_queue *queue, void *room, size_t size, size_t *got, int timeout_ms)
{
    ring_message hold;
    int rc = take(queue, &hold, size, clock_deadline(timeout_ms));

    if (rc == 0)
        ring_copy_out(&queue->lane, &hold, room);
    if (rc == 0 || rc == XF_ESIZE)
        *got = (size_t)hold.size;
    return rc == XF_ESIZE ? error_detail(rc, "a message of %zu bytes, and room for %zu", *got, size) : rc;
}

int xf_queue_get_many(xf_queue *queue, xf_message *messages, int count, int timeout_ms)
{
    int rc = 0, got = 0;

    if (count < 1)
        return error_detail(XF_EINVAL, "%d messages", count);
    while (got < count && rc == 0) {
        rc = xf_queue_get(queue, &messages[got], got ? 0 : timeout_ms);
        got += rc == 0;
    }
    return got > 0 ? got : rc;
}

/* place: the block, and 0; or 0, and the address of a copy. */
int xf_queue_view(xf_queue *queue, xf_view *view, int timeout_ms)
{
    ring_message hold;
    uint64_t deadline = clock_deadline(timeout_ms);
    void *copy = malloc(queue->lane.plan.room);
    int rc = copy ? take(queue, &hold, UINT64_MAX, deadline) : error_detail(XF_ENOMEM, "a view");

    if (rc < 0) {
        free(copy);
        return rc;
    }
    if (hold.block) {
        free(copy);
        ring_keep(&queue->lane, &hold);
        *view = (xf_view){hold.data, (size_t)hold.size, {hold.block, 0}};
    } else {
        ring_copy_out(&queue->lane, &hold, copy);
        *view = (xf_view){copy, (size_t)hold.size, {0, (uint64_t)(uintptr_t)copy}};
    }
    return 0;
}

void xf_queue_release(xf_queue *queue, xf_view *view)
{
    if (view->place[0])
        ring_release(&queue->lane, view->place[0], view->size);
    else
        free((void *)(uintptr_t)view->place[1]);
    *view = (xf_view){0};
}

int xf_queue_get_object(xf_queue *queue, const xf_codec *codec, void **object, int timeout_ms)
{
    xf_view view;
    int rc = xf_queue_view(queue, &view, timeout_ms);

    if (rc < 0)
        return rc;
    rc = codec_decode(codec, "a queue", view.data, view.size, object);
    xf_queue_release(queue, &view);
    return rc;
}

int xf_queue_peek(xf_queue *queue, size_t *size, int timeout_ms)
{
    uint64_t found;
    int rc = ring_peek(&queue->lane, &found, clock_deadline(timeout_ms));

    if (rc == 0)
        *size = (size_t)found;
    return rc;
}

bool queue_is_ready(xf_queue *queue, bool put, wait_target *target)
{
    lane *lane = &queue->lane;

    return put ? ring_wait_poll(lane, &lane->head->freed, ring_has_room, NULL, target)
               : ring_wait_poll(lane, &lane->head->filled, ring_has_message, NULL, target);
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

static int does_not_count(void)
{
    return error_detail(XF_ESTATE, "the queue was not made with counts_tasks");
}

int xf_queue_task_done(xf_queue *queue)
{
    int rc = queue->lane.plan.hands ? ring_inflight_open(&queue->lane) : does_not_count();

    return rc < 0 ? rc : ring_acknowledge(&queue->lane);
}

int xf_queue_join(xf_queue *queue, int timeout_ms)
{
    return queue->lane.plan.hands ? ring_wait_done(&queue->lane, clock_deadline(timeout_ms)) : does_not_count();
}

/* ---- What became of it ----------------------------------------------------------------------- */

int xf_queue_stats_get(xf_queue *queue, xf_queue_stats *stats, xf_loss *losses, int room)
{
    ring_head *head = queue->lane.head;
    uint64_t lost;
    int count = 0;

    ring_recover_all(&queue->lane);
    lost = atomic_load(&head->lost);
    *stats = (xf_queue_stats){.messages = ring_count(&queue->lane),
                              .lost = lost,
                              .unput = atomic_load(&head->unput),
                              .undone = atomic_load(&head->undone)};
    for (; count < room && count < RING_LOSSES && (uint64_t)count < lost; count++) {
        ring_loss loss = head->losses[(lost - 1 - (uint64_t)count) % RING_LOSSES];
        losses[count] = (xf_loss){(int64_t)(uint32_t)loss.who, loss.size};
    }
    return count;
}
