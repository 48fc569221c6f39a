/* Recovering the chunk that a dead worker had claimed. */
#ifndef POOL_RECOVERY_H
#define POOL_RECOVERY_H

#include "pool/pool_state.h"

/* Queues what is left of the chunk that a dead worker held, or ends it, and decides about the item that was running.
 * The pool's lock is held, and the report of the worker's process stands. */
void pool_recovery_recover(worker_handle *worker);

#endif
