/* What a pool and its workers do now. */
#include "base/error.h"
#include "pool/pool_jobs.h"
#include "pool/pool_state.h"

#include <string.h>

static uint64_t count_queued_items(const xf_pool *pool)
{
    uint64_t queued = 0;

    for (const xf_future *future = pool->first; future; future = future->next) {
        if (future_is_complete(future))
            continue;
        for (uint64_t i = 0; i < future->plan.chunk_count; i++) {
            uint64_t claim = atomic_load(future_claim(future, i));
            uint32_t items = job_items_in(&future->plan, i);
            if (claim_word_state(claim) == CLAIM_QUEUED && claim_word_skip(claim) < items)
                queued += items - claim_word_skip(claim);
        }
    }
    return queued;
}

static void describe_worker(xf_pool *pool, const worker_handle *worker, xf_worker_stats *stats)
{
    const worker_slot *slot = &pool->segment.slots[worker->number];
    uint64_t intent = atomic_load(&slot->intent), number = job_of_intent(intent);
    const xf_future *future = intent && number < pool->job_count ? pool->futures[number] : NULL;

    memset(stats, 0, sizeof *stats);
    stats->pid = process_known_pid(worker->process);
    /* one that has died may have no id any more: a program that kills by it hits nobody */
    stats->ready = process_is_ready(worker->process) && stats->pid > 0;
    stats->busy = stats->ready && atomic_load(&slot->busy) != 0;
    stats->done = atomic_load(&slot->items_done);
    if (stats->busy && future) {
        strncpy(stats->task, future->task->name, sizeof stats->task - 1);
        stats->item = job_first_item(&future->plan, job_chunk_of_intent(intent)) + slot->progress;
    }
}

int xf_pool_stats_get(xf_pool *pool, xf_pool_stats *stats, xf_worker_stats *workers, int room)
{
    int count = 0, rc = pool_state_check_own(pool);

    if (rc == 0 && !workers && room > 0)
        rc = error_check_data(workers, (uint64_t)room, "workers");
    if (rc < 0)
        return rc;
    uv_mutex_lock(&pool->lock);
    pool_jobs_reclaim(pool);
    *stats = (xf_pool_stats){.workers = pool->inline_worker ? 0 : pool->worker_limit,
                             .started = pool->running,
                             .queued = count_queued_items(pool),
                             .done = pool->items_before,
                             .lost = pool->lost,
                             .replaced = pool->replaced,
                             .futures = pool->open_count,
                             .memory = (size_t)pool_pages_used(&pool->pages),
                             .memory_peak = (size_t)pool_pages_committed(&pool->pages),
                             .sealed = !pool->inline_worker && os_shm_is_sealed(&pool->segment.books)};
    for (uint32_t i = 0; i < pool->slots_used; i++) {
        const worker_slot *slot = &pool->segment.slots[i];
        stats->done += atomic_load(&slot->items_done);
        if (!pool->workers[i].process)
            continue;
        stats->busy += atomic_load(&slot->busy) && process_is_ready(pool->workers[i].process);
        if (count < room)
            describe_worker(pool, &pool->workers[i], &workers[count]);
        count++;
    }
    uv_mutex_unlock(&pool->lock);
    return count;
}
