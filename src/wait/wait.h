/* Waiting for many things at once, inside. */
#ifndef WAIT_H
#define WAIT_H

#include "crossfork/wait.h"
#include "os/os.h"

typedef struct waiter {
    xf_wait_item *items;
    int count;
    os_word *words; /* what is slept on; room for count + 1 */
    size_t word_count;
    int most_ms;        /* then look again, whatever those say; -1: no need */
    const os_word *end; /* the wait is over when it is not as it was seen; NULL: there is no such word */
} waiter;

/* The checks of xf_wait, and what a wait needs.
 *   sleeps  It is going to be more than a look. */
int wait_begin(xf_wait_item *items, int count, bool sleeps);

/* Events that were ready have to be set anew. */
void wait_go_on(xf_wait_item *items, int count);

/* Waits: how many items are ready, XF_ETIMEDOUT, or 0 for its end. */
int wait_for(waiter *waiter, uint64_t deadline);

#endif
