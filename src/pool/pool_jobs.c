#include "pool/pool_jobs.h"

#include "base/clock.h"
#include "base/copy_once.h"
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
    at = pool->segment.layout.tasks_at + pool->task_count * sizeof(segment_task);
    rc = at % OS_PAGE == 0 ? os_shm_commit(&pool->segment.books, (size_t)at, OS_PAGE) : 0;
    if (rc < 0)
        return rc;
    pool->tasks[pool->task_count] = task;
    strcpy(pool->segment.tasks[pool->task_count++].name, task->name);
    return 0;
}

/* Gives memory to the pages of the next elements of an array. */
static int commit_elements(const os_shm *shm, uint64_t at, size_t each, uint64_t first, uint64_t count)
{
    uint64_t begin = at + first * each, end = begin + count * each;
    uint64_t from = begin / OS_PAGE * OS_PAGE, to = page_arena_pages_size(end);

    return os_shm_commit(shm, (size_t)from, (size_t)(to - from));
}

static int commit_more_jobs(xf_pool *pool)
{
    const pool_segment *segment = &pool->segment;
    int rc = commit_elements(&segment->books, segment->layout.jobs_at, sizeof(job), pool->jobs_committed,
                             COMMITTED_JOBS_STEP);

    if (rc == 0)
        rc = commit_elements(&segment->work, segment->layout.states_at, sizeof(job_state), pool->jobs_committed,
                             COMMITTED_JOBS_STEP);
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

/* Raises the known bound of a ring's head to where workers have moved the head; they cannot move it beyond the end. */
static void read_ring_head(xf_pool *pool, int priority)
{
    uint64_t head = atomic_load(&pool->segment.shared->rings[priority].head);

    if (head > pool->ring_heads[priority] && head <= pool->ring_ends[priority])
        pool->ring_heads[priority] = head;
}

int pool_jobs_reserve_entry(xf_pool *pool, int priority)
{
    uint64_t end = pool->ring_ends[priority], position = end % SEGMENT_RING;
    uint64_t at = pool->segment.layout.entries_at + ((uint64_t)priority * SEGMENT_RING + position) * sizeof(uint32_t);

    if (end - pool->ring_heads[priority] >= SEGMENT_RING - 1)
        read_ring_head(pool, priority);
    if (end - pool->ring_heads[priority] >= SEGMENT_RING - 1)
        return error_detail(XF_ELIMIT, "%d jobs are queued", SEGMENT_RING - 1);
    return at % OS_PAGE == 0 && end < SEGMENT_RING ? os_shm_commit(&pool->segment.books, (size_t)at, OS_PAGE) : 0;
}

void pool_jobs_push(xf_pool *pool, xf_future *future)
{
    int priority = future->priority;
    uint64_t end = pool->ring_ends[priority]++;

    future->ring_entry = end;
    atomic_store_explicit(&pool->segment.ring_entries[priority][end % SEGMENT_RING], future->number,
                          memory_order_relaxed);
    atomic_store_explicit(&pool->segment.head->rings[priority].tail, (end + 1) << JOB_RING_NUMBER_BITS | future->number,
                          memory_order_release);
}

void pool_jobs_push_again(xf_pool *pool, xf_future *future)
{
    int rc = pool_jobs_reserve_entry(pool, future->priority);

    atomic_fetch_add(&future_job(future)->requeues, 1);
    if (rc == 0) {
        pool_jobs_push(pool, future);
    } else {
        future->unclaimed_status = (xf_status){XF_END_START_FAILED, rc, 0};
        pool_jobs_close(future);
    }
}

void pool_jobs_give_back(xf_pool *pool, uint32_t number)
{
    if (pool_state_grow(&pool->free_jobs, pool->free_count, &pool->free_room, sizeof *pool->free_jobs) == 0)
        pool->free_jobs[pool->free_count++] = number; /* otherwise the number is never used again */
}

/* ---- Memory of jobs whose futures were freed ------------------------------------------------- */

/* The jobs whose memory workers read. */
typedef struct hazards {
    uint64_t jobs[XF_POOL_WORKERS_MAX]; /* number + 1 */
    uint32_t count;
} hazards;

/* What stands in a slot without a worker was written by another one, and would keep the memory for ever. */
static void gather_hazards(const xf_pool *pool, hazards *hazards)
{
    hazards->count = 0;
    atomic_thread_fence(memory_order_seq_cst); /* the jobs were made inactive before */
    for (uint32_t i = 0; i < pool->slots_used; i++) {
        uint64_t hazard = atomic_load(&pool->segment.slots[i].hazard);
        if (hazard && (pool->workers[i].process || pool->inline_worker))
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

static bool is_of_job(const void *arg, uint64_t word)
{
    const uint64_t *wanted = arg;

    return word == *wanted;
}

/* Frees the slab at the offset.  Returns how many pages it has; 0: none is there.
 *   next  Set to the next one of the list. */
static uint64_t free_listed_slab(pool_segment *segment, uint64_t at, uint64_t slab_word, uint64_t *next)
{
    slab head;

    if (at % OS_PAGE || !pool_segment_is_slab(segment, at, sizeof head))
        return 0;
    copy_once(&head, pool_segment_at(segment, at), sizeof head);
    *next = head.next;
    return pool_segment_free_slab(segment, at, slab_word);
}

/* Frees the slabs of a job.  A list that was damaged ends early, and the rest is found by a look at all pages.  A list
 * of more pages than there are leads back to itself, where a worker says that the pages are taken once more. */
static void free_slabs(pool_segment *segment, const retired_job *retired)
{
    uint64_t at = atomic_load(&segment->states[retired->number].slabs), left = segment->slabs.count;
    bool may_leak = retired->may_leak;

    while (at && !may_leak) {
        uint64_t next = 0, pages = free_listed_slab(segment, at, retired->slab_word, &next);
        may_leak = pages == 0 || pages > left;
        left -= pages;
        at = next;
    }
    if (may_leak)
        pool_segment_sweep_slabs(segment, is_of_job, &retired->slab_word);
}

static void free_job_memory(xf_pool *pool, const retired_job *retired)
{
    if (retired->has_memory)
        free_slabs(&pool->segment, retired);
    for (int i = 0; i < PAGES_USES; i++)
        if (retired->pages.runs[i])
            pool_pages_free(&pool->pages, (pages_use)i, retired->pages.runs[i]);
    pool_jobs_give_back(pool, retired->number);
}

/* Whether no job that is open or retired has the pages. */
static bool is_of_no_job(const void *arg, uint64_t word)
{
    const xf_pool *pool = arg;
    uint32_t number = pool_segment_slab_job(word);
    const xf_future *future = number < pool->job_count ? pool->futures[number] : NULL;

    if (future && pool_segment_slab_word(number, future->plan.serial) == word)
        return false;
    for (size_t i = 0; i < pool->retired_count; i++)
        if (pool->retired[i].slab_word == word)
            return false;
    return true;
}

bool pool_jobs_sweep(xf_pool *pool)
{
    uint64_t before = pool_segment_slab_pages(&pool->segment);

    if (before > 0)
        pool_segment_sweep_slabs(&pool->segment, is_of_no_job, pool);
    return pool_segment_slab_pages(&pool->segment) < before;
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

static bool has_pages(const job_pages *pages)
{
    bool any = false;

    for (int i = 0; i < PAGES_USES; i++)
        any |= pages->runs[i] != 0;
    return any;
}

void pool_jobs_retire(xf_pool *pool, xf_future *future)
{
    job_state *state = future_state(future);
    bool has_memory = has_pages(&future->pages) || atomic_load(&state->slabs) || future->may_leak;

    pool->futures[future->number] = NULL;
    atomic_store_explicit(&state->claim, claim_word_make(CLAIM_UNUSED, 0, 0, 0), memory_order_release);
    atomic_store_explicit(&future_job(future)->progress, 0, memory_order_release);
    pool->retired[pool->retired_count++] =
        (retired_job){future->number, has_memory, future->may_leak || future->damaged, future->pages,
                      pool_segment_slab_word(future->number, future->plan.serial)};
    pool->retired_with_memory += has_memory;
    if (has_memory)
        pool_jobs_reclaim(pool);
}

/* Kills the workers that hold memory of retired jobs.  They have claimed nothing of them, so no item is lost.
 * Returns whether there are any, which have not ended yet. */
static bool kill_holders(xf_pool *pool)
{
    bool any = false;

    for (uint32_t i = 0; i < pool->slots_used; i++) {
        uint64_t hazard = atomic_load(&pool->segment.slots[i].hazard);
        for (size_t k = 0; k < pool->retired_count; k++)
            if (pool->workers[i].process && hazard == (uint64_t)pool->retired[k].number + 1) {
                xf_process_kill(pool->workers[i].process);
                any = true;
            }
    }
    return any;
}

/* A worker that leaves an inactive job wakes the waiters (chunk_claim_leave).  One that does not leave for half of the
 * time is stopped, or hurt, and is killed; then its end is waited for, which takes long on a busy machine.  The hazard
 * of a dead worker is cleared when its end is dealt with, which takes the lock: that is why the lock is released
 * here. */
bool pool_jobs_await_memory(xf_pool *pool, uint64_t deadline)
{
    pool_segment *segment = &pool->segment;
    size_t before = pool->retired_with_memory;
    int left_ms = clock_left_ms(deadline), half_ms = POOL_MEMORY_MS / 2;
    uint32_t seen;
    bool is_held;

    if (left_ms > 0 && pool_jobs_sweep(pool))
        return true;
    if (before == 0)
        return false;
    seen = wake_word_arm(&segment->shared->done);
    pool_jobs_reclaim(pool);
    if (pool->retired_with_memory < before)
        return true;
    is_held = left_ms <= half_ms && kill_holders(pool);
    if (left_ms == 0 && !(is_held && uv_hrtime() < deadline + (uint64_t)POOL_KILLED_MS * CLOCK_NS_PER_MS))
        return false;
    uv_mutex_unlock(&pool->lock);
    os_shm_wait(&segment->work, &segment->shared->done, seen, left_ms > half_ms ? left_ms - half_ms : half_ms);
    uv_mutex_lock(&pool->lock);
    return true;
}

/* ---- Chunks that the parent ends ------------------------------------------------------------- */

void pool_jobs_close(xf_future *future)
{
    future->closing = true;
    atomic_fetch_or(&future_job(future)->progress, JOB_CLOSING);
}

static _Atomic uint64_t *parents_count(xf_pool *pool, const xf_future *future)
{
    return &pool_segment_cursor(&pool->segment, &future->plan, pool->segment.slot_count)->finished;
}

static void count_chunk(xf_pool *pool, const xf_future *future)
{
    if (!(future->plan.flags & JOB_ONE_CHUNK))
        atomic_fetch_add(parents_count(pool, future), 1);
}

void pool_jobs_complete_chunk(xf_pool *pool, xf_future *future, uint64_t chunk, uint32_t items)
{
    atomic_store(future_claim(future, chunk), claim_word_make(CLAIM_DONE, pool->segment.slot_count, 0, items));
    count_chunk(pool, future);
}

void pool_jobs_end_damaged(xf_pool *pool, xf_future *future, uint64_t chunk, uint64_t claim)
{
    uint64_t done = claim_word_make(CLAIM_DONE, pool->segment.slot_count, 0, CLAIM_SKIP_UNKNOWN);
    uint32_t owner = claim_word_owner(claim);

    if (!claim_word_change(future_claim(future, chunk), claim, done))
        return;
    future->damaged = true;
    count_chunk(pool, future);
    if (owner < pool->slots_used && pool->workers[owner].process &&
        claim_word_is_held_by(claim, owner, pool->workers[owner].epoch))
        process_kill_late(pool->workers[owner].process);
}

bool pool_jobs_check_complete(xf_pool *pool, const xf_future *future)
{
    return chunk_claim_complete(&pool->segment, future->number, &future->plan, pool->slots_used);
}

void pool_jobs_cancel_unclaimed(xf_pool *pool, xf_future *future, xf_end why)
{
    uint64_t cancelled = 0;

    pool_jobs_close(future);
    if (future->unclaimed_status.kind == XF_END_NONE) {
        future->unclaimed_status = why == XF_END_START_FAILED ? pool->broken_status : (xf_status){why, 0, 0};
        future->unclaimed_report = why == XF_END_START_FAILED ? pool->broken : NULL;
    }
    for (uint64_t i = 0; i < future->plan.chunk_count; i++) {
        claim_word *word = future_claim(future, i);
        uint64_t claim = atomic_load(word);
        uint64_t done = claim_word_make(CLAIM_DONE, pool->segment.slot_count, 0, claim_word_skip(claim));
        cancelled += claim_word_state(claim) == CLAIM_QUEUED && claim_word_change(word, claim, done);
    }
    if (!(future->plan.flags & JOB_ONE_CHUNK))
        atomic_fetch_add(parents_count(pool, future), cancelled);
    pool_jobs_check_complete(pool, future);
    pool_segment_wake_waiters(&pool->segment);
}
