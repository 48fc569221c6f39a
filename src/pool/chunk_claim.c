#include "pool/chunk_claim.h"

#include <uv.h>

/* ---- In one job ------------------------------------------------------------------------------ */

/* Tries to claim a chunk whose word was read as queued.  The intent is written before the claim, so that the parent
 * knows which word to look at when it finds this worker dead. */
static inline bool try_claim(const chunk_claimer *me, chunk_ref *ref, uint64_t seen)
{
    uint32_t skip = claim_word_skip(seen);

    if (ref->plan->flags & JOB_TIMED)
        atomic_store(&me->says->claim_time, uv_hrtime());
    me->says->progress = skip;
    atomic_store_explicit(&me->says->intent, job_intent(ref->number, ref->chunk), memory_order_release);
    ref->claim = me->claimed | skip;
    return claim_word_change(ref->word, seen, ref->claim);
}

/* A word of more finished items than the chunk has is damaged: the parent ends that chunk. */
static inline bool try_chunk(const chunk_claimer *me, chunk_ref *ref, uint64_t chunk)
{
    uint64_t seen = atomic_load_explicit(&ref->words[chunk], memory_order_relaxed);

    ref->chunk = chunk;
    ref->word = &ref->words[chunk];
    return claim_word_state(seen) == CLAIM_QUEUED &&
           (claim_word_skip(seen) == 0 || claim_word_skip(seen) <= job_items_in(ref->plan, chunk)) &&
           try_claim(me, ref, seen);
}

/* A mark of a cursor as it was read, kept inside of the shard. */
static uint64_t mark_within(const _Atomic uint64_t *mark, uint64_t begin, uint64_t end)
{
    uint64_t value = atomic_load_explicit(mark, memory_order_relaxed);

    return value < begin ? begin : value > end ? end : value;
}

/* Claims from the worker's own shard, beginning at its front. */
static bool claim_own_chunk(const chunk_claimer *me, chunk_ref *ref)
{
    uint64_t end = ref->shard_end;

    for (uint64_t i = mark_within(&ref->front->next, ref->shard_begin, end); i < end; i++)
        if (try_chunk(me, ref, i)) {
            atomic_store_explicit(&ref->front->next, i + 1, memory_order_relaxed);
            return true;
        }
    atomic_store_explicit(&ref->front->next, end, memory_order_relaxed);
    return false;
}

/* Claims from the shard of another worker, beginning at its back. */
static bool steal_chunk(const chunk_claimer *me, chunk_ref *ref, uint32_t shard)
{
    worker_cursor *cursor = pool_segment_cursor(me->segment, ref->plan, shard);
    uint64_t begin = job_shard_begin(ref->plan, shard), end = job_shard_begin(ref->plan, shard + 1);
    uint64_t next = mark_within(&cursor->next, begin, end);

    for (uint64_t i = mark_within(&cursor->tail, begin, end); i > next; i--)
        if (try_chunk(me, ref, i - 1)) {
            atomic_store_explicit(&cursor->tail, i - 1, memory_order_relaxed);
            return true;
        }
    return false;
}

/* Claims a chunk that the parent has queued again: such a chunk may be anywhere, also before a cursor. */
static bool claim_requeued_chunk(const chunk_claimer *me, chunk_ref *ref)
{
    uint32_t requeues = atomic_load(&me->segment->jobs[ref->number].requeues);

    if (ref->own->requeues == requeues)
        return false;
    for (uint64_t i = 0; i < ref->plan->chunk_count; i++)
        if (try_chunk(me, ref, i))
            return true;
    ref->own->requeues = requeues;
    return false;
}

bool chunk_claim_is_closing(const pool_segment *segment, const chunk_ref *ref)
{
    return atomic_load_explicit(&segment->jobs[ref->number].progress, memory_order_relaxed) & JOB_CLOSING ||
           (ref->plan->flags & JOB_STOP_AT_FAILURE &&
            atomic_load_explicit(&segment->states[ref->number].failed, memory_order_relaxed));
}

/* Claims what is not in the worker's own shard.  It is rare, and not inlined, because each claim from the own shard
 * would have to save the registers that it needs. */
static __attribute__((noinline)) bool claim_elsewhere(const chunk_claimer *me, chunk_ref *ref)
{
    for (uint32_t i = 1; i < ref->plan->shards; i++)
        if (steal_chunk(me, ref, (ref->shard + i) % ref->plan->shards))
            return true;
    return claim_requeued_chunk(me, ref);
}

static bool claim_in_job(const chunk_claimer *me, chunk_ref *ref)
{
    return !chunk_claim_is_closing(me->segment, ref) && (claim_own_chunk(me, ref) || claim_elsewhere(me, ref));
}

/* ---- The end of a job ------------------------------------------------------------------------ */

/* Each process stores its count before the fence and reads the others' after it, so the last process to get here sees
 * the whole sum. */
uint64_t chunk_claim_sum(const pool_segment *segment, const job_plan *plan, uint32_t slots)
{
    const worker_cursor *cursors = pool_segment_at(segment, plan->cursors);
    uint64_t sum = 0;

    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i <= slots; i++)
        sum += atomic_load(&cursors[i].finished);
    return sum;
}

static bool are_all_chunks_done(const chunk_claimer *me, const job_plan *plan)
{
    uint32_t slots = atomic_load_explicit(&me->segment->head->slots_used, memory_order_relaxed);

    return chunk_claim_sum(me->segment, plan, slots) >= plan->chunk_count;
}

/* The hazard is cleared before waiters are woken, because a waiter may want the job's memory at once. */
void chunk_claim_leave(const chunk_claimer *me, const chunk_ref *claimed)
{
    pool_segment *segment = me->segment;
    bool last;

    if (atomic_load_explicit(&me->says->hazard, memory_order_relaxed) == 0)
        return; /* the job had one chunk only, and its number may be another job's by now */
    last = claimed->own && are_all_chunks_done(me, claimed->plan) &&
           !atomic_exchange(&segment->states[claimed->number].complete, 1);
    atomic_store_explicit(&me->says->hazard, 0, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (last || !(atomic_load_explicit(&segment->jobs[claimed->number].progress, memory_order_relaxed) & JOB_ACTIVE))
        pool_segment_wake_waiters(segment); /* the parent may wait for the job's memory */
}

bool chunk_claim_commit(const chunk_claimer *me, const chunk_ref *claimed, uint32_t items)
{
    worker_cursor *own = claimed->own;

    if (!claim_word_change(claimed->word, claimed->claim, me->done | items))
        return false;
    if (own) /* the plan may be another job's by now if there is one chunk */
        atomic_store_explicit(&own->finished, atomic_load_explicit(&own->finished, memory_order_relaxed) + 1,
                              memory_order_release);
    else
        pool_segment_wake_waiters(me->segment);
    return true;
}

bool chunk_claim_complete(pool_segment *segment, uint32_t number, const job_plan *plan, uint32_t slots)
{
    if (plan->flags & JOB_ONE_CHUNK)
        return claim_word_state(atomic_load(&segment->states[number].claim)) == CLAIM_DONE;
    if (chunk_claim_sum(segment, plan, slots) < plan->chunk_count)
        return false;
    if (!atomic_exchange(&segment->states[number].complete, 1))
        pool_segment_wake_waiters(segment);
    return true;
}

/* ---- Rings of jobs --------------------------------------------------------------------------- */

/* Keeps the job's memory in place while this worker reads it: the parent makes a job inactive before it reads all
 * hazards, and frees the memory afterwards. */
static bool set_hazard(const chunk_claimer *me, uint32_t number)
{
    atomic_store(&me->says->hazard, (uint64_t)number + 1);
    if (atomic_load(&me->segment->jobs[number].progress) & JOB_ACTIVE)
        return true;
    atomic_store(&me->says->hazard, 0);
    return false;
}

/* Works out what follows from the plan, which stays as it is while the hazard is set. */
static void refer_to_job(const chunk_claimer *me, chunk_ref *ref)
{
    const job_plan *plan = ref->plan;

    ref->words = pool_segment_claim(me->segment, ref->number, plan, 0);
    ref->own = NULL;
    if (plan->flags & JOB_ONE_CHUNK)
        return;
    ref->own = pool_segment_cursor(me->segment, plan, me->slot);
    ref->shard = me->slot % plan->shards;
    ref->front = pool_segment_cursor(me->segment, plan, ref->shard);
    ref->shard_begin = job_shard_begin(plan, ref->shard);
    ref->shard_end = job_shard_begin(plan, ref->shard + 1);
}

/* Claims a chunk of the job.  On success the hazard stays set, except that the claim of an only chunk is enough to
 * keep the job's memory. */
static bool enter_job(const chunk_claimer *me, chunk_ref *ref, uint32_t number)
{
    bool claimed;

    ref->number = number;
    ref->plan = &me->segment->jobs[number].plan;
    if (!set_hazard(me, number))
        return false;
    refer_to_job(me, ref);
    claimed = ref->own ? claim_in_job(me, ref) : try_chunk(me, ref, 0);
    if (claimed && !ref->own)
        atomic_store_explicit(&me->says->hazard, 0, memory_order_release);
    else if (!claimed)
        chunk_claim_leave(me, ref);
    return claimed;
}

/* A head that is out of bounds is damaged, and the parent repairs it. */
static bool has_entries(uint64_t head, uint64_t tail)
{
    return head < job_ring_end(tail) && job_ring_end(tail) - head < SEGMENT_RING;
}

/* The job of an entry that is before the tail. */
static uint32_t job_of_entry(const pool_segment *segment, int priority, uint64_t at, uint64_t tail)
{
    if (at + 1 == job_ring_end(tail))
        return job_ring_last(tail);
    return atomic_load_explicit(&segment->ring_entries[priority][at % SEGMENT_RING], memory_order_relaxed);
}

/* Claims a chunk of the jobs of one priority. */
static bool claim_in_ring(const chunk_claimer *me, chunk_ref *claimed, int priority)
{
    pool_segment *segment = me->segment;
    _Atomic uint64_t *ring_head = &segment->shared->rings[priority].head;
    const _Atomic uint64_t *ring_tail = &segment->head->rings[priority].tail;
    uint64_t head = atomic_load(ring_head), tail;

    while (has_entries(head, tail = atomic_load(ring_tail))) {
        bool got = enter_job(me, claimed, job_of_entry(segment, priority, head, tail));
        if (got && claimed->own)
            return true;
        /* nothing of the job is queued any more: any worker that sees this may move the head, and one does */
        if (atomic_compare_exchange_strong(ring_head, &head, head + 1))
            head++;
        if (got)
            return true;
    }
    return false;
}

bool chunk_claim_first(const chunk_claimer *me, chunk_ref *claimed)
{
    return claim_in_ring(me, claimed, XF_PRIORITY_HIGH) || claim_in_ring(me, claimed, XF_PRIORITY_NORMAL) ||
           claim_in_ring(me, claimed, XF_PRIORITY_LOW);
}

static bool is_ring_empty(const pool_segment *segment, int priority)
{
    return !has_entries(atomic_load_explicit(&segment->shared->rings[priority].head, memory_order_relaxed),
                        atomic_load_explicit(&segment->head->rings[priority].tail, memory_order_relaxed));
}

bool chunk_claim_next(const chunk_claimer *me, chunk_ref *claimed)
{
    return claimed->own && atomic_load_explicit(&me->says->hazard, memory_order_relaxed) &&
           is_ring_empty(me->segment, XF_PRIORITY_HIGH) && claim_in_job(me, claimed);
}

bool chunk_claim_has_work(const pool_segment *segment)
{
    return !is_ring_empty(segment, XF_PRIORITY_HIGH) || !is_ring_empty(segment, XF_PRIORITY_NORMAL) ||
           !is_ring_empty(segment, XF_PRIORITY_LOW);
}
