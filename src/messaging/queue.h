/* A queue, as one of many things that are waited for. */
#ifndef QUEUE_H
#define QUEUE_H

#include "crossfork/queue.h"
#include "lockfree/wait_target.h"

/* Whether a call would return at once, with an error or without: xf_queue_put of a message that is not longer than
 * message_size, or xf_queue_get.
 *   target  See wait_target.h. */
bool queue_is_ready(xf_queue *queue, bool put, wait_target *target);

/* XF_ESTATE in a forked copy of the process that has the queue. */
int queue_check(const xf_queue *queue);

#endif
