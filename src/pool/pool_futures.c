#include "pool/pool_futures.h"

#include "pool/pool_jobs.h"

#include <stdlib.h>

void pool_futures_add(xf_pool *pool, xf_future *future)
{
    future->next = pool->first;
    if (pool->first)
        pool->first->previous = future;
    pool->first = future;
    pool->open_count++;
    pool->futures[future->number] = future;
}

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
        pool->detached_count -= future->detached;
    }
    for (size_t i = 0; i < future->failure_count; i++)
        report_free(future->failures[i].report);
    free(future->failures);
    free(future->out_spans);
    free(future->stopped);
    free(future->attempts);
    if (pool)
        pool_jobs_retire(pool, future);
    free(future);
}

/* A future whose callbacks are pending or running is not freed before they have returned. */
static bool may_be_freed(const xf_future *future)
{
    return future_is_complete(future) && future->callbacks != CALLBACKS_PENDING &&
           future->callbacks != CALLBACKS_RUNNING;
}

void pool_futures_release(xf_future *future)
{
    if (may_be_freed(future)) {
        pool_futures_free(future);
    } else if (!future->detached) {
        future->detached = true;
        future->pool->detached_count++;
        future->out = NULL;
    }
}

void pool_futures_reap(xf_pool *pool)
{
    xf_future *next;

    if (pool->detached_count <= pool->reap_threshold)
        return;
    for (xf_future *future = pool->first; future; future = next) {
        next = future->next;
        if (future->detached && may_be_freed(future))
            pool_futures_free(future);
    }
    pool->reap_threshold = 2 * pool->detached_count + 16;
}

void pool_futures_let_go(xf_pool *pool)
{
    while (pool->first) {
        xf_future *future = pool->first;
        pool->first = future->next;
        future->pool = NULL;
        if (future->detached)
            pool_futures_free(future);
    }
}

void pool_futures_orphan(xf_pool *pool)
{
    while (pool->first) {
        xf_future *future = pool->first;
        if (future->detached) {
            pool_futures_free(future);
            continue;
        }
        pool->first = future->next;
        if (pool->first)
            pool->first->previous = NULL;
        future->pool = NULL;
    }
}
