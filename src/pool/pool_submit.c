/* Submitting work to a pool: a submission becomes a job. */
#include "base/clock.h"
#include "base/codec.h"
#include "base/error.h"
#include "base/writer.h"
#include "os/cancel.h"
#include "pool/chunk_claim.h"
#include "pool/future_callbacks.h"
#include "pool/job_buffers.h"
#include "pool/pool_deadlines.h"
#include "pool/pool_futures.h"
#include "pool/pool_inline.h"
#include "pool/pool_jobs.h"
#include "pool/pool_workers.h"
#include "protocol/task_table.h"

#include <stdlib.h>
#include <string.h>

/* ---- The job --------------------------------------------------------------------------------- */

static uint64_t choose_chunk_size(const xf_pool *pool, const xf_map *map, size_t count)
{
    uint64_t chunk = map->chunk, most = UINT32_MAX;

    if (map->timeout_ms || map->deadline_ms)
        return 1;
    if (!chunk)
        chunk = count / ((uint64_t)pool->worker_limit * 1024);
    if (pool->options.tasks_per_worker && pool->options.tasks_per_worker < most)
        most = pool->options.tasks_per_worker;
    return chunk < 1 ? 1 : chunk > most ? most : chunk;
}

/* Flags of how the items are run. */
static int choose_batch(const xf_pool *pool, const job_plan *plan, const submission *work)
{
    bool out_sized = plan->out_size != XF_ANY_SIZE;
    bool batch = out_sized && !work->inputs && work->task->batch && !work->task->input_codec &&
                 work->task->input_size != XF_ANY_SIZE;

    if (pool->options.guard_pages)
        return JOB_GUARD_PAGES | (batch && work->count == 1 ? JOB_BATCH : 0);
    return batch ? JOB_BATCH : 0;
}

static uint16_t choose_flags(const xf_pool *pool, const job_plan *plan, const submission *work, const xf_map *map)
{
    bool notify = map->on_success || map->on_failure || map->on_done || map->stop_at_failure;
    bool out_sized = plan->out_size != XF_ANY_SIZE;
    bool embedded =
        out_sized && job_buffers_fit(work) && plan->out_size <= JOB_EMBEDDED_SIZE && work->in_size <= JOB_EMBEDDED_SIZE;

    return (uint16_t)((work->inputs ? JOB_IN_SPANS : 0) | (out_sized ? 0 : JOB_OUT_SPANS) |
                      (map->timeout_ms ? JOB_TIMED : 0) | (notify ? JOB_NOTIFY : 0) |
                      (map->stop_at_failure ? JOB_STOP_AT_FAILURE : 0) | (plan->chunk_count == 1 ? JOB_ONE_CHUNK : 0) |
                      (work->count == 1 ? JOB_ONE_ITEM : 0) | (embedded ? JOB_EMBEDDED : 0) |
                      choose_batch(pool, plan, work));
}

static job_plan plan_job(xf_pool *pool, const submission *work, const xf_map *map)
{
    uint64_t chunk = choose_chunk_size(pool, map, work->count), limit = (uint64_t)pool->worker_limit;
    job_plan plan = {.serial = ++pool->last_serial, .count = work->count, .in_size = work->in_size};

    plan.items_per_chunk = chunk < work->count ? chunk : work->count ? work->count : 1;
    plan.chunk_count = work->count ? (work->count - 1) / plan.items_per_chunk + 1 : 1;
    plan.shards = (uint32_t)(plan.chunk_count < limit ? plan.chunk_count : limit);
    plan.out_size = work->task->output_size;
    plan.flags = choose_flags(pool, &plan, work, map);
    return plan;
}

/* Takes a job, with everything that it needs but memory.  The claim word is set to unused first: 0, which the rest of
 * the state begins with, would read as a queued chunk. */
static int reserve_job(xf_pool *pool, xf_future *future, const submission *work)
{
    uint32_t task = 0;
    job_state *state;
    int rc = pool_state_check(pool);

    if (rc == 0)
        rc = pool_jobs_number_task(pool, work->task, &task);
    if (rc == 0)
        rc = pool_jobs_reserve_entry(pool, future->priority);
    if (rc == 0)
        rc = pool_jobs_take(pool, &future->number);
    if (rc < 0)
        return rc;
    state = future_state(future);
    atomic_store_explicit(&state->claim, claim_word_make(CLAIM_UNUSED, 0, 0, 0), memory_order_relaxed);
    memset((char *)state + sizeof state->claim, 0, offsetof(job_state, out_buffer) - sizeof state->claim);
    future->plan = plan_job(pool, work, &future->options);
    future->plan.task = (uint16_t)task;
    return 0;
}

/* ---- Submitting ------------------------------------------------------------------------------ */

static int prepare_job(xf_pool *pool, xf_future *future, const submission *work)
{
    int rc = reserve_job(pool, future, work);

    if (rc < 0)
        return rc;
    rc = job_buffers_place(pool, future, work);
    if (rc < 0)
        pool_jobs_give_back(pool, future->number);
    return rc;
}

/* Lets the workers see the job, and wakes or starts them. */
static int publish_job(xf_pool *pool, xf_future *future)
{
    job *job = future_job(future);

    job->plan = future->plan;
    atomic_store_explicit(&job->requeues, 0, memory_order_relaxed);
    pool_futures_add(pool, future);
    if (future->plan.count == 0) {
        pool_jobs_complete_chunk(pool, future, 0, 0);
        atomic_store_explicit(&job->progress, JOB_ACTIVE, memory_order_release);
        future_callbacks_schedule(future);
        return 0;
    }
    atomic_store_explicit(&future_state(future)->claim, claim_word_make(CLAIM_QUEUED, 0, 0, 0), memory_order_release);
    atomic_store_explicit(&job->progress, JOB_ACTIVE, memory_order_release);
    pool_jobs_push(pool, future);
    if (pool->inline_worker)
        return 0;
    if (future->options.timeout_ms || future->deadline < pool->next_check ||
        (future->callbacks == CALLBACKS_PENDING && !pool->audit_due))
        pool_deadlines_check(pool);
    return pool_workers_call(pool, future->plan.chunk_count);
}

/* Submits with the lock held.  On failure the future is freed. */
static int submit_locked(xf_pool *pool, xf_future *future, const submission *work)
{
    uint64_t deadline = clock_deadline(POOL_MEMORY_MS);
    int rc;

    do
        rc = prepare_job(pool, future, work);
    while (rc == XF_ENOMEM && pool_jobs_await_memory(pool, deadline));
    if (rc < 0) {
        free(future);
        return rc;
    }
    rc = publish_job(pool, future);
    if (rc < 0) { /* no worker runs, so no chunk is claimed */
        pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
        pool_futures_free(future);
    }
    return rc;
}

/* So that no sum of sizes overflows where the parts of a job are placed. */
static int check_total(const submission *work)
{
    const uint64_t most = SIZE_MAX / 4;
    uint64_t out = work->task->output_size == XF_ANY_SIZE ? 0 : work->task->output_size, sum = 0;
    bool fits = work->in_size <= most && out <= most && work->count <= most / (CACHE_LINE + work->in_size + out);

    for (size_t i = 0; work->inputs && fits && i < work->count; i++) {
        fits = work->inputs[i].size <= most - sum;
        sum += fits ? job_aligned(work->inputs[i].size) : 0;
        fits = fits && sum <= most;
    }
    return fits ? 0
                : error_detail(XF_ENOMEM, "%zu items for task %s, of %zu bytes", work->count, work->task->name,
                               work->in_size);
}

static int create_future(xf_future **out, xf_pool *pool, const xf_map *map)
{
    xf_future *future;

    if (map->timeout_ms < 0 || map->deadline_ms < 0 || map->priority < XF_PRIORITY_NORMAL ||
        map->priority > XF_PRIORITY_LOW)
        return error_detail(XF_EINVAL, "option timeout_ms is %d, deadline_ms %d, priority %d", map->timeout_ms,
                            map->deadline_ms, (int)map->priority);
    future = calloc(1, sizeof *future);
    if (!future)
        return error_detail(XF_ENOMEM, "a future");
    future->pool = pool;
    future->task = map->task;
    future->options = *map;
    future->deadline = map->deadline_ms ? clock_deadline(map->deadline_ms) : CLOCK_NEVER;
    future->priority = (int)map->priority;
    if (map->on_success || map->on_failure || map->on_done)
        future->callbacks = CALLBACKS_PENDING;
    *out = future;
    return 0;
}

static int submit(xf_future **out, xf_pool *pool, const submission *work, const xf_map *map)
{
    xf_future *future = NULL;
    int rc = check_total(work);

    if (rc == 0)
        rc = create_future(&future, pool, map);
    if (rc < 0)
        return rc;
    uv_mutex_lock(&pool->lock);
    pool_futures_reap(pool);
    if (future->callbacks == CALLBACKS_PENDING)
        rc = future_callbacks_prepare(pool);
    if (rc == 0)
        rc = submit_locked(pool, future, work);
    else
        free(future);
    if (rc == 0)
        *out = future; /* before any callback is called */
    if (rc == 0 && pool->inline_worker)
        pool_inline_run(pool);
    uv_mutex_unlock(&pool->lock);
    return rc;
}

/* ---- Inputs of one size ---------------------------------------------------------------------- */

static int check_pool_task(const xf_task *task, bool sized)
{
    int rc = task_table_check(task);

    if (rc == 0 && sized && (task->input_codec || task->input_size == XF_ANY_SIZE || task->output_size == XF_ANY_SIZE))
        rc = error_detail(XF_ESIZE, "task %s does not declare sizes", task->name);
    return rc;
}

static int map_sized(xf_future **future, xf_pool *pool, const xf_map *map)
{
    xf_task *task = map->task;
    submission work = {.task = task, .in = map->in, .in_size = task->input_size, .out = map->out, .count = map->count};
    int rc = check_pool_task(task, true);

    if (rc == 0)
        rc = check_total(&work);
    if (rc == 0)
        rc = error_check_data(map->in, map->count * work.in_size, "map->in");
    if (rc < 0)
        return rc;
    work.in_segment = job_buffers_hold(pool, map->in, map->count * work.in_size);
    return submit(future, pool, &work, map);
}

/* ---- Inputs of any size ---------------------------------------------------------------------- */

/* A single input is submitted like an input of a declared size. */
static submission submission_of_bytes(const xf_pool *pool, xf_task *task, const xf_bytes *inputs, size_t count)
{
    if (count == 1)
        return (submission){.task = task,
                            .in = inputs->data,
                            .in_size = inputs->size,
                            .in_segment = job_buffers_hold(pool, inputs->data, inputs->size),
                            .count = 1};
    return (submission){.task = task, .inputs = inputs, .count = count};
}

/* Encodes objects one after the other.  The bytes point into `encoded`, whose memory may move while it grows: so their
 * addresses are filled in at the end. */
static int encode_objects(const xf_task *task, const xf_bytes *in, size_t count, xf_bytes *bytes, xf_writer *encoded)
{
    size_t at = 0;
    int rc;

    for (size_t i = 0; i < count; i++) {
        rc = codec_encode_for(task, task->input_codec, in[i].data, encoded);
        if (rc < 0)
            return rc;
        bytes[i].size = encoded->size - at;
        at = encoded->size;
    }
    at = 0;
    for (size_t i = 0; i < count; i++) {
        bytes[i].data = encoded->data + at;
        at += bytes[i].size;
    }
    return 0;
}

static void free_bytes(xf_bytes **bytes)
{
    free(*bytes);
}

static int map_objects(xf_future **future, xf_pool *pool, const xf_map *map, const xf_bytes *in, size_t count)
{
    __attribute__((cleanup(writer_free))) xf_writer encoded = {0};
    __attribute__((cleanup(free_bytes))) xf_bytes *bytes = calloc(count ? count : 1, sizeof *bytes);
    int rc =
        bytes ? encode_objects(map->task, in, count, bytes, &encoded) : error_detail(XF_ENOMEM, "%zu inputs", count);

    if (rc == 0) {
        submission work = submission_of_bytes(pool, map->task, bytes, count);
        rc = submit(future, pool, &work, map);
    }
    return rc;
}

static int check_inputs(const xf_task *task, const xf_bytes *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (task->input_size != XF_ANY_SIZE && in[i].size != task->input_size)
            return error_detail(XF_ESIZE, "task %s takes %zu bytes, but input %zu has %zu", task->name,
                                task->input_size, i, in[i].size);
        if (!in[i].data && in[i].size > 0)
            return error_detail(XF_EINVAL, "the data of input %zu for task %s is NULL, with a size of %zu", i,
                                task->name, in[i].size);
    }
    return 0;
}

static int map_bytes(xf_future **future, xf_pool *pool, const xf_map *map, const xf_bytes *in, size_t count)
{
    submission work;
    int rc = check_pool_task(map->task, false);

    if (rc == 0 && count > SIZE_MAX / 4 / sizeof *in) /* so many are nowhere, and are not to be read */
        rc = error_detail(XF_ENOMEM, "%zu inputs for task %s", count, map->task->name);
    if (rc < 0)
        return rc;
    if (map->task->input_codec)
        return map_objects(future, pool, map, in, count);
    rc = check_inputs(map->task, in, count);
    if (rc < 0)
        return rc;
    work = submission_of_bytes(pool, map->task, in, count);
    return submit(future, pool, &work, map);
}

/* ---- The public calls ------------------------------------------------------------------------ */

int xf_pool_map_async(xf_future **future, xf_pool *pool, const xf_map *map)
{
    OS_HOLD_CANCEL;
    int rc = pool_state_check_own(pool);

    if (rc < 0)
        return rc;
    if (!map->task)
        return error_detail(XF_EINVAL, "a map without a task");
    if (map->bytes && (map->in || map->out))
        return error_detail(XF_EINVAL, "a map with bytes and with %s", map->in ? "in" : "out");
    return map->bytes ? map_bytes(future, pool, map, map->bytes, map->count) : map_sized(future, pool, map);
}

static void free_kept_future(xf_future **future)
{
    xf_future_free(*future);
}

int xf_pool_map(xf_pool *pool, const xf_map *map)
{
    __attribute__((cleanup(free_kept_future))) xf_future *future = NULL; /* also when an exception leaves a task */
    int rc = pool_state_check_wait(pool, XF_FOREVER);

    if (rc == 0)
        rc = xf_pool_map_async(&future, pool, map);
    if (rc < 0)
        return rc;
    rc = xf_future_wait(future, XF_FOREVER);
    if (map->results) {
        *map->results = future;
        future = NULL;
    }
    return rc;
}

int xf_pool_submit(xf_future **future, xf_pool *pool, const xf_map *map)
{
    OS_HOLD_CANCEL;
    xf_bytes bytes = {map->in, map->size};
    int rc = pool_state_check_own(pool);

    if (rc < 0)
        return rc;
    return map->task ? map_bytes(future, pool, map, &bytes, 1) : error_detail(XF_EINVAL, "work without a task");
}
