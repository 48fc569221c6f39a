/* Handing work in to a pool: what is offered becomes a job. */
#include "base/clock.h"
#include "base/codec.h"
#include "base/error.h"
#include "base/writer.h"
#include "pool/pool.h"
#include "protocol/task_table.h"

#include <stdlib.h>
#include <string.h>

/* ---- Handing in ------------------------------------------------------------------------------ */

/* What is handed in. */
typedef struct offer {
    xf_task *task;
    const void *in;        /* count inputs of in_size bytes, or NULL: */
    const xf_bytes *bytes; /* count inputs of any size */
    size_t in_size;
    bool in_place; /* in is in the segment already */
    void *out;
    size_t count;
} offer;

static uint64_t to_lines(uint64_t size)
{
    return (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

static bool is_inside(const xf_pool *pool, const void *data, uint64_t size)
{
    const char *begin = pool->plane.shm.address;
    const char *at = data;

    return at >= begin && at < begin + pool->plane.shm.size &&
           pool_segment_holds(&pool->plane, (uint64_t)(at - begin), size);
}

static uint64_t choose_chunk(const xf_pool *pool, const xf_map_options *options, size_t count)
{
    uint64_t chunk = options->chunk, most = UINT32_MAX;

    if (options->timeout_ms)
        return 1;
    if (!chunk)
        chunk = count / ((uint64_t)pool->wanted * 1024);
    if (pool->options.tasks_per_worker && pool->options.tasks_per_worker < most)
        most = pool->options.tasks_per_worker;
    return chunk < 1 ? 1 : chunk > most ? most : chunk;
}

/* Where the parts of a job are in its run of pages; 0: nowhere. */
typedef struct parts {
    uint64_t claims, cells, in, in_data, out, size;
} parts;

static uint64_t part(parts *parts, uint64_t size)
{
    uint64_t at = parts->size;

    parts->size += to_lines(size);
    return at;
}

static bool fits_inline(const offer *offer)
{
    return offer->count == 1 && offer->in_size <= JOB_BUFFER_SIZE && !offer->in_place;
}

static parts plan_parts(const xf_pool *pool, const job *job, const offer *offer)
{
    parts parts = {.size = CACHE_LINE}; /* so that 0 is no place */
    uint64_t bytes = 0;

    if (!(job->flags & JOB_ONE_CHUNK)) {
        parts.claims = part(&parts, job->chunk_count * sizeof(claim_word));
        parts.cells = part(&parts, (pool->plane.head->slots + UINT64_C(1)) * sizeof(cell));
    }
    if (offer->bytes) {
        for (size_t i = 0; i < offer->count; i++)
            if (!is_inside(pool, offer->bytes[i].data, offer->bytes[i].size))
                bytes += job_aligned(offer->bytes[i].size);
        parts.in = part(&parts, offer->count * sizeof(view));
        parts.in_data = part(&parts, bytes);
    } else if (!fits_inline(offer) && !offer->in_place) {
        parts.in = part(&parts, offer->count * offer->in_size);
    }
    if (job->flags & JOB_OUT_SPANS)
        parts.out = offer->count > 1 ? part(&parts, offer->count * sizeof(view)) : 0;
    else if ((offer->count > 1 || job->out_size > JOB_BUFFER_SIZE) &&
             !(offer->out && is_inside(pool, offer->out, offer->count * job->out_size)))
        parts.out = part(&parts, offer->count * job->out_size);
    return parts;
}

static uint64_t place_of(const plane *plane, uint64_t run, uint64_t part, const void *instead)
{
    return part ? run + part : pool_segment_offset(plane, instead);
}

static void fill_views(xf_pool *pool, job *job, const offer *offer, uint64_t data)
{
    view *views = pool_segment_at(&pool->plane, job->in);

    for (size_t i = 0; i < offer->count; i++) {
        const xf_bytes *bytes = &offer->bytes[i];
        if (is_inside(pool, bytes->data, bytes->size)) {
            views[i] = (view){pool_segment_offset(&pool->plane, bytes->data), bytes->size};
            continue;
        }
        views[i] = (view){data, bytes->size};
        if (bytes->size > 0)
            memcpy(pool_segment_at(&pool->plane, data), bytes->data, bytes->size);
        data += job_aligned(bytes->size);
    }
}

static void fill_cells(xf_pool *pool, job *job)
{
    memset(pool_segment_at(&pool->plane, job->claims), 0, job->chunk_count * sizeof(claim_word));
    memset(pool_segment_at(&pool->plane, job->cells), 0, (pool->plane.head->slots + 1) * sizeof(cell));
    for (uint32_t i = 0; i < job->ranges; i++) {
        cell *cell = pool_segment_cursor(&pool->plane, job, i);
        atomic_store(&cell->next, job_shard_begin(job, i));
        atomic_store(&cell->tail, job_shard_begin(job, i + 1));
        cell->end = job_shard_begin(job, i + 1);
    }
}

static uint16_t choose_flags(const job *job, const offer *offer, const xf_map_options *options)
{
    bool told = options->on_success || options->on_failure || options->on_done || options->stop_at_failure;
    bool sized = job->out_size != XF_ANY_SIZE, single = offer->count == 1;
    bool batch = sized && !offer->bytes && offer->task->batch && !offer->task->input_codec &&
                 offer->task->input_size != XF_ANY_SIZE;
    bool brief = sized && fits_inline(offer) && job->out_size <= JOB_EMBEDDED_SIZE &&
                 job_aligned(offer->in_size) <= JOB_EMBEDDED_SIZE - job->out_size;

    return (uint16_t)((offer->bytes ? JOB_IN_SPANS : 0) | (sized ? 0 : JOB_OUT_SPANS) |
                      (options->timeout_ms ? JOB_TIMED : 0) | (options->stop_at_failure ? JOB_STOP_AT_FAILURE : 0) |
                      (told ? JOB_NOTIFY : 0) | (job->chunk_count == 1 ? JOB_ONE_CHUNK : 0) |
                      (single ? JOB_ONE_ITEM : 0) | (brief ? JOB_EMBEDDED : 0) | (batch ? JOB_BATCH : 0));
}

static void describe(xf_pool *pool, job *job, const offer *offer, const xf_map_options *options)
{
    uint64_t chunk = choose_chunk(pool, options, offer->count);

    atomic_store_explicit(&job->claim, claim_word_make(CLAIM_UNUSED, 0, 0, 0),
                          memory_order_relaxed); /* 0 reads as queued */
    memset(&job->in_size, 0, offsetof(struct job, in_bytes) - offsetof(struct job, in_size));
    job->serial = ++pool->jobs_ever;
    job->count = offer->count;
    job->chunk = chunk < offer->count ? chunk : offer->count ? offer->count : 1;
    job->chunk_count = offer->count ? (offer->count + job->chunk - 1) / job->chunk : 1;
    job->ranges = job->chunk_count < (uint64_t)pool->wanted ? (uint32_t)job->chunk_count : (uint32_t)pool->wanted;
    job->in_size = offer->in_size;
    job->out_size = offer->task->output_size;
    job->flags = choose_flags(job, offer, options);
}

/* Copies inputs that are not in the segment. */
static void furnish_in(xf_pool *pool, job *job, const offer *offer, const parts *parts, uint64_t run)
{
    plane *plane = &pool->plane;
    const void *own = job->flags & JOB_EMBEDDED ? job->brief : job->in_bytes;

    job->in = place_of(plane, run, parts->in, offer->in_place ? offer->in : own);
    if (offer->bytes)
        fill_views(pool, job, offer, run + parts->in_data);
    else if (!offer->in_place && offer->count * offer->in_size > 0)
        memcpy(pool_segment_at(plane, job->in), offer->in, offer->count * offer->in_size);
}

/* Finds the outputs' place; future->out says where they are to be copied from there. */
static void furnish_out(xf_pool *pool, xf_future *future, const offer *offer, const parts *parts, uint64_t run)
{
    plane *plane = &pool->plane;
    job *job = future->job;

    if (job->flags & JOB_EMBEDDED)
        job->out = pool_segment_offset(plane, job->brief) + job_aligned(job->in_size);
    else if (job->flags & JOB_OUT_SPANS || parts->out || (offer->count == 1 && job->out_size <= JOB_BUFFER_SIZE))
        job->out = place_of(plane, run, parts->out, job->out_bytes);
    else
        job->out = pool_segment_offset(plane, offer->out);
    future->out = offer->out && pool_segment_offset(plane, offer->out) != job->out ? offer->out : NULL;
}

/* Gives the job memory. */
static int furnish(xf_pool *pool, xf_future *future, const offer *offer)
{
    plane *plane = &pool->plane;
    job *job = future->job;
    parts parts = plan_parts(pool, job, offer);
    uint64_t run = 0;
    int rc;

    if (parts.size > CACHE_LINE) {
        rc = pool_segment_take_pages(plane, parts.size, PAGES_OF_PARENT, &run);
        if (rc < 0)
            return rc;
        future->pages = run;
    }
    job->claims = run + parts.claims;
    job->cells = run + parts.cells;
    if (!(job->flags & JOB_ONE_CHUNK))
        fill_cells(pool, job);
    furnish_in(pool, job, offer, &parts, run);
    furnish_out(pool, future, offer, &parts, run);
    return 0;
}

/* Lets the workers see it. */
static int publish(xf_pool *pool, xf_future *future)
{
    job *job = future->job;
    uint64_t chunks = job->chunk_count;

    future->next = pool->first;
    if (pool->first)
        pool->first->previous = future;
    pool->first = future;
    pool->open_count++;
    pool->futures[job - pool->plane.jobs] = future;
    if (job->count == 0)
        pool_jobs_complete_chunk(pool, job, &job->claim, 0);
    else
        atomic_store_explicit(&job->claim, claim_word_make(CLAIM_QUEUED, 0, 0, 0), memory_order_release);
    atomic_store_explicit(&job->active, 1, memory_order_release);
    if (job->count == 0) {
        future_callbacks_schedule(future);
        return 0;
    }
    chunk_claim_push(&pool->plane, job, future->priority);
    if (future->options.timeout_ms)
        pool_deadlines_check(pool);
    return pool->here ? 0 : pool_workers_call(pool, chunks);
}

/* Makes the job of a future. */
static int make_job(xf_pool *pool, xf_future *future, const offer *offer)
{
    uint32_t number = 0, task = 0;
    int rc = pool_state_check(pool);

    if (rc == 0)
        rc = pool_jobs_number_task(pool, offer->task, &task);
    if (rc == 0)
        rc = pool_jobs_reserve_entry(pool, future->priority);
    if (rc == 0)
        rc = pool_jobs_take(pool, &number);
    if (rc < 0)
        return rc;
    future->job = &pool->plane.jobs[number];
    describe(pool, future->job, offer, &future->options);
    future->job->task = task;
    rc = furnish(pool, future, offer);
    if (rc < 0)
        pool_jobs_give_back(pool, future->job);
    return rc;
}

/* With the lock held: on failure the future is freed. */
static int hand_in(xf_pool *pool, xf_future *future, const offer *offer)
{
    uint64_t deadline = clock_deadline(POOL_MEMORY_MS);
    int rc = make_job(pool, future, offer);

    while (rc == XF_ENOMEM && pool_jobs_await_memory(pool, deadline))
        rc = make_job(pool, future, offer);
    if (rc < 0) {
        free(future);
        return rc;
    }
    rc = publish(pool, future);
    if (rc < 0) {
        pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
        pool_futures_free(future); /* nobody has claimed it: there is no worker */
    }
    return rc;
}

static int check_options(const xf_map_options *options)
{
    if (options->timeout_ms < 0 || options->priority < XF_PRIORITY_NORMAL || options->priority > XF_PRIORITY_LOW)
        return error_detail(XF_EINVAL, "option timeout_ms is %d, priority %d", options->timeout_ms,
                            (int)options->priority);
    return 0;
}

static int submit(xf_future **out, xf_pool *pool, const offer *offer, const xf_map_options *options)
{
    static const xf_map_options defaults;
    xf_future *future;
    int rc = check_options(options ? options : &defaults);

    if (rc < 0)
        return rc;
    future = calloc(1, sizeof *future);
    if (!future)
        return error_detail(XF_ENOMEM, "a future");
    future->pool = pool;
    future->task = offer->task;
    future->options = options ? *options : defaults;
    future->priority = (int)future->options.priority;
    uv_mutex_lock(&pool->lock);
    pool_futures_reap(pool);
    rc = hand_in(pool, future, offer);
    if (rc == 0)
        *out = future; /* before any callback */
    if (rc == 0 && pool->here)
        pool_inline_run(pool);
    uv_mutex_unlock(&pool->lock);
    return rc;
}

static int check_task(const xf_task *task, bool sized)
{
    int rc = task_table_check(task);

    if (rc == 0 && sized && (task->input_codec || task->input_size == XF_ANY_SIZE || task->output_size == XF_ANY_SIZE))
        rc = error_detail(XF_ESIZE, "task %s does not declare sizes", task->name);
    return rc;
}

int xf_pool_map_async(xf_future **future, xf_pool *pool, xf_task *task, const void *in, void *out, size_t count,
                      const xf_map_options *options)
{
    offer offer = {.task = task, .in = in, .in_size = task->input_size, .out = out, .count = count};
    size_t larger = task->input_size > task->output_size ? task->input_size : task->output_size;
    int rc = check_task(task, true);

    if (rc == 0 && larger > 0 && count > SIZE_MAX / 4 / larger)
        rc = error_detail(XF_ENOMEM, "%zu items of %zu bytes", count, larger);
    if (rc < 0)
        return rc;
    offer.in_place = is_inside(pool, in, count * offer.in_size);
    return submit(future, pool, &offer, options);
}

int xf_pool_map(xf_pool *pool, xf_task *task, const void *in, void *out, size_t count, const xf_map_options *options)
{
    xf_future *future;
    int rc = xf_pool_map_async(&future, pool, task, in, out, count, options);

    if (rc < 0)
        return rc;
    rc = xf_future_wait(future, XF_FOREVER);
    if (options && options->results)
        *options->results = future;
    else
        xf_future_free(future);
    return rc;
}

/* ---- Inputs of any length -------------------------------------------------------------------- */

/* Encodes objects, one after the other, into memory that *encoded keeps. */
static int encode_all(const xf_task *task, const xf_bytes *in, size_t count, xf_bytes *bytes, xf_writer *encoded)
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

/* One input is handed in as such. */
static offer offer_bytes(const xf_pool *pool, xf_task *task, const xf_bytes *bytes, size_t count)
{
    if (count == 1)
        return (offer){.task = task,
                       .in = bytes->data,
                       .in_size = bytes->size,
                       .in_place = is_inside(pool, bytes->data, bytes->size),
                       .count = 1};
    return (offer){.task = task, .bytes = bytes, .count = count};
}

static int map_objects(xf_future **future, xf_pool *pool, xf_task *task, const xf_bytes *in, size_t count,
                       const xf_map_options *options)
{
    xf_writer encoded = {0};
    xf_bytes *bytes = calloc(count ? count : 1, sizeof *bytes);
    int rc = bytes ? encode_all(task, in, count, bytes, &encoded) : error_detail(XF_ENOMEM, "%zu inputs", count);

    if (rc == 0) {
        offer offer = offer_bytes(pool, task, bytes, count);
        rc = submit(future, pool, &offer, options);
    }
    writer_free(&encoded);
    free(bytes);
    return rc;
}

static int check_sizes(const xf_task *task, const xf_bytes *in, size_t count)
{
    for (size_t i = 0; task->input_size != XF_ANY_SIZE && i < count; i++)
        if (in[i].size != task->input_size)
            return error_detail(XF_ESIZE, "task %s takes %zu bytes, not %zu as input %zu has", task->name,
                                task->input_size, in[i].size, i);
    return 0;
}

int xf_pool_map_bytes(xf_future **future, xf_pool *pool, xf_task *task, const xf_bytes *in, size_t count,
                      const xf_map_options *options)
{
    offer offer;
    int rc = check_task(task, false);

    if (rc < 0)
        return rc;
    if (task->input_codec)
        return map_objects(future, pool, task, in, count, options);
    rc = check_sizes(task, in, count);
    if (rc < 0)
        return rc;
    offer = offer_bytes(pool, task, in, count);
    return submit(future, pool, &offer, options);
}

int xf_pool_submit(xf_future **future, xf_pool *pool, xf_task *task, const void *input, size_t size,
                   const xf_map_options *options)
{
    xf_bytes bytes = {input, size};

    return xf_pool_map_bytes(future, pool, task, &bytes, 1, options);
}
