/* Finding places in a lane: where the next message goes, and which one is the first. */
#include "messaging/ring.h"

static void read_hint(lane *lane, _Atomic uint64_t *hint, ring_position *spot)
{
    uint64_t value = atomic_load_explicit(hint, memory_order_relaxed);

    spot->number = (uint32_t)(value >> RING_BUFFER_SHIFT) % lane->ring_count;
    spot->at = value & ((UINT64_C(1) << RING_BUFFER_SHIFT) - 1);
    spot->ring = &lane->rings[spot->number];
}

static bool go_to_next_ring(lane *lane, ring_position *spot)
{
    if (spot->number + 1 >= lane->ring_count)
        return false;
    spot->number++;
    spot->ring = &lane->rings[spot->number];
    spot->at = 0;
    return true;
}

/* Whether the message so many places before was taken: the bound, where the ring is larger than that. */
static bool keeps_bound(const lane *lane, const ring_position *spot)
{
    uint64_t back, capacity = lane->plan.capacity;

    if (capacity == 0 || capacity == spot->ring->mask + 1 || spot->at < capacity)
        return true;
    back = spot->at - capacity;
    return atomic_load_explicit(&ring_cell_at(lane, spot->ring, back)->turn, memory_order_acquire) >=
           2 * ring_lap(spot->ring, back) + 2;
}

/* Reads a claim that belongs to the turn: a claim of a later lap comes only after the turn has changed, but for one
 * that closes the ring, which comes when the cell is full. */
static void read_cell(ring_position *spot, _Atomic uint64_t *turn, _Atomic uint64_t *claim)
{
    uint64_t again = atomic_load_explicit(turn, memory_order_acquire);

    do {
        spot->turn = again;
        spot->claim = atomic_load_explicit(claim, memory_order_acquire);
        again = atomic_load_explicit(turn, memory_order_acquire);
    } while (again != spot->turn);
}

ring_found ring_search_room(lane *lane, ring_position *spot)
{
    uint64_t looks = 0;

    for (read_hint(lane, &lane->head->put_at, spot);; spot->at++) {
        ring_buffer *ring = spot->ring;
        ring_cell *cell = ring_cell_at(lane, ring, spot->at);
        uint64_t lap = ring_lap(ring, spot->at);
        if (!ring_is_ready(lane, spot->number, spot->at)) {
            spot->turn = spot->claim = 0;
            return keeps_bound(lane, spot) ? RING_FOUND : RING_NONE;
        }
        read_cell(spot, &cell->turn, &cell->putter);
        if (spot->turn <= 2 * lap) {
            if (!ring_is_claimed(spot->claim, lap))
                return spot->turn == 2 * lap && keeps_bound(lane, spot) ? RING_FOUND : RING_NONE;
            if (ring_claim_owner(spot->claim) == RING_END)
                return RING_AT_END;
            if (ring_claim_owner(spot->claim) == RING_NEXT) {
                if (!go_to_next_ring(lane, spot))
                    return RING_BROKEN;
                spot->at--; /* the loop goes on to 0 */
            }
        } else if (spot->turn > 2 * lap + 1) { /* as far as the last place of that cell, all are claimed */
            spot->at = (spot->turn / 2 - 1) << ring->bits | (spot->at & ring->mask);
        } /* else it is full, and so was claimed, even if the claim that is seen closes the ring in the next lap */
        if (looks++ > 4 * (ring->mask + 1) + RING_FIRST_CELLS)
            return RING_BROKEN;
    }
}

/* What there is at a place for those who get. */
typedef enum look { LOOK_MESSAGE, LOOK_TAKEN, LOOK_COMING, LOOK_NOTHING, LOOK_NEXT, LOOK_END } look;

static look look_at(lane *lane, ring_position *spot)
{
    ring_cell *cell = ring_cell_at(lane, spot->ring, spot->at);
    uint64_t lap = ring_lap(spot->ring, spot->at), claim;

    if (!ring_is_ready(lane, spot->number, spot->at))
        return LOOK_NOTHING;
    read_cell(spot, &cell->turn, &cell->getter);
    if (spot->turn > 2 * lap + 1)
        return LOOK_TAKEN;
    if (spot->turn == 2 * lap + 1)
        return ring_is_claimed(spot->claim, lap) ? LOOK_TAKEN : LOOK_MESSAGE;
    claim = atomic_load_explicit(&cell->putter, memory_order_acquire);
    if (!ring_is_claimed(claim, lap))
        return LOOK_NOTHING;
    spot->claim = claim;
    return ring_claim_owner(claim) == RING_NEXT  ? LOOK_NEXT
           : ring_claim_owner(claim) == RING_END ? LOOK_END
                                                 : LOOK_COMING;
}

/* A message that was being put when it was skipped may have come before one that is further back: then that is the
 * first. Those before *spot were claimed before it was full, so a put that had ended when *spot's began is seen here.
 */
static bool look_again(lane *lane, ring_position *spot, ring_position *first)
{
    while (first->number != spot->number || first->at != spot->at) {
        switch (look_at(lane, first)) {
        case LOOK_MESSAGE:
            *spot = *first;
            return true;
        case LOOK_NEXT:
            if (!go_to_next_ring(lane, first))
                return false;
            break;
        default:
            first->at++;
        }
        if (first->number > spot->number || (first->number == spot->number && first->at > spot->at))
            return false;
    }
    return true;
}

ring_found ring_search_message(lane *lane, ring_position *spot, uint64_t *skipped)
{
    ring_position first = {0};
    uint64_t looks = 0;

    *skipped = 0;
    read_hint(lane, &lane->head->get_at, spot);
    for (;;) {
        ring_buffer *ring = spot->ring;
        switch (look_at(lane, spot)) {
        case LOOK_MESSAGE:
            return *skipped == 0 || look_again(lane, spot, &first) ? RING_FOUND : RING_BROKEN;
        case LOOK_NOTHING:
            return RING_NONE;
        case LOOK_END:
            return *skipped ? RING_NONE : RING_AT_END;
        case LOOK_NEXT:
            if (!go_to_next_ring(lane, spot))
                return RING_BROKEN;
            break;
        case LOOK_COMING:
            if (*skipped == 0) {
                *skipped = ring_claim_owner(spot->claim);
                first = *spot;
            }
            spot->at++;
            break;
        case LOOK_TAKEN:
            if (spot->turn / 2 > ring_lap(ring, spot->at) + 2) /* what is more than a lap before it has been taken */
                spot->at = (spot->turn / 2 - 2) << ring->bits | (spot->at & ring->mask);
            spot->at++;
        }
        if (looks++ > 4 * (ring->mask + 1) + RING_FIRST_CELLS)
            return RING_BROKEN;
    }
}

uint64_t ring_search_blocker(const lane *lane, const ring_position *spot)
{
    ring_buffer *ring = spot->ring;
    uint64_t capacity = lane->plan.capacity ? lane->plan.capacity : ring->mask + 1;
    uint64_t back = spot->at - capacity, lap = ring_lap(ring, back), turn, claim;
    ring_cell *cell = ring_cell_at(lane, ring, back);

    if (spot->at < capacity)
        return 0;
    turn = atomic_load(&cell->turn);
    claim = atomic_load(turn == 2 * lap ? &cell->putter : &cell->getter);
    return turn <= 2 * lap + 1 && ring_is_claimed(claim, lap) ? ring_claim_owner(claim) : 0;
}

uint64_t ring_put_count(lane *lane)
{
    ring_position spot;
    uint64_t count = 0;

    (void)ring_search_room(lane, &spot);
    for (uint32_t i = 0; i < spot.number; i++)
        count += lane->rings[i].mask + 1;
    return count + spot.at;
}

uint64_t ring_count(lane *lane)
{
    ring_position put, get;
    uint64_t count, skipped;

    (void)ring_search_message(lane, &get, &skipped);
    (void)ring_search_room(lane, &put);
    if (put.number == get.number)
        return put.at > get.at ? put.at - get.at : 0;
    count = put.at;
    for (uint32_t i = get.number; i < put.number; i++)
        count += lane->rings[i].mask + 1; /* it may have gone around, and then there are fewer */
    return count;
}

static uint64_t next_turn(lane *lane, _Atomic uint64_t *hint, uint64_t *lap)
{
    ring_position spot;

    read_hint(lane, hint, &spot);
    *lap = ring_lap(spot.ring, spot.at);
    return ring_is_ready(lane, spot.number, spot.at)
               ? atomic_load_explicit(&ring_cell_at(lane, spot.ring, spot.at)->turn, memory_order_relaxed)
               : 0;
}

bool ring_search_quick_room(void *arg)
{
    lane *lane = arg;
    uint64_t lap, turn = next_turn(lane, &lane->head->put_at, &lap);

    return turn >= 2 * lap;
}

bool ring_search_quick_message(void *arg)
{
    lane *lane = arg;
    uint64_t lap, turn = next_turn(lane, &lane->head->get_at, &lap);

    return turn > 2 * lap;
}
