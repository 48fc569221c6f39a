/* The callbacks of futures: on the user's loop if there is one, or on the callback thread, or in the thread that runs
 * an inline pool.  All functions but the first two are called with the pool's lock held. */
#ifndef FUTURE_CALLBACKS_H
#define FUTURE_CALLBACKS_H

#include "pool/pool_state.h"

/* Gets ready to call callbacks on the user's loop, if the options name one.  XF_ENOMEM, XF_EHANDLES. */
int future_callbacks_open(xf_pool *pool);
void future_callbacks_close(xf_pool *pool);

/* Gets ready to call the callbacks of a future.  XF_EPROCESSES, XF_ENOMEM. */
int future_callbacks_prepare(xf_pool *pool);

/* Calls the callbacks of complete futures, cancels the rest of jobs that stop at a failure, and frees detached futures.
 * Releases the lock while a callback runs. */
void future_callbacks_run(xf_pool *pool);

/* On the supervisor's thread: does the same, but has callbacks called on the thread that is theirs. */
void future_callbacks_dispatch(xf_pool *pool);

/* On any thread: has the same done soon, for a future that has completed without a worker. */
void future_callbacks_schedule(xf_future *future);

#endif
