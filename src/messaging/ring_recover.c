/* Settling what dead processes have claimed of a lane.
 *
 * One process does that at a time, and nobody waits for it; if it dies, whoever comes next goes on where it was. */
#include "messaging/ring.h"

/* ---- Losses ---------------------------------------------------------------------------------- */

static void count(ring_head *head, uint64_t before)
{
    atomic_store(&head->lost, before + 1);
    atomic_store(&head->pending.what, 0);
}

/* Says what is about to be lost, so that it is counted once whoever dies. */
static void announce(lane *lane, uint64_t what, uint32_t ring, uint64_t seen, ring_loss loss)
{
    ring_head *head = lane->head;
    ring_pending_loss *pending = &head->pending;

    pending->ring = ring;
    pending->seen = seen;
    pending->lost = atomic_load(&head->lost);
    head->losses[pending->lost % RING_LOSSES] = loss;
    atomic_store(&pending->what, what);
}

/* Goes on with what a settler that died was counting. */
static void resume(lane *lane)
{
    ring_pending_loss *pending = &lane->head->pending;
    uint64_t what = atomic_load(&pending->what), place = what & ~(UINT64_C(3) << 62), seen = pending->seen;
    bool lost = false;

    if (what == 0)
        return;
    if ((what & RING_LOST_BLOCK) != 0) {
        lost = ring_blocks_at(&lane->store, place, 0) &&
               (ring_blocks_word(&lane->store, place) & ~RING_BLOCK_FREED) != seen;
    } else if (pending->ring < lane->ring_count && place < ring_ready_cells(lane, pending->ring)) {
        ring_cell *cell = ring_cell_at(lane, &lane->rings[pending->ring], place);
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
static uint64_t claimer_of(const ring_cell *cell, uint64_t turn)
{
    uint64_t claim = atomic_load(turn % 2 ? &cell->getter : &cell->putter);

    return ring_is_claimed(claim, turn / 2) ? ring_claim_owner(claim) : 0;
}

/* What a dead consumer had claimed. */
static void lose_message(lane *lane, uint32_t number, uint64_t index, uint64_t turn, uint64_t who)
{
    ring_cell *cell = ring_cell_at(lane, &lane->rings[number], index);
    uint64_t size = atomic_load(&cell->size), block = atomic_load(&cell->block);

    if (block && ring_blocks_at(&lane->store, block, size)) {
        ring_blocks_adopt(&lane->store, block, size, lane->me);
        atomic_store(&cell->block, 0);
        ring_blocks_free(&lane->store, block, size);
    }
    announce(lane, RING_LOST_CELL | index, number, turn, (ring_loss){who, size});
    if (atomic_compare_exchange_strong(&cell->turn, &turn, turn + 1))
        count(lane->head, lane->head->pending.lost);
}

static void settle_cell(lane *lane, uint32_t number, uint64_t index, uint64_t who)
{
    ring_cell *cell = ring_cell_at(lane, &lane->rings[number], index);
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
    ring_block *head = ring_blocks_at(&lane->store, block, 0);
    uint64_t place, at;
    uint32_t number;
    ring_buffer *ring;

    if (!head)
        return false;
    place = atomic_load(&head->place);
    number = (uint32_t)(place >> RING_BUFFER_SHIFT);
    at = place & ((UINT64_C(1) << RING_BUFFER_SHIFT) - 1);
    if (number >= lane->ring_count)
        return false;
    ring = &lane->rings[number];
    return (at & ring->mask) < ring_ready_cells(lane, number) &&
           atomic_load(&ring_cell_at(lane, ring, at)->turn) == 2 * ring_lap(ring, at) + 1 &&
           atomic_load(&ring_cell_at(lane, ring, at)->block) == block;
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
    ring_block *head = ring_blocks_at(&lane->store, block, 0);
    bool viewed = (word & RING_BLOCK_VIEWED) != 0;

    if ((word & RING_BLOCK_OWNER) != sweep->who || (!viewed && !(word & RING_BLOCK_FREED) && is_in_lane(lane, block)))
        return;
    if (viewed)
        announce(lane, RING_LOST_BLOCK | block, 0, word & ~RING_BLOCK_FREED,
                 (ring_loss){sweep->who, head ? head->size : 0});
    if (ring_blocks_reclaim(&lane->store, block, word) && viewed)
        count(lane->head, lane->head->pending.lost);
    else
        atomic_store(&lane->head->pending.what, 0);
}

/* ---- Settling -------------------------------------------------------------------------------- */

/* Cells come first: what they refer to is whole until then. */
static void settle_one(lane *lane, uint64_t who)
{
    for (uint32_t number = 0; number < lane->ring_count; number++) {
        uint64_t ready = ring_ready_cells(lane, number);
        for (uint64_t index = 0; index < ready; index++)
            settle_cell(lane, number, index, who);
    }
    ring_blocks_walk(&lane->store, reclaim, &(sweep){lane, who});
    ring_inflight_forget(lane, who);
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
    judge(arg, word & RING_BLOCK_OWNER);
}

/* Whoever has claimed anything, in whatever state a settler that died has left it. */
static void settle_everybody(lane *lane)
{
    verdicts verdicts = {.lane = lane, .known = {lane->me, RING_NEXT, RING_END}, .next = 3};

    for (uint32_t number = 0; number < lane->ring_count; number++) {
        uint64_t ready = ring_ready_cells(lane, number);
        for (uint64_t index = 0; index < ready; index++) {
            ring_cell *cell = ring_cell_at(lane, &lane->rings[number], index);
            uint64_t who = claimer_of(cell, atomic_load(&cell->turn));
            if (who)
                judge(&verdicts, who);
        }
    }
    ring_blocks_walk(&lane->store, judge_owner, &verdicts);
    for (uint32_t i = 0; i < lane->plan.hands; i++)
        if (atomic_load(&lane->hands[i].owed) > 0)
            judge(&verdicts, atomic_load(&lane->hands[i].who));
}

void ring_recover(lane *lane, uint64_t who)
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

void ring_recover_all(lane *lane)
{
    uint64_t before;

    if (!enter(lane, &before))
        return;
    resume(lane);
    settle_everybody(lane);
    leave(lane);
}
