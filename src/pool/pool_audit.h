/* Looking a pool's jobs through for what does not fit.
 *
 * Every word that says what is claimed and what has ended lies where each worker can write.  A worker that overwrites
 * one, by mistake or on purpose, may so keep a job from ending, or the others from finding it.  A thread that waits for
 * a job looks its words through once a second: what fits no state that a worker can leave ends as XF_EPROTO, and where
 * nothing moves though something is queued, the job is queued once more and all workers are woken. */
#ifndef POOL_AUDIT_H
#define POOL_AUDIT_H

#include "pool/pool_state.h"

/* Looks through the jobs that have not ended, if that was not done in the last audit_ms.  Not with the pool's lock
 * held. */
void pool_audit_if_due(xf_pool *pool);

/* The same with the lock held, for the supervisor.  Returns when to look through them again; CLOCK_NEVER when there are
 * none whose end a callback waits for. */
uint64_t pool_audit_on_deadline(xf_pool *pool, uint64_t now);

#endif
