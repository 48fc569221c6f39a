/* The open futures of a pool, and how they are freed.  All functions are called with the pool's lock held. */
#ifndef POOL_FUTURES_H
#define POOL_FUTURES_H

#include "pool/pool_state.h"

/* Adds a future, whose job is set, to the open ones. */
void pool_futures_add(xf_pool *pool, xf_future *future);

/* Frees a future. */
void pool_futures_free(xf_future *future);

/* Frees a future, or detaches it: then it is freed once it is complete and its callbacks have returned. */
void pool_futures_release(xf_future *future);

/* Frees the detached futures that are complete, when so many are detached that the search is worth it. */
void pool_futures_reap(xf_pool *pool);

/* Takes the futures from a pool that is about to be freed: those that the caller still has become futures without a
 * pool. */
void pool_futures_orphan(xf_pool *pool);

/* The same in a forked copy of the process that created the pool: the segment is left as it is. */
void pool_futures_let_go(xf_pool *pool);

#endif
