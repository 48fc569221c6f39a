#include "wait/wait.h"

#include "base/clock.h"
#include "base/error.h"
#include "messaging/pipe.h"
#include "messaging/queue.h"
#include "pool/future.h"
#include "process/call.h"
#include "process/process.h"
#include "shmem/event.h"

#include <limits.h>
#include <stdlib.h>
#include <uv.h>

/* ---- Looking --------------------------------------------------------------------------------- */

static bool is_ready(const xf_wait_item *item, wait_target *target)
{
    switch (item->kind) {
    case XF_WAIT_PROCESS:
    case XF_WAIT_MESSAGE:
        return process_lead_is_ready(item->process, item->kind == XF_WAIT_MESSAGE, target);
    case XF_WAIT_FUTURE:
        return future_is_ready(item->future, target);
    case XF_WAIT_GET:
    case XF_WAIT_PUT:
        return queue_is_ready(item->queue, item->kind == XF_WAIT_PUT, target);
    case XF_WAIT_RECEIVE:
    case XF_WAIT_SEND:
        return pipe_is_ready(item->pipe, item->kind == XF_WAIT_SEND, target);
    case XF_WAIT_EVENT:
        return event_is_ready(item->event, item->reserved, target);
    case XF_WAIT_STOP:
        return call_is_ready(item->call, target);
    default:
        return false;
    }
}

/* The same word may tell of many things.  As it was seen first, it says whether any of them has changed since. */
static void add(waiter *waiter, const wait_target *target)
{
    if (target->recheck_ms >= 0 && (waiter->most_ms < 0 || target->recheck_ms < waiter->most_ms))
        waiter->most_ms = target->recheck_ms;
    for (size_t i = 0; i < waiter->word_count; i++)
        if (waiter->words[i].word == target->word.word)
            return;
    if (target->word.word)
        waiter->words[waiter->word_count++] = target->word;
}

/* Marks what is ready, and says how many things are.
 *   sleeps  If nothing is, it is slept on. */
static int look(waiter *waiter, bool sleeps)
{
    int ready = 0;

    waiter->word_count = 0;
    waiter->most_ms = -1;
    for (int i = 0; i < waiter->count; i++) {
        xf_wait_item *item = &waiter->items[i];
        wait_target target = {.recheck_ms = -1};
        bool wants = sleeps && ready == 0;
        item->ready = is_ready(item, wants ? &target : NULL);
        ready += item->ready;
        if (wants && !item->ready)
            add(waiter, &target);
    }
    return ready;
}

/* Leaves it less to the supervisor than a wait does: that may not have come to it yet. */
static void look_closely(xf_wait_item *items, int count)
{
    for (int i = 0; i < count; i++)
        if (items[i].kind == XF_WAIT_PROCESS || items[i].kind == XF_WAIT_MESSAGE)
            process_lead_poll(items[i].process);
}

/* ---- Sleeping -------------------------------------------------------------------------------- */

/* To look for the dead among many things takes time, so it is done less often. */
static int nap_ms(const waiter *waiter, int left)
{
    int most = waiter->most_ms < 0 || waiter->most_ms > waiter->count ? waiter->most_ms : waiter->count;

    return most < 0 || (left >= 0 && left < most) ? left : most;
}

static void for_events(const waiter *waiter, void (*say)(xf_event *event))
{
    for (int i = 0; i < waiter->count; i++)
        if (waiter->items[i].kind == XF_WAIT_EVENT)
            say(waiter->items[i].event);
}

static void sleep_on_all(waiter *waiter, int left)
{
    if (waiter->end)
        waiter->words[waiter->word_count++] = *waiter->end;
    for_events(waiter, event_add_sleeper);
    if (waiter->word_count > 0)
        os_shm_wait_any(waiter->words, waiter->word_count, nap_ms(waiter, left));
    else /* a task that nobody asks to stop, for it runs in this process */
        uv_sleep(left < 0 ? UINT_MAX : (unsigned)left);
    for_events(waiter, event_remove_sleeper);
}

static bool is_over(const waiter *waiter)
{
    return waiter->end && atomic_load(waiter->end->word) != waiter->end->seen;
}

int wait_for(waiter *waiter, uint64_t deadline)
{
    int ready = look(waiter, false), left = clock_left_ms(deadline);

    while (ready == 0 && left != 0 && !is_over(waiter)) {
        ready = look(waiter, true);
        left = clock_left_ms(deadline);
        if (ready == 0 && left != 0)
            sleep_on_all(waiter, left);
    }
    return ready > 0 || left != 0 ? ready : XF_ETIMEDOUT;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static int prepare(xf_wait_item *item, bool sleeps)
{
    switch (item->kind) {
    case XF_WAIT_PROCESS:
    case XF_WAIT_MESSAGE:
        return sleeps ? process_lead_prepare(item->process) : 0;
    case XF_WAIT_FUTURE:
        return future_check(item->future);
    case XF_WAIT_RECEIVE:
    case XF_WAIT_SEND:
        return pipe_check(item->pipe, item->kind == XF_WAIT_SEND);
    case XF_WAIT_EVENT:
        item->reserved = event_count(item->event);
        return 0;
    default:
        return 0;
    }
}

int wait_begin(xf_wait_item *items, int count, bool sleeps)
{
    int things = 0, rc = 0;

    for (int i = 0; i < count && rc == 0; i++) {
        xf_wait_item *item = &items[i];
        if (item->kind == XF_WAIT_NOTHING)
            continue;
        if ((unsigned)item->kind > XF_WAIT_STOP || !item->process) /* whichever it is */
            return error_detail(XF_EINVAL, "item %d is of the kind %d, and %s", i, (int)item->kind,
                                item->process ? "there is no such kind" : "names nothing");
        rc = prepare(item, sleeps);
        things++;
    }
    return rc == 0 && things == 0 ? error_detail(XF_EINVAL, "%d items, and nothing to wait for", count) : rc;
}

void wait_go_on(xf_wait_item *items, int count)
{
    for (int i = 0; i < count; i++)
        if (items[i].kind == XF_WAIT_EVENT && items[i].ready)
            items[i].reserved = event_count(items[i].event);
}

int xf_wait(xf_wait_item *items, int count, int timeout_ms)
{
    enum { FEW = 16 };
    os_word few[FEW];
    waiter waiter = {.items = items, .count = count, .words = few};
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = wait_begin(items, count, timeout_ms != 0);

    if (rc < 0)
        return rc;
    if (timeout_ms == 0)
        look_closely(items, count);
    else if (count > FEW)
        waiter.words = malloc((size_t)count * sizeof *waiter.words);
    if (!waiter.words)
        return error_detail(XF_ENOMEM, "a wait for %d things", count);
    rc = wait_for(&waiter, deadline);
    if (waiter.words != few)
        free(waiter.words);
    return rc;
}
