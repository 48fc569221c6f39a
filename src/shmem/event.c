/* Events: a flag. */
#include "shmem/event.h"

#include "base/error.h"
#include "shmem/sync.h"

enum { EVENT_SLEEP_MS = 200 }; /* how long a thread that waits for many things sleeps at most */

typedef struct event_state {
    sync_head head;
    _Atomic uint32_t set;
    sync_eventcount changes;
} event_state;

_Static_assert(sizeof(event_state) <= XF_EVENT_BYTES, "an event fits its place");

struct xf_event {
    sync_handle handle;
};

int xf_event_create(xf_event **out, const xf_event_options *options)
{
    static const xf_event_options defaults;
    sync_handle *handle;
    int rc = sync_create(&handle, XF_KIND_EVENT, XF_EVENT_BYTES, 0, options ? &options->place : &defaults.place);

    if (rc == 0)
        *out = (xf_event *)handle;
    return rc;
}

SYNC_LIFE(xf_event, XF_KIND_EVENT)

static event_state *event_of(const xf_event *event)
{
    return event->handle.state;
}

void xf_event_set(xf_event *event)
{
    event_state *state = event_of(event);

    if (!object_is_own(event->handle.object))
        return;
    atomic_store(&state->set, 1);
    sync_wake(&event->handle, &state->changes, OS_ALL);
}

void xf_event_clear(xf_event *event)
{
    if (!object_is_own(event->handle.object))
        return;
    atomic_store(&event_of(event)->set, 0);
}

bool xf_event_is_set(const xf_event *event)
{
    if (!object_is_own(event->handle.object))
        return false;
    return atomic_load(&event_of(event)->set) != 0;
}

/* An event that was set and cleared while this thread slept counts too. */
int xf_event_wait(xf_event *event, int timeout_ms)
{
    event_state *state = event_of(event);
    sync_wait wait = sync_wait_begin(timeout_ms);
    uint32_t seen;

    if (!object_is_own(event->handle.object))
        return object_not_own();
    seen = atomic_load(&state->changes.count);
    while (atomic_load(&state->set) == 0 && atomic_load(&state->changes.count) == seen) {
        (void)sync_is_time_to_check(&wait);
        if (sync_has_expired(&wait))
            return XF_ETIMEDOUT;
        sync_sleep(&event->handle, &state->changes, seen, &wait);
    }
    return 0;
}

/* ---- Among many things ----------------------------------------------------------------------- */

int event_check(const xf_event *event)
{
    return object_is_own(event->handle.object) ? 0 : object_not_own();
}

uint32_t event_count(const xf_event *event)
{
    return atomic_load(&event_of(event)->changes.count);
}

/* A thread that sets the event may be killed before it wakes the sleepers, so they do not sleep longer than
 * EVENT_SLEEP_MS. */
bool event_is_ready(xf_event *event, uint32_t since, wait_target *target)
{
    event_state *state = event_of(event);

    if (atomic_load(&state->set) != 0 || event_count(event) != since)
        return true;
    if (target)
        *target = (wait_target){{&event->handle.object->shm, &state->changes.count, since, NULL}, EVENT_SLEEP_MS};
    return false;
}

void event_add_sleeper(xf_event *event)
{
    atomic_fetch_add(&event_of(event)->changes.sleepers, 1);
}

void event_remove_sleeper(xf_event *event)
{
    atomic_fetch_sub(&event_of(event)->changes.sleepers, 1);
}
