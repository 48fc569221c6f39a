/* Waiting for many things at once, for xf_wait and for watches. */
#ifndef WAIT_H
#define WAIT_H

#include "crossfork/wait.h"
#include "os/memory.h"

typedef struct waiter {
    xf_wait_item *items;
    int count;
    os_word *words; /* that the wait sleeps on; room for count + 1 */
    size_t word_count;
    int recheck_ms;     /* after that time the items are polled again, even if no word has changed; -1: no need */
    const os_word *end; /* the wait ends when this word has changed since it was seen; NULL: none */
} waiter;

/* Checks the items, and prepares them for a wait.
 *   sleeps  The wait may sleep, and does not only poll. */
int wait_prepare(xf_wait_item *items, int count, bool sleeps);

/* Rearms the items of events that were ready, so that they wait for the next time that their event is set. */
void wait_rearm(xf_wait_item *items, int count);

/* Waits.  Returns how many items are ready; XF_ETIMEDOUT; 0 when waiter->end has changed. */
int wait_for(waiter *waiter, uint64_t deadline);

#endif
