#include "pool/future_callbacks.h"

#include "base/error.h"
#include "os/cancel.h"
#include "pool/item_results.h"
#include "pool/pool_futures.h"
#include "pool/pool_jobs.h"

#include <stddef.h>
#include <stdlib.h>

/* ---- Calling --------------------------------------------------------------------------------- */

typedef enum handling { HANDLE_NOTHING, HANDLE_CANCEL, HANDLE_CALL, HANDLE_FREE } handling;

/* What there is to do for the future.  Only one look is taken at whether it is complete: it may be a moment later. */
static handling handling_of(const xf_future *future)
{
    bool stopped = future->options.stop_at_failure && future->unclaimed_status.kind == XF_END_NONE;

    if (!future_is_complete(future))
        return stopped && future_is_closing(future) ? HANDLE_CANCEL : HANDLE_NOTHING;
    if (future->callbacks == CALLBACKS_PENDING)
        return HANDLE_CALL;
    return future->detached && future->callbacks != CALLBACKS_RUNNING ? HANDLE_FREE : HANDLE_NOTHING;
}

typedef struct callbacks_call {
    xf_pool *pool;
    xf_future *future;
    pool_frame frame;
    bool returned; /* false when an exception leaves a callback: then nobody waits for the lock to be held */
} callbacks_call;

/* A callback may have detached the future: it is freed when the futures are looked through next. */
static void end_callbacks(callbacks_call *call)
{
    pool_state_leave(&call->frame);
    uv_mutex_lock(&call->pool->lock);
    call->future->callbacks = CALLBACKS_DONE;
    if (!call->returned)
        uv_mutex_unlock(&call->pool->lock);
}

static void call_callbacks(xf_pool *pool, xf_future *future)
{
    __attribute__((cleanup(end_callbacks))) callbacks_call call = {.pool = pool, .future = future};
    xf_map options = future->options;
    bool succeeded;

    item_results_collect(future);
    succeeded = future->failure_count == 0 && !future->short_of_memory;
    future->callbacks = CALLBACKS_RUNNING;
    pool_state_enter(&call.frame, pool, POOL_CALLS_BACK);
    uv_mutex_unlock(&pool->lock);
    if (succeeded && options.on_success)
        options.on_success(future, options.arg);
    if (!succeeded && options.on_failure)
        options.on_failure(future, options.arg);
    if (options.on_done)
        options.on_done(future, options.arg);
    call.returned = true;
}

/* Does for all futures what needs no callback.  Returns whether callbacks are due. */
static bool settle_futures(xf_pool *pool)
{
    bool due = false;

    for (xf_future *future = pool->free_asked ? NULL : pool->first, *next; future; future = next) {
        handling what = handling_of(future);
        next = future->next;
        if (what == HANDLE_CANCEL) {
            pool_jobs_cancel_unclaimed(pool, future, XF_END_CANCELLED);
            what = handling_of(future);
        }
        if (what == HANDLE_FREE)
            pool_futures_free(future);
        due |= what == HANDLE_CALL;
    }
    return due;
}

static void call_what_is_due(xf_pool *pool)
{
    xf_future *future = pool->first;

    while (future && !pool->free_asked) {
        if (handling_of(future) != HANDLE_CALL) {
            future = future->next;
            continue;
        }
        call_callbacks(pool, future);
        future = pool->first; /* the list may have changed while the lock was released */
    }
}

void future_callbacks_run(xf_pool *pool)
{
    while (settle_futures(pool))
        call_what_is_due(pool);
}

/* ---- Having them called ---------------------------------------------------------------------- */

/* An inline pool calls them where it runs tasks, unless there is a loop. */
static void have_callbacks_run(xf_pool *pool)
{
    if (pool->user_async)
        uv_async_send(pool->user_async);
    else
        callback_thread_post(&pool->callbacks);
}

void future_callbacks_dispatch(xf_pool *pool)
{
    if (settle_futures(pool))
        have_callbacks_run(pool);
}

void future_callbacks_schedule(xf_future *future)
{
    OS_HOLD_CANCEL;
    xf_pool *pool = future->pool;
    handling what = handling_of(future);

    if (what == HANDLE_NOTHING)
        return;
    if (what == HANDLE_CALL || pool->inline_worker) {
        have_callbacks_run(pool);
    } else {
        pool->callbacks_due = true;
        supervisor_set_deadline(&pool->supervised, 0);
    }
}

/* ---- On the callback thread ------------------------------------------------------------------ */

static void on_turn(callback_source *source)
{
    xf_pool *pool = (xf_pool *)((char *)source - offsetof(xf_pool, callbacks));

    uv_mutex_lock(&pool->lock);
    pool->calls_back = true;
    future_callbacks_run(pool);
    pool->calls_back = false;
    if (pool->free_asked)
        supervisor_set_deadline(&pool->supervised, 0);
    uv_mutex_unlock(&pool->lock);
}

int future_callbacks_prepare(xf_pool *pool)
{
    if (pool->user_async || pool->inline_worker || pool->callbacks.added)
        return 0;
    pool->callbacks.call = on_turn;
    return callback_thread_add(&pool->callbacks);
}

/* ---- On the user's loop ---------------------------------------------------------------------- */

static void on_user_async(uv_async_t *user_async)
{
    xf_pool *pool = user_async->data;
    bool free_asked;

    uv_mutex_lock(&pool->lock);
    future_callbacks_run(pool);
    free_asked = pool->free_asked;
    uv_mutex_unlock(&pool->lock);
    if (free_asked)
        pool->release(pool);
}

int future_callbacks_open(xf_pool *pool)
{
    int rc;

    if (!pool->options.loop)
        return 0;
    pool->user_async = malloc(sizeof *pool->user_async);
    if (!pool->user_async)
        return error_detail(XF_ENOMEM, "a handle on the loop");
    rc = uv_async_init(pool->options.loop, pool->user_async, on_user_async);
    if (rc == 0) {
        pool->user_async->data = pool;
        uv_unref((uv_handle_t *)pool->user_async); /* the loop may end while the pool is open */
        return 0;
    }
    free(pool->user_async);
    pool->user_async = NULL;
    return error_from_uv(rc, "uv_async_init");
}

static void free_user_async(uv_handle_t *handle)
{
    free(handle);
}

void future_callbacks_close(xf_pool *pool)
{
    if (pool->user_async)
        uv_close((uv_handle_t *)pool->user_async, free_user_async);
}
