/* A future, as one of many things that are waited for. */
#ifndef FUTURE_H
#define FUTURE_H

#include "crossfork/pool.h"
#include "lockfree/wait_target.h"

/* Whether xf_future_wait would return at once, be it with an error.
 *   target  See wait_target.h. */
bool future_is_ready(xf_future *future, wait_target *target);

/* Whether the future's pool is there: 0 or XF_ESTATE. */
int future_check(const xf_future *future);

#endif
