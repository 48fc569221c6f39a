/* Taking messages out of a lane. */
#include "base/error.h"
#include "messaging/ring.h"

#include <string.h>

/* Lets go of the cell. */
static void pass(lane *lane, const ring_message *hold)
{
    ring_buffer *ring = &lane->rings[hold->ring];

    atomic_store(&ring_cell_at(lane, ring, hold->at)->turn, 2 * ring_lap(ring, hold->at) + 2);
    wake_word_signal(lane->shm, &lane->head->freed);
}

/* Whether a cell may say that: of a message in it, or in a block. */
static bool can_be(lane *lane, uint64_t block, uint64_t size)
{
    return block ? ring_blocks_at(&lane->store, block, size) != NULL : size <= lane->plan.room;
}

/* Where the message is that was claimed; false when it cannot be. */
static bool find_bytes(lane *lane, ring_message *hold)
{
    ring_cell *cell = ring_cell_at(lane, &lane->rings[hold->ring], hold->at);

    hold->size = atomic_load_explicit(&cell->size, memory_order_relaxed);
    hold->block = atomic_load_explicit(&cell->block, memory_order_relaxed);
    if (!can_be(lane, hold->block, hold->size))
        return false;
    hold->data = hold->block ? ring_blocks_at(&lane->store, hold->block, hold->size)->bytes : cell->bytes;
    return true;
}

/* The size of a message that is not claimed: false when it may have been read after somebody else took the message. */
static bool read_size(lane *lane, const ring_position *spot, uint64_t *size)
{
    ring_cell *cell = ring_cell_at(lane, spot->ring, spot->at);

    *size = atomic_load_explicit(&cell->size, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load(&cell->turn) == spot->turn && atomic_load(&cell->getter) == spot->claim;
}

/* A message that cannot be is claimed all the same, and so is out of the way. */
static bool is_too_long(lane *lane, const ring_position *spot, uint64_t most, uint64_t *size)
{
    ring_cell *cell = ring_cell_at(lane, spot->ring, spot->at);
    uint64_t block = atomic_load_explicit(&cell->block, memory_order_relaxed);

    return read_size(lane, spot, size) && *size > most && can_be(lane, block, *size);
}

/* A message is in some hand from before it is taken out of the lane, so that it is never in neither. */
static bool claim_message(lane *lane, ring_position *spot)
{
    bool got;

    if (lane->own_hand)
        atomic_fetch_add(&lane->own_hand->owed, 1);
    got = atomic_compare_exchange_strong(&ring_cell_at(lane, spot->ring, spot->at)->getter, &spot->claim,
                                         ring_claim(ring_lap(spot->ring, spot->at), lane->me));
    if (!got && lane->own_hand)
        (void)ring_acknowledge(lane);
    return got;
}

static int try_take(lane *lane, ring_message *hold, uint64_t most)
{
    ring_position spot;
    uint64_t skipped;

    for (;;) {
        switch (ring_search_message(lane, &spot, &skipped)) {
        case RING_FOUND:
            if (most < UINT64_MAX && is_too_long(lane, &spot, most, &hold->size))
                return XF_ESIZE;
            if (!claim_message(lane, &spot))
                continue;
            if (skipped == 0)
                ring_write_hint(&lane->head->get_at, &spot);
            hold->ring = spot.number;
            hold->at = spot.at;
            if (find_bytes(lane, hold))
                return 0;
            pass(lane, hold);
            return ring_broken();
        case RING_NONE:
            return XF_EAGAIN;
        case RING_AT_END:
            return error_detail(XF_EEND, "everything was taken, and no more comes");
        default:
            return ring_broken();
        }
    }
}

bool ring_has_message(lane *lane, void *arg, uint64_t *in_the_way)
{
    ring_position spot;

    (void)arg;
    return ring_search_message(lane, &spot, in_the_way) != RING_NONE;
}

int ring_take(lane *lane, ring_message *hold, uint64_t most, uint64_t deadline)
{
    int rc;

    while ((rc = try_take(lane, hold, most)) == XF_EAGAIN) {
        rc = ring_wait(lane, &lane->head->filled, ring_search_quick_message, ring_has_message, NULL, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* A block is adopted before anything of it is freed, and the cell forgets it before that too: so whoever finds this
 * process dead knows that either all of it is still there, or what is left has this process's name. */
void ring_copy_out(lane *lane, ring_message *hold, void *room)
{
    ring_cell *cell = ring_cell_at(lane, &lane->rings[hold->ring], hold->at);

    if (hold->size > 0)
        memcpy(room, hold->data, (size_t)hold->size);
    if (hold->block) {
        ring_blocks_adopt(&lane->store, hold->block, hold->size, lane->me);
        atomic_store_explicit(&cell->block, 0, memory_order_release);
        ring_free_block(lane, hold->block, hold->size);
    }
    pass(lane, hold);
}

/* As long as the cell is not passed the message is lost with it, and then with the mark. */
void ring_keep(lane *lane, ring_message *hold)
{
    ring_blocks_adopt(&lane->store, hold->block, hold->size, lane->me);
    ring_blocks_mark(&lane->store, hold->block, lane->me, true);
    pass(lane, hold);
}

void ring_release(lane *lane, uint64_t block, uint64_t size)
{
    ring_blocks_mark(&lane->store, block, lane->me, false);
    ring_free_block(lane, block, size);
}

static int try_peek(lane *lane, uint64_t *size)
{
    ring_position spot;
    uint64_t skipped;

    for (;;) {
        switch (ring_search_message(lane, &spot, &skipped)) {
        case RING_FOUND:
            if (read_size(lane, &spot, size))
                return 0;
            continue;
        case RING_NONE:
            return XF_EAGAIN;
        case RING_AT_END:
            return error_detail(XF_EEND, "everything was taken, and no more comes");
        default:
            return ring_broken();
        }
    }
}

int ring_peek(lane *lane, uint64_t *size, uint64_t deadline)
{
    int rc;

    while ((rc = try_peek(lane, size)) == XF_EAGAIN) {
        rc = ring_wait(lane, &lane->head->filled, ring_search_quick_message, ring_has_message, NULL, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}
