#include "pool/future.h"

#include "base/clock.h"
#include "base/codec.h"
#include "base/error.h"
#include "base/spin.h"
#include "os/cancel.h"
#include "pool/chunk_claim.h"
#include "pool/future_callbacks.h"
#include "pool/item_results.h"
#include "pool/pool_audit.h"
#include "pool/pool_deadlines.h"
#include "pool/pool_futures.h"
#include "pool/pool_inline.h"
#include "pool/pool_jobs.h"
#include "pool/pool_state.h"

/* ---- Waiting --------------------------------------------------------------------------------- */

typedef struct awaited_futures {
    xf_future *const *futures;
    int count;
} awaited_futures;

static bool is_any_complete(void *arg)
{
    const awaited_futures *awaited = arg;

    for (int i = 0; i < awaited->count; i++)
        if (future_is_complete(awaited->futures[i]))
            return true;
    return false;
}

static bool are_all_complete(void *arg)
{
    const awaited_futures *awaited = arg;

    for (int i = 0; i < awaited->count; i++)
        if (!future_is_complete(awaited->futures[i]))
            return false;
    return true;
}

int future_check(const xf_future *future)
{
    return future->pool ? pool_state_check_own(future->pool) : error_detail(XF_ESTATE, "the future's pool was freed");
}

int future_check_wait(const xf_future *future, int timeout_ms)
{
    int rc = future_check(future);

    if (rc < 0 || timeout_ms == 0)
        return rc;
    if (pool_state_is_here(future->pool, POOL_CALLS_BACK) && future->callbacks == CALLBACKS_RUNNING)
        return 0; /* it is the callback's own, and complete */
    return pool_state_check_wait(future->pool, timeout_ms);
}

/* The same for several of one pool. */
static int check_wait_for_many(xf_future *const *futures, int count, int timeout_ms)
{
    int rc = 0;

    if (count > 0 && !futures)
        return error_check_data(futures, (uint64_t)count, "futures");
    for (int i = 0; i < count && rc == 0; i++)
        rc = future_check(futures[i]);
    return rc < 0 || count < 1 ? rc : pool_state_check_wait(futures[0]->pool, timeout_ms);
}

/* What an exception has left in an inline pool when it left a task: work that waits for no thread but this one, and
 * callbacks. */
static void run_what_is_left(xf_pool *pool)
{
    OS_HOLD_CANCEL;

    if (!pool->inline_worker)
        return;
    uv_mutex_lock(&pool->lock);
    if (pool->callbacks_due || chunk_claim_has_work(&pool->segment))
        pool_inline_run(pool);
    uv_mutex_unlock(&pool->lock);
}

bool future_is_ready(xf_future *future, wait_target *target)
{
    pool_segment *segment = &future->pool->segment;
    wake_word *done = &segment->shared->done;

    if (target) {
        pool_audit_if_due(future->pool);
        *target = (wait_target){{&segment->work, done, wake_word_arm(done), NULL}, future->pool->audit_ms};
    }
    run_what_is_left(future->pool);
    return future_is_complete(future);
}

/* Sleeps until more is done, unless the condition holds.  Each wake-up clears the sleepers' bit, so it is set each
 * time.  A wake-up may be missing where a worker has overwritten the word, so nobody sleeps for longer than until the
 * jobs are to be looked through. */
static void sleep_until_done(xf_pool *pool, spin_condition holds, awaited_futures *awaited, int timeout_ms)
{
    pool_segment *segment = &pool->segment;
    wake_word *done = &segment->shared->done;
    uint32_t seen = wake_word_arm(done);

    run_what_is_left(pool);
    if (!holds(awaited))
        os_shm_wait(&segment->work, done, seen,
                    timeout_ms < 0 || timeout_ms > pool->audit_ms ? pool->audit_ms : timeout_ms);
}

/* Waits until the condition holds.  Returns 0, or XF_ETIMEDOUT. */
static int await_futures(xf_pool *pool, spin_condition holds, awaited_futures *awaited, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    uint32_t spin_us = timeout_ms ? atomic_load(&pool->spin_us) : 0;
    bool complete;

    run_what_is_left(pool);
    complete = spin(holds, awaited, spin_us, deadline);
    if (complete)
        return 0;
    if (timeout_ms == 0)
        return XF_ETIMEDOUT;
    while (!(complete = holds(awaited)) && clock_left_ms(deadline) != 0) {
        sleep_until_done(pool, holds, awaited, clock_left_ms(deadline));
        pool_audit_if_due(pool);
    }
    return complete ? 0 : XF_ETIMEDOUT;
}

/* What a wait for a complete future returns. */
static int wait_result(xf_future *future)
{
    xf_pool *pool = future->pool;
    int rc = 0;

    uv_mutex_lock(&pool->lock);
    item_results_collect(future);
    if (future->short_of_memory)
        rc = error_detail(XF_ENOMEM, "how items of task %s ended", future->task->name);
    else if (future->failure_count > 0)
        rc = error_detail(XF_EFAILED, "%zu of %llu items of task %s are not done", future->failure_count,
                          (unsigned long long)future->plan.count, future->task->name);
    uv_mutex_unlock(&pool->lock);
    return rc;
}

int xf_future_wait(xf_future *future, int timeout_ms)
{
    int rc = future_check_wait(future, timeout_ms);

    if (rc == 0)
        rc = await_futures(future->pool, are_all_complete, &(awaited_futures){&future, 1}, timeout_ms);
    return rc < 0 ? rc : wait_result(future);
}

/* The index of a future that is complete; count: none is. */
static int find_complete(const awaited_futures *awaited)
{
    int i = 0;

    while (i < awaited->count && !future_is_complete(awaited->futures[i]))
        i++;
    return i;
}

/* A worker may take back that a future is complete, before it is found. */
int xf_future_wait_any(xf_future *const *futures, int count, int timeout_ms)
{
    awaited_futures awaited = {futures, count};
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = count < 1 ? error_detail(XF_EINVAL, "%d futures", count) : check_wait_for_many(futures, count, timeout_ms);
    int found = count;

    while (rc == 0 && found == count) {
        rc = await_futures(futures[0]->pool, is_any_complete, &awaited, clock_left_ms(deadline));
        found = rc == 0 ? find_complete(&awaited) : count;
    }
    if (rc < 0)
        return rc;
    wait_result(futures[found]);
    return found;
}

int xf_future_wait_all(xf_future *const *futures, int count, int timeout_ms)
{
    awaited_futures awaited = {futures, count};
    int rc = count < 0 ? error_detail(XF_EINVAL, "%d futures", count) : check_wait_for_many(futures, count, timeout_ms);
    int worst = 0;

    if (rc == 0 && count > 0)
        rc = await_futures(futures[0]->pool, are_all_complete, &awaited, timeout_ms);
    for (int i = 0; i < count && rc == 0; i++) {
        int one = wait_result(futures[i]);
        if (one < worst)
            worst = one;
    }
    return rc < 0 ? rc : worst;
}

/* ---- Results --------------------------------------------------------------------------------- */

/* Collects the results if the future is complete.  Returns whether they are collected. */
static bool collect_if_complete(xf_future *future)
{
    if (future_check(future) < 0 || !future_is_complete(future))
        return false;
    if (future->collected)
        return true;
    uv_mutex_lock(&future->pool->lock);
    item_results_collect(future);
    uv_mutex_unlock(&future->pool->lock);
    return true;
}

size_t xf_future_count(const xf_future *future)
{
    return future_check(future) < 0 ? 0 : (size_t)future->plan.count;
}

size_t xf_future_failures(xf_future *future)
{
    return collect_if_complete(future) ? item_results_failures(future) : 0;
}

size_t xf_future_failure(xf_future *future, size_t n)
{
    if (!collect_if_complete(future) || n >= item_results_failures(future))
        return xf_future_count(future);
    return future->short_of_memory ? n : (size_t)future->failures[n].item;
}

xf_status xf_future_status(xf_future *future, size_t item)
{
    if (!collect_if_complete(future) || item >= future->plan.count)
        return (xf_status){XF_END_NONE, 0, 0};
    return item_results_status(future, item);
}

const void *xf_future_result(xf_future *future, size_t item, size_t *size)
{
    xf_bytes output;

    if (!collect_if_complete(future) || item >= future->plan.count ||
        item_results_status(future, item).kind != XF_END_DONE || item_results_output(future, item, &output) < 0)
        return NULL;
    if (size)
        *size = output.size;
    return output.data;
}

int xf_future_result_object(xf_future *future, size_t item, void **object)
{
    const xf_task *task = future->task;
    size_t size = 0;
    const void *result = xf_future_result(future, item, &size);
    int rc = future_check(future);

    if (rc < 0)
        return rc;
    if (!task->output_codec)
        return error_detail(XF_ESTATE, "task %s has no output codec", task->name);
    if (!result)
        return future_is_complete(future)
                   ? error_detail(XF_EFAILED, "item %zu of task %s has no result", item, task->name)
                   : error_detail(XF_ESTATE, "item %zu of task %s has not ended", item, task->name);
    return codec_decode_for(task, task->output_codec, result, size, object);
}

const xf_report *xf_future_report(xf_future *future, size_t item)
{
    OS_HOLD_CANCEL;
    item_failure *failure;

    if (!collect_if_complete(future))
        return NULL;
    uv_mutex_lock(&future->pool->lock);
    failure = item_results_find(future, item);
    if (failure && !failure->report) { /* made on demand: cancelled items may be many */
        const char *why = item_results_why_unclaimed(future, failure->status);
        xf_report report = item_results_blank_report(future, item, failure->status, why);
        report.phase = XF_PHASE_STARTING;
        report.attempt = 0;
        failure->report = report_copy(&report, NULL);
    }
    uv_mutex_unlock(&future->pool->lock);
    if (!failure || !failure->report)
        return NULL;
    report_find_stack(failure->report, &future->pool->lock);
    return failure->report;
}

/* ---- Cancelling and freeing ------------------------------------------------------------------ */

static void cancel_future(xf_pool *pool, xf_future *future)
{
    if (future_is_complete(future))
        return;
    pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
    if (!pool->inline_worker)
        pool_deadlines_stop(pool, future, XF_END_CANCELLED);
    future_callbacks_schedule(future);
}

void xf_future_cancel(xf_future *future)
{
    OS_HOLD_CANCEL;
    xf_pool *pool = future->pool;

    if (future_check(future) < 0)
        return;
    uv_mutex_lock(&pool->lock);
    cancel_future(pool, future);
    uv_mutex_unlock(&pool->lock);
}

void xf_pool_cancel(xf_pool *pool)
{
    OS_HOLD_CANCEL;

    if (pool_state_check_own(pool) < 0)
        return;
    uv_mutex_lock(&pool->lock);
    for (xf_future *future = pool->first; future; future = future->next)
        cancel_future(pool, future);
    uv_mutex_unlock(&pool->lock);
}

void xf_future_free(xf_future *future)
{
    OS_HOLD_CANCEL;
    xf_pool *pool = future ? future->pool : NULL;

    if (!future)
        return;
    if (!pool) {
        pool_futures_free(future);
        return;
    }
    if (pool_state_check_own(pool) < 0) {
        future->detached = true; /* xf_pool_free frees it in this copy, too */
        return;
    }
    uv_mutex_lock(&pool->lock);
    pool_futures_release(future);
    uv_mutex_unlock(&pool->lock);
}
