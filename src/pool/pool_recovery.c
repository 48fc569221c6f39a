#include "pool/pool_recovery.h"

#include "pool/chunk_claim.h"
#include "pool/item_results.h"
#include "pool/pool_jobs.h"

/* Counts the chunks that the dead worker has committed: it may have died after a commit and before it counted that. */
static void recount_chunks(xf_pool *pool, job *job, uint32_t slot)
{
    uint64_t count = 0;

    if (job->flags & JOB_ONE_CHUNK)
        return;
    for (uint64_t i = 0; i < job->chunk_count; i++) {
        uint64_t claim = atomic_load(pool_segment_claim(&pool->segment, job, i));
        count += claim_word_state(claim) == CLAIM_DONE && claim_word_owner(claim) == slot;
    }
    atomic_store(&pool_segment_cursor(&pool->segment, job, slot)->finished, count);
}

/* Pushes the job again.  Where the ring has no room, the rest of the job ends with that error. */
static void push_again(xf_pool *pool, xf_future *future)
{
    int rc = pool_jobs_reserve_entry(pool, future->priority);

    if (rc < 0) {
        future->unclaimed_status = (xf_status){XF_END_START_FAILED, rc, 0};
        atomic_store(&future->job->closing, 1);
    } else {
        chunk_claim_push(&pool->segment, future->job, future->priority);
    }
}

static bool has_failure_record(const xf_pool *pool, const job *job, uint64_t item)
{
    uint64_t at = atomic_load(&job->failures), count = 0;

    while (at && pool_segment_holds(&pool->segment, at, sizeof(failure_record)) && count++ <= job->count) {
        const failure_record *record = pool_segment_at(&pool->segment, at);
        if (record->item == item)
            return true;
        at = record->next;
    }
    return false;
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

/* Decides about the item that was running when the worker died: true when it has ended, false when it is tried
 * again. */
static bool end_lost_item(xf_pool *pool, xf_future *future, uint64_t item, xf_end why, xf_process *dead)
{
    int attempts;
    xf_report lost = *process_report(dead);

    if (has_failure_record(pool, future->job, item))
        return true;
    attempts = count_attempt(future, item);
    if (why == XF_END_NONE && attempts < pool->options.max_attempts)
        return false;
    lost.item = item;
    lost.attempt = attempts;
    lost.task = future->task->name;
    if (why != XF_END_NONE) {
        lost.status = (xf_status){why, 0, lost.status.system};
        lost.kind_name = xf_end_name(why);
        lost.code_name = "";
    }
    pool->lost += why == XF_END_NONE;
    item_results_add_report(future, item, &lost, dead->trace);
    return true;
}

/* Ends the dead worker's chunk, or queues what is left of it. */
static void recover_chunk(xf_pool *pool, xf_future *future, uint64_t chunk, claim_word *word, xf_end why,
                          xf_process *dead)
{
    job *job = future->job;
    worker_slot *slot = &pool->segment.slots[claim_word_owner(atomic_load(word))];
    uint32_t size = job_items_in(job, chunk), at = slot->progress;

    if (at < size && end_lost_item(pool, future, job_first_item(job, chunk) + at, why, dead)) {
        at++;
        if (future->options.stop_at_failure)
            atomic_store(&job->closing, 1);
    }
    pool->items_before +=
        slot->progress - claim_word_skip(atomic_load(word)); /* a worker counts them when it commits */
    if (at >= size || atomic_load(&job->closing)) {
        pool_jobs_complete_chunk(pool, job, word, at < size ? at : size);
    } else {
        atomic_store(word, claim_word_make(CLAIM_QUEUED, 0, 0, at));
        atomic_fetch_add(&job->requeues, 1);
        push_again(pool, future);
    }
    if (atomic_load(&job->closing))
        pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
}

void pool_recovery_recover(xf_pool *pool, uint32_t number, uint32_t epoch, xf_end why, xf_process *dead)
{
    uint64_t intent = atomic_load(&pool->segment.slots[number].intent);
    uint64_t chunk = job_chunk_of_intent(intent);
    xf_future *future = job_of_intent(intent) < pool->job_count ? pool->futures[job_of_intent(intent)] : NULL;
    claim_word *word;

    if (!future || chunk >= future->job->chunk_count)
        return;
    atomic_store(&future->job->may_leak, 1);
    word = pool_segment_claim(&pool->segment, future->job, chunk);
    recount_chunks(pool, future->job, number);
    if (claim_word_is_held_by(atomic_load(word), number, epoch))
        recover_chunk(pool, future, chunk, word, why, dead);
    chunk_claim_complete(&pool->segment, future->job);
}
