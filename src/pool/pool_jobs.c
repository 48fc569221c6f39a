#include "pool/pool_jobs.h"

#include "base/clock.h"
#include "base/error.h"
#include "pool/chunk_claim.h"

#include <string.h>

/* A search of all hazards reads a line of each worker, which that worker writes: so many retired jobs are worth it. */
enum { RETIRED_ENOUGH = 16, COMMITTED_JOBS_STEP = 64 };

/* ---- Tasks and job slots --------------------------------------------------------------------- */

int pool_jobs_number_task(xf_pool *pool, xf_task *task, uint32_t *number)
{
    uint64_t at;
    int rc;

    for (*number = 0; *number < pool->task_count; ++*number)
        if (pool->tasks[*number] == task)
            return 0;
    if (pool->task_count == SEGMENT_TASKS)
        return error_detail(XF_ELIMIT, "a pool runs %d different tasks", SEGMENT_TASKS);
    at = pool_segment_offset(&pool->segment, &pool->segment.tasks[pool->task_count]);
    rc = at % OS_PAGE == 0 ? os_shm_commit(&pool->segment.shm, (size_t)at, OS_PAGE) : 0;
    if (rc < 0)
        return rc;
    pool->tasks[pool->task_count] = task;
    strcpy(pool->segment.tasks[pool->task_count++].name, task->name);
    return 0;
}

static int commit_more_jobs(xf_pool *pool)
{
    uint64_t begin = pool->segment.header->jobs_at + pool->jobs_committed * sizeof(job);
    uint64_t end = begin + COMMITTED_JOBS_STEP * sizeof(job);
    uint64_t from = begin / OS_PAGE * OS_PAGE, to = (end + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
    int rc = os_shm_commit(&pool->segment.shm, (size_t)from, (size_t)(to - from));

    if (rc == 0)
        pool->jobs_committed += COMMITTED_JOBS_STEP;
    return rc;
}

int pool_jobs_take(xf_pool *pool, uint32_t *number)
{
    int rc;

    if (pool->retired_with_memory > 0 ||
        (pool->free_count == 0 && (pool->retired_count >= RETIRED_ENOUGH || pool->job_count == XF_FUTURES_MAX)))
        pool_jobs_reclaim(pool);
    if (pool->free_count > 0) {
        *number = pool->free_jobs[--pool->free_count];
        return 0;
    }
    if (pool->job_count == XF_FUTURES_MAX)
        return error_detail(XF_ELIMIT, "%d futures are open", XF_FUTURES_MAX);
    if (pool->job_count == pool->jobs_committed) {
        rc = commit_more_jobs(pool);
        if (rc < 0)
            return rc;
    }
    rc = pool_state_grow(&pool->futures, pool->job_count, &pool->future_room, sizeof *pool->futures);
    if (rc < 0)
        return rc;
    rc = pool_state_grow(&pool->retired, pool->job_count, &pool->retired_room, sizeof *pool->retired);
    if (rc < 0)
        return rc;
    pool->futures[pool->job_count] = NULL;
    *number = pool->job_count++;
    return 0;
}

int pool_jobs_reserve_entry(xf_pool *pool, int priority)
{
    job_ring *ring = &pool->segment.header->rings[priority];
    uint64_t end = job_ring_end(atomic_load_explicit(&ring->tail, memory_order_relaxed));
    uint64_t *head = &pool->ring_heads[priority];
    const void *entry = (const void *)&pool->segment.ring_entries[priority][end % SEGMENT_RING];
    size_t at = (size_t)pool_segment_offset(&pool->segment, entry);

    if (end - *head >= SEGMENT_RING - 1)
        *head = atomic_load(&ring->head);
    if (end - *head >= SEGMENT_RING - 1)
        return error_detail(XF_ELIMIT, "%d jobs are queued", SEGMENT_RING - 1);
    return at % OS_PAGE == 0 && end < SEGMENT_RING ? os_shm_commit(&pool->segment.shm, at, OS_PAGE) : 0;
}

void pool_jobs_give_back(xf_pool *pool, job *job)
{
    uint32_t number = (uint32_t)(job - pool->segment.jobs);

    if (pool_state_grow(&pool->free_jobs, pool->free_count, &pool->free_room, sizeof *pool->free_jobs) == 0)
        pool->free_jobs[pool->free_count++] = number; /* otherwise the slot is never used again */
}

/* ---- Memory of jobs whose futures were freed ------------------------------------------------- */

/* The jobs whose memory workers read. */
typedef struct hazards {
    uint64_t jobs[XF_POOL_WORKERS_MAX]; /* number + 1 */
    uint32_t count;
} hazards;

static void gather_hazards(const xf_pool *pool, hazards *hazards)
{
    hazards->count = 0;
    atomic_thread_fence(memory_order_seq_cst); /* the jobs were made inactive before */
    for (uint32_t i = 0; i < atomic_load(&pool->segment.header->slots_used) && i < XF_POOL_WORKERS_MAX; i++) {
        uint64_t hazard = atomic_load(&pool->segment.slots[i].hazard);
        if (hazard)
            hazards->jobs[hazards->count++] = hazard;
    }
}

static bool is_hazardous(const hazards *hazards, uint32_t number)
{
    for (uint32_t i = 0; i < hazards->count; i++)
        if (hazards->jobs[i] == (uint64_t)number + 1)
            return true;
    return false;
}

static void free_job_memory(xf_pool *pool, const retired_job *retired)
{
    job *job = &pool->segment.jobs[retired->number];
    uint64_t at = atomic_load(&job->slabs), count = 0;

    while (at && pool_segment_holds(&pool->segment, at, sizeof(slab)) && count++ < pool->segment.header->unit_count) {
        uint64_t next = ((slab *)pool_segment_at(&pool->segment, at))->next;
        pool_segment_free_pages(&pool->segment, at);
        at = next;
    }
    if (atomic_load(&job->may_leak))
        pool_segment_sweep_pages(&pool->segment, PAGES_OF_JOBS + retired->number);
    if (retired->pages)
        pool_segment_free_pages(&pool->segment, retired->pages);
    pool_jobs_give_back(pool, job);
}

void pool_jobs_reclaim(xf_pool *pool)
{
    hazards hazards;
    size_t kept = 0;

    if (pool->retired_count == 0)
        return;
    gather_hazards(pool, &hazards);
    for (size_t i = 0; i < pool->retired_count; i++) {
        retired_job *retired = &pool->retired[i];
        if (is_hazardous(&hazards, retired->number)) {
            pool->retired[kept++] = *retired;
        } else {
            pool->retired_with_memory -= retired->has_memory;
            free_job_memory(pool, retired);
        }
    }
    pool->retired_count = kept;
}

void pool_jobs_retire(xf_pool *pool, xf_future *future)
{
    job *job = future->job;
    uint32_t number = (uint32_t)(job - pool->segment.jobs);
    bool has_memory = future->pages || atomic_load(&job->slabs) || atomic_load(&job->may_leak);

    pool->futures[number] = NULL;
    atomic_store_explicit(&job->claim, claim_word_make(CLAIM_UNUSED, 0, 0, 0), memory_order_release);
    atomic_store_explicit(&job->active, 0, memory_order_release);
    pool->retired[pool->retired_count++] = (retired_job){number, has_memory, future->pages};
    pool->retired_with_memory += has_memory;
    if (has_memory)
        pool_jobs_reclaim(pool);
}

/* A worker that leaves an inactive job wakes the waiters (chunk_claim_leave).  The hazard of a dead worker is cleared
 * when its end is dealt with, which takes the lock: that is why the lock is released here. */
bool pool_jobs_await_memory(xf_pool *pool, uint64_t deadline)
{
    pool_segment *segment = &pool->segment;
    size_t before = pool->retired_with_memory;
    uint32_t seen;

    if (before == 0)
        return false;
    seen = wake_word_arm(&segment->header->done);
    pool_jobs_reclaim(pool);
    if (pool->retired_with_memory < before)
        return true;
    if (clock_left_ms(deadline) == 0)
        return false;
    uv_mutex_unlock(&pool->lock);
    os_shm_wait(&segment->shm, &segment->header->done, seen, clock_left_ms(deadline));
    uv_mutex_lock(&pool->lock);
    return true;
}

/* ---- Chunks that the parent ends ------------------------------------------------------------- */

void pool_jobs_complete_chunk(xf_pool *pool, job *job, claim_word *word, uint32_t items)
{
    uint32_t parent = pool->segment.header->slot_count;

    atomic_store(word, claim_word_make(CLAIM_DONE, parent, 0, items));
    if (!(job->flags & JOB_ONE_CHUNK))
        atomic_fetch_add(&pool_segment_cursor(&pool->segment, job, parent)->finished, 1);
}

void pool_jobs_cancel_unclaimed(xf_pool *pool, xf_future *future, xf_end why)
{
    job *job = future->job;
    uint32_t parent = pool->segment.header->slot_count;
    uint64_t cancelled = 0;

    atomic_store(&job->closing, 1);
    if (future->unclaimed_status.kind == XF_END_NONE) {
        future->unclaimed_status = why == XF_END_START_FAILED ? pool->broken_status : (xf_status){why, 0, 0};
        future->unclaimed_report = why == XF_END_START_FAILED ? pool->broken : NULL;
    }
    for (uint64_t i = 0; i < job->chunk_count; i++) {
        claim_word *word = pool_segment_claim(&pool->segment, job, i);
        uint64_t claim = atomic_load(word);
        if (claim_word_state(claim) == CLAIM_QUEUED &&
            claim_word_change(word, claim, claim_word_make(CLAIM_DONE, parent, 0, claim_word_skip(claim))))
            cancelled++;
    }
    if (!(job->flags & JOB_ONE_CHUNK))
        atomic_fetch_add(&pool_segment_cursor(&pool->segment, job, parent)->finished, cancelled);
    chunk_claim_complete(&pool->segment, job);
    pool_segment_wake_waiters(&pool->segment);
}
