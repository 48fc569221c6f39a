#include "pool/pool_state.h"

#include "base/error.h"

#include <stdlib.h>

int pool_state_grow(void *array, size_t count, size_t *room, size_t size)
{
    void **pointer = array, *grown;
    size_t more = *room ? 2 * *room : 8;

    if (count < *room)
        return 0;
    grown = realloc(*pointer, more * size);
    if (!grown)
        return error_detail(XF_ENOMEM, "%zu bytes for the pool's bookkeeping", more * size);
    *pointer = grown;
    *room = more;
    return 0;
}

static _Thread_local pool_frame *innermost;

void pool_state_enter(pool_frame *frame, const xf_pool *pool, pool_duty duty)
{
    *frame = (pool_frame){pool, duty, innermost};
    innermost = frame;
}

void pool_state_leave(const pool_frame *frame)
{
    innermost = frame->outer;
}

bool pool_state_is_here(const xf_pool *pool, pool_duty duty)
{
    const pool_frame *frame = innermost;

    while (frame && (frame->pool != pool || frame->duty != duty))
        frame = frame->outer;
    return frame;
}

int pool_state_check_wait(const xf_pool *pool, int timeout_ms)
{
    int rc = pool_state_check_own(pool);

    if (rc < 0 || timeout_ms == 0)
        return rc;
    if (pool->inline_worker)
        return pool_state_is_here(pool, POOL_RUNS_TASKS)
                   ? error_detail(XF_EDEADLK, "a task of an inline pool waits for the pool that runs it")
                   : 0;
    return callback_thread_is_this()
               ? error_detail(XF_EDEADLK, "a pool cannot be waited for in a callback on the callback thread")
               : 0;
}

int pool_state_check_own(const xf_pool *pool)
{
    return pool->generation == os_self_generation()
               ? 0
               : error_detail(XF_ESTATE, "the pool was created by the process that this one is a forked copy of");
}

int pool_state_check(const xf_pool *pool)
{
    if (pool->broken)
        return error_detail(pool->broken_status.code < 0 ? pool->broken_status.code : XF_ESTATE,
                            "no worker can be started: %s", pool->broken->message);
    return pool->closed ? error_detail(XF_ESTATE, "the pool is closed") : 0;
}

void pool_state_use_slots(xf_pool *pool, uint32_t count)
{
    if (count <= pool->slots_used)
        return;
    pool->slots_used = count;
    atomic_store(&pool->segment.head->slots_used, count);
}
