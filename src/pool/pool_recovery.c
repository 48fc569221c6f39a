#include "pool/pool_recovery.h"

#include "pool/item_results.h"
#include "pool/pool_jobs.h"
#include "pool/worker.h"

/* Counts the chunks that the dead worker has committed: it may have died after a commit and before it counted that. */
static void recount_chunks(xf_pool *pool, const xf_future *future, uint32_t slot)
{
    uint64_t count = 0;

    if (future->plan.flags & JOB_ONE_CHUNK)
        return;
    for (uint64_t i = 0; i < future->plan.chunk_count; i++) {
        uint64_t claim = atomic_load(future_claim(future, i));
        count += claim_word_state(claim) == CLAIM_DONE && claim_word_owner(claim) == slot;
    }
    atomic_store(&pool_segment_cursor(&pool->segment, &future->plan, slot)->finished, count);
}

/* Counts one more attempt at the item, and returns how many there were. */
static int count_attempt(xf_future *future, uint64_t item)
{
    for (size_t i = 0; i < future->attempt_count; i++)
        if (future->attempts[i].item == item)
            return ++future->attempts[i].count;
    if (pool_state_grow(&future->attempts, future->attempt_count, &future->attempt_room, sizeof(item_attempts)) < 0)
        return INT32_MAX;
    future->attempts[future->attempt_count++] = (item_attempts){item, 1};
    return 1;
}

/* Leaves only the lines of the item in a report: a worker has run others before, of the same chunk perhaps. */
static void keep_own_lines(xf_report *report, xf_log_line *lines, uint64_t item)
{
    size_t count = 0;

    for (size_t i = 0; i < report->log_count; i++)
        if (report->log[i].item == item)
            lines[count++] = report->log[i];
    if (count < report->log_count || report->log_total == report->log_count)
        report->log_total = count;
    report->log = lines;
    report->log_count = count;
}

/* Decides about the item that was running when the worker died: true when it has ended, false when it is tried
 * again. */
static bool end_lost_item(xf_pool *pool, xf_future *future, uint64_t item, xf_end why, xf_process *dead)
{
    int attempts;
    xf_report lost = *process_report(dead);
    xf_log_line lines[XF_REPORT_LOG_LINES];

    if (item_results_has_record(future, item))
        return true;
    attempts = count_attempt(future, item);
    if (why == XF_END_NONE && attempts < pool->options.max_attempts)
        return false;
    lost.item = item;
    lost.attempt = attempts;
    lost.task = future->task->name;
    keep_own_lines(&lost, lines, item);
    if (why != XF_END_NONE) {
        lost.status = (xf_status){why, 0, lost.status.system};
        lost.kind_name = xf_end_name(why);
        lost.code_name = "";
    }
    pool->lost += why == XF_END_NONE;
    item_results_add_report(future, item, &lost, dead->trace);
    return true;
}

/* How many items of the chunk the dead worker had finished, as far as what it said fits. */
static uint32_t finished_items(const worker_handle *worker, uint64_t claim, uint32_t size)
{
    uint32_t before = claim_word_skip(claim), at = pool_state_slot(worker)->progress;

    return at >= before && at <= size ? at : before < size ? before : size;
}

/* Adds the item of the chunk whose task had called xf_fail and returned 0, if the dead worker had not recorded that.
 * Returns whether there was one. */
static bool add_said(worker_handle *worker, xf_future *future, uint64_t begin, uint64_t end)
{
    worker_slot *slot = pool_state_slot(worker);
    uint64_t item = atomic_load(&slot->said_item) - 1;
    int code = atomic_load(&slot->said_code);

    if (item < begin || item >= end || item_results_has_record(future, item))
        return false;
    item_results_add_said(future, item, code ? code : XF_EFAILED, process_report(worker->process)->pid);
    return true;
}

/* Ends the dead worker's chunk, or queues what is left of it. */
static void recover_chunk(worker_handle *worker, xf_future *future, uint64_t chunk, xf_end why)
{
    xf_pool *pool = worker->pool;
    claim_word *word = future_claim(future, chunk);
    uint64_t claim = atomic_load(word);
    uint64_t first = job_first_item(&future->plan, chunk);
    uint32_t size = job_items_in(&future->plan, chunk), at = finished_items(worker, claim, size);
    bool failed = add_said(worker, future, first + claim_word_skip(claim), first + at);

    pool->items_before += at > claim_word_skip(claim) ? at - claim_word_skip(claim) : 0; /* it counts when it commits */
    if (at < size && end_lost_item(pool, future, first + at, why, worker->process)) {
        at++;
        failed = true;
    }
    if (failed && future->options.stop_at_failure)
        pool_jobs_close(future);
    if (at >= size || future_is_closing(future)) {
        pool_jobs_complete_chunk(pool, future, chunk, at);
    } else {
        atomic_store(word, claim_word_make(CLAIM_QUEUED, 0, 0, at));
        pool_jobs_push_again(pool, future);
    }
    if (future_is_closing(future))
        pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
}

/* Why the parent stopped the item; XF_END_NONE: it did not. */
static xf_end stop_reason_of(const worker_handle *worker, const xf_future *future, uint64_t intent)
{
    if (pool_state_is_stopped(worker, future, intent))
        return worker->stop_reason;
    return worker->pool->terminating ? XF_END_CANCELLED : XF_END_NONE;
}

/* ---- Claims that were overwritten ------------------------------------------------------------ */

enum { LOST_CLAIMS_MAX = 4 }; /* of one job */

/* The number of the first chunk that is queued; chunk_count: none is. */
static uint64_t first_queued(const xf_future *future)
{
    uint64_t chunk = 0;

    while (chunk < future->plan.chunk_count &&
           claim_word_state(atomic_load(future_claim(future, chunk))) != CLAIM_QUEUED)
        chunk++;
    return chunk;
}

static bool comes_before(const xf_future *one, const xf_future *other)
{
    static const int order[SEGMENT_PRIORITIES] = {
        [XF_PRIORITY_HIGH] = 0, [XF_PRIORITY_NORMAL] = 1, [XF_PRIORITY_LOW] = 2};

    if (one->priority != other->priority)
        return order[one->priority] < order[other->priority];
    return one->ring_entry < other->ring_entry;
}

/* The future of which the next chunk will be claimed; NULL: nothing is queued. */
static xf_future *next_in_line(const xf_pool *pool)
{
    xf_future *next = NULL;

    for (xf_future *future = pool->first; future; future = future->next)
        if (!future_is_complete(future) && first_queued(future) < future->plan.chunk_count &&
            (!next || comes_before(future, next)))
            next = future;
    return next;
}

/* After some claims of the job that were lost the chunk ends, unless its word has changed. */
static void count_lost_claim(xf_pool *pool, xf_future *future, uint64_t chunk)
{
    uint64_t claim = atomic_load(future_claim(future, chunk));

    if (++future->lost_claims <= LOST_CLAIMS_MAX || claim_word_state(claim) == CLAIM_DONE)
        return;
    future->lost_claims = 0;
    pool_jobs_end_damaged(pool, future, chunk, claim);
    pool_jobs_check_complete(pool, future);
}

/* A worker has found that its claim was overwritten, so that its chunk is perhaps queued again, without a count of
 * attempts.  It counts for the chunk of the worker's intent, unless the parent has ended that; if the intent names no
 * chunk that can be run again, for the next one, which is the one that will be run over and over. */
static void recover_lost_claim(xf_pool *pool, xf_future *future, uint64_t chunk)
{
    bool is_known = future && chunk < future->plan.chunk_count;
    uint64_t claim = is_known ? atomic_load(future_claim(future, chunk)) : claim_word_make(CLAIM_DONE, 0, 0, 0);

    if (claim_word_state(claim) == CLAIM_DONE && claim_word_skip(claim) == CLAIM_SKIP_UNKNOWN)
        return;
    if (claim_word_state(claim) == CLAIM_DONE) {
        future = next_in_line(pool);
        chunk = future ? first_queued(future) : 0;
    }
    if (future)
        count_lost_claim(pool, future, chunk);
}

/* ---- Recovering ------------------------------------------------------------------------------ */

/* Recovers what the worker's intent names; false when the worker did not hold that.  A future whose results are
 * collected stays as it is, because threads read those without the lock: a worker has called it complete while another
 * one ran a chunk of it. */
static bool recover_intent(worker_handle *worker, xf_future *future, uint64_t intent)
{
    xf_pool *pool = worker->pool;
    uint64_t chunk = job_chunk_of_intent(intent);
    bool held;

    if (!future || chunk >= future->plan.chunk_count)
        return false;
    future->may_leak = true;
    if (future->collected)
        return true;
    recount_chunks(pool, future, worker->number);
    held = claim_word_is_held_by(atomic_load(future_claim(future, chunk)), worker->number, worker->epoch);
    if (held)
        recover_chunk(worker, future, chunk, stop_reason_of(worker, future, intent));
    pool_jobs_check_complete(pool, future);
    return held;
}

void pool_recovery_recover(worker_handle *worker)
{
    xf_pool *pool = worker->pool;
    uint64_t intent = atomic_load(&pool_state_slot(worker)->intent);
    xf_future *future = job_of_intent(intent) < pool->job_count ? pool->futures[job_of_intent(intent)] : NULL;
    xf_status status = process_report(worker->process)->status;

    if (!recover_intent(worker, future, intent) && status.kind == XF_END_EXITED && status.code == WORKER_LOST_CLAIM)
        recover_lost_claim(pool, future, job_chunk_of_intent(intent));
}
