/* Putting messages into a lane, and ending it. */
#include "base/clock.h"
#include "base/error.h"
#include "messaging/ring.h"

#include <string.h>

static bool claim_room(const lane *lane, ring_position *spot, uint64_t who)
{
    ring_cell *cell = ring_cell_at(lane, spot->ring, spot->at);

    return atomic_compare_exchange_strong(&cell->putter, &spot->claim, ring_claim(ring_lap(spot->ring, spot->at), who));
}

/* Claims the next place: 0, XF_EAGAIN when there is none. */
static int claim_place(lane *lane, ring_position *spot)
{
    int rc;

    for (;;) {
        switch (ring_search_room(lane, spot)) {
        case RING_FOUND:
            rc = ring_is_ready(lane, spot->number, spot->at) ? 0 : ring_make_ready(lane, spot->number, spot->at);
            if (rc < 0)
                return rc;
            if (!claim_room(lane, spot, lane->me))
                continue;
            ring_write_hint(&lane->head->put_at, spot);
            return 0;
        case RING_NONE:
            if (lane->plan.capacity || spot->number + 1 >= lane->ring_count || !ring_can_close(spot))
                return XF_EAGAIN;
            claim_room(lane, spot, RING_NEXT); /* somebody does it, and it is no matter who */
            continue;
        case RING_AT_END:
            return error_detail(XF_EEND, "no more is taken");
        default:
            return ring_broken();
        }
    }
}

/* Whoever gets can have it from here on. */
static void fill(lane *lane, const ring_position *spot)
{
    atomic_store(&ring_cell_at(lane, spot->ring, spot->at)->turn, 2 * ring_lap(spot->ring, spot->at) + 1);
    wake_word_signal(lane->shm, &lane->head->filled);
}

static int try_put(lane *lane, const void *data, uint64_t size)
{
    ring_position spot;
    ring_cell *cell;
    int rc = claim_place(lane, &spot);

    if (rc < 0)
        return rc;
    cell = ring_cell_at(lane, spot.ring, spot.at);
    atomic_store_explicit(&cell->size, size, memory_order_relaxed);
    atomic_store_explicit(&cell->block, 0, memory_order_relaxed);
    memcpy(cell->bytes, data, (size_t)size);
    fill(lane, &spot);
    return 0;
}

static uint64_t number_of(uint32_t ring, uint64_t at)
{
    return (uint64_t)ring << RING_BUFFER_SHIFT | at;
}

static int try_commit(lane *lane, uint64_t block, uint64_t size)
{
    ring_block *head = ring_blocks_at(&lane->store, block, size);
    ring_position spot;
    ring_cell *cell;
    int rc = head ? claim_place(lane, &spot) : ring_broken();

    if (rc < 0)
        return rc;
    cell = ring_cell_at(lane, spot.ring, spot.at);
    atomic_store_explicit(&cell->size, size, memory_order_relaxed);
    atomic_store_explicit(&cell->block, block, memory_order_relaxed);
    atomic_store_explicit(&head->place, number_of(spot.number, spot.at), memory_order_relaxed);
    fill(lane, &spot);
    return 0;
}

bool ring_has_room(lane *lane, void *arg, uint64_t *in_the_way)
{
    ring_position spot;
    ring_found sight = ring_search_room(lane, &spot);
    bool grows = lane->plan.capacity == 0 && spot.number + 1 < lane->ring_count && ring_can_close(&spot);

    (void)arg;
    if (sight == RING_NONE && !grows)
        *in_the_way = ring_search_blocker(lane, &spot);
    return sight != RING_NONE || grows;
}

int ring_push(lane *lane, const void *data, uint64_t size, uint64_t deadline)
{
    uint64_t block;
    void *room;
    int rc;

    if (size > lane->plan.room) {
        rc = ring_reserve(lane, size, deadline, &block, &room);
        if (rc < 0)
            return rc;
        memcpy(room, data, (size_t)size);
        rc = ring_commit(lane, block, size, deadline);
        if (rc < 0)
            ring_cancel(lane, block, size);
        return rc;
    }
    while ((rc = try_put(lane, size ? data : "", size)) == XF_EAGAIN) {
        rc = ring_wait(lane, &lane->head->freed, ring_search_quick_room, ring_has_room, NULL, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}

int ring_commit(lane *lane, uint64_t block, uint64_t size, uint64_t deadline)
{
    int rc;

    while ((rc = try_commit(lane, block, size)) == XF_EAGAIN) {
        rc = ring_wait(lane, &lane->head->freed, ring_search_quick_room, ring_has_room, NULL, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* ---- Reserving ------------------------------------------------------------------------------- */

typedef struct want {
    uint64_t size;
    uint64_t block;
    int rc;
} want;

static bool has_block(lane *lane, void *arg, uint64_t *in_the_way)
{
    want *want = arg;

    (void)in_the_way;
    want->rc = ring_blocks_take(&lane->store, lane->me, want->size, &want->block);
    return want->rc != XF_EAGAIN;
}

int ring_reserve(lane *lane, uint64_t size, uint64_t deadline, uint64_t *block, void **data)
{
    want want = {.size = size};
    int rc;

    if (!has_block(lane, &want, NULL)) {
        ring_recover_all(lane); /* what the dead have left may be enough */
        rc = ring_wait(lane, &lane->head->freed, NULL, has_block, &want, deadline);
        if (rc < 0)
            return rc;
    }
    if (want.rc < 0)
        return want.rc;
    *block = want.block;
    *data = ring_blocks_at(&lane->store, want.block, size)->bytes;
    return 0;
}

void ring_cancel(lane *lane, uint64_t block, uint64_t size)
{
    ring_free_block(lane, block, size);
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Says in the next place that the lane ends there: XF_EAGAIN when that place cannot be claimed now. */
static int try_end(lane *lane)
{
    ring_position spot;
    int rc;

    for (;;) {
        switch (ring_search_room(lane, &spot)) {
        case RING_FOUND:
        case RING_NONE:
            rc = ring_is_ready(lane, spot.number, spot.at) ? 0 : ring_make_ready(lane, spot.number, spot.at);
            if (rc < 0)
                return rc;
            if (!ring_can_close(&spot))
                return XF_EAGAIN;
            if (claim_room(lane, &spot, RING_END))
                return 0;
            continue;
        case RING_AT_END:
            return 0;
        default:
            return ring_broken();
        }
    }
}

static bool can_end(lane *lane, void *arg, uint64_t *in_the_way)
{
    ring_position spot;
    ring_found sight = ring_search_room(lane, &spot);

    (void)arg;
    if (sight == RING_NONE && !ring_can_close(&spot))
        *in_the_way = ring_search_blocker(lane, &spot);
    return sight != RING_NONE || ring_can_close(&spot);
}

/* Whether whoever is in the way lives, and so will go on, or be found dead. */
static bool is_held_up(lane *lane)
{
    uint64_t who = 0;

    return can_end(lane, NULL, &who) || (who != 0 && os_process_lives(who));
}

/* What the dead have claimed is settled soon; if it is not, that is no claim. */
int ring_shut_down(lane *lane)
{
    enum { PATIENCE = 10 }; /* turns of RING_RECHECK_MS */
    int rc;

    for (int turns = 0; (rc = try_end(lane)) == XF_EAGAIN; turns = is_held_up(lane) ? 0 : turns + 1) {
        if (turns == PATIENCE)
            return ring_broken();
        (void)ring_wait(lane, &lane->head->filled, NULL, can_end, NULL, clock_deadline(RING_RECHECK_MS));
    }
    if (rc < 0)
        return rc;
    wake_word_signal(lane->shm, &lane->head->filled);
    wake_word_signal(lane->shm, &lane->head->freed);
    return 0;
}
