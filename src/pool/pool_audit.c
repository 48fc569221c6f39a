#include "pool/pool_audit.h"

#include "base/clock.h"
#include "os/cancel.h"
#include "pool/future_callbacks.h"
#include "pool/pool_jobs.h"
#include "pool/pool_wake.h"

/* So often something does not fit, one look after the other, before a job is given up in which nothing ends. */
enum { HURT_LOOKS_MAX = 5 };

/* What was found in the words of one job. */
typedef struct findings {
    uint64_t queued, ended;
    uint64_t strays; /* a sum over the words that fit no state; 0: all fit */
} findings;

/* Whether a worker that lives holds the chunk, and says so. */
static bool is_held(const xf_pool *pool, const xf_future *future, uint64_t chunk, uint64_t claim)
{
    uint32_t owner = claim_word_owner(claim);
    const worker_handle *worker;

    if (owner >= pool->slots_used)
        return false;
    worker = &pool->workers[owner];
    return worker->process && (claim_word_state(claim) != CLAIM_DOOMED || worker->doomed) &&
           claim_word_is_held_by(claim, owner, worker->epoch) &&
           atomic_load(&pool_state_slot(worker)->intent) == job_intent(future->number, chunk);
}

/* Whether the word is one that a worker or the parent can have left there.  A chunk that was ended here before must not
 * be ended, and counted, once more. */
static bool is_in_order(const xf_pool *pool, const xf_future *future, uint64_t chunk, uint64_t claim)
{
    claim_state state = claim_word_state(claim);

    if (state == CLAIM_DONE && claim_word_skip(claim) == CLAIM_SKIP_UNKNOWN)
        return true;
    return claim_word_skip(claim) <= job_items_in(&future->plan, chunk) &&
           (state == CLAIM_QUEUED || state == CLAIM_DONE || is_held(pool, future, chunk, claim));
}

static findings look_at_chunks(const xf_pool *pool, const xf_future *future)
{
    findings found = {0};

    for (uint64_t i = 0; i < future->plan.chunk_count; i++) {
        uint64_t claim = atomic_load(future_claim(future, i));
        if (!is_in_order(pool, future, i, claim))
            found.strays += (claim ^ i) * 2 + 1;
        else if (claim_word_state(claim) == CLAIM_QUEUED)
            found.queued++;
        else
            found.ended += claim_word_state(claim) == CLAIM_DONE;
    }
    return found;
}

/* Ends the chunks whose words fit no state, as they did not a second ago. */
static void end_strays(xf_pool *pool, xf_future *future)
{
    for (uint64_t i = 0; i < future->plan.chunk_count; i++) {
        uint64_t claim = atomic_load(future_claim(future, i));
        if (!is_in_order(pool, future, i, claim))
            pool_jobs_end_damaged(pool, future, i, claim);
    }
}

/* Ends the job for good.  Workers can go on to write that it has not ended. */
static void end_job(xf_pool *pool, xf_future *future)
{
    future->damaged = true;
    atomic_store(&future->given_up, true);
    pool_segment_wake_waiters(&pool->segment);
}

/* Ends a chunk for good.  A word changes at most twice by itself before it is DONE: a worker claims the chunk, and
 * commits it. */
static void give_up_chunk(xf_pool *pool, xf_future *future, uint64_t chunk)
{
    for (int tries = 0; tries < 3; tries++) {
        uint64_t claim = atomic_load(future_claim(future, chunk));
        if (claim_word_state(claim) == CLAIM_DONE)
            return;
        pool_jobs_end_damaged(pool, future, chunk, claim);
    }
}

/* Something keeps the chunks from ending, again and again. */
static void give_up(xf_pool *pool, xf_future *future)
{
    for (uint64_t i = 0; i < future->plan.chunk_count; i++)
        give_up_chunk(pool, future, i);
    end_job(pool, future);
}

/* Whether workers have left the job's entry in the ring behind, where they saw nothing queued. */
static bool is_left_behind(const xf_pool *pool, const xf_future *future)
{
    return atomic_load(&pool->segment.shared->rings[future->priority].head) > future->ring_entry;
}

/* Nothing has ended since the look before.  Notes whether something does not fit, and mends what can be mended. */
static void look_at_rest(xf_pool *pool, xf_future *future, const findings *found)
{
    bool is_missed = found->queued > 0 && !future_is_closing(future) && is_left_behind(pool, future);

    if (found->strays || found->ended < future->ended_most || is_missed)
        future->hurt_looks++;
    if (found->ended == future->plan.chunk_count)
        end_job(pool, future);
    else if (future->hurt_looks >= HURT_LOOKS_MAX)
        give_up(pool, future);
    else if (found->strays && found->strays == future->strays_before)
        end_strays(pool, future);
    else if (is_missed)
        pool_jobs_push_again(pool, future);
    else if (found->queued > 0 && future_is_closing(future))
        pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
}

/* Returns whether chunks are queued, and nothing has ended for a second. */
static bool look_at_job(xf_pool *pool, xf_future *future)
{
    findings found = look_at_chunks(pool, future);
    bool rests = found.ended <= future->ended_most;

    if (rests) {
        look_at_rest(pool, future, &found);
    } else {
        future->ended_most = found.ended;
        future->hurt_looks = 0;
    }
    future->strays_before = found.strays;
    pool_jobs_check_complete(pool, future);
    future_callbacks_schedule(future);
    return found.queued > 0 && rests;
}

/* Puts the heads back where they are known to have been, if they are out of their bounds. */
static void repair_heads(xf_pool *pool)
{
    for (int i = 0; i < SEGMENT_PRIORITIES; i++) {
        _Atomic uint64_t *head = &pool->segment.shared->rings[i].head;
        uint64_t seen = atomic_load(head);
        if (seen < pool->ring_heads[i] || seen > pool->ring_ends[i])
            atomic_store(head, pool->ring_heads[i]);
    }
}

static void look_through(xf_pool *pool)
{
    OS_HOLD_CANCEL;
    bool any = false;

    repair_heads(pool);
    pool_jobs_sweep(pool);
    for (xf_future *future = pool->first; future; future = future->next)
        if (!future_is_complete(future))
            any |= look_at_job(pool, future);
    if (any)
        pool_wake_all(pool);
}

static uint64_t audit_ns(const xf_pool *pool)
{
    return (uint64_t)pool->audit_ms * CLOCK_NS_PER_MS;
}

static bool is_due(const xf_pool *pool, uint64_t now)
{
    return !pool->inline_worker && now - pool->looked_through >= audit_ns(pool);
}

void pool_audit_if_due(xf_pool *pool)
{
    uint64_t now = uv_hrtime();

    uv_mutex_lock(&pool->lock);
    if (is_due(pool, now)) {
        look_through(pool);
        pool->looked_through = uv_hrtime();
    }
    uv_mutex_unlock(&pool->lock);
}

uint64_t pool_audit_on_deadline(xf_pool *pool, uint64_t now)
{
    bool awaited = false;

    for (const xf_future *future = pool->first; future && !awaited; future = future->next)
        awaited = future->callbacks == CALLBACKS_PENDING && !future_is_complete(future);
    if (!awaited)
        return CLOCK_NEVER;
    if (is_due(pool, now)) {
        look_through(pool);
        pool->looked_through = uv_hrtime();
    }
    return pool->looked_through + audit_ns(pool);
}
