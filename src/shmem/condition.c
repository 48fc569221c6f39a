/* Conditions: a count of signals that threads sleep on. */
#include "base/error.h"
#include "shmem/lock.h"

typedef struct condition_state {
    sync_head head;
    sync_eventcount changes;
} condition_state;

_Static_assert(sizeof(condition_state) <= XF_CONDITION_BYTES, "a condition fits its place");

struct xf_condition {
    sync_handle handle;
};

int xf_condition_create(xf_condition **out, const xf_condition_options *options)
{
    static const xf_condition_options defaults;
    sync_handle *handle;
    int rc =
        sync_create(&handle, XF_KIND_CONDITION, XF_CONDITION_BYTES, 0, options ? &options->place : &defaults.place);

    if (rc == 0)
        *out = (xf_condition *)handle;
    return rc;
}

SYNC_LIFE(xf_condition, XF_KIND_CONDITION)

static sync_eventcount *condition_changes(const xf_condition *condition)
{
    return &((condition_state *)condition->handle.state)->changes;
}

/* Waits until the condition is signalled, or the owner of the lock is dead: 0. */
static int wait_for_signal(xf_condition *condition, const xf_lock *lock, uint32_t seen, int timeout_ms)
{
    sync_wait wait = sync_wait_begin(timeout_ms);

    while (atomic_load(&condition_changes(condition)->count) == seen) {
        if (sync_is_time_to_check(&wait) && sync_is_dead(atomic_load(&lock_of(lock)->owner)))
            return 0;
        if (sync_has_expired(&wait))
            return XF_ETIMEDOUT;
        sync_sleep(&condition->handle, condition_changes(condition), seen, &wait);
    }
    return 0;
}

int xf_condition_wait(xf_condition *condition, xf_lock *lock, int timeout_ms)
{
    uint32_t depth, seen;
    int again, rc;

    if (!object_is_own(condition->handle.object) || !object_is_own(lock->handle.object))
        return object_not_own();
    seen = atomic_load(&condition_changes(condition)->count);
    rc = lock_release_all(lock, &depth);
    if (rc < 0)
        return rc;
    rc = wait_for_signal(condition, lock, seen, timeout_ms);
    again = lock_acquire_again(lock, depth);
    return again < 0 ? again : rc;
}

void xf_condition_signal(xf_condition *condition)
{
    if (!object_is_own(condition->handle.object))
        return;
    sync_wake(&condition->handle, condition_changes(condition), 1);
}

void xf_condition_broadcast(xf_condition *condition)
{
    if (!object_is_own(condition->handle.object))
        return;
    sync_wake(&condition->handle, condition_changes(condition), OS_ALL);
}
