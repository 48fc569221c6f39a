/* Putting messages into a ring, and shutting it down. */
#include "base/clock.h"
#include "base/error.h"
#include "messaging/ring_internal.h"

#include <string.h>

static bool claim_position(const ring *ring, ring_position *position, uint64_t owner)
{
    ring_cell *cell = ring_cell_at(ring, position->buffer, position->at);

    return atomic_compare_exchange_strong(&cell->putter, &position->claim,
                                          ring_claim(ring_lap(position->buffer, position->at), owner));
}

static int claim_room(ring *ring, ring_position *position)
{
    int rc;

    for (;;) {
        switch (ring_search_room(ring, position)) {
        case RING_FOUND:
            rc = ring_is_ready(ring, position->number, position->at)
                     ? 0
                     : ring_make_ready(ring, position->number, position->at);
            if (rc < 0)
                return rc;
            if (!claim_position(ring, position, ring->me))
                continue;
            ring_write_hint(&ring->head->put_at, position);
            return 0;
        case RING_NONE:
            if (ring->plan.capacity || position->number + 1 >= ring->buffer_count || !ring_can_close(position))
                return XF_EAGAIN;
            claim_position(ring, position, RING_NEXT); /* no matter which process does it */
            continue;
        case RING_AT_END:
            return error_detail(XF_EEND, "the queue is shut down");
        default:
            return ring_broken();
        }
    }
}

/* Marks the cell as full: from here on consumers can take the message. */
static void fill_cell(ring *ring, const ring_position *position)
{
    atomic_store(&ring_cell_at(ring, position->buffer, position->at)->turn,
                 2 * ring_lap(position->buffer, position->at) + 1);
    wake_word_signal(ring->shm, &ring->head->filled);
}

static int try_push(ring *ring, const void *data, uint64_t size)
{
    ring_position position;
    ring_cell *cell;
    int rc = claim_room(ring, &position);

    if (rc < 0)
        return rc;
    cell = ring_cell_at(ring, position.buffer, position.at);
    atomic_store_explicit(&cell->size, size, memory_order_relaxed);
    atomic_store_explicit(&cell->block, 0, memory_order_relaxed);
    memcpy(cell->bytes, data, (size_t)size);
    fill_cell(ring, &position);
    return 0;
}

static int try_commit(ring *ring, uint64_t block, uint64_t size)
{
    ring_block *head = ring_blocks_at(&ring->blocks, block, size);
    ring_position position;
    ring_cell *cell;
    int rc = head ? claim_room(ring, &position) : ring_broken();

    if (rc < 0)
        return rc;
    cell = ring_cell_at(ring, position.buffer, position.at);
    atomic_store_explicit(&cell->size, size, memory_order_relaxed);
    atomic_store_explicit(&cell->block, block, memory_order_relaxed);
    atomic_store_explicit(&head->position, (uint64_t)position.number << RING_BUFFER_SHIFT | position.at,
                          memory_order_relaxed);
    fill_cell(ring, &position);
    return 0;
}

static bool ring_has_room(ring *ring, void *arg, uint64_t *blocker)
{
    ring_position position;
    ring_found found = ring_search_room(ring, &position);
    bool grows = ring->plan.capacity == 0 && position.number + 1 < ring->buffer_count && ring_can_close(&position);

    (void)arg;
    if (found == RING_NONE && !grows)
        *blocker = ring_search_blocker(ring, &position);
    return found != RING_NONE || grows;
}

static int wait_for_room(ring *ring, uint64_t deadline)
{
    return ring_wait(ring, &(ring_awaited){&ring->head->freed, ring_has_room, NULL, ring_search_quick_room}, deadline);
}

bool ring_can_push(ring *ring, wait_target *target)
{
    return ring_wait_poll(ring, &(ring_awaited){&ring->head->freed, ring_has_room, NULL, NULL}, target);
}

static int push_in_block(ring *ring, const void *data, uint64_t size, uint64_t deadline)
{
    uint64_t block;
    void *room;
    int rc = ring_reserve(ring, size, deadline, &block, &room);

    if (rc < 0)
        return rc;
    memcpy(room, data, (size_t)size);
    rc = ring_commit(ring, block, size, deadline);
    if (rc < 0)
        ring_cancel(ring, block, size);
    return rc;
}

int ring_push(ring *ring, const void *data, uint64_t size, uint64_t deadline)
{
    int rc;

    if (size > ring->plan.room)
        return push_in_block(ring, data, size, deadline);
    while ((rc = try_push(ring, size ? data : "", size)) == XF_EAGAIN) {
        rc = wait_for_room(ring, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}

int ring_commit(ring *ring, uint64_t block, uint64_t size, uint64_t deadline)
{
    int rc;

    while ((rc = try_commit(ring, block, size)) == XF_EAGAIN) {
        rc = wait_for_room(ring, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* ---- Reserving ------------------------------------------------------------------------------- */

typedef struct wanted_block {
    uint64_t size;
    uint64_t block;
    int rc;
} wanted_block;

static bool ring_has_block(ring *ring, void *arg, uint64_t *blocker)
{
    wanted_block *wanted = arg;

    (void)blocker;
    wanted->rc = ring_blocks_take(&ring->blocks, ring->me, wanted->size, &wanted->block);
    return wanted->rc != XF_EAGAIN;
}

int ring_reserve(ring *ring, uint64_t size, uint64_t deadline, uint64_t *block, void **data)
{
    wanted_block wanted = {.size = size};
    int rc;

    if (!ring_has_block(ring, &wanted, NULL)) {
        ring_recover_all(ring); /* the blocks of dead processes may be enough */
        rc = ring_wait(ring, &(ring_awaited){&ring->head->freed, ring_has_block, &wanted, NULL}, deadline);
        if (rc < 0)
            return rc;
    }
    if (wanted.rc < 0)
        return wanted.rc;
    *block = wanted.block;
    *data = ring_blocks_at(&ring->blocks, wanted.block, size)->bytes;
    return 0;
}

void ring_cancel(ring *ring, uint64_t block, uint64_t size)
{
    ring_free_block(ring, block, size);
}

void ring_shrink(ring *ring, uint64_t block, uint64_t size, uint64_t smaller)
{
    ring_blocks_shrink(&ring->blocks, block, size, smaller);
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Claims the next position as the end of the ring: XF_EAGAIN when it cannot be claimed now. */
static int try_shut_down(ring *ring)
{
    ring_position position;
    int rc;

    for (;;) {
        switch (ring_search_room(ring, &position)) {
        case RING_FOUND:
        case RING_NONE:
            rc = ring_is_ready(ring, position.number, position.at)
                     ? 0
                     : ring_make_ready(ring, position.number, position.at);
            if (rc < 0)
                return rc;
            if (!ring_can_close(&position))
                return XF_EAGAIN;
            if (claim_position(ring, &position, RING_END))
                return 0;
            continue;
        case RING_AT_END:
            return 0;
        default:
            return ring_broken();
        }
    }
}

static bool can_shut_down(ring *ring, void *arg, uint64_t *blocker)
{
    ring_position position;
    ring_found found = ring_search_room(ring, &position);

    (void)arg;
    if (found == RING_NONE && !ring_can_close(&position))
        *blocker = ring_search_blocker(ring, &position);
    return found != RING_NONE || ring_can_close(&position);
}

/* Whether the process in the way lives: it will finish its put, or be found dead. */
static bool is_held_up(ring *ring)
{
    uint64_t process = 0;

    return can_shut_down(ring, NULL, &process) || (process != 0 && os_process_lives(process));
}

/* The claim of a dead process is recovered within RING_RECHECK_MS.  If the cell stays claimed for PATIENCE rounds and
 * its owner does not exist, the word is corrupt and not a claim. */
int ring_shut_down(ring *ring)
{
    enum { PATIENCE = 10 };
    ring_awaited awaited = {&ring->head->filled, can_shut_down, NULL, NULL};
    int rc;

    for (int rounds = 0; (rc = try_shut_down(ring)) == XF_EAGAIN; rounds = is_held_up(ring) ? 0 : rounds + 1) {
        if (rounds == PATIENCE)
            return ring_broken();
        (void)ring_wait(ring, &awaited, clock_deadline(RING_RECHECK_MS));
    }
    if (rc < 0)
        return rc;
    wake_word_signal(ring->shm, &ring->head->filled);
    wake_word_signal(ring->shm, &ring->head->freed);
    return 0;
}
