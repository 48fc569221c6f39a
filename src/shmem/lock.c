#include "shmem/lock.h"

#include "base/error.h"
#include "crossfork/types.h"

_Static_assert(sizeof(lock_state) <= XF_LOCK_BYTES, "a lock fits its place");

int xf_lock_create(xf_lock **out, const xf_lock_options *options)
{
    static const xf_lock_options defaults;
    sync_handle *handle;
    int rc;

    if (!options)
        options = &defaults;
    rc = sync_create(&handle, XF_KIND_LOCK, XF_LOCK_BYTES, options->recursive, &options->place);
    if (rc == 0)
        *out = (xf_lock *)handle;
    return rc;
}

SYNC_LIFE(xf_lock, XF_KIND_LOCK)

/* Makes this thread the owner if the owner still is from. */
static bool lock_take(lock_state *state, uint64_t from, uint64_t own)
{
    if (!atomic_compare_exchange_strong(&state->owner, &from, own))
        return false;
    state->depth = 0;
    return true;
}

static int lock_acquire_slowly(xf_lock *lock, uint64_t own, int timeout_ms)
{
    lock_state *state = lock_of(lock);
    sync_wait wait = sync_wait_begin(timeout_ms);

    for (;;) {
        uint32_t seen = atomic_load(&state->changes.count);
        uint64_t owner = atomic_load(&state->owner);
        if (owner == 0 && lock_take(state, 0, own))
            return 0;
        if (owner == 0)
            continue;
        if (sync_is_time_to_check(&wait) && sync_is_dead(owner) && lock_take(state, owner, own))
            return error_detail(XF_EOWNERDEAD, "the previous owner exited while holding the lock");
        if (sync_has_expired(&wait))
            return XF_ETIMEDOUT;
        sync_sleep_while(&lock->handle, &state->changes, seen, &wait, &state->owner);
    }
}

int xf_lock_acquire(xf_lock *lock, int timeout_ms)
{
    lock_state *state = lock_of(lock);
    uint64_t own = os_self_thread();

    if (!object_is_own(lock->handle.object))
        return object_not_own();
    if (lock_take(state, 0, own))
        return 0;
    if (atomic_load(&state->owner) != own)
        return lock_acquire_slowly(lock, own, timeout_ms);
    if (!state->head.parameter)
        return error_detail(XF_EDEADLK, "this thread holds the lock already");
    state->depth++;
    return 0;
}

/* Only sleepers have to be woken: a thread that comes later sees that the lock is free. */
static void lock_clear_owner(xf_lock *lock)
{
    lock_state *state = lock_of(lock);

    atomic_store(&state->owner, 0);
    if (atomic_load(&state->changes.sleepers) > 0)
        sync_wake(&lock->handle, &state->changes, 1);
}

static int lock_not_owned(void)
{
    return error_detail(XF_ESTATE, "this thread does not hold the lock");
}

int xf_lock_release(xf_lock *lock)
{
    lock_state *state = lock_of(lock);

    if (!object_is_own(lock->handle.object))
        return object_not_own();
    if (atomic_load(&state->owner) != os_self_thread())
        return lock_not_owned();
    if (state->depth > 0)
        state->depth--;
    else
        lock_clear_owner(lock);
    return 0;
}

int lock_release_all(xf_lock *lock, uint32_t *depth)
{
    lock_state *state = lock_of(lock);

    if (atomic_load(&state->owner) != os_self_thread())
        return lock_not_owned();
    *depth = state->depth;
    lock_clear_owner(lock);
    return 0;
}

int lock_acquire_again(xf_lock *lock, uint32_t depth)
{
    int rc = xf_lock_acquire(lock, XF_FOREVER);

    lock_of(lock)->depth = depth;
    return rc;
}
