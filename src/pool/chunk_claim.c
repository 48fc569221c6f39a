#include "pool/chunk_claim.h"

#include <uv.h>

/* ---- In one job ------------------------------------------------------------------------------ */

/* Tries to claim a chunk whose word was read as queued.  The intent is written before the claim, so that the parent
 * knows which word to look at when it finds this worker dead. */
static bool try_claim(pool_segment *segment, uint32_t number, chunk_ref *ref)
{
    worker_slot *slot = &segment->slots[number];
    uint64_t mine = claim_word_make(CLAIM_CLAIMED, number, atomic_load_explicit(&slot->epoch, memory_order_relaxed),
                                    claim_word_skip(ref->claim));

    if (ref->job->flags & JOB_TIMED)
        atomic_store(&slot->claim_time, uv_hrtime());
    slot->progress = claim_word_skip(ref->claim);
    atomic_store_explicit(&slot->intent, job_intent((uint32_t)(ref->job - segment->jobs), ref->chunk),
                          memory_order_release);
    if (!claim_word_change(ref->word, ref->claim, mine))
        return false;
    ref->claim = mine;
    return true;
}

static bool try_chunk(pool_segment *segment, uint32_t slot, chunk_ref *ref, uint64_t chunk)
{
    ref->chunk = chunk;
    ref->word = pool_segment_claim(segment, ref->job, chunk);
    ref->claim = atomic_load_explicit(ref->word, memory_order_relaxed);
    return claim_word_state(ref->claim) == CLAIM_QUEUED && try_claim(segment, slot, ref);
}

/* Claims from the worker's own shard, beginning at its front. */
static bool claim_own_chunk(pool_segment *segment, uint32_t slot, chunk_ref *ref, uint32_t shard)
{
    worker_cursor *cursor = pool_segment_cursor(segment, ref->job, shard);
    uint64_t end = cursor->end;

    for (uint64_t i = atomic_load_explicit(&cursor->next, memory_order_relaxed); i < end; i++)
        if (try_chunk(segment, slot, ref, i)) {
            atomic_store_explicit(&cursor->next, i + 1, memory_order_relaxed);
            return true;
        }
    atomic_store_explicit(&cursor->next, end, memory_order_relaxed);
    return false;
}

/* Claims from the shard of another worker, beginning at its back. */
static bool steal_chunk(pool_segment *segment, uint32_t slot, chunk_ref *ref, uint32_t shard)
{
    worker_cursor *cursor = pool_segment_cursor(segment, ref->job, shard);
    uint64_t next = atomic_load_explicit(&cursor->next, memory_order_relaxed);

    for (uint64_t i = atomic_load_explicit(&cursor->tail, memory_order_relaxed); i > next; i--)
        if (try_chunk(segment, slot, ref, i - 1)) {
            atomic_store_explicit(&cursor->tail, i - 1, memory_order_relaxed);
            return true;
        }
    return false;
}

/* Claims a chunk that the parent has queued again: such a chunk may be anywhere, also before a cursor. */
static bool claim_requeued_chunk(pool_segment *segment, uint32_t slot, chunk_ref *ref)
{
    worker_cursor *own = pool_segment_cursor(segment, ref->job, slot);
    uint32_t requeues = atomic_load(&ref->job->requeues);

    if (own->requeues == requeues)
        return false;
    for (uint64_t i = 0; i < ref->job->chunk_count; i++)
        if (try_chunk(segment, slot, ref, i))
            return true;
    own->requeues = requeues;
    return false;
}

static bool claim_in_job(pool_segment *segment, uint32_t slot, chunk_ref *ref)
{
    job *job = ref->job;
    uint32_t own = ref->shard;

    if (atomic_load_explicit(&job->closing, memory_order_relaxed))
        return false;
    if (claim_own_chunk(segment, slot, ref, own))
        return true;
    for (uint32_t i = 1; i < job->shards; i++)
        if (steal_chunk(segment, slot, ref, (own + i) % job->shards))
            return true;
    return claim_requeued_chunk(segment, slot, ref);
}

/* ---- The end of a job ------------------------------------------------------------------------ */

/* Whether all of the job's many chunks are done.  Each process stores its count before the fence and reads the others'
 * after it, so the last process to get here sees the whole sum. */
static bool are_all_chunks_done(const pool_segment *segment, const job *job)
{
    const worker_cursor *cursors = pool_segment_at(segment, job->cursors);
    uint64_t sum = 0;

    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i <= atomic_load(&segment->header->slots_used); i++)
        sum += atomic_load(&cursors[i].finished);
    return sum >= job->chunk_count;
}

/* The hazard is cleared before waiters are woken, because a waiter may want the job's memory at once. */
void chunk_claim_leave(pool_segment *segment, uint32_t slot, job *job)
{
    bool last;

    if (atomic_load_explicit(&segment->slots[slot].hazard, memory_order_relaxed) == 0)
        return; /* the job had one chunk only, and its slot may have another job by now */
    last = !(job->flags & JOB_ONE_CHUNK) && are_all_chunks_done(segment, job) && !atomic_exchange(&job->complete, 1);
    atomic_store_explicit(&segment->slots[slot].hazard, 0, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (last || !atomic_load_explicit(&job->active, memory_order_relaxed)) /* the parent may wait for its memory */
        pool_segment_wake_waiters(segment);
}

bool chunk_claim_commit(pool_segment *segment, uint32_t number, const chunk_ref *claimed, uint32_t items)
{
    worker_slot *slot = &segment->slots[number];
    uint64_t done =
        claim_word_make(CLAIM_DONE, number, atomic_load_explicit(&slot->epoch, memory_order_relaxed), items);
    bool one_chunk = claimed->job->flags & JOB_ONE_CHUNK; /* afterwards the job slot may have another job */

    if (!claim_word_change(claimed->word, claimed->claim, done))
        return false;
    if (one_chunk) {
        pool_segment_wake_waiters(segment);
    } else {
        worker_cursor *own = pool_segment_cursor(segment, claimed->job, number);
        atomic_store_explicit(&own->finished, atomic_load_explicit(&own->finished, memory_order_relaxed) + 1,
                              memory_order_release);
    }
    return true;
}

bool chunk_claim_complete(pool_segment *segment, job *job)
{
    if (job->flags & JOB_ONE_CHUNK)
        return claim_word_state(atomic_load(&job->claim)) == CLAIM_DONE;
    if (!are_all_chunks_done(segment, job))
        return false;
    if (!atomic_exchange(&job->complete, 1))
        pool_segment_wake_waiters(segment);
    return true;
}

/* ---- Rings of jobs --------------------------------------------------------------------------- */

/* Keeps the job's memory in place while this worker reads it: the parent makes a job inactive before it reads all
 * hazards, and frees the memory afterwards. */
static bool set_hazard(pool_segment *segment, uint32_t slot, uint32_t number)
{
    atomic_store(&segment->slots[slot].hazard, (uint64_t)number + 1);
    if (atomic_load(&segment->jobs[number].active))
        return true;
    atomic_store(&segment->slots[slot].hazard, 0);
    return false;
}

/* Claims a chunk of the job.  On success the hazard stays set, except that the claim of an only chunk is enough to
 * keep the job's memory. */
static bool enter_job(pool_segment *segment, uint32_t slot, chunk_ref *ref, uint32_t number)
{
    bool one_chunk, claimed;

    ref->job = &segment->jobs[number];
    if (!set_hazard(segment, slot, number))
        return false;
    one_chunk = ref->job->flags & JOB_ONE_CHUNK;
    if (!one_chunk)
        ref->shard = slot % ref->job->shards;
    claimed = one_chunk ? try_chunk(segment, slot, ref, 0) : claim_in_job(segment, slot, ref);
    if (claimed && one_chunk)
        atomic_store_explicit(&segment->slots[slot].hazard, 0, memory_order_release);
    else if (!claimed)
        chunk_claim_leave(segment, slot, ref->job);
    return claimed;
}

/* The job of an entry that is before the tail. */
static uint32_t job_of_entry(const pool_segment *segment, int priority, uint64_t at, uint64_t tail)
{
    if (at + 1 == job_ring_end(tail))
        return job_ring_last(tail);
    return atomic_load_explicit(&segment->ring_entries[priority][at % SEGMENT_RING], memory_order_relaxed);
}

bool chunk_claim_first(pool_segment *segment, uint32_t slot, chunk_ref *claimed)
{
    static const int order[SEGMENT_PRIORITIES] = {XF_PRIORITY_HIGH, XF_PRIORITY_NORMAL, XF_PRIORITY_LOW};

    for (int i = 0; i < SEGMENT_PRIORITIES; i++) {
        job_ring *ring = &segment->header->rings[order[i]];
        uint64_t head = atomic_load(&ring->head), tail;
        while (head < job_ring_end(tail = atomic_load(&ring->tail))) {
            bool got = enter_job(segment, slot, claimed, job_of_entry(segment, order[i], head, tail));
            if (got && !(claimed->job->flags & JOB_ONE_CHUNK))
                return true;
            /* nothing of the job is queued any more: any worker that sees this may move the head, and one does */
            if (atomic_compare_exchange_strong(&ring->head, &head, head + 1))
                head++;
            if (got)
                return true;
        }
    }
    return false;
}

static bool is_ring_empty(const pool_segment *segment, int priority)
{
    const job_ring *ring = &segment->header->rings[priority];

    return atomic_load_explicit(&ring->head, memory_order_relaxed) >=
           job_ring_end(atomic_load_explicit(&ring->tail, memory_order_relaxed));
}

bool chunk_claim_next(pool_segment *segment, uint32_t slot, chunk_ref *claimed)
{
    return atomic_load_explicit(&segment->slots[slot].hazard, memory_order_relaxed) &&
           is_ring_empty(segment, XF_PRIORITY_HIGH) && claim_in_job(segment, slot, claimed);
}

bool chunk_claim_has_work(const pool_segment *segment)
{
    return !is_ring_empty(segment, XF_PRIORITY_HIGH) || !is_ring_empty(segment, XF_PRIORITY_NORMAL) ||
           !is_ring_empty(segment, XF_PRIORITY_LOW);
}

void chunk_claim_push(pool_segment *segment, job *job, int priority)
{
    job_ring *ring = &segment->header->rings[priority];
    uint64_t end = job_ring_end(atomic_load_explicit(&ring->tail, memory_order_relaxed));
    uint32_t number = (uint32_t)(job - segment->jobs);

    atomic_store_explicit(&segment->ring_entries[priority][end % SEGMENT_RING], number, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, (end + 1) << JOB_RING_NUMBER_BITS | number, memory_order_release);
}
