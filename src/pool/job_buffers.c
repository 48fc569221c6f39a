#include "pool/job_buffers.h"

#include "base/aligned.h"
#include "pool/output_guard.h"

#include <string.h>

bool job_buffers_hold(const xf_pool *pool, const void *data, uint64_t size)
{
    const char *begin = pool->segment.work.address;
    const char *at = data;

    return at >= begin && at < begin + pool->segment.work.size &&
           pool_pages_hold(&pool->pages, PAGES_BUFFERS, (uint64_t)(at - begin), size);
}

bool job_buffers_fit(const submission *work)
{
    return work->count == 1 && work->in_size <= JOB_BUFFER_SIZE && !work->in_segment;
}

/* Where the parts of a job are in its runs of pages; NO_PART: elsewhere, or there is no such part. */
typedef struct job_layout {
    uint64_t claims, cursors, out_spans;
    uint64_t in, in_data;
    uint64_t out;
    uint64_t sizes[PAGES_USES];
} job_layout;

#define NO_PART UINT64_MAX

/* The first parts begin in different lines of their pages: a processor takes an access for one to what was just written
 * where the last 12 bits of the addresses agree, as those of an item's input, output and claim word would.  (Intel 64
 * and IA-32 Architectures Optimization Reference Manual, memory disambiguation.) */
static uint64_t append_part(job_layout *layout, pages_use use, uint64_t size)
{
    static const uint64_t starts[PAGES_USES] = {
        [PAGES_INPUTS] = 0, [PAGES_CONTROL] = 4 * CACHE_LINE, [PAGES_BUFFERS] = 8 * CACHE_LINE};
    uint64_t at = layout->sizes[use] ? layout->sizes[use] : starts[use];

    layout->sizes[use] = at + (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    return at;
}

static uint64_t bytes_to_copy(const xf_pool *pool, const submission *work)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < work->count; i++)
        if (!job_buffers_hold(pool, work->inputs[i].data, work->inputs[i].size))
            bytes = aligned_place(bytes, work->inputs[i].size) + work->inputs[i].size;
    return bytes;
}

static void lay_inputs_out(job_layout *layout, const xf_pool *pool, const submission *work)
{
    if (work->inputs) {
        layout->in = append_part(layout, PAGES_INPUTS, work->count * sizeof(span));
        layout->in_data = append_part(layout, PAGES_INPUTS, bytes_to_copy(pool, work));
    } else if (!job_buffers_fit(work) && !work->in_segment) {
        layout->in = append_part(layout, PAGES_INPUTS, work->count * work->in_size);
    }
}

static void lay_outputs_out(job_layout *layout, const xf_pool *pool, const job_plan *plan, const submission *work)
{
    uint64_t size = work->count * plan->out_size;

    if (plan->flags & JOB_OUT_SPANS && work->count > 1)
        layout->out_spans = append_part(layout, PAGES_CONTROL, work->count * sizeof(span));
    if (!(plan->flags & JOB_OUT_SPANS) && (work->count > 1 || plan->out_size > JOB_BUFFER_SIZE) &&
        !(work->out && job_buffers_hold(pool, work->out, size)))
        layout->out = append_part(layout, PAGES_BUFFERS, size + OUTPUT_GUARD);
}

static job_layout lay_job_out(const xf_pool *pool, const job_plan *plan, const submission *work)
{
    job_layout layout = {NO_PART, NO_PART, NO_PART, NO_PART, NO_PART, NO_PART, {0}};

    if (!(plan->flags & JOB_ONE_CHUNK)) {
        layout.claims = append_part(&layout, PAGES_CONTROL, plan->chunk_count * sizeof(claim_word));
        layout.cursors =
            append_part(&layout, PAGES_CONTROL, (pool->segment.slot_count + UINT64_C(1)) * sizeof(worker_cursor));
    }
    lay_inputs_out(&layout, pool, work);
    lay_outputs_out(&layout, pool, plan, work);
    return layout;
}

static void free_pages(xf_pool *pool, job_pages *pages)
{
    for (int i = 0; i < PAGES_USES; i++)
        if (pages->runs[i])
            pool_pages_free(&pool->pages, (pages_use)i, pages->runs[i]);
}

static int take_pages(xf_pool *pool, xf_future *future, const job_layout *layout)
{
    int rc = 0;

    future->pages = (job_pages){{0}};
    for (int i = 0; i < PAGES_USES && rc == 0; i++)
        if (layout->sizes[i] > 0)
            rc = pool_pages_take(&pool->pages, (pages_use)i, layout->sizes[i], &future->pages.runs[i]);
    if (rc < 0)
        free_pages(pool, &future->pages);
    return rc;
}

static void place_control(xf_pool *pool, xf_future *future, const job_layout *layout)
{
    pool_segment *segment = &pool->segment;
    uint64_t run = future->pages.runs[PAGES_CONTROL];
    job_plan *plan = &future->plan;

    if (plan->flags & JOB_ONE_CHUNK)
        return;
    plan->claims = run + layout->claims;
    plan->cursors = run + layout->cursors;
    memset(pool_segment_at(segment, plan->claims), 0, plan->chunk_count * sizeof(claim_word));
    memset(pool_segment_at(segment, plan->cursors), 0, (segment->slot_count + 1) * sizeof(worker_cursor));
    for (uint32_t i = 0; i < plan->shards; i++) {
        worker_cursor *cursor = pool_segment_cursor(segment, plan, i);
        atomic_store(&cursor->next, job_shard_begin(plan, i));
        atomic_store(&cursor->tail, job_shard_begin(plan, i + 1));
    }
}

/* Copies inputs of any size into the books, unless they are in buffers, and fills in their spans.
 *   data  The place of the copies. */
static void copy_inputs(xf_pool *pool, const submission *work, span *spans, job_place data)
{
    for (size_t i = 0; i < work->count; i++) {
        const xf_bytes *input = &work->inputs[i];
        if (job_buffers_hold(pool, input->data, input->size)) {
            spans[i] = (span){pool_segment_offset(&pool->segment, input->data), input->size};
            continue;
        }
        data = aligned_place(data, input->size);
        spans[i] = (span){data, input->size};
        if (input->size > 0)
            memcpy(pool_segment_place(&pool->segment, data), input->data, input->size);
        data += input->size;
    }
}

static void place_inputs(xf_pool *pool, xf_future *future, const submission *work, const job_layout *layout)
{
    pool_segment *segment = &pool->segment;
    job_place run = future->pages.runs[PAGES_INPUTS] | PLACE_IN_BOOKS;
    job_plan *plan = &future->plan;

    if (work->in_segment)
        plan->in = pool_segment_offset(segment, work->in);
    else if (layout->in != NO_PART)
        plan->in = run + layout->in;
    else
        plan->in = pool_segment_books_place(segment, future_job(future)->in_buffer);
    if (work->inputs)
        copy_inputs(pool, work, pool_segment_place(segment, plan->in), run + layout->in_data);
    else if (plan->flags & JOB_EMBEDDED)
        memcpy(plan->embedded, work->in ? work->in : "", work->in_size);
    else if (!work->in_segment && work->count * work->in_size > 0)
        memcpy(pool_segment_place(segment, plan->in), work->in, work->count * work->in_size);
}

/* Notes that there are guard bytes behind the outputs as a whole: around those that are copied to the caller, whose run
 * of pages has room in front of them, and behind a whole buffer of the caller's. */
static void note_guard(xf_pool *pool, xf_future *future, bool own)
{
    uint64_t end = future->plan.out + future->plan.count * future->plan.out_size;
    void *guard = pool_segment_at(&pool->segment, end);

    if (own) {
        output_guard_set(guard, OUTPUT_GUARD);
        output_guard_set(pool_segment_at(&pool->segment, future->plan.out - OUTPUT_GUARD), OUTPUT_GUARD);
        future->plan.flags |= JOB_OUT_FRONTED;
    } else if (!pool_pages_hold(&pool->pages, PAGES_BUFFERS, end, OUTPUT_GUARD) ||
               output_guard_overrun(NULL, guard, OUTPUT_GUARD) > 0) {
        return;
    }
    future->guard = end;
    future->plan.flags |= JOB_OUT_GUARDED;
}

/* Tasks write into the caller's buffer if that is memory of xf_pool_buffer_alloc.  Otherwise future->out is set to it,
 * and the outputs are copied there when they are collected. */
static void place_outputs(xf_pool *pool, xf_future *future, const submission *work, const job_layout *layout)
{
    pool_segment *segment = &pool->segment;
    job_plan *plan = &future->plan;

    future->out = work->out;
    if (plan->flags & JOB_OUT_SPANS) {
        if (layout->out_spans != NO_PART)
            plan->out = future->pages.runs[PAGES_CONTROL] + layout->out_spans;
    } else if (plan->flags & JOB_EMBEDDED) {
        plan->out = pool_segment_offset(segment, future_state(future)->embedded);
    } else if (layout->out != NO_PART) {
        plan->out = future->pages.runs[PAGES_BUFFERS] + layout->out;
        note_guard(pool, future, true);
    } else if (work->count == 0 || (work->count == 1 && plan->out_size <= JOB_BUFFER_SIZE)) {
        plan->out = pool_segment_offset(segment, future_state(future)->out_buffer);
    } else {
        plan->out = pool_segment_offset(segment, work->out);
        future->out = NULL;
        note_guard(pool, future, false);
    }
}

int job_buffers_place(xf_pool *pool, xf_future *future, const submission *work)
{
    job_layout layout = lay_job_out(pool, &future->plan, work);
    int rc = take_pages(pool, future, &layout);

    if (rc < 0)
        return rc;
    place_control(pool, future, &layout);
    place_inputs(pool, future, work, &layout);
    place_outputs(pool, future, work, &layout);
    return 0;
}
