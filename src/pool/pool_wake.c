#include "pool/pool_wake.h"

/* A worker that clears its own bit first is awake. */
uint64_t pool_wake_workers(xf_pool *pool, uint64_t limit)
{
    uint64_t woken = 0;

    atomic_thread_fence(memory_order_seq_cst); /* the work is visible to all workers before their bits are read */
    for (uint32_t word = 0; word * 64 < pool->segment.slot_count && woken < limit; word++) {
        _Atomic uint64_t *idle = &pool->segment.shared->idle[word];
        uint64_t bits = atomic_load(idle);
        for (uint32_t i = 0; bits && woken < limit; i++, bits >>= 1) {
            uint64_t bit = UINT64_C(1) << i;
            if (!(bits & 1) || !(atomic_fetch_and(idle, ~bit) & bit))
                continue;
            if (pool->workers[word * 64 + i].process) {
                process_wake(pool->workers[word * 64 + i].process);
                woken++;
            }
        }
    }
    return woken;
}

void pool_wake_all(xf_pool *pool)
{
    pool_wake_workers(pool, UINT64_MAX);
    for (uint32_t i = 0; i < pool->slots_used; i++)
        if (pool->workers[i].process)
            process_wake(pool->workers[i].process);
}
