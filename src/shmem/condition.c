/* Conditions: a bell. */
#include "base/error.h"
#include "shmem/lock.h"

typedef struct condition_state {
    sync_head head;
    sync_eventcount bell;
} condition_state;

_Static_assert(sizeof(condition_state) <= XF_CONDITION_BYTES, "a condition fits its place");

struct xf_condition {
    sync_handle hold;
};

int xf_condition_create(xf_condition **out, const xf_condition_options *options)
{
    static const xf_condition_options defaults;
    sync_handle *hold;
    int rc = sync_create(&hold, XF_KIND_CONDITION, XF_CONDITION_BYTES, 0, options ? &options->place : &defaults.place);

    if (rc == 0)
        *out = (xf_condition *)hold;
    return rc;
}

SYNC_LIFE(xf_condition, XF_KIND_CONDITION)

static sync_eventcount *bell_of(const xf_condition *condition)
{
    return &((condition_state *)condition->hold.state)->bell;
}

/* Waits until the bell is rung, or the owner of the lock has ended: 0. */
static int await_ring(xf_condition *condition, const xf_lock *lock, uint32_t seen, int timeout_ms)
{
    sync_wait wait = sync_wait_begin(timeout_ms);

    while (atomic_load(&bell_of(condition)->count) == seen) {
        if (sync_is_time_to_check(&wait) && sync_is_dead(atomic_load(&lock_of(lock)->owner)))
            return 0;
        if (sync_has_expired(&wait))
            return XF_ETIMEDOUT;
        sync_sleep(&condition->hold, bell_of(condition), seen, &wait);
    }
    return 0;
}

int xf_condition_wait(xf_condition *condition, xf_lock *lock, int timeout_ms)
{
    uint32_t depth, seen = atomic_load(&bell_of(condition)->count);
    int again, rc = lock_release_all(lock, &depth);

    if (rc < 0)
        return rc;
    rc = await_ring(condition, lock, seen, timeout_ms);
    again = lock_acquire_again(lock, depth);
    return again < 0 ? again : rc;
}

void xf_condition_signal(xf_condition *condition)
{
    sync_wake(&condition->hold, bell_of(condition), 1);
}

void xf_condition_broadcast(xf_condition *condition)
{
    sync_wake(&condition->hold, bell_of(condition), OS_ALL);
}
