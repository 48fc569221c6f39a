/* Submitting work to a pool: a submission becomes a job, whose buffers are placed in the pool's segment. */
#include "base/clock.h"
#include "base/codec.h"
#include "base/error.h"
#include "base/writer.h"
#include "pool/chunk_claim.h"
#include "pool/future_callbacks.h"
#include "pool/pool_deadlines.h"
#include "pool/pool_futures.h"
#include "pool/pool_inline.h"
#include "pool/pool_jobs.h"
#include "pool/pool_workers.h"
#include "protocol/task_table.h"

#include <stdlib.h>
#include <string.h>

typedef struct submission {
    xf_task *task;
    const void *in;         /* count inputs of in_size bytes each, unless inputs is set */
    const xf_bytes *inputs; /* count inputs of any size; NULL: in has them */
    size_t in_size;
    bool in_segment; /* in is in the segment already, and is not copied */
    void *out;       /* for count outputs; NULL: the caller asks the future for them */
    size_t count;
} submission;

/* ---- The job --------------------------------------------------------------------------------- */

static bool is_in_segment(const xf_pool *pool, const void *data, uint64_t size)
{
    const char *begin = pool->segment.shm.address;
    const char *at = data;

    return at >= begin && at < begin + pool->segment.shm.size &&
           pool_segment_holds(&pool->segment, (uint64_t)(at - begin), size);
}

/* Whether the only input is copied into the job itself. */
static bool fits_job(const submission *work)
{
    return work->count == 1 && work->in_size <= JOB_BUFFER_SIZE && !work->in_segment;
}

static uint64_t choose_chunk_size(const xf_pool *pool, const xf_map *map, size_t count)
{
    uint64_t chunk = map->chunk, most = UINT32_MAX;

    if (map->timeout_ms)
        return 1;
    if (!chunk)
        chunk = count / ((uint64_t)pool->worker_limit * 1024);
    if (pool->options.tasks_per_worker && pool->options.tasks_per_worker < most)
        most = pool->options.tasks_per_worker;
    return chunk < 1 ? 1 : chunk > most ? most : chunk;
}

static uint16_t choose_flags(const job *job, const submission *work, const xf_map *map)
{
    bool notify = map->on_success || map->on_failure || map->on_done || map->stop_at_failure;
    bool out_sized = job->out_size != XF_ANY_SIZE;
    bool batch = out_sized && !work->inputs && work->task->batch && !work->task->input_codec &&
                 work->task->input_size != XF_ANY_SIZE;
    bool embedded = out_sized && fits_job(work) && job->out_size <= JOB_EMBEDDED_SIZE &&
                    job_aligned(work->in_size) <= JOB_EMBEDDED_SIZE - job->out_size;

    return (uint16_t)((work->inputs ? JOB_IN_SPANS : 0) | (out_sized ? 0 : JOB_OUT_SPANS) |
                      (map->timeout_ms ? JOB_TIMED : 0) | (notify ? JOB_NOTIFY : 0) |
                      (map->stop_at_failure ? JOB_STOP_AT_FAILURE : 0) | (job->chunk_count == 1 ? JOB_ONE_CHUNK : 0) |
                      (work->count == 1 ? JOB_ONE_ITEM : 0) | (embedded ? JOB_EMBEDDED : 0) | (batch ? JOB_BATCH : 0));
}

/* The claim word is set to unused first: 0, which all other fields begin with, would read as a queued chunk. */
static void init_job(xf_pool *pool, job *job, const submission *work, const xf_map *map)
{
    uint64_t chunk = choose_chunk_size(pool, map, work->count), limit = (uint64_t)pool->worker_limit;

    atomic_store_explicit(&job->claim, claim_word_make(CLAIM_UNUSED, 0, 0, 0), memory_order_relaxed);
    memset(&job->in_size, 0, offsetof(struct job, in_buffer) - offsetof(struct job, in_size));
    job->serial = ++pool->last_serial;
    job->count = work->count;
    job->items_per_chunk = chunk < work->count ? chunk : work->count ? work->count : 1;
    job->chunk_count = work->count ? (work->count + job->items_per_chunk - 1) / job->items_per_chunk : 1;
    job->shards = (uint32_t)(job->chunk_count < limit ? job->chunk_count : limit);
    job->in_size = work->in_size;
    job->out_size = work->task->output_size;
    job->flags = choose_flags(job, work, map);
}

/* Takes a job slot, with everything that the job needs but memory. */
static int reserve_job(xf_pool *pool, xf_future *future, const submission *work)
{
    uint32_t number = 0, task = 0;
    int rc = pool_state_check(pool);

    if (rc == 0)
        rc = pool_jobs_number_task(pool, work->task, &task);
    if (rc == 0)
        rc = pool_jobs_reserve_entry(pool, future->priority);
    if (rc == 0)
        rc = pool_jobs_take(pool, &number);
    if (rc < 0)
        return rc;
    future->job = &pool->segment.jobs[number];
    init_job(pool, future->job, work, &future->options);
    future->job->task = (uint16_t)task;
    return 0;
}

/* ---- Its buffers ----------------------------------------------------------------------------- */

/* Where the parts of a job are in its run of pages; 0: elsewhere, or there is no such part. */
typedef struct job_layout {
    uint64_t claims, cursors, in, in_data, out, size;
} job_layout;

static uint64_t append_part(job_layout *layout, uint64_t size)
{
    uint64_t at = layout->size;

    layout->size += (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    return at;
}

static job_layout lay_job_out(const xf_pool *pool, const job *job, const submission *work)
{
    job_layout layout = {.size = CACHE_LINE}; /* so that no part is at 0 */
    uint64_t bytes = 0;

    if (!(job->flags & JOB_ONE_CHUNK)) {
        layout.claims = append_part(&layout, job->chunk_count * sizeof(claim_word));
        layout.cursors = append_part(&layout, (pool->segment.header->slot_count + UINT64_C(1)) * sizeof(worker_cursor));
    }
    if (work->inputs) {
        for (size_t i = 0; i < work->count; i++)
            if (!is_in_segment(pool, work->inputs[i].data, work->inputs[i].size))
                bytes += job_aligned(work->inputs[i].size);
        layout.in = append_part(&layout, work->count * sizeof(span));
        layout.in_data = append_part(&layout, bytes);
    } else if (!fits_job(work) && !work->in_segment) {
        layout.in = append_part(&layout, work->count * work->in_size);
    }
    if (job->flags & JOB_OUT_SPANS)
        layout.out = work->count > 1 ? append_part(&layout, work->count * sizeof(span)) : 0;
    else if ((work->count > 1 || job->out_size > JOB_BUFFER_SIZE) &&
             !(work->out && is_in_segment(pool, work->out, work->count * job->out_size)))
        layout.out = append_part(&layout, work->count * job->out_size);
    return layout;
}

static void init_cursors(xf_pool *pool, job *job)
{
    pool_segment *segment = &pool->segment;

    memset(pool_segment_at(segment, job->claims), 0, job->chunk_count * sizeof(claim_word));
    memset(pool_segment_at(segment, job->cursors), 0, (segment->header->slot_count + 1) * sizeof(worker_cursor));
    for (uint32_t i = 0; i < job->shards; i++) {
        worker_cursor *cursor = pool_segment_cursor(segment, job, i);
        atomic_store(&cursor->next, job_shard_begin(job, i));
        atomic_store(&cursor->tail, job_shard_begin(job, i + 1));
        cursor->end = job_shard_begin(job, i + 1);
    }
}

/* Copies inputs of any size to `data`, unless they are in the segment, and fills in their spans. */
static void copy_inputs(xf_pool *pool, job *job, const submission *work, uint64_t data)
{
    pool_segment *segment = &pool->segment;
    span *spans = pool_segment_at(segment, job->in);

    for (size_t i = 0; i < work->count; i++) {
        const xf_bytes *input = &work->inputs[i];
        if (is_in_segment(pool, input->data, input->size)) {
            spans[i] = (span){pool_segment_offset(segment, input->data), input->size};
            continue;
        }
        spans[i] = (span){data, input->size};
        if (input->size > 0)
            memcpy(pool_segment_at(segment, data), input->data, input->size);
        data += job_aligned(input->size);
    }
}

static void place_inputs(xf_pool *pool, job *job, const submission *work, const job_layout *layout, uint64_t run)
{
    pool_segment *segment = &pool->segment;
    const void *own = job->flags & JOB_EMBEDDED ? job->embedded : job->in_buffer;

    job->in = layout->in ? run + layout->in : pool_segment_offset(segment, work->in_segment ? work->in : own);
    if (work->inputs)
        copy_inputs(pool, job, work, run + layout->in_data);
    else if (!work->in_segment && work->count * work->in_size > 0)
        memcpy(pool_segment_at(segment, job->in), work->in, work->count * work->in_size);
}

/* Tasks write into the caller's buffer if that is in the segment.  Otherwise future->out is set to it, and the
 * outputs are copied there when they are collected. */
static void place_outputs(xf_pool *pool, xf_future *future, const submission *work, const job_layout *layout,
                          uint64_t run)
{
    pool_segment *segment = &pool->segment;
    job *job = future->job;

    if (job->flags & JOB_EMBEDDED)
        job->out = pool_segment_offset(segment, job->embedded) + job_aligned(job->in_size);
    else if (layout->out)
        job->out = run + layout->out;
    else if (job->flags & JOB_OUT_SPANS || (work->count == 1 && job->out_size <= JOB_BUFFER_SIZE))
        job->out = pool_segment_offset(segment, job->out_buffer);
    else
        job->out = pool_segment_offset(segment, work->out);
    future->out = work->out && pool_segment_offset(segment, work->out) != job->out ? work->out : NULL;
}

/* Gives the job its memory, one run of pages for all parts, and copies the inputs in. */
static int place_buffers(xf_pool *pool, xf_future *future, const submission *work)
{
    job *job = future->job;
    job_layout layout = lay_job_out(pool, job, work);
    uint64_t run = 0;
    int rc;

    if (layout.size > CACHE_LINE) {
        rc = pool_segment_take_pages(&pool->segment, layout.size, PAGES_OF_PARENT, &run);
        if (rc < 0)
            return rc;
        future->pages = run;
    }
    job->claims = run + layout.claims;
    job->cursors = run + layout.cursors;
    if (!(job->flags & JOB_ONE_CHUNK))
        init_cursors(pool, job);
    place_inputs(pool, job, work, &layout, run);
    place_outputs(pool, future, work, &layout, run);
    return 0;
}

/* ---- Submitting ------------------------------------------------------------------------------ */

static int prepare_job(xf_pool *pool, xf_future *future, const submission *work)
{
    int rc = reserve_job(pool, future, work);

    if (rc < 0)
        return rc;
    rc = place_buffers(pool, future, work);
    if (rc < 0)
        pool_jobs_give_back(pool, future->job);
    return rc;
}

/* Lets the workers see the job, and wakes or starts them. */
static int publish_job(xf_pool *pool, xf_future *future)
{
    job *job = future->job;
    uint64_t chunks = job->chunk_count;

    pool_futures_add(pool, future);
    if (job->count == 0) {
        pool_jobs_complete_chunk(pool, job, &job->claim, 0);
        atomic_store_explicit(&job->active, 1, memory_order_release);
        future_callbacks_schedule(future);
        return 0;
    }
    atomic_store_explicit(&job->claim, claim_word_make(CLAIM_QUEUED, 0, 0, 0), memory_order_release);
    atomic_store_explicit(&job->active, 1, memory_order_release);
    chunk_claim_push(&pool->segment, job, future->priority);
    if (future->options.timeout_ms)
        pool_deadlines_check(pool);
    return pool->inline_worker ? 0 : pool_workers_call(pool, chunks);
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

    if (map->timeout_ms < 0 || map->priority < XF_PRIORITY_NORMAL || map->priority > XF_PRIORITY_LOW)
        return error_detail(XF_EINVAL, "option timeout_ms is %d, priority %d", map->timeout_ms, (int)map->priority);
    future = calloc(1, sizeof *future);
    if (!future)
        return error_detail(XF_ENOMEM, "a future");
    future->pool = pool;
    future->task = map->task;
    future->options = *map;
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
    rc = submit_locked(pool, future, work);
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
    work.in_segment = is_in_segment(pool, map->in, map->count * work.in_size);
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
                            .in_segment = is_in_segment(pool, inputs->data, inputs->size),
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

static int map_objects(xf_future **future, xf_pool *pool, const xf_map *map, const xf_bytes *in, size_t count)
{
    xf_writer encoded = {0};
    xf_bytes *bytes = calloc(count ? count : 1, sizeof *bytes);
    int rc =
        bytes ? encode_objects(map->task, in, count, bytes, &encoded) : error_detail(XF_ENOMEM, "%zu inputs", count);

    if (rc == 0) {
        submission work = submission_of_bytes(pool, map->task, bytes, count);
        rc = submit(future, pool, &work, map);
    }
    writer_free(&encoded);
    free(bytes);
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
    int rc = pool_state_check_own(pool);

    if (rc < 0)
        return rc;
    if (!map->task)
        return error_detail(XF_EINVAL, "a map without a task");
    if (map->bytes && (map->in || map->out))
        return error_detail(XF_EINVAL, "a map with bytes and with %s", map->in ? "in" : "out");
    return map->bytes ? map_bytes(future, pool, map, map->bytes, map->count) : map_sized(future, pool, map);
}

int xf_pool_map(xf_pool *pool, const xf_map *map)
{
    xf_future *future;
    int rc = pool_state_check_wait(pool, XF_FOREVER);

    if (rc == 0)
        rc = xf_pool_map_async(&future, pool, map);
    if (rc < 0)
        return rc;
    rc = xf_future_wait(future, XF_FOREVER);
    if (map->results)
        *map->results = future;
    else
        xf_future_free(future);
    return rc;
}

int xf_pool_submit(xf_future **future, xf_pool *pool, const xf_map *map)
{
    xf_bytes bytes = {map->in, map->size};
    int rc = pool_state_check_own(pool);

    if (rc < 0)
        return rc;
    return map->task ? map_bytes(future, pool, map, &bytes, 1) : error_detail(XF_EINVAL, "work without a task");
}
