/* A pool without worker processes: the threads that submit work run it. */
#ifndef POOL_INLINE_H
#define POOL_INLINE_H

#include "pool/pool_state.h"

/* Makes a pool that was just created an inline one.  XF_ENOMEM, XF_EHANDLES. */
int pool_inline_open(xf_pool *pool);

/* Frees the worker of an inline pool; does nothing for any other. */
void pool_inline_close(xf_pool *pool);

/* Runs all queued chunks, and then callbacks, unless a thread does so already.  The pool's lock is held, and released
 * while tasks run. */
void pool_inline_run(xf_pool *pool);

#endif
