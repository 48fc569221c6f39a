/* The life of a pool. */
#include "pool/pool.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/monitor.h"
#include "machine/machine.h"
#include "process/child.h"
#include "protocol/task_table.h"

#include <stdlib.h>
#include <string.h>

enum { SPIN_US = 50, INITIALIZER_INPUT_MAX = 16384 };

int pool_state_grow(void *array, size_t count, size_t *room, size_t size)
{
    void **pointer = array, *grown;
    size_t more = *room ? 2 * *room : 8;

    if (count < *room)
        return 0;
    grown = realloc(*pointer, more * size);
    if (!grown)
        return error_detail(XF_ENOMEM, "%zu bytes of a pool's books", more * size);
    *pointer = grown;
    *room = more;
    return 0;
}

int pool_state_check(const xf_pool *pool)
{
    if (pool->broken)
        return error_detail(pool->broken_status.code < 0 ? pool->broken_status.code : XF_ESTATE,
                            "no worker can be started: %s", pool->broken->message);
    return pool->closed ? error_detail(XF_ESTATE, "the pool is closed") : 0;
}

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

static int check_options(const xf_pool_options *options)
{
    if (options->workers < XF_POOL_INLINE || options->workers > XF_POOL_WORKERS_MAX)
        return error_detail(XF_EINVAL, "option workers is %d", options->workers);
    if (options->initializer_size > INITIALIZER_INPUT_MAX)
        return error_detail(XF_EINVAL, "option initializer_size is %zu", options->initializer_size);
    if (options->max_attempts < 0 || options->idle_ms < 0 || options->spin_us < -1 || options->nesting < -1)
        return error_detail(XF_EINVAL, "option max_attempts is %d, idle_ms %d, spin_us %d, nesting %d",
                            options->max_attempts, options->idle_ms, options->spin_us, options->nesting);
    if ((unsigned)options->placement > XF_PLACEMENT_NUMA)
        return error_detail(XF_EINVAL, "option placement is %d", (int)options->placement);
    if (child_depth() >= child_depth_limit())
        return error_detail(XF_EDEPTH, "a pool's workers would run at depth %d", child_depth() + 1);
    if (!task_table_is_closed())
        return error_detail(XF_EMAIN, "call xf_main at the top of main");
    return check_initializer(options);
}

/* Where no processor is to spare, who spins keeps another from its work. */
static void choose_spin(xf_pool *pool)
{
    int spin = pool->options.spin_us;

    if (spin == 0)
        spin = pool->wanted < pool->most_busy ? SPIN_US : 0;
    atomic_store(&pool->plane.head->spin_us, spin < 0 ? 0 : (uint32_t)spin);
}

static int look_at_machine(xf_pool *pool)
{
    uint64_t memory;
    int rc = machine_outline(&pool->most_busy, &memory);

    if (rc < 0)
        return rc;
    if (!pool->options.memory_limit)
        pool->options.memory_limit = memory < SIZE_MAX / 8 ? (size_t)memory : SIZE_MAX / 8;
    return 0;
}

static int set_options(xf_pool *pool, const xf_pool_options *options)
{
    static const os_method server = OS_SERVER;
    int rc;

    pool->options = *options;
    if (options->process)
        pool->process = *options->process;
    if (!pool->process.name)
        pool->process.name = "worker";
    pool->grace_ms = process_start_grace_ms(&pool->process);
    if (!pool->options.max_attempts)
        pool->options.max_attempts = 1;
    rc = look_at_machine(pool);
    if (rc < 0)
        return rc;
    pool->wanted = options->workers > 0 ? options->workers : pool->most_busy;
    if (options->workers == XF_POOL_INLINE)
        pool->wanted = 1;
    pool->first_wanted = pool->wanted;
    rc = process_start_choose_method(pool->process.start, &server, &pool->method);
    if (rc < 0 || options->workers == XF_POOL_INLINE)
        return rc;
    return machine_places(options->placement, &pool->places, &pool->place_count);
}

/* ---- An inline pool -------------------------------------------------------------------------- */

typedef struct inline_worker {
    worker worker;
    xf_pool *pool;
    xf_call call;
    os_shm box; /* of its own: it begins with a page */
} inline_worker;

static int inline_log(xf_call *call, xf_log_line *line, size_t size)
{
    const inline_worker *here = (const inline_worker *)call->backend_arg;
    const xf_process_options *options = &here->pool->process;

    (void)size;
    line->item = worker_item(call);
    if (options->on_log)
        options->on_log(NULL, line, options->on_log_arg);
    return 0;
}

/* No thread asks while the task waits: the thread that could ask is in this call. */
static bool inline_stop_requested(xf_call *call, int timeout_ms)
{
    (void)timeout_ms;
    return worker_asked_to_stop(call);
}

static const call_backend inline_backend = {.output = worker_output,
                                            .begin_failure = worker_begin_failure,
                                            .log = inline_log,
                                            .send = worker_send,
                                            .stop_requested = inline_stop_requested};

static int open_inline(xf_pool *pool)
{
    inline_worker *here = calloc(1, sizeof *here);
    int rc;

    if (!here)
        return error_detail(XF_ENOMEM, "an inline pool");
    rc = os_shm_create(&here->box, sizeof(black_box), 0);
    if (rc < 0) {
        free(here);
        return rc;
    }
    here->call.box = here->box.address;
    here->call.depth = child_depth();
    here->call.backend = &inline_backend;
    here->call.backend_arg = &here->worker;
    here->call.output = OS_SHM_NONE;
    here->worker.plane = pool->plane;
    here->worker.slot = pool->plane.slots;
    here->worker.call = &here->call;
    here->worker.is_inline = true;
    here->pool = pool;
    atomic_store(&pool->plane.head->slots_used, 1);
    pool->here = &here->worker;
    return 0;
}

static void close_inline(xf_pool *pool)
{
    inline_worker *here = (inline_worker *)pool->here;

    if (!here)
        return;
    os_shm_close(&here->box);
    free(here);
}

/* A task may hand in more, and so may another thread: that runs when it is its turn, in the call that is under way. */
void pool_inline_run(xf_pool *pool)
{
    if (pool->running)
        return;
    pool->running = true;
    do {
        uv_mutex_unlock(&pool->lock);
        worker_run_inline(pool->here);
        uv_mutex_lock(&pool->lock);
    } while (chunk_claim_has_work(&pool->plane));
    pool->running = false;
    future_callbacks_run(pool);
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* On the supervisor's thread: a deadline has passed. */
static void on_deadline(supervised *supervised)
{
    xf_pool *pool = (xf_pool *)supervised;

    uv_mutex_lock(&pool->lock);
    pool->untold = false;
    pool_deadlines_check(pool);
    future_callbacks_dispatch(pool);
    uv_mutex_unlock(&pool->lock);
}

/* On the thread of the user's loop. */
static void on_news(uv_async_t *news)
{
    xf_pool *pool = news->data;

    uv_mutex_lock(&pool->lock);
    future_callbacks_run(pool);
    uv_mutex_unlock(&pool->lock);
}

static int open_news(xf_pool *pool)
{
    int rc;

    if (!pool->options.loop)
        return 0;
    pool->news = malloc(sizeof *pool->news);
    if (!pool->news)
        return error_detail(XF_ENOMEM, "a handle on the loop");
    rc = uv_async_init(pool->options.loop, pool->news, on_news);
    if (rc == 0) {
        pool->news->data = pool;
        uv_unref((uv_handle_t *)pool->news); /* it is no reason for the loop to go on */
        return 0;
    }
    free(pool->news);
    pool->news = NULL;
    return error_from_uv(rc, "uv_async_init");
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_news(xf_pool *pool)
{
    if (pool->news)
        uv_close((uv_handle_t *)pool->news, free_handle);
}

static int depth_limit_of(const xf_pool_options *options)
{
    int limit = child_depth() + 1 + (options->nesting > 0 ? options->nesting : 0);

    return options->nesting == 0 || limit > child_depth_limit() ? child_depth_limit() : limit;
}

/* Each job has a line of memory for each worker that there can be. */
static int pool_most_workers(const xf_pool *pool)
{
    int most = pool->first_wanted < XF_POOL_RESIZE_MIN / 4 ? XF_POOL_RESIZE_MIN : 4 * pool->first_wanted;

    if (pool->options.workers == XF_POOL_INLINE)
        return 1;
    return most < XF_POOL_WORKERS_MAX ? most : XF_POOL_WORKERS_MAX;
}

static int open_plane(xf_pool *pool)
{
    uint32_t slots = (uint32_t)pool_most_workers(pool);
    segment_header *head;
    int rc = pool_segment_create(&pool->plane, slots, pool->options.memory_limit);

    if (rc < 0)
        return rc;
    pool->members = calloc(slots, sizeof *pool->members);
    if (!pool->members) {
        os_shm_close(&pool->plane.shm);
        return error_detail(XF_ENOMEM, "the places of workers");
    }
    for (uint32_t i = 0; i < slots; i++)
        pool->members[i] = (member){.pool = pool, .number = i, .kill_time = CLOCK_NEVER};
    head = pool->plane.head;
    head->idle_ms = pool->options.idle_ms;
    head->depth_limit = depth_limit_of(&pool->options);
    head->tasks_per_worker = pool->options.workers == XF_POOL_INLINE ? 0 : pool->options.tasks_per_worker;
    if (pool->options.initializer && pool_jobs_number_task(pool, pool->options.initializer, &head->initializer) == 0)
        head->initializer++;
    if (pool->options.finalizer && pool_jobs_number_task(pool, pool->options.finalizer, &head->finalizer) == 0)
        head->finalizer++;
    choose_spin(pool);
    return 0;
}

static void close_plane(xf_pool *pool)
{
    free(pool->members);
    close_inline(pool);
    os_shm_close(&pool->plane.shm);
}

static int start_first(xf_pool *pool)
{
    int rc = 0;

    if (pool->options.workers == XF_POOL_INLINE)
        return open_inline(pool);
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
    static const xf_pool_options defaults;
    xf_pool *pool;
    int rc = check_options(options ? options : &defaults);

    if (rc < 0)
        return rc;
    pool = calloc(1, sizeof *pool);
    if (!pool)
        return error_detail(XF_ENOMEM, "a pool");
    pool->supervised.on_due = on_deadline;
    rc = set_options(pool, options ? options : &defaults);
    if (rc == 0)
        rc = process_start_check_options(&pool->process);
    if (rc < 0)
        goto free_pool;
    rc = monitor_open(&pool->lock, &pool->changed, "a pool");
    if (rc < 0)
        goto free_pool;
    rc = open_plane(pool);
    if (rc < 0)
        goto close_lock;
    rc = open_news(pool);
    if (rc < 0)
        goto close_plane;
    rc = start_first(pool);
    if (rc < 0)
        goto close_news;
    *out = pool;
    return 0;

close_news:
    close_news(pool);
close_plane:
    close_plane(pool);
close_lock:
    monitor_close(&pool->lock, &pool->changed);
free_pool:
    free(pool->places);
    free(pool);
    return rc;
}

/* ---- Closing --------------------------------------------------------------------------------- */

void xf_pool_close(xf_pool *pool)
{
    uv_mutex_lock(&pool->lock);
    pool->closed = true;
    if (!pool->here)
        pool_workers_shut_down(pool, false);
    uv_mutex_unlock(&pool->lock);
}

/* With the lock held: waits until every worker has ended. */
static int await_all(xf_pool *pool, uint64_t deadline)
{
    while (pool->live > 0 || pool->ending > 0) {
        uint64_t now = uv_hrtime();
        if (deadline == CLOCK_NEVER)
            uv_cond_wait(&pool->changed, &pool->lock);
        else if (now >= deadline || uv_cond_timedwait(&pool->changed, &pool->lock, deadline - now) < 0)
            return pool->live > 0 || pool->ending > 0 ? XF_ETIMEDOUT : 0;
    }
    return 0;
}

int xf_pool_join(xf_pool *pool, int timeout_ms)
{
    int rc;

    uv_mutex_lock(&pool->lock);
    rc = pool->closed ? await_all(pool, clock_deadline(timeout_ms))
                      : error_detail(XF_ESTATE, "xf_pool_close comes before xf_pool_join");
    uv_mutex_unlock(&pool->lock);
    return rc;
}

/* With the lock held. */
static void cancel_all(xf_pool *pool)
{
    for (xf_future *future = pool->first; future; future = future->next)
        if (!future_is_complete(future)) {
            pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
            future_callbacks_schedule(future);
        }
}

/* With the lock held. */
static int terminate(xf_pool *pool, int grace_ms, int timeout_ms)
{
    int rc;

    pool->closed = pool->terminating = true;
    cancel_all(pool);
    pool_workers_shut_down(pool, grace_ms == 0);
    rc = await_all(pool, clock_deadline(grace_ms));
    if (rc < 0) {
        pool_workers_shut_down(pool, true);
        rc = await_all(pool, clock_deadline(timeout_ms));
    }
    return rc;
}

int xf_pool_terminate(xf_pool *pool, int timeout_ms)
{
    int rc = 0, grace_ms = timeout_ms >= 0 && timeout_ms < pool->grace_ms ? timeout_ms : pool->grace_ms;

    uv_mutex_lock(&pool->lock);
    if (pool->here)
        pool->closed = true;
    else
        rc = terminate(pool, grace_ms, timeout_ms);
    uv_mutex_unlock(&pool->lock);
    return rc;
}

/* Futures outlive the pool, as empty ones. */
static void let_futures_go(xf_pool *pool)
{
    while (pool->first) {
        xf_future *future = pool->first;
        if (future->given_up) {
            pool_futures_free(future);
            continue;
        }
        pool->first = future->next;
        if (pool->first)
            pool->first->previous = NULL;
        future->pool = NULL;
    }
}

void xf_pool_free(xf_pool *pool)
{
    if (!pool)
        return;
    uv_mutex_lock(&pool->lock);
    if (!pool->here)
        terminate(pool, 0, XF_FOREVER);
    uv_mutex_unlock(&pool->lock);
    if (!pool->here)
        supervisor_remove(&pool->supervised); /* after which it is in no callback */
    let_futures_go(pool);
    close_news(pool);
    report_free(pool->broken);
    free(pool->places);
    free(pool->free_jobs);
    free(pool->retired);
    free(pool->futures);
    close_plane(pool);
    monitor_close(&pool->lock, &pool->changed);
    free(pool);
}

int xf_pool_resize(xf_pool *pool, int workers)
{
    int rc = 0;

    if (workers < 1 || (workers > pool_most_workers(pool) && !pool->here))
        return error_detail(XF_EINVAL, "%d workers; this pool can have %d", workers, pool_most_workers(pool));
    uv_mutex_lock(&pool->lock);
    if (pool->here || pool->closed) {
        rc = error_detail(XF_ESTATE, "a pool that is %s", pool->here ? "inline" : "closed");
    } else {
        pool->wanted = workers;
        choose_spin(pool);
        pool_workers_retire(pool);
        if (chunk_claim_has_work(&pool->plane) || pool->options.eager)
            rc = pool_workers_call(pool, UINT64_MAX);
    }
    uv_mutex_unlock(&pool->lock);
    return rc;
}

/* ---- Shared memory --------------------------------------------------------------------------- */

void *xf_pool_buffer_alloc(xf_pool *pool, size_t size)
{
    uint64_t at, deadline = clock_deadline(POOL_MEMORY_MS);
    int rc = pool_segment_take_pages(&pool->plane, size, PAGES_OF_PARENT, &at);

    if (rc == XF_ENOMEM) {
        uv_mutex_lock(&pool->lock);
        while (rc == XF_ENOMEM && pool_jobs_await_memory(pool, deadline))
            rc = pool_segment_take_pages(&pool->plane, size, PAGES_OF_PARENT, &at);
        uv_mutex_unlock(&pool->lock);
    }
    return rc < 0 ? NULL : pool_segment_at(&pool->plane, at);
}

void xf_pool_buffer_free(xf_pool *pool, void *memory)
{
    if (memory)
        pool_segment_free_pages(&pool->plane, pool_segment_offset(&pool->plane, memory));
}

/* ---- Looking --------------------------------------------------------------------------------- */

static uint64_t count_queued(const xf_pool *pool)
{
    uint64_t queued = 0;

    for (const xf_future *future = pool->first; future; future = future->next) {
        if (future_is_complete(future))
            continue;
        for (uint64_t i = 0; i < future->job->chunk_count; i++) {
            uint64_t claim = atomic_load(pool_segment_claim(&pool->plane, future->job, i));
            if (claim_word_state(claim) == CLAIM_QUEUED)
                queued += job_items_in(future->job, i) - claim_word_skip(claim);
        }
    }
    return queued;
}

static void look_at_worker(xf_pool *pool, const member *member, xf_worker_stats *stats)
{
    const slot *slot = &pool->plane.slots[member->number];
    uint64_t intent = atomic_load(&slot->intent), number = (intent >> 40) - 1;
    const xf_future *future = intent && number < pool->job_count ? pool->futures[number] : NULL;

    memset(stats, 0, sizeof *stats);
    stats->ready = atomic_load(&slot->ready) != 0;
    stats->pid = process_known_pid(member->process); /* asked for after that: who is ready has one */
    stats->busy = stats->ready && atomic_load(&slot->busy) != 0;
    stats->done = atomic_load(&slot->items);
    if (stats->busy && future) {
        strncpy(stats->task, future->task->name, sizeof stats->task - 1);
        stats->item = (intent & ((UINT64_C(1) << 40) - 1)) * future->job->chunk + slot->progress;
    }
}

static size_t count_memory(const plane *plane)
{
    uint64_t end = atomic_load(&plane->head->searched), used = 0;

    for (uint64_t i = 0; i < end; i++)
        used += atomic_load_explicit(&plane->units[i], memory_order_relaxed) != 0;
    return (size_t)(used * OS_PAGE);
}

int xf_pool_stats_get(xf_pool *pool, xf_pool_stats *stats, xf_worker_stats *workers, int room)
{
    int count = 0;

    uv_mutex_lock(&pool->lock);
    pool_jobs_reclaim(pool);
    *stats = (xf_pool_stats){.workers = pool->here ? 0 : pool->wanted,
                             .started = pool->live,
                             .queued = count_queued(pool),
                             .done = pool->items_before,
                             .lost = pool->lost,
                             .replaced = pool->replaced,
                             .futures = pool->open_count,
                             .memory = count_memory(&pool->plane),
                             .memory_peak = (size_t)atomic_load(&pool->plane.head->committed) * OS_PAGE};
    for (uint32_t i = 0; i < atomic_load(&pool->plane.head->slots_used); i++) {
        const slot *slot = &pool->plane.slots[i];
        stats->done += atomic_load(&slot->items);
        if (!pool->members[i].process)
            continue;
        stats->busy += atomic_load(&slot->busy) && atomic_load(&slot->ready);
        if (count < room)
            look_at_worker(pool, &pool->members[i], &workers[count]);
        count++;
    }
    uv_mutex_unlock(&pool->lock);
    return count;
}
