/* Events: a flag. */
#include "shmem/event.h"

#include "base/error.h"
#include "shmem/sync.h"

enum { REST_MS = 200 }; /* how long one who waits for many things sleeps at most */

typedef struct event_state {
    sync_head head;
    _Atomic uint32_t set;
    sync_eventcount bell;
} event_state;

_Static_assert(sizeof(event_state) <= XF_EVENT_BYTES, "an event fits its place");

struct xf_event {
    sync_handle hold;
};

int xf_event_create(xf_event **out, const xf_event_options *options)
{
    static const xf_event_options defaults;
    sync_handle *hold;
    int rc = sync_create(&hold, XF_KIND_EVENT, XF_EVENT_BYTES, 0, options ? &options->place : &defaults.place);

    if (rc == 0)
        *out = (xf_event *)hold;
    return rc;
}

SYNC_LIFE(xf_event, XF_KIND_EVENT)

static event_state *state_of(const xf_event *event)
{
    return event->hold.state;
}

void xf_event_set(xf_event *event)
{
    event_state *state = state_of(event);

    atomic_store(&state->set, 1);
    sync_wake(&event->hold, &state->bell, OS_ALL);
}

void xf_event_clear(xf_event *event)
{
    atomic_store(&state_of(event)->set, 0);
}

bool xf_event_is_set(const xf_event *event)
{
    return atomic_load(&state_of(event)->set) != 0;
}

/* One that was set and cleared while this slept counts too. */
int xf_event_wait(xf_event *event, int timeout_ms)
{
    event_state *state = state_of(event);
    sync_wait wait = sync_wait_begin(timeout_ms);
    uint32_t seen = atomic_load(&state->bell.count);

    while (atomic_load(&state->set) == 0 && atomic_load(&state->bell.count) == seen) {
        (void)sync_is_time_to_check(&wait);
        if (sync_has_expired(&wait))
            return XF_ETIMEDOUT;
        sync_sleep(&event->hold, &state->bell, seen, &wait);
    }
    return 0;
}

/* ---- Among many things ----------------------------------------------------------------------- */

uint32_t event_count(const xf_event *event)
{
    return atomic_load(&state_of(event)->bell.count);
}

/* Who sets it may be killed before it rings. */
bool event_is_ready(xf_event *event, uint32_t since, wait_target *target)
{
    event_state *state = state_of(event);

    if (atomic_load(&state->set) != 0 || event_count(event) != since)
        return true;
    if (target)
        *target = (wait_target){{&event->hold.object->shm, &state->bell.count, since, NULL}, REST_MS};
    return false;
}

void event_add_sleeper(xf_event *event)
{
    atomic_fetch_add(&state_of(event)->bell.sleepers, 1);
}

void event_remove_sleeper(xf_event *event)
{
    atomic_fetch_sub(&state_of(event)->bell.sleepers, 1);
}
