/* Mapping a task over the inputs of a generator, with a window of futures. */
#include "base/clock.h"
#include "base/error.h"
#include "crossfork/pool.h"
#include "pool/pool_state.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct imap_item {
    xf_future *future;
    size_t index; /* of its input */
} imap_item;

struct xf_imap {
    xf_pool *pool;
    xf_generator next;
    void *arg;
    xf_map map; /* of the next input */
    bool unordered;
    size_t window;
    size_t index;        /* of the next input */
    int state;           /* 1: the generator has more inputs; 0: it has no more; or its error, */
    char why[256];       /* and, if the next input could not be submitted, the detail of that */
    size_t count;        /* of items */
    imap_item *items;    /* submitted and not returned yet, the oldest first */
    xf_future **futures; /* room for xf_future_wait_any */
};

static int submit_input(xf_imap *imap, const xf_bytes *input, xf_future **future)
{
    imap->map.in = input->data;
    imap->map.size = input->size;
    return xf_pool_submit(future, imap->pool, &imap->map);
}

static int submit_or_say_why(xf_imap *imap, const xf_bytes *input, xf_future **future)
{
    int rc = submit_input(imap, input, future);

    if (rc < 0)
        snprintf(imap->why, sizeof imap->why, ": %s", xf_error_detail());
    return rc;
}

/* Submits inputs until the window is full. */
static void fill_window(xf_imap *imap)
{
    while (imap->state == 1 && imap->count < imap->window) {
        xf_bytes input;
        xf_future *future;
        int rc = imap->next(imap->arg, &input);
        if (rc > 0)
            rc = submit_or_say_why(imap, &input, &future);
        else
            imap->state = rc;
        if (rc < 0)
            imap->state = rc;
        else if (imap->state == 1)
            imap->items[imap->count++] = (imap_item){future, imap->index++};
    }
}

int xf_imap_create(xf_imap **out, xf_pool *pool, const xf_imap_options *options)
{
    xf_imap *imap;
    int rc = pool_state_check_own(pool);

    if (rc < 0)
        return rc;
    if (!options->task || !options->next)
        return error_detail(XF_EINVAL, "an imap without a %s", options->task ? "generator" : "task");
    imap = calloc(1, sizeof *imap);
    if (!imap)
        return error_detail(XF_ENOMEM, "an imap");
    *imap = (xf_imap){
        .pool = pool, .next = options->next, .arg = options->arg, .state = 1, .unordered = options->unordered};
    imap->map = (xf_map){.task = options->task,
                         .timeout_ms = options->timeout_ms,
                         .priority = options->priority,
                         .deadline_ms = options->deadline_ms};
    imap->window = options->window ? options->window : 4 * (size_t)pool->worker_limit;
    if (imap->window > XF_FUTURES_MAX)
        imap->window = XF_FUTURES_MAX;
    imap->items = calloc(imap->window, sizeof *imap->items);
    imap->futures = calloc(imap->window, sizeof *imap->futures);
    if (!imap->items || !imap->futures) {
        error_detail(XF_ENOMEM, "a window of %zu inputs", imap->window);
        xf_imap_free(imap);
        return XF_ENOMEM;
    }
    fill_window(imap);
    *out = imap;
    return 0;
}

/* Waits for the item that xf_imap_next returns, and returns its place. */
static int await_next(xf_imap *imap, int timeout_ms)
{
    int rc;

    if (!imap->unordered) {
        rc = xf_future_wait(imap->items[0].future, timeout_ms);
        return rc == XF_EFAILED || rc == XF_ENOMEM ? 0 : rc;
    }
    for (size_t i = 0; i < imap->count; i++)
        imap->futures[i] = imap->items[i].future;
    return xf_future_wait_any(imap->futures, (int)imap->count, timeout_ms);
}

int xf_imap_next(xf_imap *imap, xf_future **future, size_t *index, int timeout_ms)
{
    int at, end, rc = pool_state_check_own(imap->pool);

    if (rc < 0)
        return rc;
    if (imap->count == 0) {
        end = imap->state == 1 ? 0 : imap->state;
        imap->state = 0; /* an error is returned once */
        return end < 0 ? error_detail(end, "input %zu%s", imap->index, imap->why) : 0;
    }
    at = await_next(imap, timeout_ms);
    if (at < 0)
        return at;
    *future = imap->items[at].future;
    if (index)
        *index = imap->items[at].index;
    for (size_t i = (size_t)at + 1; i < imap->count; i++)
        imap->items[i - 1] = imap->items[i];
    imap->count--;
    fill_window(imap);
    return 1;
}

void xf_imap_free(xf_imap *imap)
{
    if (!imap)
        return;
    for (size_t i = 0; i < imap->count; i++)
        xf_future_cancel(imap->items[i].future);
    for (size_t i = 0; i < imap->count; i++)
        xf_future_free(imap->items[i].future);
    free(imap->items);
    free(imap->futures);
    free(imap);
}
