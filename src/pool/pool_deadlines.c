#include "pool/pool_deadlines.h"

#include "base/clock.h"
#include "pool/pool_audit.h"
#include "pool/pool_jobs.h"

/* The claim word of a worker's intent, if the worker holds that chunk; otherwise NULL.
 *   claim   Set to the word's value.
 *   future  Set to the future of the job. */
static claim_word *held_claim(const worker_handle *worker, uint64_t intent, uint64_t *claim, xf_future **future)
{
    xf_pool *pool = worker->pool;
    uint64_t number = job_of_intent(intent), chunk = job_chunk_of_intent(intent);
    claim_word *word;

    if (!intent || number >= pool->job_count || !pool->futures[number])
        return NULL;
    *future = pool->futures[number];
    if (chunk >= (*future)->plan.chunk_count)
        return NULL;
    word = future_claim(*future, chunk);
    *claim = atomic_load(word);
    return claim_word_is_held_by(*claim, worker->number, worker->epoch) ? word : NULL;
}

/* Notes that the items of the chunk which have not ended are asked to stop.  The worker may be on its way to the next
 * one, and a batch function comes to the next one by itself. */
static void note_stopped(const worker_handle *worker, xf_future *future, uint64_t chunk, xf_end why)
{
    uint32_t at = pool_state_slot(worker)->progress, last = job_items_in(&future->plan, chunk) - 1;
    uint64_t first = job_first_item(&future->plan, chunk);

    if (pool_state_grow(&future->stopped, future->stopped_count, &future->stopped_room, sizeof(stopped_items)) == 0)
        future->stopped[future->stopped_count++] =
            (stopped_items){first + (at < last ? at : last), first + last, {why, 0, 0}};
}

/* Asks the task of the intent to stop, and sets the time at which its worker is killed if it does not. */
static void ask_item_to_stop(worker_handle *worker, xf_future *future, uint64_t intent, xf_end why)
{
    xf_pool *pool = worker->pool;

    if (pool_state_is_stopped(worker, future, intent))
        return;
    worker->stop_intent = intent;
    worker->stop_serial = future->plan.serial;
    worker->stop_reason = why;
    worker->kill_time = clock_deadline(pool->grace_ms);
    note_stopped(worker, future, job_chunk_of_intent(intent), why);
    atomic_store(&pool_state_order(worker)->stop_serial, future->plan.serial);
    atomic_store(&pool_state_order(worker)->stop_intent, intent);
    process_wake(worker->process);
}

/* Asks the workers that run items of the future to stop. */
static void ask_workers_to_stop(xf_pool *pool, const xf_future *future, xf_end why)
{
    for (uint32_t i = 0; i < pool->slots_used; i++) {
        worker_handle *worker = &pool->workers[i];
        uint64_t intent = atomic_load(&pool_state_slot(worker)->intent), claim;
        xf_future *held;
        if (worker->process && held_claim(worker, intent, &claim, &held) && held == future)
            ask_item_to_stop(worker, held, intent, why);
    }
}

void pool_deadlines_stop(xf_pool *pool, const xf_future *future, xf_end why)
{
    ask_workers_to_stop(pool, future, why);
    pool_deadlines_check(pool);
}

/* Kills a worker that still runs what it was asked to stop.  The claim is doomed first: that fails if the worker has
 * committed the chunk in time, and then the worker is not killed. */
static void kill_overdue(worker_handle *worker)
{
    xf_future *future;
    uint64_t claim;
    claim_word *word = held_claim(worker, worker->stop_intent, &claim, &future);

    worker->doomed = word && future->plan.serial == worker->stop_serial && claim_word_state(claim) == CLAIM_CLAIMED &&
                     claim_word_change(word, claim, claim_word_doom(claim));
    if (worker->doomed)
        process_kill_late(worker->process);
    else
        worker->stop_intent = 0;
    worker->kill_time = CLOCK_NEVER;
}

/* When a worker claimed the chunk of its intent: as it says, but not after the parent has seen that. */
static uint64_t time_of_claim(worker_handle *worker, const xf_future *future, uint64_t intent, uint64_t now)
{
    uint64_t said = atomic_load(&pool_state_slot(worker)->claim_time);

    if (worker->timed_intent != intent || worker->timed_serial != future->plan.serial) {
        worker->timed_intent = intent;
        worker->timed_serial = future->plan.serial;
        worker->timed_since = now;
    }
    return said < worker->timed_since ? said : worker->timed_since;
}

/* Acts on the timeout of the item that a worker runs.  Returns when to check the worker again. */
static uint64_t check_timeout(worker_handle *worker, uint64_t now)
{
    uint64_t intent = atomic_load(&pool_state_slot(worker)->intent), claim, due;
    xf_future *future;

    if (!held_claim(worker, intent, &claim, &future) || !future->options.timeout_ms ||
        pool_state_is_stopped(worker, future, intent))
        return CLOCK_NEVER;
    due = time_of_claim(worker, future, intent, now) + (uint64_t)future->options.timeout_ms * CLOCK_NS_PER_MS;
    if (due > now)
        return due;
    ask_item_to_stop(worker, future, intent, XF_END_TIMED_OUT);
    return CLOCK_NEVER;
}

static uint64_t sooner_of(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

/* Acts on the deadline of a future.  Returns when to check the future again: its items may be claimed at any time. */
static uint64_t check_future(xf_pool *pool, xf_future *future, uint64_t now)
{
    uint64_t timeout = (uint64_t)future->options.timeout_ms * CLOCK_NS_PER_MS;

    if (future_is_complete(future))
        return CLOCK_NEVER;
    if (future->deadline <= now) {
        future->deadline = CLOCK_NEVER;
        pool_jobs_cancel_unclaimed(pool, future, XF_END_TIMED_OUT);
        ask_workers_to_stop(pool, future, XF_END_TIMED_OUT);
        pool->callbacks_due = true;
    }
    return timeout ? sooner_of(future->deadline, now + timeout) : future->deadline;
}

static uint64_t check_futures(xf_pool *pool, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;

    for (xf_future *future = pool->first; future; future = future->next)
        next = sooner_of(next, check_future(pool, future, now));
    return next;
}

void pool_deadlines_check(xf_pool *pool)
{
    bool over = pool_state_is_left(pool);
    uint64_t now = uv_hrtime(), next = pool_audit_on_deadline(pool, now);

    pool->audit_due = next != CLOCK_NEVER;
    next = sooner_of(next, check_futures(pool, now));
    if (pool->callbacks_due || over)
        next = now;
    if (pool->awaits_start)
        next = sooner_of(next, pool->next_start);
    for (uint32_t i = 0; i < pool->slots_used; i++) {
        worker_handle *worker = &pool->workers[i];
        if (!worker->process)
            continue;
        if (worker->stop_intent && worker->kill_time <= now)
            kill_overdue(worker);
        next = sooner_of(next, check_timeout(worker, now));
        if (worker->stop_intent)
            next = sooner_of(next, worker->kill_time);
    }
    pool->next_check = next;
    supervisor_set_deadline(&pool->supervised, next);
}
