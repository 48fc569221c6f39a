/* Watching many children: the system's thread pool waits for each event, and wakes the loop.  Unlike a wait for all
 * events at once, this has no limit of 64. */
#include "base/error.h"
#include "os_private.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

struct os_watcher {
    uv_async_t async; /* first: the handle is the watcher */
    SRWLOCK lock;
    child_watch signalled; /* head of the ring of watches whose key is to be reported */
    size_t count;          /* how many watches are in the ring */
    SRWLOCK ending;        /* held while a wait is unregistered; taken before lock */
    HANDLE over;           /* set when the wait is unregistered */
    os_ready ready;
    void *arg;
};

/* ---- The ring, under the lock ---------------------------------------------------------------- */

static void watcher_enter(os_watcher *watcher, child_watch *entry)
{
    if (entry->next)
        return;
    entry->previous = watcher->signalled.previous;
    entry->next = &watcher->signalled;
    entry->previous->next = entry->next->previous = entry;
    watcher->count++;
}

static void watcher_leave(os_watcher *watcher, child_watch *entry)
{
    if (!entry->next)
        return;
    entry->previous->next = entry->next;
    entry->next->previous = entry->previous;
    entry->previous = entry->next = NULL;
    watcher->count--;
}

/* ---- The watcher ----------------------------------------------------------------------------- */

static bool watcher_take_key(os_watcher *watcher, uint64_t *key)
{
    bool taken;

    AcquireSRWLockExclusive(&watcher->lock);
    taken = watcher->count > 0;
    if (taken) {
        *key = watcher->signalled.next->key;
        watcher_leave(watcher, watcher->signalled.next);
    }
    ReleaseSRWLockExclusive(&watcher->lock);
    return taken;
}

/* Reports the keys of the watches that are in the ring now.  A watch that enters later wakes the loop again, so one
 * that is always ready does not keep the others waiting. */
static void on_async(uv_async_t *async)
{
    os_watcher *watcher = (os_watcher *)async;
    uint64_t key;
    size_t count;

    AcquireSRWLockExclusive(&watcher->lock);
    count = watcher->count;
    ReleaseSRWLockExclusive(&watcher->lock);
    while (count-- > 0 && watcher_take_key(watcher, &key))
        watcher->ready(key, watcher->arg);
}

int os_loop_open(uv_loop_t *loop)
{
    int rc = uv_loop_init(loop);

    return rc < 0 ? error_from_uv(rc, "uv_loop_init") : 0;
}

int os_watcher_open(os_watcher **out, uv_loop_t *loop, os_ready ready, void *arg)
{
    int rc;
    os_watcher *watcher = calloc(1, sizeof *watcher);

    if (!watcher)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "calloc");
    watcher->over = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (!watcher->over) {
        rc = os_error(GetLastError(), "CreateEventW");
        goto free_watcher;
    }
    rc = uv_async_init(loop, &watcher->async, on_async);
    if (rc < 0) {
        rc = error_from_uv(rc, "uv_async_init");
        goto close_over;
    }
    InitializeSRWLock(&watcher->lock);
    InitializeSRWLock(&watcher->ending);
    watcher->signalled.previous = watcher->signalled.next = &watcher->signalled;
    watcher->ready = ready;
    watcher->arg = arg;
    *out = watcher;
    return 0;

close_over:
    CloseHandle(watcher->over);
free_watcher:
    free(watcher);
    return rc;
}

static void on_closed(uv_handle_t *handle)
{
    os_watcher *watcher = (os_watcher *)handle;

    CloseHandle(watcher->over);
    free(watcher);
}

void os_watcher_close(os_watcher *watcher)
{
    uv_close((uv_handle_t *)&watcher->async, on_closed);
}

/* ---- Watches --------------------------------------------------------------------------------- */

/* Called on a thread of the system's pool. */
static void CALLBACK on_event(void *entry, BOOLEAN timed_out)
{
    child_watch *signalled = entry;
    os_watcher *watcher = signalled->watcher;

    (void)timed_out;
    AcquireSRWLockExclusive(&watcher->lock);
    watcher_enter(watcher, signalled);
    ReleaseSRWLockExclusive(&watcher->lock);
    uv_async_send(&watcher->async);
}

static int watch_handle(child_watch *entry, int slot, HANDLE handle)
{
    return RegisterWaitForSingleObject(&entry->waits[slot], handle, on_event, entry, INFINITE,
                                       WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD)
               ? 0
               : os_error(GetLastError(), "RegisterWaitForSingleObject");
}

/* Watches a stream's event; stream_ready makes sure that the event will be set. */
static int watch_stream(os_child *child, int number)
{
    os_channel *channel = &child->stream[number];

    if (!channel->pipe || channel->ended)
        return 0;
    (void)stream_ready(channel);
    return watch_handle(&child->watch, number, channel->event);
}

int os_child_watch(os_child *child, os_watcher *watcher, uint64_t key)
{
    int rc = 0;

    assert(!child->watch.watcher);
    child->watch = (child_watch){.watcher = watcher, .key = key};
    for (int i = 0; i < OS_STREAMS && rc == 0; i++)
        rc = watch_stream(child, i);
    if (rc == 0 && !child->ended)
        rc = watch_handle(&child->watch, OS_STREAMS, child->process);
    if (rc == 0 && child->dump_asked)
        rc = watch_handle(&child->watch, OS_STREAMS + 1, child->dump_asked);
    if (rc < 0)
        os_child_unwatch(child);
    return rc;
}

/* Returns when on_event is over, or will not be called any more.  UnregisterWaitEx could wait for that by itself, but
 * Wine's reads meanwhile what its waiting thread is changing: it sometimes faults, or returns while on_event runs.  So
 * this waits for an event, which the system sets when it is done with the wait. */
static void watch_end(os_watcher *watcher, HANDLE wait)
{
    if (UnregisterWaitEx(wait, watcher->over) || GetLastError() == ERROR_IO_PENDING)
        WaitForSingleObject(watcher->over, INFINITE);
}

void os_child_unwatch(os_child *child)
{
    child_watch *entry = &child->watch;
    os_watcher *watcher = entry->watcher;

    if (!watcher)
        return;
    AcquireSRWLockExclusive(&watcher->ending);
    for (int i = 0; i < OS_STREAMS + 2; i++)
        if (entry->waits[i])
            watch_end(watcher, entry->waits[i]);
    ReleaseSRWLockExclusive(&watcher->ending);
    AcquireSRWLockExclusive(&watcher->lock);
    watcher_leave(watcher, entry);
    ReleaseSRWLockExclusive(&watcher->lock);
    entry->watcher = NULL;
}
