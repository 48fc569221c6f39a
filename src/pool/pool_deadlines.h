/* Timeouts of items, deadlines of maps, and stopping what runs: a task is asked to stop, and its worker is killed when
 * the grace has passed.  Both functions are called with the pool's lock held. */
#ifndef POOL_DEADLINES_H
#define POOL_DEADLINES_H

#include "pool/pool_state.h"

/* Asks the workers that run items of the future to stop. */
void pool_deadlines_stop(xf_pool *pool, const xf_future *future, xf_end why);

/* Acts on timeouts, deadlines and graces that have passed, and sets the time of the next check. */
void pool_deadlines_check(xf_pool *pool);

#endif
