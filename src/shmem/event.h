/* An event, as one of many things that are waited for. */
#ifndef EVENT_H
#define EVENT_H

#include "crossfork/sync.h"
#include "lockfree/wait_target.h"

/* Whether xf_event_wait would return at once.
 *   since   event_count when the wait began: an event that was set and cleared since then counts too.
 *   target  See wait_target.h. */
bool event_is_ready(xf_event *event, uint32_t since, wait_target *target);
uint32_t event_count(const xf_event *event);

/* XF_ESTATE in a forked copy of the process that has the event. */
int event_check(const xf_event *event);

/* Says that this thread is about to sleep until the event is set, and that it does not sleep any more. */
void event_add_sleeper(xf_event *event);
void event_remove_sleeper(xf_event *event);

#endif
