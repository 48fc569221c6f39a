/* Waiting for many things at once.
 *
 *     xf_wait_item items[] = {
 *         {.kind = XF_WAIT_GET, .queue = queue},
 *         {.kind = XF_WAIT_PROCESS, .process = process},
 *     };
 *     if (xf_wait(items, 2, XF_FOREVER) > 0 && items[0].ready)
 *         xf_queue_get(queue, &message, 0);
 *
 * A thing is ready when the call that waits for it alone would return at once, be it with an error: so its end is a
 * reason to return, too, and a death is told here as it is told there.  Locks and semaphores cannot be waited for like
 * this: what they wake has to take them. */
#ifndef CROSSFORK_WAIT_H
#define CROSSFORK_WAIT_H

#include "export.h"
#include "pipe.h"
#include "pool.h"
#include "process.h"
#include "queue.h"
#include "sync.h"
#include "task.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is waited for, and the call that would return at once. */
typedef enum xf_wait_kind {
    XF_WAIT_NOTHING, /* the item is passed over, and not ready */
    XF_WAIT_PROCESS, /* it has ended: xf_process_join */
    XF_WAIT_MESSAGE, /* it has sent a message, or ended: xf_process_receive */
    XF_WAIT_FUTURE,  /* every item has ended: xf_future_wait */
    XF_WAIT_GET,     /* there is a message, or the queue is closed and empty: xf_queue_get */
    XF_WAIT_PUT,     /* there is room for a message up to message_size, or the queue is closed: xf_queue_put */
    XF_WAIT_RECEIVE, /* there is a message, or the other end has gone: xf_pipe_receive */
    XF_WAIT_SEND,    /* there is room for a message up to message_size, or the other end has gone: xf_pipe_send */
    XF_WAIT_EVENT,   /* it is set, or was while this waited: xf_event_wait */
    XF_WAIT_STOP     /* this task has been asked to stop: xf_stop_requested */
} xf_wait_kind;

/* One of the things.  All zero is passed over. */
typedef struct xf_wait_item {
    xf_wait_kind kind;
    bool ready;        /* set by xf_wait */
    uint32_t reserved; /* crossfork's own */
    union {            /* stays open, and the caller's, meanwhile */
        xf_process *process;
        xf_future *future;
        xf_queue *queue;
        xf_pipe *pipe;
        xf_event *event;
        xf_call *call;
    };
    void *arg; /* the caller's own */
} xf_wait_item;

/* Waits until at least one of the things is ready.
 *   items       count of them, as many as you like; several may be of the same thing.  In each, ready is set to whether
 *               it was, also when none was.  When several threads or processes wait for the same thing, all are told,
 *               and one gets it: so go on with a timeout of 0.
 *   timeout_ms  0 only looks, as exactly as the calls themselves do.
 * Returns how many are ready; XF_ETIMEDOUT; XF_EINVAL when there is no thing among the items, or one is NULL or of no
 * kind; XF_ESTATE for a pipe end that does not do that, or a future whose pool was freed; XF_EDEADLK for a process,
 * with a timeout, on the thread that looks after it: in a callback for its log, or one on crossfork's supervisor
 * thread; XF_ENOMEM, XF_EHANDLES.  Then no ready was set.
 * Threads: any thread, in the program and in children; an item belongs to one call at a time.
 * Systems: it sleeps until it is woken, but looks up now and then to see who has died: five times a second for queues
 * and events, twenty times for pipes, and less often for more than 50 things, a millisecond for each.  Linux: beyond
 * 127 different things further threads exist while it sleeps; before 5.16, it looks every 4 ms.  Windows: the same when
 * more than 100 threads sleep on one object. */
XF_API int xf_wait(xf_wait_item *items, int count, int timeout_ms);

/* ---- In an event loop ------------------------------------------------------------------------ */

/* Tells a libuv loop when things are ready. */
typedef struct xf_watch xf_watch;

/* Called on the loop's thread when at least one of the items is ready.  It is called again as long as that is so: take
 * what is there, with a timeout of 0, or stop the watch.
 *   items  The watch's own, in the order of xf_watch_start, valid until this returns. */
typedef void (*xf_watch_callback)(xf_watch *watch, const xf_wait_item *items, int count, void *arg);

/* Begins to watch.
 *   watch  Set to the new watch, ended with xf_watch_stop.  Until then the loop has a reason to run.
 *   loop   A uv_loop_t; this is called on its thread, or before it runs.
 *   items  Copied; what they name stays open until xf_watch_stop.
 * Returns 0; as xf_wait; XF_EPROCESSES when there can be no more threads.
 * Threads: a watch is a thread of its own that waits as xf_wait does, and rests while the callback runs.  While there
 * is one, the program has more than one thread: XF_START_FORK is not the default then. */
XF_API int xf_watch_start(xf_watch **watch, struct uv_loop_s *loop, const xf_wait_item *items, int count,
                          xf_watch_callback callback, void *arg);

/* Ends a watch, on the loop's thread, its callback included.  The callback is not called any more, the thread has
 * ended, and what the items name may be freed; the loop has to run once more to let go.  NULL is harmless. */
XF_API void xf_watch_stop(xf_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
