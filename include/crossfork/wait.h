/* Waiting for many things at once.
 *
 *     xf_wait_item items[] = {
 *         {.kind = XF_WAIT_GET, .queue = queue},
 *         {.kind = XF_WAIT_PROCESS, .process = process},
 *     };
 *     if (xf_wait(items, 2, XF_FOREVER) > 0 && items[0].ready)
 *         xf_queue_get(queue, &message, 0);
 *
 * An item is ready when the call that waits for it alone would return at once, with success or with an error: so the
 * end of an object makes its item ready, too, and a death is reported here as it is there.  Locks and semaphores cannot
 * be waited for like this: a thread that they wake has to acquire them. */
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

/* What an item waits for, and the call that would return at once. */
typedef enum xf_wait_kind {
    XF_WAIT_NOTHING, /* the item is skipped, and not ready */
    XF_WAIT_PROCESS, /* the process has ended: xf_process_join */
    XF_WAIT_MESSAGE, /* the process has sent a message, or ended: xf_process_receive */
    XF_WAIT_FUTURE,  /* every item has ended: xf_future_wait */
    XF_WAIT_GET,     /* there is a message, or the queue is closed and empty: xf_queue_get */
    XF_WAIT_PUT,     /* there is room for a message up to message_size, or the queue is closed: xf_queue_put */
    XF_WAIT_RECEIVE, /* there is a message, or the other end is closed: xf_pipe_receive */
    XF_WAIT_SEND,    /* there is room for a message up to message_size, or the other end is closed: xf_pipe_send */
    XF_WAIT_EVENT,   /* the event is set, or was while this waited: xf_event_wait */
    XF_WAIT_STOP     /* this task has been asked to stop: xf_stop_requested */
} xf_wait_kind;

/* One object to wait for.  An item that is all zero is skipped. */
typedef struct xf_wait_item {
    xf_wait_kind kind;
    bool ready;        /* set by xf_wait */
    uint32_t reserved; /* crossfork's own */
    union {            /* the caller's own, which stays open meanwhile */
        xf_process *process;
        xf_future *future;
        xf_queue *queue;
        xf_pipe *pipe;
        xf_event *event;
        xf_call *call;
    };
    void *arg; /* the caller's own */
} xf_wait_item;

/* Waits until at least one of the items is ready.
 *   items       count of them, without a limit; several may name the same object.  Sets ready of each item to whether
 *               it is ready, also when it times out.  When several threads or processes wait for the same object, all
 *               are woken, and one gets it: so make the call that follows with a timeout of 0.
 *   timeout_ms  0 only checks, as exactly as the calls themselves do.
 * Returns how many are ready; XF_ETIMEDOUT; XF_EINVAL when items is NULL, all items are skipped, or one has a NULL
 * object or no valid kind; XF_ESTATE for a pipe end that does not send or receive, or a future whose pool was freed;
 * XF_EDEADLK for a process, with a timeout, in its log callback, and for a future in any callback on crossfork's
 * callback thread; XF_ENOMEM, XF_EHANDLES.  After an error other than
 * XF_ETIMEDOUT no ready is set.
 * Threads: any thread, in the program and in children; an item belongs to one call at a time.
 * Systems: it sleeps until it is woken, but checks now and then for processes that have died: five times a second for
 * queues and events, twenty times for pipes, but with n items not more often than every n milliseconds.  Linux: beyond
 * 127 different objects further threads exist while it sleeps; before 5.16, it checks every 4 ms.  Windows: the
 * same when more than 100 threads sleep on one object. */
XF_API int xf_wait(xf_wait_item *items, int count, int timeout_ms);

/* ---- In an event loop ------------------------------------------------------------------------ */

/* Calls a function on a libuv loop when items are ready. */
typedef struct xf_watch xf_watch;

/* Called on the loop's thread when at least one of the items is ready, and again as long as one is: so make the calls
 * that make it unready, with a timeout of 0, or stop the watch.
 *   items  The watch's own, in the order of xf_watch_start, valid until this returns. */
typedef void (*xf_watch_callback)(xf_watch *watch, const xf_wait_item *items, int count, void *arg);

/* What to watch. */
typedef struct xf_watch_options {
    const xf_wait_item *items; /* copied; the objects that they name stay open until xf_watch_stop */
    int count;                 /* of items, at least 1 */
    xf_watch_callback callback;
    void *arg; /* for the callback */
} xf_watch_options;

/* Begins to watch.
 *   watch  Set to the new watch, which the caller ends with xf_watch_stop.  Until then it keeps the loop running.
 *   loop   A uv_loop_t; this is called on its thread, or before it runs.
 * Returns 0; XF_EINVAL for a count below 1, no items or no callback; as xf_wait; XF_EPROCESSES when the system allows
 * no more threads.
 * Threads: a watch is a thread of its own that waits as xf_wait does, and rests while the callback runs.  While there
 * is one, the program has more than one thread: XF_START_FORK is not the default then. */
XF_API int xf_watch_start(xf_watch **watch, struct uv_loop_s *loop, const xf_watch_options *options);

/* Ends a watch, on the loop's thread, its callback included.  When it returns, the callback is not called any more, the
 * thread has ended, and the objects that the items name may be freed; the loop has to run once more to release its
 * handle.  NULL is harmless. */
XF_API void xf_watch_stop(xf_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
