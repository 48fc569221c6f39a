/* The workers of a pool: starting them, waking them, and finding out what a dead one had. */
#include "base/clock.h"
#include "base/error.h"
#include "pool/pool.h"

#include <stdlib.h>
#include <string.h>

enum { FAILED_STARTS_MAX = 5 }; /* in a row, before the pool is given up */

static slot *slot_of(const member *member)
{
    return &member->pool->plane.slots[member->number];
}

/* ---- Waking ---------------------------------------------------------------------------------- */

/* Wakes up to most sleepers: whoever clears a sleeper's bit rings its bell. */
static uint64_t wake(xf_pool *pool, uint64_t most)
{
    uint64_t woken = 0;

    atomic_thread_fence(memory_order_seq_cst); /* what there is to do is seen by all before their bits are looked at */
    for (uint32_t word = 0; word * 64 < pool->plane.head->slots && woken < most; word++) {
        _Atomic uint64_t *idle = &pool->plane.head->idle[word];
        uint64_t bits = atomic_load(idle);
        for (uint32_t i = 0; bits && woken < most; i++, bits >>= 1) {
            uint64_t bit = UINT64_C(1) << i;
            if (!(bits & 1) || !(atomic_fetch_and(idle, ~bit) & bit))
                continue;
            if (pool->members[word * 64 + i].process) {
                process_wake(pool->members[word * 64 + i].process);
                woken++;
            }
        }
    }
    return woken;
}

void wake_all_workers(xf_pool *pool)
{
    wake(pool, UINT64_MAX);
}

/* ---- Starting -------------------------------------------------------------------------------- */

static void on_progress(void *arg)
{
    member *member = arg;
    xf_pool *pool = member->pool;

    supervisor_enter(&pool->supervised);
    uv_mutex_lock(&pool->lock);
    future_callbacks_dispatch(pool);
    uv_mutex_unlock(&pool->lock);
}

static void on_end(void *arg);

static int start(xf_pool *pool, member *member)
{
    struct {
        worker_start place;
        uint8_t input[16384];
    } greeting;
    process_plan plan = {.task = &worker_task,
                         .input = &greeting,
                         .size = sizeof greeting.place + pool->options.initializer_size,
                         .method = pool->method,
                         .segment = &pool->plane.shm,
                         .owner = {on_progress, on_end, member}};
    slot *slot = slot_of(member);
    int rc;

    if (member->number >= atomic_load(&pool->plane.head->slots_used))
        atomic_store(&pool->plane.head->slots_used, member->number + 1);
    greeting.place = (worker_start){.slot = member->number, .epoch = atomic_load(&slot->epoch)};
    if (pool->places)
        greeting.place.cpus = pool->places[member->number % pool->place_count];
    if (pool->options.initializer_size > 0)
        memcpy(greeting.input, pool->options.initializer_input, pool->options.initializer_size);
    atomic_store(&slot->intent, 0);
    atomic_store(&slot->ready, 0);
    atomic_store(&slot->busy, 1);
    atomic_store(&slot->items, 0);
    atomic_store(&slot->retire, 0);
    atomic_store(&slot->unused, 0);
    member->stopping = 0;
    member->retiring = false;
    rc = process_start(&member->process, &plan, &pool->process);
    if (rc < 0)
        return rc;
    pool->live++;
    if (pool->vacant > 0) {
        pool->vacant--;
        pool->replaced++;
    }
    return 0;
}

/* Starts workers until there are so many, as far as that can be done. */
static int fill(xf_pool *pool, int count)
{
    int rc = 0;

    for (int i = 0; i < pool->wanted && pool->live < count && rc == 0; i++)
        if (!pool->members[i].process)
            rc = start(pool, &pool->members[i]);
    return rc;
}

static uint64_t count_unoccupied(const xf_pool *pool)
{
    uint64_t count = 0;

    for (int i = 0; i < pool->wanted; i++)
        count += pool->members[i].process && !atomic_load(&slot_of(&pool->members[i])->busy);
    return count;
}

int pool_workers_call(xf_pool *pool, uint64_t chunks)
{
    uint64_t woken, missing;
    int rc = 0;

    woken = wake(pool, chunks);
    if (pool->strength < pool->wanted && woken < chunks) {
        woken += count_unoccupied(pool);
        missing = chunks > woken ? chunks - woken : 0;
        pool->strength =
            missing < (uint64_t)(pool->wanted - pool->strength) ? pool->strength + (int)missing : pool->wanted;
    }
    if (pool->strength > pool->wanted)
        pool->strength = pool->wanted;
    if (pool->strength == 0)
        pool->strength = 1;
    if (pool->live < pool->strength)
        rc = fill(pool, pool->strength);
    return pool->live > 0 ? 0 : rc; /* with fewer it takes longer, that is all */
}

void pool_workers_retire(xf_pool *pool)
{
    for (uint32_t i = 0; i < atomic_load(&pool->plane.head->slots_used); i++) {
        member *member = &pool->members[i];
        bool retire = (int)i >= pool->wanted;
        if (!member->process || member->retiring || !retire)
            continue;
        member->retiring = true;
        atomic_store(&slot_of(member)->retire, 1);
    }
    wake_all_workers(pool);
}

/* ---- The end of a worker --------------------------------------------------------------------- */

/* Why whoever ran that lost it. */
static xf_end why_lost(const xf_pool *pool, const member *member, uint64_t intent)
{
    if (member->stopping && member->stopping == intent)
        return member->why;
    return pool->terminating ? XF_END_CANCELLED : XF_END_NONE;
}

static void take_claims_back(xf_pool *pool, member *member)
{
    slot *slot = slot_of(member);
    uint32_t epoch = atomic_load(&slot->epoch);
    uint64_t intent = atomic_load(&slot->intent);

    if (intent)
        pool_recovery_recover(pool, member->number, epoch, why_lost(pool, member, intent), member->process);
    pool->items_before += atomic_load(&slot->items);
    atomic_fetch_and(&pool->plane.head->idle[member->number / 64], ~(UINT64_C(1) << member->number % 64));
    atomic_store(&slot->items, 0);
    atomic_store(&slot->busy, 0);
    atomic_store(&slot->hazard, 0);
    atomic_store(&slot->epoch, epoch + 1);
}

/* No work is done any more: all of it ends for that reason. */
static void break_pool(xf_pool *pool, const xf_report *report, stack_trace *trace)
{
    pool->broken = report_copy(report, trace);
    pool->broken_status = (xf_status){XF_END_START_FAILED, XF_EFAILED, report->status.system};
    if (report->status.kind == XF_END_START_FAILED)
        pool->broken_status = report->status;
    pool->closed = true;
    for (xf_future *future = pool->first; future; future = future->next)
        pool_jobs_cancel_unclaimed(pool, future, XF_END_START_FAILED);
    pool_workers_shut_down(pool, false);
}

static bool is_anybody_ready(const xf_pool *pool)
{
    for (uint32_t i = 0; i < atomic_load(&pool->plane.head->slots_used); i++)
        if (pool->members[i].process && atomic_load(&slot_of(&pool->members[i])->ready))
            return true;
    return false;
}

/* Ends that would come again.  XF_EMAIN is not among them: where a kill can look like an exit, it may be one.
 * XF_EPROCESSES and the like may pass, when nothing else works. */
static bool is_for_good(const xf_status *status)
{
    return status->kind == XF_END_FAILED || (status->kind == XF_END_START_FAILED && status->code != XF_EMAIN);
}

/* A worker that ends before it is ready says something about all workers, unless another is. */
static void judge_start(xf_pool *pool, const member *member, const xf_report *report)
{
    if (atomic_load(&slot_of(member)->ready) || is_anybody_ready(pool)) {
        pool->failed_starts = 0;
        return;
    }
    if (pool->terminating || report->status.kind == XF_END_DONE || report->status.kind == XF_END_TERMINATED)
        return;
    if (pool->live > 1 && is_for_good(&report->status)) {
        pool->strength = pool->live - 1; /* there may be no room for more than the others */
        return;
    }
    pool->failed_starts++;
    if (!pool->broken && (pool->failed_starts == FAILED_STARTS_MAX || is_for_good(&report->status)))
        break_pool(pool, report, member->process->trace);
}

/* Whether a worker has to come in the place of one that has gone. */
static bool must_refill(const xf_pool *pool)
{
    if (pool->broken || pool->terminating)
        return false;
    return pool->live < pool->strength && (!pool->closed || chunk_claim_has_work(&pool->plane));
}

static void refill(xf_pool *pool)
{
    int rc;

    if (pool->strength > pool->wanted)
        pool->strength = pool->wanted;
    if (!must_refill(pool))
        return;
    rc = fill(pool, pool->strength);
    if (rc < 0 && pool->live == 0) {
        xf_report report = {.status = {XF_END_START_FAILED, rc, 0},
                            .kind_name = xf_end_name(XF_END_START_FAILED),
                            .code_name = xf_err_name(rc),
                            .message = xf_error_detail(),
                            .name = worker_task.name,
                            .task = worker_task.name,
                            .stderr_tail = "",
                            .dump = "",
                            .saved = ""};
        break_pool(pool, &report, NULL);
    }
}

/* One that had nothing to do is missed no more, unless work came while it left: whoever handed that in has counted on
 * it. */
static void note_leaving(xf_pool *pool, const member *member)
{
    bool unused = atomic_load(&slot_of(member)->unused);

    if (unused && !chunk_claim_has_work(&pool->plane))
        pool->strength--;
    else if (!unused && !member->retiring)
        pool->vacant++;
}

/* On the supervisor's thread.  The pool may be freed as soon as this has given up the lock for the last time, so
 * whoever frees it waits until this has returned: a lock must not be destroyed while it is being unlocked. */
static void on_end(void *arg)
{
    member *member = arg;
    xf_pool *pool = member->pool;
    const xf_report *report;
    xf_process *process;

    supervisor_enter(&pool->supervised);
    uv_mutex_lock(&pool->lock); /* which start has held until it knew the process */
    process = member->process;
    report = process_report(process);
    take_claims_back(pool, member);
    judge_start(pool, member, report);
    note_leaving(pool, member);
    pool->live--;
    pool->ending++;
    member->process = NULL;
    plane_tell_after_death(&pool->plane);
    wake_all_workers(pool);
    uv_mutex_unlock(&pool->lock); /* whoever waits for what was lost need not wait for the next worker too */
    uv_mutex_lock(&pool->lock);
    refill(pool);
    uv_mutex_unlock(&pool->lock);
    xf_process_free(process);
    uv_mutex_lock(&pool->lock);
    pool_deadlines_check(pool);
    future_callbacks_dispatch(pool);
    pool->ending--;
    uv_cond_broadcast(&pool->changed);
    uv_mutex_unlock(&pool->lock);
}

/* ---- Stopping -------------------------------------------------------------------------------- */

/* The claim word that a member's intent is about; NULL: none that it holds. */
static claim_word *held_word(const member *member, uint64_t intent, uint64_t *claim, xf_future **future)
{
    xf_pool *pool = member->pool;
    uint64_t number = (intent >> 40) - 1, chunk = intent & ((UINT64_C(1) << 40) - 1);
    claim_word *word;

    if (!intent || number >= pool->job_count || !pool->futures[number])
        return NULL;
    *future = pool->futures[number];
    if (chunk >= (*future)->job->chunk_count)
        return NULL;
    word = pool_segment_claim(&pool->plane, (*future)->job, chunk);
    *claim = atomic_load(word);
    return claim_word_is_held_by(*claim, member->number, atomic_load(&slot_of(member)->epoch)) ? word : NULL;
}

static void ask(member *member, xf_future *future, uint64_t intent, xf_end why)
{
    xf_pool *pool = member->pool;
    uint64_t chunk = intent & ((UINT64_C(1) << 40) - 1);
    uint32_t at = slot_of(member)->progress, last = job_items_in(future->job, chunk) - 1;
    uint64_t item = job_first_item(future->job, chunk) + (at < last ? at : last);

    if (member->stopping == intent)
        return;
    member->stopping = intent;
    member->why = why;
    member->kill_time = clock_deadline(pool->grace_ms);
    if (pool_state_grow(&future->stopped, future->stopped_count, &future->stopped_room, sizeof(bad)) == 0)
        future->stopped[future->stopped_count++] = (bad){item, {why, 0, 0}, NULL};
    atomic_store(&slot_of(member)->stop, intent);
    process_wake(member->process);
}

void pool_deadlines_stop(xf_pool *pool, const xf_future *future, xf_end why)
{
    for (uint32_t i = 0; i < atomic_load(&pool->plane.head->slots_used); i++) {
        member *member = &pool->members[i];
        uint64_t intent = atomic_load(&slot_of(member)->intent), claim;
        xf_future *held;
        if (member->process && held_word(member, intent, &claim, &held) && held == future)
            ask(member, held, intent, why);
    }
    pool_deadlines_check(pool);
}

/* Kills whoever is at that still: it is doomed first, so that one who has finished in time is not killed for it. */
static void kill_late(member *member)
{
    xf_future *future;
    uint64_t claim;
    claim_word *word = held_word(member, member->stopping, &claim, &future);

    if (word && claim_word_state(claim) == CLAIM_CLAIMED &&
        claim_word_change(word, claim, (claim & ~(UINT64_C(15) << 60)) | (uint64_t)CLAIM_DOOMED << 60))
        process_kill_late(member->process);
    else
        member->stopping = 0;
    member->kill_time = CLOCK_NEVER;
}

/* When a member has to be looked at next, for the timeout of what it runs. */
static uint64_t next_timeout(member *member, uint64_t now)
{
    slot *slot = slot_of(member);
    uint64_t intent = atomic_load(&slot->intent), since = atomic_load(&slot->since), claim, due;
    xf_future *future;

    if (!held_word(member, intent, &claim, &future) || !future->options.timeout_ms || member->stopping == intent)
        return CLOCK_NEVER;
    due = since + (uint64_t)future->options.timeout_ms * CLOCK_NS_PER_MS;
    if (due > now)
        return due;
    ask(member, future, intent, XF_END_TIMED_OUT);
    return CLOCK_NEVER;
}

static uint64_t earlier(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

void pool_deadlines_check(xf_pool *pool)
{
    uint64_t now = uv_hrtime(), next = pool->untold ? now : CLOCK_NEVER;

    for (uint32_t i = 0; i < atomic_load(&pool->plane.head->slots_used); i++) {
        member *member = &pool->members[i];
        if (!member->process)
            continue;
        if (member->stopping && member->kill_time <= now)
            kill_late(member);
        next = earlier(next, next_timeout(member, now));
        if (member->stopping)
            next = earlier(next, member->kill_time);
    }
    for (const xf_future *future = pool->first; future; future = future->next) /* what nobody has claimed yet */
        if (future->options.timeout_ms && !future_is_complete(future))
            next = earlier(next, now + (uint64_t)future->options.timeout_ms * CLOCK_NS_PER_MS);
    supervisor_set_deadline(&pool->supervised, next);
}

void pool_workers_shut_down(xf_pool *pool, bool kill)
{
    atomic_store(&pool->plane.head->leaving, pool->terminating ? SHUTDOWN_NOW : SHUTDOWN_AFTER_WORK);
    for (uint32_t i = 0; i < atomic_load(&pool->plane.head->slots_used); i++) {
        if (pool->members[i].process && kill)
            xf_process_kill(pool->members[i].process);
        else if (pool->members[i].process)
            process_wake(pool->members[i].process);
    }
}
