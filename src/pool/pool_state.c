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

int pool_state_check(const xf_pool *pool)
{
    if (pool->broken)
        return error_detail(pool->broken_status.code < 0 ? pool->broken_status.code : XF_ESTATE,
                            "no worker can be started: %s", pool->broken->message);
    return pool->closed ? error_detail(XF_ESTATE, "the pool is closed") : 0;
}
