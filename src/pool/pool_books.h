/* A pool's books where the system does not keep workers from writing to them: on Linux before 5.1, a worker can get a
 * writable view.  The parent does not go by what stands there, but other workers do.  All functions are called with the
 * pool's lock held. */
#ifndef POOL_BOOKS_H
#define POOL_BOOKS_H

#include "pool/pool_state.h"

/* Writes what the books had when they were opened, and notes whether they have to be restored at all. */
void pool_books_open(xf_pool *pool);

/* Writes everything anew that workers read there, unless they cannot have written to it. */
void pool_books_restore(xf_pool *pool);

#endif
