#include "crossfork/queue.h"

#include "base/clock.h"
#include "base/codec.h"
#include "base/error.h"
#include "base/writer.h"
#include "messaging/queue.h"
#include "messaging/ring.h"
#include "objects/object.h"
#include "os/cancel.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE_VERSION = 2, DEFAULT_ROOM = 144 };

/* The ring begins at a page of its own, behind the page of the object's head. */
enum { RING_AT = OS_PAGE };

struct xf_queue {
    object *object;
    ring ring;
};

/* ---- Life ------------------------------------------------------------------------------------ */

static int queue_plan(const xf_queue_options *options, ring_plan *plan)
{
    size_t room = options->message_size ? options->message_size : DEFAULT_ROOM;

    if (options->capacity > XF_QUEUE_CAPACITY_MAX || room > RING_CELL_MAX || options->spin_us < -1)
        return error_detail(XF_EINVAL, "option capacity is %zu, message_size %zu, spin_us %d", options->capacity,
                            options->message_size, options->spin_us);
    *plan = (ring_plan){.capacity = options->capacity,
                        .room = (room + 15) / 16 * 16,
                        .memory = ring_memory(options->memory_limit),
                        .spin_us = ring_spin_us(options->spin_us),
                        .consumers = options->counts_tasks ? RING_CONSUMERS : 0};
    return 0;
}

static int create_queue(xf_queue *queue, const ring_plan *plan)
{
    uint64_t size;
    int rc = ring_size(plan, &size);

    if (rc == 0)
        rc = object_create(&queue->object, XF_KIND_QUEUE, QUEUE_VERSION, (size_t)(RING_AT + size - OBJECT_HEAD),
                           OS_SHM_RESERVED);
    if (rc < 0)
        return rc;
    rc = ring_create(&queue->ring, &queue->object->shm, RING_AT, plan);
    if (rc < 0)
        object_close(queue->object);
    return rc;
}

int xf_queue_create(xf_queue **out, const xf_queue_options *options)
{
    OS_HOLD_CANCEL;
    static const xf_queue_options defaults;
    ring_plan plan;
    xf_queue *queue;
    int rc = queue_plan(options ? options : &defaults, &plan);

    if (rc < 0)
        return rc;
    queue = calloc(1, sizeof *queue);
    if (!queue)
        return error_detail(XF_ENOMEM, "a queue");
    rc = create_queue(queue, &plan);
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
    rc = ring_attach(&queue->ring, &queue->object->shm, RING_AT);
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

int queue_check(const xf_queue *queue)
{
    return object_is_own(queue->object) ? 0 : object_not_own();
}

int xf_queue_close(xf_queue *queue)
{
    if (!object_is_own(queue->object))
        return object_not_own();
    return ring_shut_down(&queue->ring);
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
    int rc = error_check_data(data, size, "data");

    if (!object_is_own(queue->object))
        return object_not_own();
    return rc < 0 ? rc : ring_push(&queue->ring, data, size, clock_deadline(timeout_ms));
}

int xf_queue_put_many(xf_queue *queue, const xf_bytes *messages, int count, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = 0, put = 0;

    if (!object_is_own(queue->object))
        return object_not_own();
    if (count < 1 || !messages)
        return error_detail(XF_EINVAL, "%d messages%s", count, messages ? "" : " at NULL");
    for (int i = 0; i < count && rc == 0; i++) /* none is put when one cannot be */
        rc = error_check_data(messages[i].data, messages[i].size, "the data of a message");
    while (put < count && rc == 0) {
        rc = ring_push(&queue->ring, messages[put].data, messages[put].size, deadline);
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

/* slot->reserved has the block, and the size of the message that it was taken for. */
int xf_queue_reserve(xf_queue *queue, size_t size, xf_queue_slot *slot, int timeout_ms)
{
    uint64_t block;
    void *data;
    int rc;

    if (!object_is_own(queue->object))
        return object_not_own();
    rc = ring_reserve(&queue->ring, size, clock_deadline(timeout_ms), &block, &data);
    if (rc == 0)
        *slot = (xf_queue_slot){data, size, {block, size}};
    return rc;
}

int xf_queue_commit(xf_queue *queue, xf_queue_slot *slot, int timeout_ms)
{
    int rc;

    if (!object_is_own(queue->object))
        return object_not_own();
    if (slot->size > slot->reserved[1])
        return error_detail(XF_EINVAL, "%zu bytes in a slot of %llu", slot->size,
                            (unsigned long long)slot->reserved[1]);
    ring_shrink(&queue->ring, slot->reserved[0], slot->reserved[1], slot->size);
    slot->reserved[1] = slot->size;
    rc = ring_commit(&queue->ring, slot->reserved[0], slot->size, clock_deadline(timeout_ms));
    if (rc == 0)
        *slot = (xf_queue_slot){0};
    return rc;
}

void xf_queue_cancel(xf_queue *queue, xf_queue_slot *slot)
{
    if (!object_is_own(queue->object))
        return;
    if (slot->reserved[0])
        ring_cancel(&queue->ring, slot->reserved[0], slot->reserved[1]);
    *slot = (xf_queue_slot){0};
}

/* ---- Getting --------------------------------------------------------------------------------- */

int xf_queue_get(xf_queue *queue, xf_message *message, int timeout_ms)
{
    if (!object_is_own(queue->object))
        return object_not_own();
    return ring_pop(&queue->ring, message, clock_deadline(timeout_ms));
}

int xf_queue_get_into(xf_queue *queue, void *room, size_t size, size_t *got, int timeout_ms)
{
    int rc = error_check_data(room, size, "room");

    if (!object_is_own(queue->object))
        return object_not_own();
    return rc < 0 ? rc : ring_pop_into(&queue->ring, room, size, got, clock_deadline(timeout_ms));
}

int xf_queue_get_many(xf_queue *queue, xf_message *messages, int count, int timeout_ms)
{
    int rc = 0, got = 0;

    if (count < 1 || !messages)
        return error_detail(XF_EINVAL, "%d messages%s", count, messages ? "" : " at NULL");
    while (got < count && rc == 0) {
        rc = xf_queue_get(queue, &messages[got], got ? 0 : timeout_ms);
        got += rc == 0;
    }
    return got > 0 ? got : rc;
}

/* view->reserved has the block and 0; or, for a message that was copied, 0 and the address of the copy. */
int xf_queue_view(xf_queue *queue, xf_queue_message_view *view, int timeout_ms)
{
    ring_message message;
    uint64_t deadline = clock_deadline(timeout_ms);
    void *copy;
    int rc;

    if (!object_is_own(queue->object))
        return object_not_own();
    copy = malloc(queue->ring.plan.room);
    rc = copy ? ring_take(&queue->ring, &message, UINT64_MAX, deadline) : error_detail(XF_ENOMEM, "a view");
    if (rc < 0) {
        free(copy);
        return rc;
    }
    if (message.block) {
        free(copy);
        ring_keep(&queue->ring, &message);
        *view = (xf_queue_message_view){message.data, (size_t)message.size, {message.block, 0}};
    } else {
        ring_copy_out(&queue->ring, &message, copy);
        *view = (xf_queue_message_view){copy, (size_t)message.size, {0, (uint64_t)(uintptr_t)copy}};
    }
    return 0;
}

void xf_queue_release(xf_queue *queue, xf_queue_message_view *view)
{
    if (!object_is_own(queue->object))
        return;
    if (view->reserved[0])
        ring_release(&queue->ring, view->reserved[0], view->size);
    else
        free((void *)(uintptr_t)view->reserved[1]);
    *view = (xf_queue_message_view){0};
}

int xf_queue_get_object(xf_queue *queue, const xf_codec *codec, void **object, int timeout_ms)
{
    xf_queue_message_view view;
    int rc = xf_queue_view(queue, &view, timeout_ms);

    if (rc < 0)
        return rc;
    rc = codec_decode(codec, "a queue", view.data, view.size, object);
    xf_queue_release(queue, &view);
    return rc;
}

int xf_queue_peek(xf_queue *queue, size_t *size, int timeout_ms)
{
    if (!object_is_own(queue->object))
        return object_not_own();
    return ring_peek(&queue->ring, size, clock_deadline(timeout_ms));
}

bool queue_is_ready(xf_queue *queue, bool put, wait_target *target)
{
    return put ? ring_can_push(&queue->ring, target) : ring_can_pop(&queue->ring, target);
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

static int does_not_count(void)
{
    return error_detail(XF_ESTATE, "the queue was not created with counts_tasks");
}

int xf_queue_task_done(xf_queue *queue)
{
    if (!object_is_own(queue->object))
        return object_not_own();
    return queue->ring.plan.consumers ? ring_acknowledge(&queue->ring) : does_not_count();
}

int xf_queue_join(xf_queue *queue, int timeout_ms)
{
    if (!object_is_own(queue->object))
        return object_not_own();
    return queue->ring.plan.consumers ? ring_wait_done(&queue->ring, clock_deadline(timeout_ms)) : does_not_count();
}

/* ---- What became of messages ----------------------------------------------------------------- */

int xf_queue_stats_get(xf_queue *queue, xf_queue_stats *stats, xf_queue_loss *losses, int room)
{
    ring_loss last[RING_LOSSES];
    ring_stats counts;
    int count;

    if (!object_is_own(queue->object))
        return object_not_own();
    if (!losses && room > 0)
        return error_check_data(losses, (uint64_t)room, "losses");
    count = ring_stats_get(&queue->ring, &counts, last, room < RING_LOSSES ? room : RING_LOSSES);
    *stats = (xf_queue_stats){
        .messages = counts.messages, .lost = counts.lost, .unput = counts.unput, .undone = counts.undone};
    for (int i = 0; i < count; i++)
        losses[i] = (xf_queue_loss){(int64_t)(uint32_t)last[i].process, last[i].size};
    return count;
}
