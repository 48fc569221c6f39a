/* Whether a thing is ready, for one who waits for many at once (wait.c): whether the call that waits for it alone would
 * return at once, be it with an error. */
#ifndef READY_H
#define READY_H

#include "crossfork/pipe.h"
#include "crossfork/pool.h"
#include "crossfork/process.h"
#include "crossfork/queue.h"
#include "crossfork/sync.h"
#include "crossfork/task.h"
#include "vigil.h"

/* Each tells whether it is so.
 *   vigil  Set when it is not so, after whoever changes it was told that somebody sleeps; NULL: nobody is going to. */

/* xf_queue_put of a message that is not longer than message_size, or xf_queue_get. */
bool queue_is_ready(xf_queue *queue, bool put, vigil *vigil);

/* xf_pipe_send, or xf_pipe_receive. */
bool pipe_is_ready(xf_pipe *pipe, bool send, vigil *vigil);

/* Whether this end of a pipe does that: 0 or XF_ESTATE. */
int pipe_check(const xf_pipe *pipe, bool send);

/* xf_future_wait. */
bool future_is_ready(xf_future *future, vigil *vigil);

/* Whether the future's pool is there: 0 or XF_ESTATE. */
int future_check(const xf_future *future);

/* xf_process_receive, or xf_process_join. */
bool process_is_ready(xf_process *process, bool message, vigil *vigil);

/* Gets ready for waits that this thread would not do alone: XF_EDEADLK when it is the one that has to see to the
 * process; XF_ENOMEM, XF_EHANDLES. */
int process_prepare(xf_process *process);

/* Sees what has come or has happened by now, and does not leave it to the supervisor. */
void process_look(xf_process *process);

/* xf_event_wait.
 *   since  As event_count was when the wait began: an event that was set and cleared since then counts too. */
bool event_is_ready(xf_event *event, uint32_t since, vigil *vigil);
uint32_t event_count(const xf_event *event);

/* Says that this thread is about to sleep until the event is set, or no longer. */
void event_sleep(xf_event *event);
void event_wake(xf_event *event);

/* xf_stopping. */
bool call_is_ready(xf_call *call, vigil *vigil);

#endif
