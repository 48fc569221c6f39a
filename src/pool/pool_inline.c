#include "pool/pool_inline.h"

#include "base/error.h"
#include "pool/chunk_claim.h"
#include "pool/future_callbacks.h"
#include "pool/pool_jobs.h"
#include "pool/worker_failure.h"
#include "pool/worker_output.h"
#include "process/child.h"

#include <stdlib.h>

typedef struct inline_context {
    worker worker; /* first: pool->inline_worker points to it */
    xf_pool *pool;
    xf_call call;
    os_shm box; /* in a segment of its own, because a black box has to begin at a page */
} inline_context;

static int inline_log(xf_call *call, xf_log_line *line, size_t size)
{
    const inline_context *context = call->backend_arg;
    const xf_process_options *options = &context->pool->process;

    line->item = worker_failure_item(call);
    if (options->on_log)
        options->on_log(NULL, line, options->on_log_arg);
    return child_log_put(call, line, size); /* which the parent does not want: it is the same process */
}

/* Does not wait: the only thread that could ask the task to stop runs it. */
static bool inline_stop_requested(xf_call *call, int timeout_ms)
{
    (void)timeout_ms;
    return worker_asked_to_stop(call);
}

static const call_backend inline_backend = {.output = worker_output_give,
                                            .begin_failure = worker_failure_replace,
                                            .log = inline_log,
                                            .send = worker_send,
                                            .stop_requested = inline_stop_requested};

int pool_inline_open(xf_pool *pool)
{
    inline_context *context = calloc(1, sizeof *context);
    int rc;

    if (!context)
        return error_detail(XF_ENOMEM, "an inline pool");
    rc = os_shm_create(&context->box, sizeof(black_box), OS_SHM_COPIED);
    if (rc < 0) {
        free(context);
        return rc;
    }
    call_begin(&context->call);
    context->call.box = context->box.address;
    child_log_open(&context->call.log);
    context->call.depth = child_depth();
    context->call.backend = &inline_backend;
    context->call.backend_arg = &context->worker;
    context->call.output = OS_SHM_NONE;
    context->worker.segment = pool->segment;
    context->worker.me = chunk_claim_by(&context->worker.segment, 0, 0);
    context->worker.slot = pool->segment.slots;
    context->worker.order = pool->segment.orders;
    context->worker.call = &context->call;
    context->worker.is_inline = true;
    context->pool = pool;
    pool_state_use_slots(pool, 1);
    pool->inline_worker = &context->worker;
    return 0;
}

void pool_inline_close(xf_pool *pool)
{
    inline_context *context = (inline_context *)pool->inline_worker;

    if (!context)
        return;
    os_guarded_free(&context->worker.staging.memory);
    uv_mutex_destroy(&context->call.log.lock);
    os_shm_close(&context->box);
    free(context);
}

typedef struct inline_run {
    xf_pool *pool;
    pool_frame frame;
    bool returned; /* false when an exception leaves a task; without the lock then */
} inline_run;

/* The exception leaves the call that submitted the work, too, so what is left of that work is cancelled. */
static void abandon_work(xf_pool *pool)
{
    worker *worker = pool->inline_worker;

    worker_abandon_item(worker);
    pool_jobs_cancel_unclaimed(pool, pool->futures[worker->claimed.number], XF_END_CANCELLED);
    worker_abandon_chunk(worker);
}

/* Others may have submitted work meanwhile: who waits for it runs it now.  The lock is released. */
static void leave_the_rest(xf_pool *pool)
{
    pool->callbacks_due = true;
    uv_mutex_unlock(&pool->lock);
    pool_segment_wake_waiters(&pool->segment);
}

static void end_inline_run(inline_run *run)
{
    xf_pool *pool = run->pool;

    if (!run->returned) {
        uv_mutex_lock(&pool->lock);
        abandon_work(pool);
    }
    pool_state_leave(&run->frame);
    pool->inline_running = false;
    if (!run->returned)
        leave_the_rest(pool);
}

static void run_queued_work(xf_pool *pool)
{
    __attribute__((cleanup(end_inline_run))) inline_run run = {.pool = pool};

    pool->inline_running = true;
    pool_state_enter(&run.frame, pool, POOL_RUNS_TASKS);
    do {
        uv_mutex_unlock(&pool->lock);
        worker_run_inline(pool->inline_worker);
        uv_mutex_lock(&pool->lock);
    } while (chunk_claim_has_work(&pool->segment));
    run.returned = true;
}

/* A task may submit more work, and so may another thread.  The call that runs already runs that work too, when it is
 * its turn. */
void pool_inline_run(xf_pool *pool)
{
    if (pool->inline_running)
        return;
    run_queued_work(pool);
    pool->callbacks_due = false;
    future_callbacks_run(pool);
}
