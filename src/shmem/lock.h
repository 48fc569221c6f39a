/* Locks, as a condition uses them. */
#ifndef LOCK_H
#define LOCK_H

#include "shmem/sync.h"

typedef struct lock_state {
    sync_head head;         /* parameter: whether it is recursive */
    _Atomic uint64_t owner; /* 0: nobody */
    sync_eventcount bell;
    uint32_t depth; /* how often the owner has acquired it again */
} lock_state;

struct xf_lock {
    sync_handle hold;
};

static inline lock_state *lock_of(const xf_lock *lock)
{
    return lock->hold.state;
}

/* Releases it altogether, and sets how often it had been acquired again; XF_ESTATE when it is not this thread's. */
int lock_release_all(xf_lock *lock, uint32_t *depth);

/* Acquires it again as it was. */
int lock_acquire_again(xf_lock *lock, uint32_t depth);

#endif
