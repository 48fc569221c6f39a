/* Finding positions in a ring: where the next message goes, and which message is the first. */
#include "messaging/ring_internal.h"

static void read_hint(ring *ring, _Atomic uint64_t *hint, ring_position *position)
{
    uint64_t value = atomic_load_explicit(hint, memory_order_relaxed);

    position->number = (uint32_t)(value >> RING_BUFFER_SHIFT) % ring->buffer_count;
    position->at = value & ((UINT64_C(1) << RING_BUFFER_SHIFT) - 1);
    position->buffer = &ring->buffers[position->number];
}

static bool go_to_next_buffer(ring *ring, ring_position *position)
{
    if (position->number + 1 >= ring->buffer_count)
        return false;
    position->number++;
    position->buffer = &ring->buffers[position->number];
    position->at = 0;
    return true;
}

/* Whether a position is within the ring's capacity, which may be less than the size of the buffer: then the message
 * that lies capacity positions before it must have been taken. */
static bool keeps_capacity(const ring *ring, const ring_position *position)
{
    uint64_t back, capacity = ring->plan.capacity;

    if (capacity == 0 || capacity == position->buffer->mask + 1 || position->at < capacity)
        return true;
    back = position->at - capacity;
    return atomic_load_explicit(&ring_cell_at(ring, position->buffer, back)->turn, memory_order_acquire) >=
           2 * ring_lap(position->buffer, back) + 2;
}

/* Reads a claim that belongs to the turn.  A claim of a later lap comes only after the turn has changed; the exception
 * is a claim that closes the buffer, which comes while the cell is full. */
static void read_cell(ring_position *position, _Atomic uint64_t *turn, _Atomic uint64_t *claim)
{
    uint64_t again = atomic_load_explicit(turn, memory_order_acquire);

    do {
        position->turn = again;
        position->claim = atomic_load_explicit(claim, memory_order_acquire);
        again = atomic_load_explicit(turn, memory_order_acquire);
    } while (again != position->turn);
}

ring_found ring_search_room(ring *ring, ring_position *position)
{
    uint64_t probes = 0;

    for (read_hint(ring, &ring->head->put_at, position);; position->at++) {
        ring_buffer *buffer = position->buffer;
        ring_cell *cell = ring_cell_at(ring, buffer, position->at);
        uint64_t lap = ring_lap(buffer, position->at);
        if (!ring_is_ready(ring, position->number, position->at)) {
            position->turn = position->claim = 0;
            return keeps_capacity(ring, position) ? RING_FOUND : RING_NONE;
        }
        read_cell(position, &cell->turn, &cell->putter);
        if (position->turn <= 2 * lap) {
            if (!ring_is_claimed(position->claim, lap))
                return position->turn == 2 * lap && keeps_capacity(ring, position) ? RING_FOUND : RING_NONE;
            if (ring_claim_owner(position->claim) == RING_END)
                return RING_AT_END;
            if (ring_claim_owner(position->claim) == RING_NEXT) {
                if (!go_to_next_buffer(ring, position))
                    return RING_BROKEN;
                position->at--; /* the loop adds 1 */
            }
        } else if (position->turn > 2 * lap + 1) { /* all up to the last position of that cell are claimed */
            position->at = (position->turn / 2 - 1) << buffer->bits | (position->at & buffer->mask);
        } /* else the cell is full, so it was claimed, even if the claim in it closes the buffer in the next lap */
        if (probes++ > 4 * (buffer->mask + 1) + RING_FIRST_CELLS)
            return RING_BROKEN;
    }
}

/* What a consumer finds at a position. */
typedef enum probe { PROBE_MESSAGE, PROBE_TAKEN, PROBE_COMING, PROBE_NOTHING, PROBE_NEXT, PROBE_END } probe;

static probe probe_position(ring *ring, ring_position *position)
{
    ring_cell *cell = ring_cell_at(ring, position->buffer, position->at);
    uint64_t lap = ring_lap(position->buffer, position->at), claim;

    if (!ring_is_ready(ring, position->number, position->at))
        return PROBE_NOTHING;
    read_cell(position, &cell->turn, &cell->getter);
    if (position->turn > 2 * lap + 1)
        return PROBE_TAKEN;
    if (position->turn == 2 * lap + 1)
        return ring_is_claimed(position->claim, lap) ? PROBE_TAKEN : PROBE_MESSAGE;
    claim = atomic_load_explicit(&cell->putter, memory_order_acquire);
    if (!ring_is_claimed(claim, lap))
        return PROBE_NOTHING;
    position->claim = claim;
    return ring_claim_owner(claim) == RING_NEXT  ? PROBE_NEXT
           : ring_claim_owner(claim) == RING_END ? PROBE_END
                                                 : PROBE_COMING;
}

/* A message whose put was not over when it was skipped may be there now: then that message is the first.  All positions
 * before *position were claimed before its cell was full, so each put that had ended when the put of *position began is
 * seen here. */
static bool probe_skipped(ring *ring, ring_position *position, ring_position *first)
{
    while (first->number != position->number || first->at != position->at) {
        switch (probe_position(ring, first)) {
        case PROBE_MESSAGE:
            *position = *first;
            return true;
        case PROBE_NEXT:
            if (!go_to_next_buffer(ring, first))
                return false;
            break;
        default:
            first->at++;
        }
        if (first->number > position->number || (first->number == position->number && first->at > position->at))
            return false;
    }
    return true;
}

ring_found ring_search_message(ring *ring, ring_position *position, uint64_t *skipped)
{
    ring_position first = {0};
    uint64_t probes = 0;

    *skipped = 0;
    read_hint(ring, &ring->head->get_at, position);
    for (;;) {
        ring_buffer *buffer = position->buffer;
        switch (probe_position(ring, position)) {
        case PROBE_MESSAGE:
            return *skipped == 0 || probe_skipped(ring, position, &first) ? RING_FOUND : RING_BROKEN;
        case PROBE_NOTHING:
            return RING_NONE;
        case PROBE_END:
            return *skipped ? RING_NONE : RING_AT_END;
        case PROBE_NEXT:
            if (!go_to_next_buffer(ring, position))
                return RING_BROKEN;
            break;
        case PROBE_COMING:
            if (*skipped == 0) {
                *skipped = ring_claim_owner(position->claim);
                first = *position;
            }
            position->at++;
            break;
        case PROBE_TAKEN:
            if (position->turn / 2 > ring_lap(buffer, position->at) + 2) /* all more than a lap before it is taken */
                position->at = (position->turn / 2 - 2) << buffer->bits | (position->at & buffer->mask);
            position->at++;
        }
        if (probes++ > 4 * (buffer->mask + 1) + RING_FIRST_CELLS)
            return RING_BROKEN;
    }
}

uint64_t ring_search_blocker(const ring *ring, const ring_position *position)
{
    ring_buffer *buffer = position->buffer;
    uint64_t capacity = ring->plan.capacity ? ring->plan.capacity : buffer->mask + 1;
    uint64_t back = position->at - capacity, lap = ring_lap(buffer, back), turn, claim;
    ring_cell *cell = ring_cell_at(ring, buffer, back);

    if (position->at < capacity)
        return 0;
    turn = atomic_load(&cell->turn);
    claim = atomic_load(turn == 2 * lap ? &cell->putter : &cell->getter);
    return turn <= 2 * lap + 1 && ring_is_claimed(claim, lap) ? ring_claim_owner(claim) : 0;
}

uint64_t ring_search_put_count(ring *ring)
{
    ring_position position;
    uint64_t count = 0;

    (void)ring_search_room(ring, &position);
    for (uint32_t i = 0; i < position.number; i++)
        count += ring->buffers[i].mask + 1;
    return count + position.at;
}

uint64_t ring_search_count(ring *ring)
{
    ring_position put, get;
    uint64_t count, skipped;

    (void)ring_search_message(ring, &get, &skipped);
    (void)ring_search_room(ring, &put);
    if (put.number == get.number)
        return put.at > get.at ? put.at - get.at : 0;
    count = put.at;
    for (uint32_t i = get.number; i < put.number; i++)
        count += ring->buffers[i].mask + 1; /* too many if consumers took messages of more laps meanwhile */
    return count;
}

/* The turn and the lap at the position that a hint names. */
static uint64_t hinted_turn(ring *ring, _Atomic uint64_t *hint, uint64_t *lap)
{
    ring_position position;

    read_hint(ring, hint, &position);
    *lap = ring_lap(position.buffer, position.at);
    return ring_is_ready(ring, position.number, position.at)
               ? atomic_load_explicit(&ring_cell_at(ring, position.buffer, position.at)->turn, memory_order_relaxed)
               : 0;
}

bool ring_search_quick_room(void *arg)
{
    ring *ring = arg;
    uint64_t lap, turn = hinted_turn(ring, &ring->head->put_at, &lap);

    return turn >= 2 * lap;
}

bool ring_search_quick_message(void *arg)
{
    ring *ring = arg;
    uint64_t lap, turn = hinted_turn(ring, &ring->head->get_at, &lap);

    return turn > 2 * lap;
}
