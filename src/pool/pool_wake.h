/* Waking the workers of a pool that sleep.  All functions are called with the pool's lock held. */
#ifndef POOL_WAKE_H
#define POOL_WAKE_H

#include "pool/pool_state.h"

/* Wakes up to `limit` workers that say that they sleep, and returns how many. */
uint64_t pool_wake_workers(xf_pool *pool, uint64_t limit);

/* Wakes all workers, whatever they say. */
void pool_wake_all(xf_pool *pool);

#endif
