/* Putting messages into a lane, and ending it. */
#include "base/clock.h"
#include "base/error.h"
#include "messaging/ring.h"

#include <string.h>

static bool claim_room(const lane *lane, lane_spot *spot, uint64_t who)
{
    lane_cell *cell = lane_cell_at(lane, spot->ring, spot->at);

    return atomic_compare_exchange_strong(&cell->putter, &spot->claim, lane_claim(lane_lap(spot->ring, spot->at), who));
}

/* Claims the next place: 0, XF_EAGAIN when there is none. */
static int claim_place(lane *lane, lane_spot *spot)
{
    int rc;

    for (;;) {
        switch (lane_find_room(lane, spot)) {
        case LANE_FOUND:
            rc = lane_is_ready(lane, spot->number, spot->at) ? 0 : lane_make_ready(lane, spot->number, spot->at);
            if (rc < 0)
                return rc;
            if (!claim_room(lane, spot, lane->me))
                continue;
            lane_write_hint(&lane->head->put_at, spot);
            return 0;
        case LANE_NONE:
            if (lane->plan.capacity || spot->number + 1 >= lane->ring_count || !lane_can_close(spot))
                return XF_EAGAIN;
            claim_room(lane, spot, LANE_NEXT); /* somebody does it, and it is no matter who */
            continue;
        case LANE_ENDED:
            return error_detail(XF_EEND, "no more is taken");
        default:
            return lane_broken();
        }
    }
}

/* Whoever gets can have it from here on. */
static void fill(lane *lane, const lane_spot *spot)
{
    atomic_store(&lane_cell_at(lane, spot->ring, spot->at)->turn, 2 * lane_lap(spot->ring, spot->at) + 1);
    wake_word_signal(lane->shm, &lane->head->filled);
}

static int try_put(lane *lane, const void *data, uint64_t size)
{
    lane_spot spot;
    lane_cell *cell;
    int rc = claim_place(lane, &spot);

    if (rc < 0)
        return rc;
    cell = lane_cell_at(lane, spot.ring, spot.at);
    atomic_store_explicit(&cell->size, size, memory_order_relaxed);
    atomic_store_explicit(&cell->block, 0, memory_order_relaxed);
    memcpy(cell->bytes, data, (size_t)size);
    fill(lane, &spot);
    return 0;
}

static uint64_t number_of(uint32_t ring, uint64_t at)
{
    return (uint64_t)ring << LANE_RING_SHIFT | at;
}

static int try_commit(lane *lane, uint64_t block, uint64_t size)
{
    store_block *head = store_at(&lane->store, block, size);
    lane_spot spot;
    lane_cell *cell;
    int rc = head ? claim_place(lane, &spot) : lane_broken();

    if (rc < 0)
        return rc;
    cell = lane_cell_at(lane, spot.ring, spot.at);
    atomic_store_explicit(&cell->size, size, memory_order_relaxed);
    atomic_store_explicit(&cell->block, block, memory_order_relaxed);
    atomic_store_explicit(&head->place, number_of(spot.number, spot.at), memory_order_relaxed);
    fill(lane, &spot);
    return 0;
}

bool lane_has_room(lane *lane, void *arg, uint64_t *in_the_way)
{
    lane_spot spot;
    lane_sight sight = lane_find_room(lane, &spot);
    bool grows = lane->plan.capacity == 0 && spot.number + 1 < lane->ring_count && lane_can_close(&spot);

    (void)arg;
    if (sight == LANE_NONE && !grows)
        *in_the_way = lane_blocker(lane, &spot);
    return sight != LANE_NONE || grows;
}

int lane_put(lane *lane, const void *data, uint64_t size, uint64_t deadline)
{
    uint64_t block;
    void *room;
    int rc;

    if (size > lane->plan.room) {
        rc = lane_reserve(lane, size, deadline, &block, &room);
        if (rc < 0)
            return rc;
        memcpy(room, data, (size_t)size);
        rc = lane_commit(lane, block, size, deadline);
        if (rc < 0)
            lane_cancel(lane, block, size);
        return rc;
    }
    while ((rc = try_put(lane, size ? data : "", size)) == XF_EAGAIN) {
        rc = lane_await(lane, &lane->head->freed, lane_glimpse_room, lane_has_room, NULL, deadline);
        if (rc < 0)
            return rc;
    }
    return rc;
}

int lane_commit(lane *lane, uint64_t block, uint64_t size, uint64_t deadline)
{
    int rc;

    while ((rc = try_commit(lane, block, size)) == XF_EAGAIN) {
        rc = lane_await(lane, &lane->head->freed, lane_glimpse_room, lane_has_room, NULL, deadline);
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
    want->rc = store_take(&lane->store, lane->me, want->size, &want->block);
    return want->rc != XF_EAGAIN;
}

int lane_reserve(lane *lane, uint64_t size, uint64_t deadline, uint64_t *block, void **data)
{
    want want = {.size = size};
    int rc;

    if (!has_block(lane, &want, NULL)) {
        lane_settle_all(lane); /* what the dead have left may be enough */
        rc = lane_await(lane, &lane->head->freed, NULL, has_block, &want, deadline);
        if (rc < 0)
            return rc;
    }
    if (want.rc < 0)
        return want.rc;
    *block = want.block;
    *data = store_at(&lane->store, want.block, size)->bytes;
    return 0;
}

void lane_cancel(lane *lane, uint64_t block, uint64_t size)
{
    lane_free_block(lane, block, size);
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Says in the next place that the lane ends there: XF_EAGAIN when that place cannot be claimed now. */
static int try_end(lane *lane)
{
    lane_spot spot;
    int rc;

    for (;;) {
        switch (lane_find_room(lane, &spot)) {
        case LANE_FOUND:
        case LANE_NONE:
            rc = lane_is_ready(lane, spot.number, spot.at) ? 0 : lane_make_ready(lane, spot.number, spot.at);
            if (rc < 0)
                return rc;
            if (!lane_can_close(&spot))
                return XF_EAGAIN;
            if (claim_room(lane, &spot, LANE_END))
                return 0;
            continue;
        case LANE_ENDED:
            return 0;
        default:
            return lane_broken();
        }
    }
}

static bool can_end(lane *lane, void *arg, uint64_t *in_the_way)
{
    lane_spot spot;
    lane_sight sight = lane_find_room(lane, &spot);

    (void)arg;
    if (sight == LANE_NONE && !lane_can_close(&spot))
        *in_the_way = lane_blocker(lane, &spot);
    return sight != LANE_NONE || lane_can_close(&spot);
}

/* Whether whoever is in the way lives, and so will go on, or be found dead. */
static bool is_held_up(lane *lane)
{
    uint64_t who = 0;

    return can_end(lane, NULL, &who) || (who != 0 && os_process_lives(who));
}

/* What the dead have claimed is settled soon; if it is not, that is no claim. */
int lane_end(lane *lane)
{
    enum { PATIENCE = 10 }; /* turns of LANE_LOOK_MS */
    int rc;

    for (int turns = 0; (rc = try_end(lane)) == XF_EAGAIN; turns = is_held_up(lane) ? 0 : turns + 1) {
        if (turns == PATIENCE)
            return lane_broken();
        (void)lane_await(lane, &lane->head->filled, NULL, can_end, NULL, clock_deadline(LANE_LOOK_MS));
    }
    if (rc < 0)
        return rc;
    wake_word_signal(lane->shm, &lane->head->filled);
    wake_word_signal(lane->shm, &lane->head->freed);
    return 0;
}
