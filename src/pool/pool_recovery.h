/* Recovering the chunk that a dead worker had claimed. */
#ifndef POOL_RECOVERY_H
#define POOL_RECOVERY_H

#include "pool/pool_state.h"

/* Queues what is left of the chunk that the dead worker of the slot held, or ends it, and decides about the item that
 * was running.  The pool's lock is held.
 *   epoch  The worker's.
 *   why    Why the parent stopped the item; XF_END_NONE when it did not.
 *   dead   The worker's process, whose report stands. */
void pool_recovery_recover(xf_pool *pool, uint32_t slot, uint32_t epoch, xf_end why, xf_process *dead);

#endif
