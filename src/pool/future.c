/* What comes of the work of a pool. */
#include "pool/future.h"

#include "base/clock.h"
#include "base/codec.h"
#include "base/error.h"
#include "base/spin.h"
#include "pool/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What became of the items ---------------------------------------------------------------- */

bool future_is_complete(const xf_future *future)
{
    job *job = future->job;

    if (future->settled)
        return true;
    return job->flags & JOB_ONE_CHUNK ? claim_word_state(atomic_load(&job->claim)) == CLAIM_DONE
                                      : atomic_load(&job->settled) != 0;
}

void item_results_add(xf_future *future, uint64_t item, xf_report *report, xf_status status)
{
    if (pool_state_grow(&future->bads, future->bad_count, &future->bad_room, sizeof(bad)) == 0) {
        future->bads[future->bad_count++] = (bad){item, status, report};
    } else {
        future->short_of_memory = true;
        report_free(report);
    }
}

static xf_report blank_report(const xf_future *future, uint64_t item, xf_status status, const char *message)
{
    return (xf_report){.status = status,
                       .kind_name = xf_end_name(status.kind),
                       .code_name = report_code_name(status),
                       .message = message,
                       .name = future->task->name,
                       .task = future->task->name,
                       .stderr_tail = "",
                       .dump = "",
                       .saved = "",
                       .phase = XF_PHASE_RUNNING,
                       .item = item,
                       .attempt = 1};
}

void item_results_add_report(xf_future *future, uint64_t item, const xf_report *report, stack_trace *trace)
{
    xf_report told = *report;
    char *saved, *unsaved = NULL;

    if (save_item(future->pool, future, item, report->status, &saved) < 0)
        unsaved = report_add_reason(report->message, xf_error_detail());
    told.saved = saved ? saved : "";
    if (unsaved)
        told.message = unsaved;
    item_results_add(future, item, report_copy(&told, trace), report->status);
    free(unsaved);
    free(saved);
}

/* The item failed in a worker that lives on. */
static void note_failure(xf_future *future, uint64_t item, xf_status status, const char *message)
{
    xf_report report = blank_report(future, item, status, message);

    item_results_add_report(future, item, &report, NULL);
}

/* An item that was asked to stop and then failed has done as it was asked to. */
static xf_status status_of_failure(const xf_future *future, const failure *record)
{
    for (size_t i = 0; i < future->stopped_count; i++)
        if (future->stopped[i].item == record->item)
            return future->stopped[i].status;
    return (xf_status){XF_END_FAILED, record->code, 0};
}

static void collect_failures(xf_future *future)
{
    const plane *plane = &future->pool->plane;
    uint64_t at = atomic_load(&future->job->failures), count = 0;

    while (at && pool_segment_holds(plane, at, sizeof(failure)) && count++ < future->job->count) {
        const failure *record = pool_segment_at(plane, at);
        const char *text = (const char *)(record + 1);
        bool whole =
            record->size > 0 && pool_segment_holds(plane, at, sizeof *record + record->size) && !text[record->size - 1];
        if (record->item < future->job->count)
            note_failure(future, record->item, status_of_failure(future, record), whole ? text : "");
        at = record->next;
    }
}

/* Items behind what its owner has settled of a chunk never ran. */
static void collect_swept(xf_future *future)
{
    job *job = future->job;
    xf_status status = future->swept.kind ? future->swept : (xf_status){XF_END_CANCELLED, 0, 0};
    const char *why = future->swept_report ? future->swept_report->message : "";

    for (uint64_t i = 0; i < job->chunk_count; i++) {
        uint64_t claim = atomic_load(pool_segment_claim(&future->pool->plane, job, i));
        uint32_t size = job_items_in(job, i);
        for (uint32_t at = claim_word_skip(claim); at < size; at++) {
            xf_report report = blank_report(future, i * job->chunk + at, status, why);
            report.phase = XF_PHASE_STARTING;
            report.attempt = 0;
            item_results_add(future, report.item,
                             status.kind == XF_END_START_FAILED ? report_copy(&report, NULL) : NULL, status);
        }
    }
}

static int compare_bads(const void *one, const void *other)
{
    const bad *first = one, *second = other;

    return (first->item > second->item) - (first->item < second->item);
}

/* In the order of items; a worker that died after it had said that its item failed is not told twice. */
static void sort_bads(xf_future *future)
{
    size_t kept = 0;

    if (future->bad_count > 1)
        qsort(future->bads, future->bad_count, sizeof(bad), compare_bads);
    for (size_t i = 0; i < future->bad_count; i++) {
        if (kept > 0 && future->bads[kept - 1].item == future->bads[i].item)
            report_free(future->bads[i].report);
        else
            future->bads[kept++] = future->bads[i];
    }
    future->bad_count = kept;
}

void item_results_collect(xf_future *future)
{
    job *job = future->job;

    if (future->settled)
        return;
    collect_failures(future);
    if (atomic_load(&job->closing))
        collect_swept(future);
    sort_bads(future);
    if (future->out && !(job->flags & JOB_OUT_SPANS))
        memcpy(future->out, pool_segment_at(&future->pool->plane, job->out), (size_t)(job->count * job->out_size));
    future->settled = true;
}

static const bad *find_bad(const xf_future *future, uint64_t item)
{
    bad key = {.item = item};

    return future->bad_count ? bsearch(&key, future->bads, future->bad_count, sizeof key, compare_bads) : NULL;
}

/* ---- Callbacks and ends ---------------------------------------------------------------------- */

void pool_futures_free(xf_future *future)
{
    xf_pool *pool = future->pool;

    if (pool) {
        if (future->next)
            future->next->previous = future->previous;
        if (future->previous)
            future->previous->next = future->next;
        else
            pool->first = future->next;
        pool->open_count--;
        pool->given_up -= future->given_up;
    }
    for (size_t i = 0; i < future->bad_count; i++)
        report_free(future->bads[i].report);
    free(future->bads);
    free(future->stopped);
    free(future->attempts);
    if (pool)
        pool_jobs_retire(pool, future);
    free(future);
}

static bool has_callbacks(const xf_future *future)
{
    return future->options.on_success || future->options.on_failure || future->options.on_done;
}

/* Whether its callbacks are still to be called, or are being called. */
static bool is_untold(const xf_future *future)
{
    return future->calling || (!future->told && has_callbacks(future));
}

/* What is to be done for a future on the supervisor's thread. */
static bool wants_attention(const xf_future *future)
{
    if (!future_is_complete(future))
        return future->options.stop_at_failure && atomic_load(&future->job->closing) &&
               future->swept.kind == XF_END_NONE;
    return !future->calling && (future->given_up || is_untold(future));
}

static void call(xf_pool *pool, xf_future *future)
{
    xf_map_options options = future->options;
    bool good;

    item_results_collect(future);
    good = future->bad_count == 0 && !future->short_of_memory;
    future->told = future->calling = true;
    uv_mutex_unlock(&pool->lock);
    if (good && options.on_success)
        options.on_success(future, options.arg);
    if (!good && options.on_failure)
        options.on_failure(future, options.arg);
    if (options.on_done)
        options.on_done(future, options.arg);
    uv_mutex_lock(&pool->lock);
    future->calling = false; /* if it was freed meanwhile, it is looked at once more */
}

static void attend(xf_pool *pool, xf_future *future)
{
    if (!future_is_complete(future))
        pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
    else if (is_untold(future))
        call(pool, future);
    else
        pool_futures_free(future);
}

void pool_futures_reap(xf_pool *pool)
{
    xf_future *next;

    if (pool->given_up <= pool->given_up_enough)
        return;
    for (xf_future *future = pool->first; future; future = next) {
        next = future->next;
        if (future->given_up && future_is_complete(future) && !is_untold(future))
            pool_futures_free(future);
    }
    pool->given_up_enough = 2 * pool->given_up + 16;
}

void future_callbacks_run(xf_pool *pool)
{
    xf_future *future = pool->first;

    while (future)
        if (wants_attention(future)) {
            attend(pool, future);
            future = pool->first; /* the list may be another now */
        } else {
            future = future->next;
        }
}

void future_callbacks_dispatch(xf_pool *pool)
{
    if (pool->news)
        uv_async_send(pool->news);
    else
        future_callbacks_run(pool);
}

void future_callbacks_schedule(xf_future *future)
{
    xf_pool *pool = future->pool;

    if (!wants_attention(future))
        return;
    if (pool->news) {
        uv_async_send(pool->news);
    } else if (!pool->here) { /* where whoever runs tasks tells */
        pool->untold = true;
        pool_deadlines_check(pool);
    }
}

/* ---- Waiting --------------------------------------------------------------------------------- */

/* Futures that somebody waits for. */
typedef struct awaited {
    xf_future *const *futures;
    int count;
} awaited;

static bool is_any_complete(void *arg)
{
    const awaited *awaited = arg;

    for (int i = 0; i < awaited->count; i++)
        if (future_is_complete(awaited->futures[i]))
            return true;
    return false;
}

static bool are_all_complete(void *arg)
{
    const awaited *awaited = arg;

    for (int i = 0; i < awaited->count; i++)
        if (!future_is_complete(awaited->futures[i]))
            return false;
    return true;
}

/* Sleeps until something is done, unless the condition holds.  The one who wakes somebody has cleared the bit. */
static void sleep_on(xf_pool *pool, spin_condition holds, awaited *awaited, int timeout_ms)
{
    plane *plane = &pool->plane;
    wake_word *done = &plane->head->done;
    uint32_t seen = wake_word_arm(done);

    atomic_thread_fence(memory_order_seq_cst);
    if (holds(awaited))
        return;
    os_shm_wait(&plane->shm, done, seen, timeout_ms);
}

int future_check(const xf_future *future)
{
    return future->pool ? 0 : error_detail(XF_ESTATE, "the future's pool was freed");
}

bool future_is_ready(xf_future *future, wait_target *target)
{
    plane *plane = &future->pool->plane;
    wake_word *done = &plane->head->done;

    if (target) {
        *target = (wait_target){{&plane->shm, done, wake_word_arm(done), NULL}, -1};
        atomic_thread_fence(memory_order_seq_cst);
    }
    return future_is_complete(future);
}

/* Waits until the condition holds: 0, or XF_ETIMEDOUT. */
static int await(xf_pool *pool, spin_condition holds, awaited *awaited, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    bool complete = spin(holds, awaited, timeout_ms ? atomic_load(&pool->plane.head->spin_us) : 0, deadline);

    if (complete)
        return 0;
    if (timeout_ms == 0)
        return XF_ETIMEDOUT;
    while (!(complete = holds(awaited)) && clock_left_ms(deadline) != 0)
        sleep_on(pool, holds, awaited, clock_left_ms(deadline));
    return complete ? 0 : XF_ETIMEDOUT;
}

/* The result of waiting for a complete future. */
static int outcome(xf_future *future)
{
    xf_pool *pool = future->pool;
    int rc = 0;

    uv_mutex_lock(&pool->lock);
    item_results_collect(future);
    if (future->short_of_memory)
        rc = error_detail(XF_ENOMEM, "what became of the items of task %s", future->task->name);
    else if (future->bad_count > 0)
        rc = error_detail(XF_EFAILED, "%zu of %llu items of task %s are not done", future->bad_count,
                          (unsigned long long)future->job->count, future->task->name);
    uv_mutex_unlock(&pool->lock);
    return rc;
}

int xf_future_wait(xf_future *future, int timeout_ms)
{
    int rc = await(future->pool, are_all_complete, &(awaited){&future, 1}, timeout_ms);

    return rc < 0 ? rc : outcome(future);
}

int xf_future_wait_any(xf_future *const *futures, int count, int timeout_ms)
{
    int rc;

    if (count < 1)
        return error_detail(XF_EINVAL, "%d futures", count);
    rc = await(futures[0]->pool, is_any_complete, &(awaited){futures, count}, timeout_ms);
    for (int i = 0; i < count && rc == 0; i++)
        if (future_is_complete(futures[i])) {
            outcome(futures[i]);
            return i;
        }
    return rc;
}

int xf_future_wait_all(xf_future *const *futures, int count, int timeout_ms)
{
    awaited awaited = {futures, count};
    int rc = count > 0 ? await(futures[0]->pool, are_all_complete, &awaited, timeout_ms) : 0, worst = 0;

    for (int i = 0; i < count && rc == 0; i++) {
        int one = outcome(futures[i]);
        if (one < worst)
            worst = one;
    }
    return rc < 0 ? rc : worst;
}

/* ---- Looking --------------------------------------------------------------------------------- */

/* Settles the future if it is complete. */
static bool look(xf_future *future)
{
    if (!future->pool || !future_is_complete(future))
        return false;
    if (future->settled)
        return true;
    uv_mutex_lock(&future->pool->lock);
    item_results_collect(future);
    uv_mutex_unlock(&future->pool->lock);
    return true;
}

size_t xf_future_count(const xf_future *future)
{
    return future->pool ? (size_t)future->job->count : 0;
}

size_t xf_future_failures(xf_future *future)
{
    return look(future) ? future->bad_count : 0;
}

size_t xf_future_failure(xf_future *future, size_t n)
{
    return look(future) && n < future->bad_count ? (size_t)future->bads[n].item : xf_future_count(future);
}

xf_status xf_future_status(xf_future *future, size_t item)
{
    const bad *bad;

    if (!look(future) || item >= future->job->count)
        return (xf_status){XF_END_NONE, 0, 0};
    bad = find_bad(future, item);
    return bad ? bad->status : (xf_status){XF_END_DONE, 0, 0};
}

const void *xf_future_result(xf_future *future, size_t item, size_t *size)
{
    const plane *plane;
    const job *job;
    view output;

    if (!look(future) || item >= future->job->count || find_bad(future, item))
        return NULL;
    plane = &future->pool->plane;
    job = future->job;
    output = (view){job->out + item * job->out_size, job->out_size};
    if (job->flags & JOB_OUT_SPANS)
        output = job->flags & JOB_ONE_ITEM ? job->out_view : ((const view *)pool_segment_at(plane, job->out))[item];
    if (output.at > plane->shm.size || output.size > plane->shm.size - output.at)
        return NULL; /* written by a process that was out of its mind */
    if (size)
        *size = (size_t)output.size;
    return pool_segment_at(plane, output.at);
}

int xf_future_result_object(xf_future *future, size_t item, void **object)
{
    const xf_task *task = future->task;
    size_t size = 0;
    const void *result = xf_future_result(future, item, &size);

    if (!task->output_codec)
        return error_detail(XF_ESTATE, "task %s has no output codec", task->name);
    if (!result)
        return future->pool && future_is_complete(future)
                   ? error_detail(XF_EFAILED, "item %zu of task %s has no result", item, task->name)
                   : error_detail(XF_ESTATE, "item %zu of task %s has not ended", item, task->name);
    return codec_decode_for(task, task->output_codec, result, size, object);
}

const xf_report *xf_future_report(xf_future *future, size_t item)
{
    bad *bad;

    if (!look(future))
        return NULL;
    uv_mutex_lock(&future->pool->lock);
    bad = (struct bad *)find_bad(future, item);
    if (bad && !bad->report) { /* of the many that were cancelled one is rarely asked for */
        xf_report report = blank_report(future, item, bad->status, "");
        report.phase = XF_PHASE_STARTING;
        report.attempt = 0;
        bad->report = report_copy(&report, NULL);
    }
    uv_mutex_unlock(&future->pool->lock);
    if (!bad || !bad->report)
        return NULL;
    report_find_stack(bad->report);
    return bad->report;
}

/* ---- Giving up ------------------------------------------------------------------------------- */

static void cancel(xf_pool *pool, xf_future *future)
{
    if (future_is_complete(future))
        return;
    pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
    if (!pool->here)
        pool_deadlines_stop(pool, future, XF_END_CANCELLED);
    future_callbacks_schedule(future);
}

void xf_future_cancel(xf_future *future)
{
    xf_pool *pool = future->pool;

    if (!pool)
        return;
    uv_mutex_lock(&pool->lock);
    cancel(pool, future);
    uv_mutex_unlock(&pool->lock);
}

void xf_pool_cancel(xf_pool *pool)
{
    uv_mutex_lock(&pool->lock);
    for (xf_future *future = pool->first; future; future = future->next)
        cancel(pool, future);
    uv_mutex_unlock(&pool->lock);
}

void xf_future_free(xf_future *future)
{
    xf_pool *pool = future ? future->pool : NULL;

    if (!future)
        return;
    if (!pool) {
        pool_futures_free(future);
        return;
    }
    uv_mutex_lock(&pool->lock);
    if (future_is_complete(future) && !is_untold(future)) {
        pool_futures_free(future);
    } else if (!future->given_up) {
        future->given_up = true;
        pool->given_up++;
        future->out = NULL;
    }
    uv_mutex_unlock(&pool->lock);
}
