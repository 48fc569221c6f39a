/* Once: who is at it, or that it has been done. */
#include "base/error.h"
#include "shmem/sync.h"

#define DONE UINT64_MAX /* no thread */

typedef struct once_state {
    sync_head head;
    _Atomic uint64_t at_it;
    sync_eventcount bell;
} once_state;

_Static_assert(sizeof(once_state) <= XF_ONCE_BYTES, "it fits its place");

struct xf_once {
    sync_handle hold;
};

int xf_once_create(xf_once **out, const xf_once_options *options)
{
    static const xf_once_options defaults;
    sync_handle *hold;
    int rc = sync_create(&hold, XF_KIND_ONCE, XF_ONCE_BYTES, 0, options ? &options->place : &defaults.place);

    if (rc == 0)
        *out = (xf_once *)hold;
    return rc;
}

SYNC_LIFE(xf_once, XF_KIND_ONCE)

static once_state *state_of(const xf_once *once)
{
    return once->hold.state;
}

int xf_once_begin(xf_once *once, int timeout_ms)
{
    once_state *state = state_of(once);
    uint64_t own = os_self_thread();
    sync_wait wait = sync_wait_begin(timeout_ms);

    for (;;) {
        uint32_t seen = atomic_load(&state->bell.count);
        uint64_t at_it = atomic_load(&state->at_it);
        if (at_it == DONE)
            return 0;
        if (at_it == own)
            return error_detail(XF_EDEADLK, "this thread is at it");
        if (at_it == 0) {
            if (atomic_compare_exchange_strong(&state->at_it, &at_it, own))
                return 1;
            continue;
        }
        if (sync_is_time_to_check(&wait) && sync_is_dead(at_it) &&
            atomic_compare_exchange_strong(&state->at_it, &at_it, own))
            return error_detail(XF_EOWNERDEAD, "who was at it ended");
        if (sync_has_expired(&wait))
            return XF_ETIMEDOUT;
        sync_sleep(&once->hold, &state->bell, seen, &wait);
    }
}

int xf_once_end(xf_once *once)
{
    once_state *state = state_of(once);

    if (atomic_load(&state->at_it) != os_self_thread())
        return error_detail(XF_ESTATE, "this thread is not at it");
    atomic_store(&state->at_it, DONE);
    sync_wake(&once->hold, &state->bell, OS_ALL);
    return 0;
}
