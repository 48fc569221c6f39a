/* The worker processes of a pool.  All functions are called with the pool's lock held. */
#ifndef POOL_WORKERS_H
#define POOL_WORKERS_H

#include "pool/pool_state.h"

/* Wakes idle workers, and starts missing ones, for so many new chunks.  Fails only when no worker runs. */
int pool_workers_call(xf_pool *pool, uint64_t chunks);

/* Starts workers in place of those that have ended, as far as the pool needs them: at once, or from pool->next_start
 * on. */
void pool_workers_replace(xf_pool *pool);

/* Has the workers exit that are more than worker_limit. */
void pool_workers_retire(xf_pool *pool);

/* Tells all workers to exit after what they run, or kills them. */
void pool_workers_shut_down(xf_pool *pool, bool kill);

#endif
