/* Taking messages out of a ring. */
#include "base/error.h"
#include "messaging/ring_internal.h"
#include "protocol/message.h"

#include <string.h>

/* Gives the cell to the producers of the next lap. */
static void free_cell(ring *ring, const ring_message *message)
{
    ring_buffer *buffer = &ring->buffers[message->buffer];

    atomic_store(&ring_cell_at(ring, buffer, message->at)->turn, 2 * ring_lap(buffer, message->at) + 2);
    wake_word_signal(ring->shm, &ring->head->freed);
}

/* Whether a cell can hold a message of that size, in itself or in that block. */
static bool is_possible(ring *ring, uint64_t block, uint64_t size)
{
    return block ? ring_blocks_at(&ring->blocks, block, size) != NULL : size <= ring->plan.room;
}

/* Finds the bytes of a message that was claimed; false when the entry is malformed. */
static bool find_bytes(ring *ring, ring_message *message)
{
    ring_cell *cell = ring_cell_at(ring, &ring->buffers[message->buffer], message->at);

    message->size = atomic_load_explicit(&cell->size, memory_order_relaxed);
    message->block = atomic_load_explicit(&cell->block, memory_order_relaxed);
    if (!is_possible(ring, message->block, message->size))
        return false;
    message->data = message->block ? ring_blocks_at(&ring->blocks, message->block, message->size)->bytes : cell->bytes;
    return true;
}

/* Reads the size of a message that is not claimed; false when another process may have taken the message before. */
static bool read_size(ring *ring, const ring_position *position, uint64_t *size)
{
    ring_cell *cell = ring_cell_at(ring, position->buffer, position->at);

    *size = atomic_load_explicit(&cell->size, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load(&cell->turn) == position->turn && atomic_load(&cell->getter) == position->claim;
}

/* A malformed entry is claimed too: that removes it from the ring, so it cannot block the entries behind it. */
static bool is_too_long(ring *ring, const ring_position *position, uint64_t most, uint64_t *size)
{
    ring_cell *cell = ring_cell_at(ring, position->buffer, position->at);
    uint64_t block = atomic_load_explicit(&cell->block, memory_order_relaxed);

    return read_size(ring, position, size) && *size > most && is_possible(ring, block, *size);
}

/* A message is counted as in flight before it leaves the ring, so at each moment it is in one of them. */
static bool claim_message(ring *ring, ring_position *position)
{
    bool got;

    ring_inflight_add(ring);
    got = atomic_compare_exchange_strong(&ring_cell_at(ring, position->buffer, position->at)->getter, &position->claim,
                                         ring_claim(ring_lap(position->buffer, position->at), ring->me));
    if (!got && ring->own_consumer)
        (void)ring_inflight_remove(ring);
    return got;
}

static int is_finished(void)
{
    return error_detail(XF_EEND, "the queue is shut down and empty");
}

static int try_take(ring *ring, ring_message *message, uint64_t most)
{
    ring_position position;
    uint64_t skipped;

    for (;;) {
        switch (ring_search_message(ring, &position, &skipped)) {
        case RING_FOUND:
            if (most < UINT64_MAX && is_too_long(ring, &position, most, &message->size))
                return XF_ESIZE;
            if (!claim_message(ring, &position))
                continue;
            if (skipped == 0)
                ring_write_hint(&ring->head->get_at, &position);
            message->buffer = position.number;
            message->at = position.at;
            if (find_bytes(ring, message))
                return 0;
            free_cell(ring, message);
            return ring_broken();
        case RING_NONE:
            return XF_EAGAIN;
        case RING_AT_END:
            return is_finished();
        default:
            return ring_broken();
        }
    }
}

static bool ring_has_message(ring *ring, void *arg, uint64_t *blocker)
{
    ring_position position;

    (void)arg;
    return ring_search_message(ring, &position, blocker) != RING_NONE;
}

static int wait_for_message(ring *ring, uint64_t deadline)
{
    return ring_wait(ring, &(ring_awaited){&ring->head->filled, ring_has_message, NULL, ring_search_quick_message},
                     deadline);
}

bool ring_can_pop(ring *ring, wait_target *target)
{
    return ring_wait_poll(ring, &(ring_awaited){&ring->head->filled, ring_has_message, NULL, NULL}, target);
}

int ring_take(ring *ring, ring_message *message, uint64_t most, uint64_t deadline)
{
    int rc = ring->plan.consumers ? ring_inflight_open(ring) : 0;

    if (rc < 0)
        return rc;
    while ((rc = try_take(ring, message, most)) == XF_EAGAIN) {
        rc = wait_for_message(ring, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* The block is adopted before any of it is freed, and the cell forgets the block before that too.  So if this process
 * dies here, either the block is whole, or the rest of it has this process's name. */
void ring_copy_out(ring *ring, ring_message *message, void *room)
{
    ring_cell *cell = ring_cell_at(ring, &ring->buffers[message->buffer], message->at);

    if (message->size > 0)
        memcpy(room, message->data, (size_t)message->size);
    if (message->block) {
        ring_blocks_adopt(&ring->blocks, message->block, message->size, ring->me);
        atomic_store_explicit(&cell->block, 0, memory_order_release);
        ring_free_block(ring, message->block, message->size);
    }
    free_cell(ring, message);
}

/* If this process dies before it frees the cell, the message is lost with the cell; afterwards, with the mark. */
void ring_keep(ring *ring, ring_message *message)
{
    ring_blocks_adopt(&ring->blocks, message->block, message->size, ring->me);
    ring_blocks_mark(&ring->blocks, message->block, ring->me, true);
    free_cell(ring, message);
}

void ring_release(ring *ring, uint64_t block, uint64_t size)
{
    ring_blocks_mark(&ring->blocks, block, ring->me, false);
    ring_free_block(ring, block, size);
}

/* ---- Whole messages -------------------------------------------------------------------------- */

/* Allocates the memory before it claims the message.  When the message does not fit, tries again with more. */
int ring_pop(ring *ring, xf_message *out, uint64_t deadline)
{
    ring_message message = {.size = ring->plan.room};
    struct message *received;
    int rc;

    do {
        received = message_create((size_t)message.size);
        if (!received)
            return error_detail(XF_ENOMEM, "a message of %llu bytes", (unsigned long long)message.size);
        rc = ring_take(ring, &message, received->size, deadline);
        if (rc < 0)
            message_free(received);
    } while (rc == XF_ESIZE);
    if (rc < 0)
        return rc;
    ring_copy_out(ring, &message, received->bytes);
    received->size = (size_t)message.size;
    *out = (xf_message){message_data(received), received->size, received};
    return 0;
}

int ring_pop_into(ring *ring, void *room, size_t size, size_t *got, uint64_t deadline)
{
    ring_message message;
    int rc = ring_take(ring, &message, size, deadline);

    if (rc == 0)
        ring_copy_out(ring, &message, room);
    if (rc == 0 || rc == XF_ESIZE)
        *got = (size_t)message.size;
    return rc == XF_ESIZE ? error_detail(rc, "a message of %zu bytes, and room for %zu", *got, size) : rc;
}

static int try_peek(ring *ring, uint64_t *size)
{
    ring_position position;
    uint64_t skipped;

    for (;;) {
        switch (ring_search_message(ring, &position, &skipped)) {
        case RING_FOUND:
            if (read_size(ring, &position, size))
                return 0;
            continue;
        case RING_NONE:
            return XF_EAGAIN;
        case RING_AT_END:
            return is_finished();
        default:
            return ring_broken();
        }
    }
}

int ring_peek(ring *ring, size_t *size, uint64_t deadline)
{
    uint64_t found = 0;
    int rc;

    while ((rc = try_peek(ring, &found)) == XF_EAGAIN) {
        rc = wait_for_message(ring, deadline);
        if (rc < 0)
            return rc;
    }
    if (rc == 0)
        *size = (size_t)found;
    return rc;
}
