#include "pool/pool_workers.h"

#include "base/clock.h"
#include "base/error.h"
#include "pool/chunk_claim.h"
#include "pool/future_callbacks.h"
#include "pool/pool_deadlines.h"
#include "pool/pool_jobs.h"
#include "pool/pool_recovery.h"
#include "pool/pool_wake.h"
#include "pool/worker.h"
#include "process/process_lead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Starting -------------------------------------------------------------------------------- */

/* On the supervisor's thread: a worker has completed a JOB_NOTIFY job. */
static void on_worker_progress(void *arg)
{
    worker_handle *worker = arg;
    xf_pool *pool = worker->pool;

    supervisor_enter(&pool->supervised);
    uv_mutex_lock(&pool->lock);
    future_callbacks_dispatch(pool);
    uv_mutex_unlock(&pool->lock);
}

static void on_worker_end(void *arg);
static void on_worker_released(void *arg);

static int start_worker(xf_pool *pool, worker_handle *worker)
{
    struct {
        worker_start start;
        uint8_t initializer_input[POOL_INITIALIZER_INPUT_MAX];
    } input;
    process_plan plan = {.task = &worker_task,
                         .input = &input,
                         .size = sizeof input.start + pool->options.initializer_size,
                         .method = pool->method,
                         .segments = {&pool->segment.books, &pool->segment.work},
                         .owner = {on_worker_progress, on_worker_end, on_worker_released, worker}};
    worker_slot *slot = pool_state_slot(worker);
    int rc;

    pool_state_use_slots(pool, worker->number + 1);
    input.start = (worker_start){.slot = worker->number, .epoch = worker->epoch};
    if (pool->cpu_sets)
        input.start.cpus = pool->cpu_sets[worker->number % pool->cpu_set_count];
    if (pool->options.initializer_size > 0)
        memcpy(input.initializer_input, pool->options.initializer_input, pool->options.initializer_size);
    atomic_store(&slot->intent, 0);
    atomic_store(&slot->said_item, 0);
    atomic_store(&slot->hazard, 0);
    atomic_store(&slot->busy, 1);
    atomic_store(&slot->items_done, 0);
    atomic_store(&slot->idle_exit, 0);
    atomic_store(&pool_state_order(worker)->retire, 0);
    atomic_store(&pool_state_order(worker)->stop_intent, 0);
    worker->stop_intent = worker->timed_serial = 0;
    worker->retiring = worker->doomed = false;
    rc = process_start(&worker->process, &plan, &pool->process);
    if (rc < 0)
        return rc;
    pool->running++;
    if (pool->to_replace > 0) {
        pool->to_replace--;
        pool->replaced++;
    }
    return 0;
}

enum { ENDING_MAX = 64 };

/* Starts workers until so many run, or one cannot be started, or too many that have ended wait for on_log. */
static int start_missing(xf_pool *pool, int count)
{
    int rc = 0;

    for (int i = 0; i < pool->worker_limit && pool->running < count && pool->ending < ENDING_MAX && rc == 0; i++)
        if (!pool->workers[i].process)
            rc = start_worker(pool, &pool->workers[i]);
    return rc;
}

static uint64_t count_idle(const xf_pool *pool)
{
    uint64_t count = 0;

    for (int i = 0; i < pool->worker_limit; i++)
        count += pool->workers[i].process && !atomic_load(&pool_state_slot(&pool->workers[i])->busy);
    return count;
}

/* Chunks for which no sleeping worker was woken are left to workers that are awake without work, and raise the target
 * by the rest. */
int pool_workers_call(xf_pool *pool, uint64_t chunks)
{
    uint64_t woken, missing;
    int rc = 0;

    woken = pool_wake_workers(pool, chunks);
    if (pool->target < pool->worker_limit && woken < chunks) {
        woken += count_idle(pool);
        missing = chunks > woken ? chunks - woken : 0;
        if (missing < (uint64_t)(pool->worker_limit - pool->target))
            pool->target += (int)missing;
        else
            pool->target = pool->worker_limit;
    }
    if (pool->target > pool->worker_limit)
        pool->target = pool->worker_limit;
    if (pool->target == 0)
        pool->target = 1;
    if (pool->running < pool->target && !pool->awaits_start)
        rc = start_missing(pool, pool->target);
    return pool->running > 0 ? 0 : rc; /* fewer workers than wanted do the work too */
}

/* ---- Ending ---------------------------------------------------------------------------------- */

void pool_workers_retire(xf_pool *pool)
{
    for (uint32_t i = 0; i < pool->slots_used; i++) {
        worker_handle *worker = &pool->workers[i];
        if (!worker->process || worker->retiring || (int)i < pool->worker_limit)
            continue;
        worker->retiring = true;
        atomic_store(&pool_state_order(worker)->retire, 1);
    }
    pool_wake_all(pool);
}

void pool_workers_shut_down(xf_pool *pool, bool kill)
{
    atomic_store(&pool->segment.head->shutdown, pool->terminating ? SHUTDOWN_NOW : SHUTDOWN_AFTER_WORK);
    for (uint32_t i = 0; i < pool->slots_used; i++) {
        if (pool->workers[i].process && kill)
            xf_process_kill(pool->workers[i].process);
        else if (pool->workers[i].process)
            process_wake(pool->workers[i].process);
    }
}

/* ---- The end of a worker --------------------------------------------------------------------- */

enum {
    FAILED_STARTS_MAX = 5,  /* in a row; after them the pool is broken */
    START_DELAY_MS = 10,    /* at first, when workers end before they are ready; it doubles up to */
    START_DELAY_MAX = 1000, /* this, */
    START_DELAY_FORGET = 10 /* and begins anew when none ended so for as many times this */
};

/* Recovers what the dead worker held, and gets its slot ready for the next worker. */
static void recover_slot(xf_pool *pool, worker_handle *worker)
{
    worker_slot *slot = pool_state_slot(worker);

    pool_recovery_recover(worker);
    pool->items_before += atomic_load(&slot->items_done);
    atomic_fetch_and(&pool->segment.shared->idle[worker->number / 64], ~(UINT64_C(1) << worker->number % 64));
    atomic_store(&slot->items_done, 0);
    atomic_store(&slot->busy, 0);
    atomic_store(&slot->hazard, 0);
    worker->epoch++;
}

/* Closes the pool because no worker can be started: all of its work ends for the reason that the report gives. */
static void break_pool(xf_pool *pool, const xf_report *report, stack_trace *trace)
{
    xf_report why = *report;
    char text[128];

    if (!*why.message) {
        snprintf(text, sizeof text, "workers end before they are ready: %s%s%s%s", report->kind_name,
                 *report->code_name ? " (" : "", report->code_name, *report->code_name ? ")" : "");
        why.message = text;
    }
    pool->broken = report_copy(&why, trace);
    pool->broken_status = (xf_status){XF_END_START_FAILED, XF_EFAILED, report->status.system};
    if (report->status.kind == XF_END_START_FAILED)
        pool->broken_status = report->status;
    pool->closed = true;
    for (xf_future *future = pool->first; future; future = future->next)
        pool_jobs_cancel_unclaimed(pool, future, XF_END_START_FAILED);
    pool_workers_shut_down(pool, false);
}

static bool is_any_worker_ready(const xf_pool *pool)
{
    for (uint32_t i = 0; i < pool->slots_used; i++)
        if (pool->workers[i].process && process_is_ready(pool->workers[i].process))
            return true;
    return false;
}

/* Whether the next worker would end in the same way.  XF_EMAIN says no: on a system where a kill can look like an
 * exit, it may be a kill. */
static bool is_permanent(const xf_status *status)
{
    return status->kind == XF_END_FAILED || (status->kind == XF_END_START_FAILED && status->code != XF_EMAIN);
}

/* Whether something outside of the pool ended the worker.  That says nothing about the next one: when memory is short,
 * the system kills many before they are ready, and none later. */
static bool is_from_outside(const xf_status *status)
{
    return status->kind == XF_END_KILLED || status->kind == XF_END_OUT_OF_MEMORY;
}

/* Lets the pool wait before it starts workers again: not after a worker that was ready, and not after the first one
 * that was not, but longer and longer after further ones.  Those that end while it waits were started before. */
static void delay_starts(xf_pool *pool, bool was_ready)
{
    const uint64_t forget = (uint64_t)START_DELAY_FORGET * START_DELAY_MAX * CLOCK_NS_PER_MS;
    uint64_t now = uv_hrtime();
    int delay = pool->start_delay_ms;

    if (was_ready) {
        pool->start_delay_ms = 0;
        pool->next_start = now;
    } else if (now >= pool->next_start) {
        if (now - pool->next_start > forget)
            delay = 0;
        pool->next_start = now + (uint64_t)delay * CLOCK_NS_PER_MS;
        pool->start_delay_ms = delay == 0 ? START_DELAY_MS : delay < START_DELAY_MAX / 2 ? 2 * delay : START_DELAY_MAX;
    }
}

/* A worker that ended before it was ready is a sign that no worker can be started, unless another worker is ready, or
 * something outside of the pool ended it. */
static void judge_worker_start(xf_pool *pool, const worker_handle *worker, const xf_report *report)
{
    bool was_ready = process_is_ready(worker->process);

    delay_starts(pool, was_ready || report->status.kind == XF_END_DONE);
    if (was_ready || is_any_worker_ready(pool)) {
        pool->failed_starts = 0;
        return;
    }
    if (pool->terminating || report->status.kind == XF_END_DONE || report->status.kind == XF_END_TERMINATED ||
        is_from_outside(&report->status))
        return;
    if (pool->running > 1 && is_permanent(&report->status)) {
        pool->target = pool->running - 1; /* the system may have no room for more workers */
        return;
    }
    pool->failed_starts++;
    if (!pool->broken && (pool->failed_starts == FAILED_STARTS_MAX || is_permanent(&report->status)))
        break_pool(pool, report, worker->process->trace);
}

/* Whether a worker has to be started in place of one that has ended. */
static bool must_replace(const xf_pool *pool)
{
    if (pool->broken || pool->terminating)
        return false;
    return pool->running < pool->target && (!pool->closed || chunk_claim_has_work(&pool->segment));
}

void pool_workers_replace(xf_pool *pool)
{
    int rc;

    if (pool->target > pool->worker_limit)
        pool->target = pool->worker_limit;
    pool->awaits_start = must_replace(pool) && uv_hrtime() < pool->next_start;
    if (pool->awaits_start || !must_replace(pool))
        return;
    rc = start_missing(pool, pool->target);
    if (rc < 0 && pool->running == 0) {
        xf_report report = {.status = {XF_END_START_FAILED, rc, 0},
                            .kind_name = xf_end_name(XF_END_START_FAILED),
                            .code_name = xf_err_name(rc),
                            .message = xf_error_detail(),
                            .name = worker_task.name,
                            .task = worker_task.name,
                            .stderr_tail = "",
                            .dump = "",
                            .saved = ""};
        break_pool(pool, &report, NULL);
    }
}

static bool is_anything_open(const xf_pool *pool)
{
    for (const xf_future *future = pool->first; future; future = future->next)
        if (!future_is_complete(future))
            return true;
    return false;
}

/* A worker that exits because it was idle is not replaced: lower the target.  If a job arrived while it was exiting,
 * keep the target, because pool_workers_call counted this worker as available. */
static void note_worker_exit(xf_pool *pool, const worker_handle *worker, const xf_report *report)
{
    bool idle =
        pool->options.idle_ms && report->status.kind == XF_END_DONE && atomic_load(&pool_state_slot(worker)->idle_exit);

    if (idle && !chunk_claim_has_work(&pool->segment) && pool->target > is_anything_open(pool))
        pool->target--;
    else if (!idle && !worker->retiring)
        pool->to_replace++;
}

/* On the supervisor's thread.  The pool may be freed as soon as this function has released the lock for the last
 * time.  A lock must not be destroyed while it is being unlocked, so supervisor_enter makes xf_pool_free wait
 * until this function has returned. */
static void on_worker_end(void *arg)
{
    worker_handle *worker = arg;
    xf_pool *pool = worker->pool;
    const xf_report *report;
    xf_process *process;

    supervisor_enter(&pool->supervised);
    uv_mutex_lock(&pool->lock); /* start_worker holds it until worker->process is set */
    process = worker->process;
    report = process_report(process);
    recover_slot(pool, worker);
    judge_worker_start(pool, worker, report);
    note_worker_exit(pool, worker, report);
    pool->running--;
    pool->ending++;
    worker->process = NULL;
    wake_word_signal_after_death(&pool->segment.work, &pool->segment.shared->done);
    pool_wake_all(pool);
    uv_mutex_unlock(
        &pool->lock); /* so that a thread that waits for a lost item does not wait for the start of a worker too */
    uv_mutex_lock(&pool->lock);
    pool_workers_replace(pool);
    pool_deadlines_check(pool);
    future_callbacks_dispatch(pool);
    uv_mutex_unlock(&pool->lock);
    process_lead_release(process);
}

/* On the supervisor's thread, in on_worker_end, or on the callback thread, once on_log has had the last line.  As
 * there, the pool may be freed when the lock is released. */
static void on_worker_released(void *arg)
{
    xf_pool *pool = ((worker_handle *)arg)->pool;

    if (callback_thread_is_this())
        callback_thread_enter(&pool->callbacks);
    uv_mutex_lock(&pool->lock);
    pool->ending--;
    pool_workers_replace(pool);
    pool_deadlines_check(pool);
    uv_cond_broadcast(&pool->changed);
    uv_mutex_unlock(&pool->lock);
}
