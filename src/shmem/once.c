/* Once: a word that names the thread that runs the initialization, or is DONE. */
#include "base/error.h"
#include "shmem/sync.h"

#define DONE UINT64_MAX /* no thread */

typedef struct once_state {
    sync_head head;
    _Atomic uint64_t runner;
    sync_eventcount changes;
} once_state;

_Static_assert(sizeof(once_state) <= XF_ONCE_BYTES, "a once fits its place");

struct xf_once {
    sync_handle handle;
};

int xf_once_create(xf_once **out, const xf_once_options *options)
{
    static const xf_once_options defaults;
    sync_handle *handle;
    int rc = sync_create(&handle, XF_KIND_ONCE, XF_ONCE_BYTES, 0, options ? &options->place : &defaults.place);

    if (rc == 0)
        *out = (xf_once *)handle;
    return rc;
}

SYNC_LIFE(xf_once, XF_KIND_ONCE)

static once_state *once_of(const xf_once *once)
{
    return once->handle.state;
}

int xf_once_begin(xf_once *once, int timeout_ms)
{
    once_state *state = once_of(once);
    uint64_t own = os_self_thread();
    sync_wait wait = sync_wait_begin(timeout_ms);

    if (!object_is_own(once->handle.object))
        return object_not_own();
    for (;;) {
        uint32_t seen = atomic_load(&state->changes.count);
        uint64_t runner = atomic_load(&state->runner);
        if (runner == DONE)
            return 0;
        if (runner == own)
            return error_detail(XF_EDEADLK, "this thread runs the initialization already");
        if (runner == 0) {
            if (atomic_compare_exchange_strong(&state->runner, &runner, own))
                return 1;
            continue;
        }
        if (sync_is_time_to_check(&wait) && sync_is_dead(runner) &&
            atomic_compare_exchange_strong(&state->runner, &runner, own))
            return error_detail(XF_EOWNERDEAD, "the thread that ran it exited before xf_once_end");
        if (sync_has_expired(&wait))
            return XF_ETIMEDOUT;
        sync_sleep(&once->handle, &state->changes, seen, &wait);
    }
}

int xf_once_end(xf_once *once)
{
    once_state *state = once_of(once);

    if (!object_is_own(once->handle.object))
        return object_not_own();
    if (atomic_load(&state->runner) != os_self_thread())
        return error_detail(XF_ESTATE, "this thread does not run the initialization");
    atomic_store(&state->runner, DONE);
    sync_wake(&once->handle, &state->changes, OS_ALL);
    return 0;
}
