/* The callbacks of futures: on the user's loop if there is one, or on the supervisor's thread, or in the thread that
 * runs an inline pool.  All functions but the first two are called with the pool's lock held. */
#ifndef FUTURE_CALLBACKS_H
#define FUTURE_CALLBACKS_H

#include "pool/pool_state.h"

/* Gets ready to call callbacks on the user's loop, if the options name one.  XF_ENOMEM, XF_EHANDLES. */
int future_callbacks_open(xf_pool *pool);
void future_callbacks_close(xf_pool *pool);

/* Calls the callbacks of complete futures, cancels the rest of jobs that stop at a failure, and frees detached futures.
 * Releases the lock while a callback runs. */
void future_callbacks_run(xf_pool *pool);

/* On the supervisor's thread: does the same, or has the user's loop do it. */
void future_callbacks_dispatch(xf_pool *pool);

/* On any thread: has the same done soon, for a future that has completed without a worker. */
void future_callbacks_schedule(xf_future *future);

#endif
