/* Watches: a thread that waits for many things, and tells a loop. */
#include "base/clock.h"
#include "base/error.h"
#include "wait/wait.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { LOOKING, TELLING, OVER }; /* whose turn it is: the thread's, the callback's, nobody's */

struct xf_watch {
    uv_async_t async; /* first: the handle is the watch */
    uv_thread_t thread;
    os_shm shm;
    _Atomic uint32_t *turn; /* in that */
    os_word end;            /* it is not the thread's turn any more */
    waiter waiter;
    xf_watch_callback callback;
    void *arg;
};

/* ---- On its thread --------------------------------------------------------------------------- */

static bool take_turn(xf_watch *watch, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(watch->turn, &from, to);
}

static void run(void *arg)
{
    xf_watch *watch = arg;

    while (wait_for(&watch->waiter, CLOCK_NEVER) > 0) {
        wait_go_on(watch->waiter.items, watch->waiter.count);
        if (!take_turn(watch, LOOKING, TELLING))
            return;
        uv_async_send(&watch->async);
        while (atomic_load(watch->turn) == TELLING)
            os_shm_wait(&watch->shm, watch->turn, TELLING, -1);
    }
}

/* ---- On the loop's --------------------------------------------------------------------------- */

static void on_async(uv_async_t *async)
{
    xf_watch *watch = (xf_watch *)async;

    if (atomic_load(watch->turn) != TELLING)
        return;
    watch->callback(watch, watch->waiter.items, watch->waiter.count, watch->arg);
    if (take_turn(watch, TELLING, LOOKING)) /* unless it was stopped */
        os_shm_wake(&watch->shm, watch->turn, OS_ALL);
}

static void on_closed(uv_handle_t *handle)
{
    xf_watch *watch = (xf_watch *)handle;

    os_shm_close(&watch->shm);
    free(watch->waiter.items);
    free(watch->waiter.words);
    free(watch);
}

static int make(xf_watch **out, const xf_wait_item *items, int count)
{
    xf_watch *watch = calloc(1, sizeof *watch);
    size_t size = (size_t)count * sizeof *items;
    int rc = XF_ENOMEM;

    if (!watch)
        return error_detail(XF_ENOMEM, "a watch");
    watch->waiter =
        (waiter){.items = malloc(size), .count = count, .words = malloc(((size_t)count + 1) * sizeof(os_word))};
    if (watch->waiter.items && watch->waiter.words)
        rc = os_shm_create(&watch->shm, OS_PAGE, OS_SHM_WAITABLE | OS_SHM_PRIVATE);
    else
        error_detail(rc, "a watch of %d things", count);
    if (rc < 0)
        goto free_all;
    memcpy(watch->waiter.items, items, size);
    watch->turn = watch->shm.address;
    watch->end = (os_word){&watch->shm, watch->turn, LOOKING, NULL};
    watch->waiter.end = &watch->end;
    *out = watch;
    return 0;

free_all:
    free(watch->waiter.words);
    free(watch->waiter.items);
    free(watch);
    return rc;
}

int xf_watch_start(xf_watch **out, uv_loop_t *loop, const xf_wait_item *items, int count, xf_watch_callback callback,
                   void *arg)
{
    xf_watch *watch = NULL;
    int rc = count < 1 ? error_detail(XF_EINVAL, "a watch of %d things", count) : make(&watch, items, count);

    if (rc < 0)
        return rc;
    watch->callback = callback;
    watch->arg = arg;
    rc = wait_begin(watch->waiter.items, count, true);
    if (rc == 0) {
        rc = uv_async_init(loop, &watch->async, on_async);
        rc = rc < 0 ? error_detail(XF_EHANDLES, "uv_async_init: %s", uv_strerror(rc)) : 0;
    }
    if (rc < 0) {
        on_closed((uv_handle_t *)watch);
        return rc;
    }
    rc = uv_thread_create(&watch->thread, run, watch);
    if (rc < 0) {
        uv_close((uv_handle_t *)&watch->async, on_closed);
        return error_detail(XF_EPROCESSES, "uv_thread_create: %s", uv_strerror(rc));
    }
    *out = watch;
    return 0;
}

void xf_watch_stop(xf_watch *watch)
{
    if (!watch)
        return;
    atomic_store(watch->turn, OVER);
    os_shm_wake(&watch->shm, watch->turn, OS_ALL);
    uv_thread_join(&watch->thread);
    uv_close((uv_handle_t *)&watch->async, on_closed);
}
