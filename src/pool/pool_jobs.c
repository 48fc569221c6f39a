/* The jobs of a pool: their places and memory, taking work back from the dead, and taking it out. */
#include "base/clock.h"
#include "base/error.h"
#include "base/writer.h"
#include "pool/pool.h"

#include <stdlib.h>
#include <string.h>

/* ---- Jobs ------------------------------------------------------------------------------------ */

enum { RETIRED_ENOUGH = 16 }; /* for a look at all hazards, which are in lines of the workers' */

int pool_jobs_number_task(xf_pool *pool, xf_task *task, uint32_t *number)
{
    uint64_t at;
    int rc;

    for (*number = 0; *number < pool->task_count; ++*number)
        if (pool->tasks[*number] == task)
            return 0;
    if (pool->task_count == SEGMENT_TASKS)
        return error_detail(XF_ELIMIT, "a pool runs %d different tasks", SEGMENT_TASKS);
    at = pool_segment_offset(&pool->plane, &pool->plane.tasks[pool->task_count]);
    rc = at % OS_PAGE == 0 ? os_shm_commit(&pool->plane.shm, (size_t)at, OS_PAGE) : 0;
    if (rc < 0)
        return rc;
    pool->tasks[pool->task_count] = task;
    strcpy(pool->plane.tasks[pool->task_count++].name, task->name);
    return 0;
}

int pool_jobs_take(xf_pool *pool, uint32_t *number)
{
    enum { STEP = 64 };
    segment_header *head = pool->plane.head;
    int rc;

    if (pool->retired_large > 0 ||
        (pool->free_count == 0 && (pool->retired_count >= RETIRED_ENOUGH || pool->job_count == XF_FUTURES_MAX)))
        pool_jobs_reclaim(pool);
    if (pool->free_count > 0) {
        *number = pool->free_jobs[--pool->free_count];
        return 0;
    }
    if (pool->job_count == XF_FUTURES_MAX)
        return error_detail(XF_ELIMIT, "%d futures are open", XF_FUTURES_MAX);
    if (pool->job_count == pool->jobs_committed) {
        uint64_t from = (head->jobs_at + pool->jobs_committed * sizeof(job)) / OS_PAGE * OS_PAGE;
        uint64_t to = (head->jobs_at + (pool->jobs_committed + STEP) * sizeof(job) + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
        rc = os_shm_commit(&pool->plane.shm, (size_t)from, (size_t)(to - from));
        if (rc < 0)
            return rc;
        pool->jobs_committed += STEP;
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
    ring *ring = &pool->plane.head->rings[priority];
    uint64_t end = ring_end(atomic_load_explicit(&ring->tail, memory_order_relaxed));
    uint64_t *head = &pool->ring_heads[priority];
    size_t at =
        (size_t)pool_segment_offset(&pool->plane, (const void *)&pool->plane.ring[priority][end % SEGMENT_RING]);

    if (end - *head >= SEGMENT_RING - 1)
        *head = atomic_load(&ring->head);
    if (end - *head >= SEGMENT_RING - 1)
        return error_detail(XF_ELIMIT, "too much work waits");
    return at % OS_PAGE == 0 && end < SEGMENT_RING ? os_shm_commit(&pool->plane.shm, at, OS_PAGE) : 0;
}

/* Puts a job back into its ring; what is left of it ends with that error where there is no room. */
static void push(xf_pool *pool, xf_future *future)
{
    int rc = pool_jobs_reserve_entry(pool, future->priority);

    if (rc < 0) {
        future->swept = (xf_status){XF_END_START_FAILED, rc, 0};
        atomic_store(&future->job->closing, 1);
    } else {
        chunk_claim_push(&pool->plane, future->job, future->priority);
    }
}

void pool_jobs_give_back(xf_pool *pool, job *job)
{
    uint32_t number = (uint32_t)(job - pool->plane.jobs);

    if (pool_state_grow(&pool->free_jobs, pool->free_count, &pool->free_room, sizeof *pool->free_jobs) == 0)
        pool->free_jobs[pool->free_count++] = number; /* else it is never used again */
}

/* The jobs that workers look at. */
typedef struct looks {
    uint64_t jobs[XF_POOL_WORKERS_MAX]; /* and 1 each */
    uint32_t count;
} looks;

static void gather_looks(const xf_pool *pool, looks *looks)
{
    looks->count = 0;
    atomic_thread_fence(memory_order_seq_cst); /* after they were made inactive */
    for (uint32_t i = 0; i < atomic_load(&pool->plane.head->slots_used) && i < XF_POOL_WORKERS_MAX; i++) {
        uint64_t hazard = atomic_load(&pool->plane.slots[i].hazard);
        if (hazard)
            looks->jobs[looks->count++] = hazard;
    }
}

static bool is_looked_at(const looks *looks, uint32_t number)
{
    for (uint32_t i = 0; i < looks->count; i++)
        if (looks->jobs[i] == (uint64_t)number + 1)
            return true;
    return false;
}

static void free_memory(xf_pool *pool, const retired *retired)
{
    job *job = &pool->plane.jobs[retired->job];
    uint64_t at = atomic_load(&job->slabs), count = 0;

    while (at && pool_segment_holds(&pool->plane, at, sizeof(slab)) && count++ < pool->plane.head->unit_count) {
        uint64_t next = ((slab *)pool_segment_at(&pool->plane, at))->next;
        pool_segment_free_pages(&pool->plane, at);
        at = next;
    }
    if (atomic_load(&job->hurt))
        pool_segment_sweep_pages(&pool->plane, PAGES_OF_JOBS + retired->job);
    if (retired->pages)
        pool_segment_free_pages(&pool->plane, retired->pages);
    pool_jobs_give_back(pool, job);
}

void pool_jobs_reclaim(xf_pool *pool)
{
    looks looks;
    size_t kept = 0;

    if (pool->retired_count == 0)
        return;
    gather_looks(pool, &looks);
    for (size_t i = 0; i < pool->retired_count; i++) {
        retired *retired = &pool->retired[i];
        if (is_looked_at(&looks, retired->job)) {
            pool->retired[kept++] = *retired;
        } else {
            pool->retired_large -= retired->large;
            free_memory(pool, retired);
        }
    }
    pool->retired_count = kept;
}

void pool_jobs_retire(xf_pool *pool, xf_future *future)
{
    job *job = future->job;
    uint32_t number = (uint32_t)(job - pool->plane.jobs);
    bool large = future->pages || atomic_load(&job->slabs) || atomic_load(&job->hurt);

    pool->futures[number] = NULL;
    atomic_store_explicit(&job->claim, claim_word_make(CLAIM_UNUSED, 0, 0, 0), memory_order_release);
    atomic_store_explicit(&job->active, 0, memory_order_release);
    pool->retired[pool->retired_count++] = (retired){number, large, future->pages};
    pool->retired_large += large;
    if (large)
        pool_jobs_reclaim(pool);
}

/* Whoever ends to look at a job that is not active any more rings for it (chunk_claim_leave).  A dead worker's look
 * ends when its end is dealt with, which takes the lock. */
bool pool_jobs_await_memory(xf_pool *pool, uint64_t deadline)
{
    plane *plane = &pool->plane;
    size_t large = pool->retired_large;
    uint32_t seen;

    if (large == 0)
        return false;
    seen = wake_word_arm(&plane->head->done);
    pool_jobs_reclaim(pool);
    if (pool->retired_large < large)
        return true;
    if (clock_left_ms(deadline) == 0)
        return false;
    uv_mutex_unlock(&pool->lock);
    os_shm_wait(&plane->shm, &plane->head->done, seen, clock_left_ms(deadline));
    uv_mutex_lock(&pool->lock);
    return true;
}

/* ---- Taking back what a dead worker had ------------------------------------------------------ */

/* The dead worker may have settled a chunk and not counted it. */
static void recount(xf_pool *pool, job *job, uint32_t slot)
{
    uint64_t count = 0;

    if (job->flags & JOB_ONE_CHUNK)
        return;
    for (uint64_t i = 0; i < job->chunk_count; i++) {
        uint64_t claim = atomic_load(pool_segment_claim(&pool->plane, job, i));
        count += claim_word_state(claim) == CLAIM_DONE && claim_word_owner(claim) == slot;
    }
    atomic_store(&pool_segment_cursor(&pool->plane, job, slot)->finished, count);
}

void pool_jobs_complete_chunk(xf_pool *pool, job *job, claim_word *word, uint32_t items)
{
    uint32_t parent = pool->plane.head->slots;

    atomic_store(word, claim_word_make(CLAIM_DONE, parent, 0, items));
    if (!(job->flags & JOB_ONE_CHUNK))
        atomic_fetch_add(&pool_segment_cursor(&pool->plane, job, parent)->finished, 1);
}

static bool has_failed(const xf_pool *pool, const job *job, uint64_t item)
{
    uint64_t at = atomic_load(&job->failures), count = 0;

    while (at && pool_segment_holds(&pool->plane, at, sizeof(failure)) && count++ <= job->count) {
        const failure *record = pool_segment_at(&pool->plane, at);
        if (record->item == item)
            return true;
        at = record->next;
    }
    return false;
}

/* Counts one more attempt at the item: how many there were. */
static int count_attempt(xf_future *future, uint64_t item)
{
    for (size_t i = 0; i < future->attempt_count; i++)
        if (future->attempts[i].item == item)
            return ++future->attempts[i].count;
    if (pool_state_grow(&future->attempts, future->attempt_count, &future->attempt_room, sizeof(attempt)) < 0)
        return INT32_MAX;
    future->attempts[future->attempt_count++] = (attempt){item, 1};
    return 1;
}

/* Decides about the item that was running: true when it is given up. */
static bool give_item_up(xf_pool *pool, xf_future *future, uint64_t item, xf_end why, xf_process *dead)
{
    int most = pool->options.max_attempts, attempts;
    xf_report lost = *process_report(dead);

    if (has_failed(pool, future->job, item))
        return true;
    attempts = count_attempt(future, item);
    if (why == XF_END_NONE && attempts < most)
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

static void lose_chunk(xf_pool *pool, xf_future *future, uint64_t chunk, claim_word *word, xf_end why, xf_process *dead)
{
    job *job = future->job;
    slot *slot = &pool->plane.slots[claim_word_owner(atomic_load(word))];
    uint32_t size = job_items_in(job, chunk), at = slot->progress;

    if (at < size && give_item_up(pool, future, chunk * job->chunk + at, why, dead)) {
        at++;
        if (future->options.stop_at_failure)
            atomic_store(&job->closing, 1);
    }
    pool->items_before +=
        slot->progress - claim_word_skip(atomic_load(word)); /* which it counts at the end of a chunk */
    if (at >= size || atomic_load(&job->closing)) {
        pool_jobs_complete_chunk(pool, job, word, at < size ? at : size);
    } else {
        atomic_store(word, claim_word_make(CLAIM_QUEUED, 0, 0, at));
        atomic_fetch_add(&job->requeues, 1);
        push(pool, future);
    }
    if (atomic_load(&job->closing))
        pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
}

void pool_recovery_recover(xf_pool *pool, uint32_t number, uint32_t epoch, xf_end why, xf_process *dead)
{
    uint64_t intent = atomic_load(&pool->plane.slots[number].intent);
    uint64_t job_number = (intent >> 40) - 1, chunk = intent & ((UINT64_C(1) << 40) - 1);
    xf_future *future = job_number < pool->job_count ? pool->futures[job_number] : NULL;
    claim_word *word;

    if (!future || chunk >= future->job->chunk_count)
        return;
    atomic_store(&future->job->hurt, 1);
    word = pool_segment_claim(&pool->plane, future->job, chunk);
    recount(pool, future->job, number);
    if (claim_word_is_held_by(atomic_load(word), number, epoch))
        lose_chunk(pool, future, chunk, word, why, dead);
    chunk_claim_complete(&pool->plane, future->job);
}

/* The input of an item, in memory that workers write to, too. */
static xf_bytes input_of(const xf_pool *pool, const job *job, uint64_t item)
{
    view input = {job->in + item * job->in_size, job->in_size};

    if (job->flags & JOB_IN_SPANS)
        input = ((const view *)pool_segment_at(&pool->plane, job->in))[item];
    if (input.at > pool->plane.shm.size || input.size > pool->plane.shm.size - input.at)
        input = (view){0, 0};
    return (xf_bytes){pool_segment_at(&pool->plane, input.at), (size_t)input.size};
}

int save_item(xf_pool *pool, const xf_future *future, uint64_t item, xf_status status, char **saved)
{
    const xf_task *initializer = pool->options.initializer;
    xf_bytes input = input_of(pool, future->job, item);
    const replay_case what = {.task = future->task->name,
                              .declared_input = future->task->input_size,
                              .declared_output = future->task->output_size,
                              .input = input.data,
                              .size = input.size,
                              .item = item,
                              .initializer = initializer ? initializer->name : "",
                              .initializer_input = pool->options.initializer_input,
                              .initializer_size = initializer ? pool->options.initializer_size : 0,
                              .environment = pool->process.environment,
                              .directory = pool->process.directory};
    xf_writer file = {0};
    int rc;

    *saved = NULL;
    if (!pool->process.save_failures || !replay_file_is_wanted(status.kind))
        return 0;
    rc = replay_file_encode(&file, &what);
    if (rc == 0)
        rc = replay_file_save(&file, pool->process.save_failures, future->task->name, status, saved);
    writer_free(&file);
    return rc;
}

void pool_jobs_cancel_unclaimed(xf_pool *pool, xf_future *future, xf_end why)
{
    job *job = future->job;
    uint32_t parent = pool->plane.head->slots;
    uint64_t swept = 0;

    atomic_store(&job->closing, 1);
    if (future->swept.kind == XF_END_NONE) {
        future->swept = why == XF_END_START_FAILED ? pool->broken_status : (xf_status){why, 0, 0};
        future->swept_report = why == XF_END_START_FAILED ? pool->broken : NULL;
    }
    for (uint64_t i = 0; i < job->chunk_count; i++) {
        claim_word *word = pool_segment_claim(&pool->plane, job, i);
        uint64_t claim = atomic_load(word);
        if (claim_word_state(claim) == CLAIM_QUEUED &&
            claim_word_change(word, claim, claim_word_make(CLAIM_DONE, parent, 0, claim_word_skip(claim))))
            swept++;
    }
    if (!(job->flags & JOB_ONE_CHUNK))
        atomic_fetch_add(&pool_segment_cursor(&pool->plane, job, parent)->finished, swept);
    chunk_claim_complete(&pool->plane, job);
    pool_segment_wake_waiters(&pool->plane);
}
