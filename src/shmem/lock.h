/* Locks, as a condition uses them. */
#ifndef LOCK_H
#define LOCK_H

#include "shmem/sync.h"

typedef struct lock_state {
    sync_head head;         /* parameter: whether it is recursive */
    _Atomic uint64_t owner; /* 0: none */
    sync_eventcount changes;
    uint32_t depth; /* how often the owner has acquired it again */
} lock_state;

struct xf_lock {
    sync_handle handle;
};

static inline lock_state *lock_of(const xf_lock *lock)
{
    return lock->handle.state;
}

/* Releases the lock altogether.
 *   depth  Set to how often its owner had acquired it again.
 * XF_ESTATE when this thread is not the owner. */
int lock_release_all(xf_lock *lock, uint32_t *depth);

/* Acquires the lock again, with that depth. */
int lock_acquire_again(xf_lock *lock, uint32_t depth);

#endif
