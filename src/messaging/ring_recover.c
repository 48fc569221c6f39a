/* Recovering what dead processes have claimed of a ring.
 *
 * One process does it at a time, and no process waits for it.  If that process dies, the next one that recovers
 * finishes its work. */
#include "lockfree/liveness.h"
#include "messaging/ring_internal.h"

/* ---- Losses ---------------------------------------------------------------------------------- */

static void count_loss(ring_head *head, uint64_t before)
{
    atomic_store(&head->lost, before + 1);
    atomic_store(&head->pending.what, 0);
}

/* Writes down a loss before it happens.  So it is counted once, even if this process dies in between. */
static void announce_loss(ring *ring, uint64_t what, uint32_t buffer, uint64_t seen, ring_loss loss)
{
    ring_head *head = ring->head;
    ring_pending_loss *pending = &head->pending;

    pending->buffer = buffer;
    pending->seen = seen;
    pending->lost = atomic_load(&head->lost);
    head->losses[pending->lost % RING_LOSSES] = loss;
    atomic_store(&pending->what, what);
}

/* Finishes the loss that a process had announced when it died while recovering. */
static void finish_pending_loss(ring *ring)
{
    ring_pending_loss *pending = &ring->head->pending;
    uint64_t what = atomic_load(&pending->what), at = what & ~(UINT64_C(3) << 62), seen = pending->seen;
    bool lost = false;

    if (what == 0)
        return;
    if ((what & RING_LOST_BLOCK) != 0) {
        lost =
            ring_blocks_at(&ring->blocks, at, 0) && (ring_blocks_word(&ring->blocks, at) & ~RING_BLOCK_FREED) != seen;
    } else if (pending->buffer < ring->buffer_count && at < ring_ready_cells(ring, pending->buffer)) {
        ring_cell *cell = ring_cell_at(ring, &ring->buffers[pending->buffer], at);
        atomic_compare_exchange_strong(&cell->turn, &seen, seen + 1);
        lost = true;
    }
    if (lost)
        count_loss(ring->head, pending->lost);
    else
        atomic_store(&pending->what, 0);
}

/* ---- Cells ----------------------------------------------------------------------------------- */

/* The process that has claimed a cell and not finished; 0: none. */
static uint64_t cell_owner(const ring_cell *cell, uint64_t turn)
{
    uint64_t claim = atomic_load(turn % 2 ? &cell->getter : &cell->putter);

    return ring_is_claimed(claim, turn / 2) ? ring_claim_owner(claim) : 0;
}

/* Frees the cell and the block of a message that a dead consumer had claimed. */
static void lose_message(ring *ring, uint32_t number, uint64_t index, uint64_t turn, uint64_t process)
{
    ring_cell *cell = ring_cell_at(ring, &ring->buffers[number], index);
    uint64_t size = atomic_load(&cell->size), block = atomic_load(&cell->block);

    if (block && ring_blocks_at(&ring->blocks, block, size)) {
        ring_blocks_adopt(&ring->blocks, block, size, ring->me);
        atomic_store(&cell->block, 0);
        ring_blocks_free(&ring->blocks, block, size);
    }
    announce_loss(ring, RING_LOST_CELL | index, number, turn, (ring_loss){process, size});
    if (atomic_compare_exchange_strong(&cell->turn, &turn, turn + 1))
        count_loss(ring->head, ring->head->pending.lost);
}

static void recover_cell(ring *ring, uint32_t number, uint64_t index, uint64_t process)
{
    ring_cell *cell = ring_cell_at(ring, &ring->buffers[number], index);
    uint64_t turn = atomic_load(&cell->turn);

    if (cell_owner(cell, turn) != process)
        return;
    if (turn % 2 == 1)
        lose_message(ring, number, index, turn, process);
    else if (atomic_compare_exchange_strong(&cell->turn, &turn, turn + 2))
        atomic_fetch_add(&ring->head->unput, 1);
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* Whether a block is that of a message in the ring. */
static bool is_in_ring(ring *ring, uint64_t block)
{
    ring_block *head = ring_blocks_at(&ring->blocks, block, 0);
    uint64_t position, at;
    uint32_t number;
    ring_buffer *buffer;

    if (!head)
        return false;
    position = atomic_load(&head->position);
    number = (uint32_t)(position >> RING_BUFFER_SHIFT);
    at = position & ((UINT64_C(1) << RING_BUFFER_SHIFT) - 1);
    if (number >= ring->buffer_count)
        return false;
    buffer = &ring->buffers[number];
    return (at & buffer->mask) < ring_ready_cells(ring, number) &&
           atomic_load(&ring_cell_at(ring, buffer, at)->turn) == 2 * ring_lap(buffer, at) + 1 &&
           atomic_load(&ring_cell_at(ring, buffer, at)->block) == block;
}

typedef struct dead_process {
    ring *ring;
    uint64_t process;
} dead_process;

/* Frees a block of a dead process.  A message that it viewed is lost; a block that had no message yet is no loss; and a
 * message in the ring stays there. */
static void recover_block(void *arg, uint64_t block, uint64_t word)
{
    dead_process *dead = arg;
    ring *ring = dead->ring;
    ring_block *head = ring_blocks_at(&ring->blocks, block, 0);
    bool viewed = (word & RING_BLOCK_VIEWED) != 0;

    if ((word & RING_BLOCK_OWNER) != dead->process ||
        (!viewed && !(word & RING_BLOCK_FREED) && is_in_ring(ring, block)))
        return;
    if (viewed)
        announce_loss(ring, RING_LOST_BLOCK | block, 0, word & ~RING_BLOCK_FREED,
                      (ring_loss){dead->process, head ? head->size : 0});
    if (ring_blocks_reclaim(&ring->blocks, block, word) && viewed)
        count_loss(ring->head, ring->head->pending.lost);
    else
        atomic_store(&ring->head->pending.what, 0);
}

/* ---- Processes ------------------------------------------------------------------------------- */

/* Cells come first: the blocks that they refer to are whole until then. */
static void recover_process(ring *ring, uint64_t process)
{
    for (uint32_t number = 0; number < ring->buffer_count; number++) {
        uint64_t ready = ring_ready_cells(ring, number);
        for (uint64_t index = 0; index < ready; index++)
            recover_cell(ring, number, index, process);
    }
    ring_blocks_walk(&ring->blocks, recover_block, &(dead_process){ring, process});
    ring_inflight_forget(ring, process);
}

/* Becomes the process that recovers; false when another one is.
 *   before  Set to the process that died while it recovered; 0: none. */
static bool begin_recovery(ring *ring, uint64_t *before)
{
    *before = atomic_load(&ring->head->recovering);
    return (*before == 0 || (*before != ring->me && !os_process_lives(*before))) &&
           atomic_compare_exchange_strong(&ring->head->recovering, before, ring->me);
}

static void end_recovery(ring *ring)
{
    atomic_store(&ring->head->recovering, 0);
    wake_word_signal(ring->shm, &ring->head->filled);
    wake_word_signal(ring->shm, &ring->head->freed);
    wake_word_signal(ring->shm, &ring->head->done);
}

typedef struct recovery {
    ring *ring;
    liveness cache;
} recovery;

static void recover_if_dead(recovery *recovery, uint64_t process)
{
    if (process != RING_NEXT && process != RING_END && liveness_take_dead(&recovery->cache, process))
        recover_process(recovery->ring, process);
}

static void recover_block_owner(void *arg, uint64_t block, uint64_t word)
{
    (void)block;
    recover_if_dead(arg, word & RING_BLOCK_OWNER);
}

/* Recovers what every dead process has claimed, in whatever state a process that died while recovering left it. */
static void recover_everything(ring *ring)
{
    recovery recovery = {.ring = ring};

    for (uint32_t number = 0; number < ring->buffer_count; number++) {
        uint64_t ready = ring_ready_cells(ring, number);
        for (uint64_t index = 0; index < ready; index++) {
            ring_cell *cell = ring_cell_at(ring, &ring->buffers[number], index);
            recover_if_dead(&recovery, cell_owner(cell, atomic_load(&cell->turn)));
        }
    }
    ring_blocks_walk(&ring->blocks, recover_block_owner, &recovery);
    for (uint32_t i = 0; i < ring->plan.consumers; i++)
        if (atomic_load(&ring->consumers[i].unacked) > 0)
            recover_if_dead(&recovery, atomic_load(&ring->consumers[i].process));
}

void ring_recover(ring *ring, uint64_t process)
{
    uint64_t before;

    if (process == ring->me || os_process_lives(process) || !begin_recovery(ring, &before))
        return;
    finish_pending_loss(ring);
    recover_process(ring, process);
    if (before)
        recover_everything(ring);
    end_recovery(ring);
}

void ring_recover_all(ring *ring)
{
    uint64_t before;

    if (!begin_recovery(ring, &before))
        return;
    finish_pending_loss(ring);
    recover_everything(ring);
    end_recovery(ring);
}

int ring_stats_get(ring *ring, ring_stats *stats, ring_loss *losses, int room)
{
    ring_head *head = ring->head;
    uint64_t lost;
    int count = 0;

    ring_recover_all(ring);
    lost = atomic_load(&head->lost);
    *stats = (ring_stats){ring_search_count(ring), lost, atomic_load(&head->unput), atomic_load(&head->undone)};
    for (; count < room && count < RING_LOSSES && (uint64_t)count < lost; count++)
        losses[count] = head->losses[(lost - 1 - (uint64_t)count) % RING_LOSSES];
    return count;
}
