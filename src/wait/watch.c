/* Watches: a thread that waits for many items, and calls back on a loop. */
#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "os/cancel.h"
#include "os/identity.h"
#include "wait/wait.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { WATCHING, CALLING_BACK, STOPPED }; /* the turn: the thread waits, the callback runs, neither */

struct xf_watch {
    uv_async_t async; /* first: the handle is the watch */
    uv_thread_t thread;
    uint32_t generation; /* of the process that has the thread: os_self_generation */
    os_shm shm;
    _Atomic uint32_t *turn; /* in shm */
    os_word end;            /* ends the thread's wait when the turn is no longer WATCHING */
    waiter waiter;
    xf_watch_callback callback;
    void *arg;
};

/* ---- On the watch's thread ------------------------------------------------------------------- */

static bool change_turn(xf_watch *watch, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(watch->turn, &from, to);
}

static void run_watch(void *arg)
{
    xf_watch *watch = arg;

    while (wait_for(&watch->waiter, CLOCK_NEVER) > 0) {
        wait_rearm(watch->waiter.items, watch->waiter.count);
        if (!change_turn(watch, WATCHING, CALLING_BACK))
            return;
        uv_async_send(&watch->async);
        while (atomic_load(watch->turn) == CALLING_BACK)
            os_shm_wait(&watch->shm, watch->turn, CALLING_BACK, -1);
    }
}

/* ---- On the loop's thread -------------------------------------------------------------------- */

static void on_watch_async(uv_async_t *async)
{
    xf_watch *watch = (xf_watch *)async;

    if (atomic_load(watch->turn) != CALLING_BACK)
        return;
    watch->callback(watch, watch->waiter.items, watch->waiter.count, watch->arg);
    if (change_turn(watch, CALLING_BACK, WATCHING)) /* fails when the callback stopped the watch */
        os_shm_wake(&watch->shm, watch->turn, OS_ALL);
}

static void free_watch(uv_handle_t *handle)
{
    xf_watch *watch = (xf_watch *)handle;

    os_shm_close(&watch->shm);
    free(watch->waiter.items);
    free(watch->waiter.words);
    free(watch);
}

static int create_watch(xf_watch **out, const xf_wait_item *items, int count)
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
        error_detail(rc, "a watch of %d items", count);
    if (rc < 0)
        goto free_all;
    memcpy(watch->waiter.items, items, size);
    watch->generation = os_self_generation();
    watch->turn = watch->shm.address;
    watch->end = (os_word){&watch->shm, watch->turn, WATCHING, NULL};
    watch->waiter.end = &watch->end;
    *out = watch;
    return 0;

free_all:
    free(watch->waiter.words);
    free(watch->waiter.items);
    free(watch);
    return rc;
}

static int check_watch(const xf_watch_options *options)
{
    if (options->count < 1 || !options->callback)
        return error_detail(XF_EINVAL, "a watch of %d items, and %s callback", options->count,
                            options->callback ? "a" : "no");
    return error_check_data(options->items, (uint64_t)options->count, "items");
}

int xf_watch_start(xf_watch **out, uv_loop_t *loop, const xf_watch_options *options)
{
    OS_HOLD_CANCEL;
    xf_watch *watch = NULL;
    int rc = check_watch(options);

    if (rc == 0)
        rc = create_watch(&watch, options->items, options->count);
    if (rc < 0)
        return rc;
    watch->callback = options->callback;
    watch->arg = options->arg;
    rc = wait_prepare(watch->waiter.items, options->count, true);
    if (rc == 0) {
        rc = uv_async_init(loop, &watch->async, on_watch_async);
        rc = rc < 0 ? error_from_uv(rc, "uv_async_init") : 0;
    }
    if (rc < 0) {
        free_watch((uv_handle_t *)watch);
        return rc;
    }
    rc = thread_start(&watch->thread, run_watch, watch);
    if (rc < 0) {
        uv_close((uv_handle_t *)&watch->async, free_watch);
        return rc;
    }
    *out = watch;
    return 0;
}

void xf_watch_stop(xf_watch *watch)
{
    OS_HOLD_CANCEL;

    if (!watch || watch->generation != os_self_generation()) /* a forked copy has no such thread, and no such loop */
        return;
    atomic_store(watch->turn, STOPPED);
    os_shm_wake(&watch->shm, watch->turn, OS_ALL);
    uv_thread_join(&watch->thread);
    uv_close((uv_handle_t *)&watch->async, free_watch);
}
