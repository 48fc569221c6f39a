/* Settling what dead processes have claimed of a lane.
 *
 * One process does that at a time, and nobody waits for it; if it dies, whoever comes next goes on where it was. */
#include "messaging/ring.h"

/* ---- Losses ---------------------------------------------------------------------------------- */

static void count(lane_head *head, uint64_t before)
{
    atomic_store(&head->lost, before + 1);
    atomic_store(&head->pending.what, 0);
}

/* Says what is about to be lost, so that it is counted once whoever dies. */
static void announce(lane *lane, uint64_t what, uint32_t ring, uint64_t seen, lane_loss loss)
{
    lane_head *head = lane->head;
    lane_pending *pending = &head->pending;

    pending->ring = ring;
    pending->seen = seen;
    pending->lost = atomic_load(&head->lost);
    head->losses[pending->lost % LANE_LOSSES] = loss;
    atomic_store(&pending->what, what);
}

/* Goes on with what a settler that died was counting. */
static void resume(lane *lane)
{
    lane_pending *pending = &lane->head->pending;
    uint64_t what = atomic_load(&pending->what), place = what & ~(UINT64_C(3) << 62), seen = pending->seen;
    bool lost = false;

    if (what == 0)
        return;
    if ((what & LANE_BLOCK) != 0) {
        lost = store_at(&lane->store, place, 0) && (store_word(&lane->store, place) & ~STORE_FREED) != seen;
    } else if (pending->ring < lane->ring_count && place < lane_ready(lane, pending->ring)) {
        lane_cell *cell = lane_cell_at(lane, &lane->rings[pending->ring], place);
        atomic_compare_exchange_strong(&cell->turn, &seen, seen + 1);
        lost = true;
    }
    if (lost)
        count(lane->head, pending->lost);
    else
        atomic_store(&pending->what, 0);
}

/* ---- Cells ----------------------------------------------------------------------------------- */

/* Who has claimed something of a cell and not finished; 0: nobody. */
static uint64_t claimer_of(const lane_cell *cell, uint64_t turn)
{
    uint64_t claim = atomic_load(turn % 2 ? &cell->getter : &cell->putter);

    return lane_claimed(claim, turn / 2) ? lane_who(claim) : 0;
}

/* What a dead consumer had claimed. */
static void lose_message(lane *lane, uint32_t number, uint64_t index, uint64_t turn, uint64_t who)
{
    lane_cell *cell = lane_cell_at(lane, &lane->rings[number], index);
    uint64_t size = atomic_load(&cell->size), block = atomic_load(&cell->block);

    if (block && store_at(&lane->store, block, size)) {
        store_adopt(&lane->store, block, size, lane->me);
        atomic_store(&cell->block, 0);
        store_give(&lane->store, block, size);
    }
    announce(lane, LANE_CELL | index, number, turn, (lane_loss){who, size});
    if (atomic_compare_exchange_strong(&cell->turn, &turn, turn + 1))
        count(lane->head, lane->head->pending.lost);
}

static void settle_cell(lane *lane, uint32_t number, uint64_t index, uint64_t who)
{
    lane_cell *cell = lane_cell_at(lane, &lane->rings[number], index);
    uint64_t turn = atomic_load(&cell->turn);

    if (claimer_of(cell, turn) != who)
        return;
    if (turn % 2 == 1)
        lose_message(lane, number, index, turn, who);
    else if (atomic_compare_exchange_strong(&cell->turn, &turn, turn + 2))
        atomic_fetch_add(&lane->head->unput, 1);
}

/* ---- The store ------------------------------------------------------------------------------- */

/* Whether a block is that of a message in the lane. */
static bool is_in_lane(lane *lane, uint64_t block)
{
    store_block *head = store_at(&lane->store, block, 0);
    uint64_t place, at;
    uint32_t number;
    lane_ring *ring;

    if (!head)
        return false;
    place = atomic_load(&head->place);
    number = (uint32_t)(place >> LANE_RING_SHIFT);
    at = place & ((UINT64_C(1) << LANE_RING_SHIFT) - 1);
    if (number >= lane->ring_count)
        return false;
    ring = &lane->rings[number];
    return (at & ring->mask) < lane_ready(lane, number) &&
           atomic_load(&lane_cell_at(lane, ring, at)->turn) == 2 * lane_lap(ring, at) + 1 &&
           atomic_load(&lane_cell_at(lane, ring, at)->block) == block;
}

typedef struct sweep {
    lane *lane;
    uint64_t who;
} sweep;

/* A message in hand is lost, what was to become one is not; and what is in the lane stays there. */
static void reclaim(void *arg, uint64_t block, uint64_t word)
{
    sweep *sweep = arg;
    lane *lane = sweep->lane;
    store_block *head = store_at(&lane->store, block, 0);
    bool viewed = (word & STORE_VIEWED) != 0;

    if ((word & STORE_WHO) != sweep->who || (!viewed && !(word & STORE_FREED) && is_in_lane(lane, block)))
        return;
    if (viewed)
        announce(lane, LANE_BLOCK | block, 0, word & ~STORE_FREED, (lane_loss){sweep->who, head ? head->size : 0});
    if (store_reclaim(&lane->store, block, word) && viewed)
        count(lane->head, lane->head->pending.lost);
    else
        atomic_store(&lane->head->pending.what, 0);
}

/* ---- Settling -------------------------------------------------------------------------------- */

/* Cells come first: what they refer to is whole until then. */
static void settle_one(lane *lane, uint64_t who)
{
    for (uint32_t number = 0; number < lane->ring_count; number++) {
        uint64_t ready = lane_ready(lane, number);
        for (uint64_t index = 0; index < ready; index++)
            settle_cell(lane, number, index, who);
    }
    store_walk(&lane->store, reclaim, &(sweep){lane, who});
    lane_empty_hand(lane, who);
}

/* Becomes the settler: false when somebody is.
 *   before  Set to one that has died as a settler; 0: none. */
static bool enter(lane *lane, uint64_t *before)
{
    *before = atomic_load(&lane->head->settler);
    return (*before == 0 || (*before != lane->me && !os_process_lives(*before))) &&
           atomic_compare_exchange_strong(&lane->head->settler, before, lane->me);
}

static void leave(lane *lane)
{
    atomic_store(&lane->head->settler, 0);
    wake_word_signal(lane->shm, &lane->head->filled);
    wake_word_signal(lane->shm, &lane->head->freed);
    wake_word_signal(lane->shm, &lane->head->done);
}

enum { VERDICTS = 16 };

/* Who is known to live, or to be settled. */
typedef struct verdicts {
    lane *lane;
    uint64_t known[VERDICTS];
    unsigned next;
} verdicts;

static void judge(verdicts *verdicts, uint64_t who)
{
    for (int i = 0; i < VERDICTS; i++)
        if (verdicts->known[i] == who)
            return;
    verdicts->known[verdicts->next++ % VERDICTS] = who;
    if (who && !os_process_lives(who))
        settle_one(verdicts->lane, who);
}

static void judge_owner(void *arg, uint64_t block, uint64_t word)
{
    (void)block;
    judge(arg, word & STORE_WHO);
}

/* Whoever has claimed anything, in whatever state a settler that died has left it. */
static void settle_everybody(lane *lane)
{
    verdicts verdicts = {.lane = lane, .known = {lane->me, LANE_NEXT, LANE_END}, .next = 3};

    for (uint32_t number = 0; number < lane->ring_count; number++) {
        uint64_t ready = lane_ready(lane, number);
        for (uint64_t index = 0; index < ready; index++) {
            lane_cell *cell = lane_cell_at(lane, &lane->rings[number], index);
            uint64_t who = claimer_of(cell, atomic_load(&cell->turn));
            if (who)
                judge(&verdicts, who);
        }
    }
    store_walk(&lane->store, judge_owner, &verdicts);
    for (uint32_t i = 0; i < lane->plan.hands; i++)
        if (atomic_load(&lane->hands[i].owed) > 0)
            judge(&verdicts, atomic_load(&lane->hands[i].who));
}

void lane_settle(lane *lane, uint64_t who)
{
    uint64_t before;

    if (who == lane->me || os_process_lives(who) || !enter(lane, &before))
        return;
    resume(lane);
    settle_one(lane, who);
    if (before)
        settle_everybody(lane);
    leave(lane);
}

void lane_settle_all(lane *lane)
{
    uint64_t before;

    if (!enter(lane, &before))
        return;
    resume(lane);
    settle_everybody(lane);
    leave(lane);
}
