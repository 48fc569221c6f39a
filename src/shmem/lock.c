#include "shmem/lock.h"

#include "base/error.h"

_Static_assert(sizeof(lock_state) <= XF_LOCK_BYTES, "a lock fits its place");

int xf_lock_create(xf_lock **out, const xf_lock_options *options)
{
    static const xf_lock_options defaults;
    sync_handle *hold;
    int rc;

    if (!options)
        options = &defaults;
    rc = sync_create(&hold, XF_KIND_LOCK, XF_LOCK_BYTES, options->recursive, &options->place);
    if (rc == 0)
        *out = (xf_lock *)hold;
    return rc;
}

SYNC_LIFE(xf_lock, XF_KIND_LOCK)

/* Changes the owner by one step, and makes the lock the new one's alone. */
static bool take(lock_state *state, uint64_t from, uint64_t own)
{
    if (!atomic_compare_exchange_strong(&state->owner, &from, own))
        return false;
    state->depth = 0;
    return true;
}

static int acquire_slowly(xf_lock *lock, uint64_t own, int timeout_ms)
{
    lock_state *state = lock_of(lock);
    sync_wait wait = sync_wait_begin(timeout_ms);

    for (;;) {
        uint32_t seen = atomic_load(&state->bell.count);
        uint64_t owner = atomic_load(&state->owner);
        if (owner == 0 && take(state, 0, own))
            return 0;
        if (owner == 0)
            continue;
        if (sync_is_time_to_check(&wait) && sync_is_dead(owner) && take(state, owner, own))
            return error_detail(XF_EOWNERDEAD, "who had the lock ended");
        if (sync_has_expired(&wait))
            return XF_ETIMEDOUT;
        sync_sleep_while(&lock->hold, &state->bell, seen, &wait, &state->owner);
    }
}

int xf_lock_acquire(xf_lock *lock, int timeout_ms)
{
    lock_state *state = lock_of(lock);
    uint64_t own = os_self_thread();

    if (take(state, 0, own))
        return 0;
    if (atomic_load(&state->owner) != own)
        return acquire_slowly(lock, own, timeout_ms);
    if (!state->head.parameter)
        return error_detail(XF_EDEADLK, "this thread has the lock already");
    state->depth++;
    return 0;
}

/* Only those who sleep have to be told: who comes later sees that it is free. */
static void release(xf_lock *lock)
{
    lock_state *state = lock_of(lock);

    atomic_store(&state->owner, 0);
    if (atomic_load(&state->bell.sleepers) > 0)
        sync_wake(&lock->hold, &state->bell, 1);
}

static int not_ours(void)
{
    return error_detail(XF_ESTATE, "this thread does not have the lock");
}

int xf_lock_release(xf_lock *lock)
{
    lock_state *state = lock_of(lock);

    if (atomic_load(&state->owner) != os_self_thread())
        return not_ours();
    if (state->depth > 0)
        state->depth--;
    else
        release(lock);
    return 0;
}

int lock_release_all(xf_lock *lock, uint32_t *depth)
{
    lock_state *state = lock_of(lock);

    if (atomic_load(&state->owner) != os_self_thread())
        return not_ours();
    *depth = state->depth;
    release(lock);
    return 0;
}

int lock_acquire_again(xf_lock *lock, uint32_t depth)
{
    int rc = xf_lock_acquire(lock, XF_FOREVER);

    lock_of(lock)->depth = depth;
    return rc;
}
