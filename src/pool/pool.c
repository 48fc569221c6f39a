/* The life of a pool. */
#include "base/clock.h"
#include "base/error.h"
#include "base/monitor.h"
#include "machine/machine.h"
#include "os/cancel.h"
#include "pool/chunk_claim.h"
#include "pool/future_callbacks.h"
#include "pool/output_guard.h"
#include "pool/pool_deadlines.h"
#include "pool/pool_futures.h"
#include "pool/pool_inline.h"
#include "pool/pool_jobs.h"
#include "pool/pool_workers.h"
#include "process/child.h"
#include "process/process_lead.h"
#include "process/start_method.h"
#include "protocol/task_table.h"

#include <stdlib.h>

enum { SPIN_US = 50 };

/* ---- Options --------------------------------------------------------------------------------- */

static int check_initializer(const xf_pool_options *options)
{
    const xf_task *tasks[] = {options->initializer, options->finalizer};

    for (int i = 0; i < 2; i++) {
        int rc = tasks[i] ? task_table_check(tasks[i]) : 0;
        if (rc < 0)
            return rc;
    }
    if (options->initializer && options->initializer->input_size != XF_ANY_SIZE &&
        options->initializer->input_size != options->initializer_size)
        return error_detail(XF_ESIZE, "task %s takes %zu bytes, not %zu", options->initializer->name,
                            options->initializer->input_size, options->initializer_size);
    return 0;
}

static int check_pool_options(const xf_pool_options *options)
{
    int rc;

    if (options->workers < XF_POOL_INLINE || options->workers > XF_POOL_WORKERS_MAX)
        return error_detail(XF_EINVAL, "option workers is %d", options->workers);
    if (options->initializer_size > POOL_INITIALIZER_INPUT_MAX)
        return error_detail(XF_EINVAL, "option initializer_size is %zu", options->initializer_size);
    if (options->max_attempts < 0 || options->idle_ms < 0 || options->spin_us < -1 || options->nesting < -1)
        return error_detail(XF_EINVAL, "option max_attempts is %d, idle_ms %d, spin_us %d, nesting %d",
                            options->max_attempts, options->idle_ms, options->spin_us, options->nesting);
    if ((unsigned)options->placement > XF_PLACEMENT_NUMA)
        return error_detail(XF_EINVAL, "option placement is %d", (int)options->placement);
    rc = error_check_data(options->initializer_input, options->initializer_size, "option initializer_input");
    if (rc == 0 && options->process)
        rc = process_start_check_options(options->process);
    if (rc < 0)
        return rc;
    if (child_depth() >= child_depth_limit())
        return error_detail(XF_EDEPTH, "workers of this pool would run at depth %d", child_depth() + 1);
    if (!task_table_is_closed())
        return error_detail(XF_EMAIN, "call xf_main at the top of main");
    return check_initializer(options);
}

/* Without a processor to spare, a process that spins takes time from one that works. */
static void choose_spin_time(xf_pool *pool)
{
    int spin = pool->options.spin_us;

    if (spin == 0)
        spin = pool->worker_limit < pool->cpu_count ? SPIN_US : 0;
    atomic_store(&pool->spin_us, spin < 0 ? 0 : (uint32_t)spin);
    atomic_store(&pool->segment.head->spin_us, atomic_load(&pool->spin_us));
}

/* Each job has a line of memory for each of them, so a small pool cannot grow to XF_POOL_WORKERS_MAX. */
static int max_workers_of(const xf_pool *pool)
{
    int limit = pool->initial_limit < XF_POOL_RESIZE_MIN / 4 ? XF_POOL_RESIZE_MIN : 4 * pool->initial_limit;

    if (pool->options.workers == XF_POOL_INLINE)
        return 1;
    return limit < XF_POOL_WORKERS_MAX ? limit : XF_POOL_WORKERS_MAX;
}

/* What is left of memory and of address space decides. */
static void choose_memory_limit(xf_pool *pool, uint64_t memory)
{
    enum { LEAST = 1 << 20 };
    uint64_t limit, room;

    pool->limit_is_default = pool->options.memory_limit == 0;
    if (!pool->limit_is_default)
        return;
    limit = machine_pool_memory(memory);
    room = pool_segment_limit_in((uint32_t)max_workers_of(pool), os_self_room());
    if (room < limit)
        limit = room;
    if (limit > SIZE_MAX / 64)
        limit = SIZE_MAX / 64;
    pool->options.memory_limit = limit < LEAST ? LEAST : (size_t)limit;
}

static int set_pool_options(xf_pool *pool, const xf_pool_options *options)
{
    static const os_method server = OS_SERVER;
    uint64_t memory;
    int rc;

    pool->options = *options;
    if (options->process)
        pool->process = *options->process;
    if (!pool->process.name)
        pool->process.name = "worker";
    pool->grace_ms = process_start_grace_ms(&pool->process);
    if (!pool->options.max_attempts)
        pool->options.max_attempts = 1;
    rc = machine_outline(&pool->cpu_count, &memory);
    if (rc < 0)
        return rc;
    pool->worker_limit = options->workers > 0 ? options->workers : pool->cpu_count;
    if (options->workers == XF_POOL_INLINE)
        pool->worker_limit = 1;
    pool->initial_limit = pool->worker_limit;
    choose_memory_limit(pool, memory);
    rc = start_method_choose(pool->process.start, &server, &pool->method);
    if (rc < 0 || options->workers == XF_POOL_INLINE)
        return rc;
    return machine_places(options->placement, &pool->cpu_sets, &pool->cpu_set_count);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void release_pool(xf_pool *pool);

/* On the supervisor's thread: a deadline has passed. */
static void on_pool_deadline(supervised *supervised)
{
    xf_pool *pool = (xf_pool *)supervised;
    bool over;

    uv_mutex_lock(&pool->lock);
    pool->callbacks_due = false;
    if (pool->awaits_start) {
        pool_workers_replace(pool);
        uv_cond_broadcast(&pool->changed);
    }
    pool_deadlines_check(pool);
    future_callbacks_dispatch(pool);
    over = pool_state_is_left(pool) && pool->ending == 0;
    uv_mutex_unlock(&pool->lock);
    if (over)
        pool->release(pool);
}

static int depth_limit_of(const xf_pool_options *options)
{
    int next = child_depth() + 1;

    if (options->nesting < 0)
        return next;
    return options->nesting == 0 || options->nesting > child_depth_limit() - next ? child_depth_limit()
                                                                                  : next + options->nesting;
}

/* Enters a task that workers run by itself. */
static int number_one(xf_pool *pool, xf_task *task, uint32_t *number)
{
    int rc = task ? pool_jobs_number_task(pool, task, number) : 0;

    if (task && rc == 0)
        ++*number;
    return rc;
}

static int number_initializer(xf_pool *pool)
{
    int rc = number_one(pool, pool->options.initializer, &pool->segment.head->initializer);

    return rc < 0 ? rc : number_one(pool, pool->options.finalizer, &pool->segment.head->finalizer);
}

static int open_pool_segment(xf_pool *pool)
{
    uint32_t slots = (uint32_t)max_workers_of(pool);
    books_head *head;
    int flags = pool->options.workers == XF_POOL_INLINE ? OS_SHM_COPIED : 0;
    int rc = pool_segment_create(&pool->segment, slots, pool->options.memory_limit, flags);

    if (rc < 0)
        return rc;
    rc = pool_pages_open(&pool->pages, &pool->segment);
    if (rc < 0)
        goto close_segment;
    pool->workers = calloc(slots, sizeof *pool->workers);
    if (!pool->workers) {
        rc = error_detail(XF_ENOMEM, "handles of %u workers", slots);
        goto close_pages;
    }
    for (uint32_t i = 0; i < slots; i++)
        pool->workers[i] = (worker_handle){.pool = pool, .number = i, .kill_time = CLOCK_NEVER};
    rc = number_initializer(pool);
    if (rc < 0)
        goto free_workers;
    head = pool->segment.head;
    head->idle_ms = pool->options.idle_ms;
    head->depth_limit = depth_limit_of(&pool->options);
    head->tasks_per_worker = pool->options.workers == XF_POOL_INLINE ? 0 : pool->options.tasks_per_worker;
    choose_spin_time(pool);
    return 0;

free_workers:
    free(pool->workers);
close_pages:
    pool_pages_close(&pool->pages);
close_segment:
    pool_segment_close(&pool->segment);
    return rc;
}

static void close_pool_segment(xf_pool *pool)
{
    free(pool->workers);
    pool_inline_close(pool);
    pool_pages_close(&pool->pages);
    pool_segment_close(&pool->segment);
}

static int start_pool(xf_pool *pool)
{
    int rc = 0;

    if (pool->options.workers == XF_POOL_INLINE)
        return pool_inline_open(pool);
    rc = supervisor_add(&pool->supervised);
    if (rc < 0 || !pool->options.eager)
        return rc;
    uv_mutex_lock(&pool->lock);
    rc = pool_workers_call(pool, UINT64_MAX);
    uv_mutex_unlock(&pool->lock);
    if (rc < 0)
        supervisor_remove(&pool->supervised);
    return rc;
}

int xf_pool_create(xf_pool **out, const xf_pool_options *options)
{
    OS_HOLD_CANCEL;
    static const xf_pool_options defaults;
    xf_pool *pool;
    int rc = check_pool_options(options ? options : &defaults);

    if (rc < 0)
        return rc;
    pool = calloc(1, sizeof *pool);
    if (!pool)
        return error_detail(XF_ENOMEM, "a pool");
    pool->supervised.on_due = on_pool_deadline;
    pool->next_check = CLOCK_NEVER;
    pool->audit_ms = POOL_AUDIT_MS;
    pool->release = release_pool;
    pool->generation = os_self_generation();
    rc = set_pool_options(pool, options ? options : &defaults);
    if (rc < 0)
        goto free_pool;
    rc = monitor_open(&pool->lock, &pool->changed, "a pool");
    if (rc < 0)
        goto free_pool;
    rc = open_pool_segment(pool);
    if (rc < 0)
        goto close_lock;
    rc = future_callbacks_open(pool);
    if (rc < 0)
        goto close_pool_segment;
    rc = start_pool(pool);
    if (rc < 0)
        goto close_callbacks;
    *out = pool;
    return 0;

close_callbacks:
    future_callbacks_close(pool);
close_pool_segment:
    close_pool_segment(pool);
close_lock:
    monitor_close(&pool->lock, &pool->changed);
free_pool:
    free(pool->cpu_sets);
    free(pool);
    return rc;
}

/* ---- Closing --------------------------------------------------------------------------------- */

void xf_pool_close(xf_pool *pool)
{
    OS_HOLD_CANCEL;

    if (pool_state_check_own(pool) < 0)
        return;
    uv_mutex_lock(&pool->lock);
    pool->closed = true;
    if (!pool->inline_worker)
        pool_workers_shut_down(pool, false);
    uv_mutex_unlock(&pool->lock);
}

/* Whether a worker runs, or the pool is about to start one for work that it still has. */
static bool has_workers(const xf_pool *pool)
{
    return pool->running > 0 || pool->ending > 0 || (pool->awaits_start && !pool->terminating);
}

/* Waits until every worker has ended.  The lock is held. */
static int await_workers(xf_pool *pool, uint64_t deadline)
{
    while (has_workers(pool)) {
        uint64_t now = uv_hrtime();
        if (deadline == CLOCK_NEVER)
            uv_cond_wait(&pool->changed, &pool->lock);
        else if (now >= deadline || uv_cond_timedwait(&pool->changed, &pool->lock, deadline - now) < 0)
            return has_workers(pool) ? XF_ETIMEDOUT : 0;
    }
    return 0;
}

int xf_pool_join(xf_pool *pool, int timeout_ms)
{
    OS_HOLD_CANCEL;
    int rc = pool_state_check_wait(pool, timeout_ms);

    if (rc < 0)
        return rc;
    uv_mutex_lock(&pool->lock);
    rc = pool->closed ? await_workers(pool, clock_deadline(timeout_ms))
                      : error_detail(XF_ESTATE, "call xf_pool_close before xf_pool_join");
    uv_mutex_unlock(&pool->lock);
    return rc;
}

/* The lock is held. */
static void cancel_all_unclaimed(xf_pool *pool)
{
    for (xf_future *future = pool->first; future; future = future->next)
        if (!future_is_complete(future)) {
            pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
            future_callbacks_schedule(future);
        }
}

/* Asks the workers to exit, and kills them after the grace.  The lock is held. */
static int terminate_workers(xf_pool *pool, int grace_ms, int timeout_ms)
{
    int rc;

    pool->closed = pool->terminating = true;
    cancel_all_unclaimed(pool);
    pool_workers_shut_down(pool, grace_ms == 0);
    rc = await_workers(pool, clock_deadline(grace_ms));
    if (rc < 0) {
        pool_workers_shut_down(pool, true);
        rc = await_workers(pool, clock_deadline(timeout_ms));
    }
    return rc;
}

int xf_pool_terminate(xf_pool *pool, int timeout_ms)
{
    OS_HOLD_CANCEL;
    int rc = pool_state_check_wait(pool, timeout_ms);
    int grace_ms = timeout_ms >= 0 && timeout_ms < pool->grace_ms ? timeout_ms : pool->grace_ms;

    if (rc < 0)
        return rc;
    uv_mutex_lock(&pool->lock);
    if (pool->inline_worker)
        pool->closed = true;
    else
        rc = terminate_workers(pool, grace_ms, timeout_ms);
    uv_mutex_unlock(&pool->lock);
    return rc;
}

static void free_pool_memory(xf_pool *pool)
{
    report_free(pool->broken);
    free(pool->cpu_sets);
    free(pool->free_jobs);
    free(pool->retired);
    free(pool->futures);
    close_pool_segment(pool);
}

static void release_pool(xf_pool *pool)
{
    uv_mutex_lock(&pool->lock);
    if (!pool->inline_worker)
        terminate_workers(pool, 0, XF_FOREVER);
    uv_mutex_unlock(&pool->lock);
    callback_thread_remove(&pool->callbacks); /* afterwards no thread is in a callback of the pool, */
    if (!pool->inline_worker)
        supervisor_remove(&pool->supervised); /* nor in on_due */
    pool_futures_orphan(pool);
    future_callbacks_close(pool);
    free_pool_memory(pool);
    monitor_close(&pool->lock, &pool->changed);
    free(pool);
}

/* In a forked copy of the process that created the pool: frees the copy's memory, and touches nothing that is shared.
 * If another thread was changing the pool at the moment of the fork, its memory cannot be relied on, and stays.  The
 * monitor is not destroyed, because threads that only the parent has may sleep on it; and a handle on a loop cannot be
 * closed here. */
static void let_pool_go(xf_pool *pool)
{
    if (uv_mutex_trylock(&pool->lock) != 0)
        return;
    for (int i = 0; i < max_workers_of(pool); i++)
        if (pool->workers[i].process)
            process_lead_let_go(pool->workers[i].process);
    pool_futures_let_go(pool);
    os_shm_let_go(&pool->segment.books);
    os_shm_let_go(&pool->segment.work);
    os_shm_let_go(&pool->pages.words);
    free_pool_memory(pool);
    free(pool);
}

/* Kills the workers, and leaves the rest to a thread that is in no callback then: the supervisor's, when the last
 * worker has ended, or the one of the user's loop. */
static void ask_for_release(xf_pool *pool)
{
    uv_mutex_lock(&pool->lock);
    pool->closed = pool->terminating = pool->free_asked = true;
    cancel_all_unclaimed(pool);
    pool_workers_shut_down(pool, true);
    if (pool->user_async)
        uv_async_send(pool->user_async);
    else
        supervisor_set_deadline(&pool->supervised, 0);
    uv_mutex_unlock(&pool->lock);
}

/* Whether this thread is in a callback, or in the log callback of a worker. */
static bool is_called_back(const xf_pool *pool)
{
    return callback_thread_is_this() || pool_state_is_here(pool, POOL_CALLS_BACK);
}

void xf_pool_free(xf_pool *pool)
{
    OS_HOLD_CANCEL;

    if (!pool)
        return;
    if (pool_state_check_own(pool) < 0)
        let_pool_go(pool);
    else if (pool->inline_worker &&
             (pool_state_is_here(pool, POOL_RUNS_TASKS) || pool_state_is_here(pool, POOL_CALLS_BACK)))
        error_detail(XF_EDEADLK, "an inline pool cannot be freed in its own task or callback");
    else if (!pool->inline_worker && is_called_back(pool))
        ask_for_release(pool);
    else
        release_pool(pool);
}

int xf_pool_resize(xf_pool *pool, int workers)
{
    OS_HOLD_CANCEL;
    int rc = pool_state_check_own(pool);

    if (rc < 0)
        return rc;
    if (workers < 1 || (workers > max_workers_of(pool) && !pool->inline_worker))
        return error_detail(XF_EINVAL, "%d workers; this pool can have %d", workers, max_workers_of(pool));
    uv_mutex_lock(&pool->lock);
    if (pool->inline_worker || pool->closed) {
        rc = error_detail(XF_ESTATE, "the pool is %s", pool->inline_worker ? "inline" : "closed");
    } else {
        pool->worker_limit = workers;
        choose_spin_time(pool);
        pool_workers_retire(pool);
        if (chunk_claim_has_work(&pool->segment) || pool->options.eager)
            rc = pool_workers_call(pool, UINT64_MAX);
    }
    uv_mutex_unlock(&pool->lock);
    return rc;
}

/* ---- Shared memory --------------------------------------------------------------------------- */

/* Behind the memory there are guard bytes. */
static int take_buffer(xf_pool *pool, size_t size, uint64_t *at)
{
    return size > SIZE_MAX - OUTPUT_GUARD ? error_detail(XF_ENOMEM, "a buffer of %zu bytes", size)
                                          : pool_pages_take(&pool->pages, PAGES_BUFFERS, size + OUTPUT_GUARD, at);
}

void *xf_pool_buffer_alloc(xf_pool *pool, size_t size)
{
    OS_HOLD_CANCEL;
    uint64_t at, deadline = clock_deadline(POOL_MEMORY_MS);
    int rc = pool_state_check_own(pool);
    char *buffer;

    if (rc < 0)
        return NULL;
    uv_mutex_lock(&pool->lock);
    do
        rc = take_buffer(pool, size, &at);
    while (rc == XF_ENOMEM && pool_jobs_await_memory(pool, deadline));
    uv_mutex_unlock(&pool->lock);
    if (rc < 0)
        return NULL;
    buffer = pool_segment_at(&pool->segment, at);
    output_guard_set(buffer + size, OUTPUT_GUARD);
    return buffer;
}

void xf_pool_buffer_free(xf_pool *pool, void *memory)
{
    OS_HOLD_CANCEL;

    if (!memory || pool_state_check_own(pool) < 0)
        return;
    uv_mutex_lock(&pool->lock);
    pool_pages_free(&pool->pages, PAGES_BUFFERS, pool_segment_offset(&pool->segment, memory));
    uv_mutex_unlock(&pool->lock);
}
