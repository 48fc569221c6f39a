/* A future, as one of many things that are waited for. */
#ifndef FUTURE_H
#define FUTURE_H

#include "crossfork/pool.h"
#include "lockfree/wait_target.h"

/* Whether xf_future_wait would return at once, with success or an error.
 *   target  See wait_target.h. */
bool future_is_ready(xf_future *future, wait_target *target);

/* Returns 0, or XF_ESTATE when the future's pool was freed, or belongs to another process. */
int future_check(const xf_future *future);

/* The same, or XF_EDEADLK for a wait on a thread that is needed for its end.  0 is no wait. */
int future_check_wait(const xf_future *future, int timeout_ms);

#endif
