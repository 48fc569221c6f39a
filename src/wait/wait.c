#include "wait/wait.h"

#include "base/clock.h"
#include "base/error.h"
#include "messaging/pipe.h"
#include "messaging/queue.h"
#include "os/cancel.h"
#include "pool/future.h"
#include "process/call.h"
#include "process/process_lead.h"
#include "shmem/event.h"

#include <limits.h>
#include <stdlib.h>
#include <uv.h>

/* ---- Polling --------------------------------------------------------------------------------- */

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

/* Adds the word that an item sleeps on.  When several items share a word, the value that was seen first is kept: it
 * shows whether any of them has changed since. */
static void add_target(waiter *waiter, const wait_target *target)
{
    if (target->recheck_ms >= 0 && (waiter->recheck_ms < 0 || target->recheck_ms < waiter->recheck_ms))
        waiter->recheck_ms = target->recheck_ms;
    for (size_t i = 0; i < waiter->word_count; i++)
        if (waiter->words[i].word == target->word.word)
            return;
    if (target->word.word)
        waiter->words[waiter->word_count++] = target->word;
}

/* Marks the items that are ready, and returns how many they are.
 *   arms  Collects the words to sleep on, for the case that none is ready. */
static int poll_items(waiter *waiter, bool arms)
{
    int ready = 0;

    waiter->word_count = 0;
    waiter->recheck_ms = -1;
    for (int i = 0; i < waiter->count; i++) {
        xf_wait_item *item = &waiter->items[i];
        wait_target target = {.recheck_ms = -1};
        bool wants = arms && ready == 0;
        item->ready = is_ready(item, wants ? &target : NULL);
        ready += item->ready;
        if (wants && !item->ready)
            add_target(waiter, &target);
    }
    return ready;
}

/* Reads the channels of processes here and now.  A wait leaves that to the supervisor, which may not have come to it
 * when a poll asks. */
static void poll_processes(xf_wait_item *items, int count)
{
    for (int i = 0; i < count; i++)
        if (items[i].kind == XF_WAIT_PROCESS || items[i].kind == XF_WAIT_MESSAGE)
            process_lead_poll(items[i].process);
}

/* ---- Sleeping -------------------------------------------------------------------------------- */

/* Polling many items takes time, so that is done at most every count milliseconds. */
static int sleep_ms(const waiter *waiter, int left)
{
    int longest = waiter->recheck_ms < 0 || waiter->recheck_ms > waiter->count ? waiter->recheck_ms : waiter->count;

    return longest < 0 || (left >= 0 && left < longest) ? left : longest;
}

static void for_events(const waiter *waiter, void (*call)(xf_event *event))
{
    for (int i = 0; i < waiter->count; i++)
        if (waiter->items[i].kind == XF_WAIT_EVENT)
            call(waiter->items[i].event);
}

static void sleep_on_items(waiter *waiter, int left)
{
    if (waiter->end)
        waiter->words[waiter->word_count++] = *waiter->end;
    for_events(waiter, event_add_sleeper);
    if (waiter->word_count > 0)
        os_shm_wait_any(waiter->words, waiter->word_count, sleep_ms(waiter, left));
    else /* XF_WAIT_STOP alone, of a task that runs in this process, where nothing asks it to stop */
        uv_sleep(left < 0 ? UINT_MAX : (unsigned)left);
    for_events(waiter, event_remove_sleeper);
}

static bool is_over(const waiter *waiter)
{
    return waiter->end && atomic_load(waiter->end->word) != waiter->end->seen;
}

int wait_for(waiter *waiter, uint64_t deadline)
{
    int ready = poll_items(waiter, false), left = clock_left_ms(deadline);

    while (ready == 0 && left != 0 && !is_over(waiter)) {
        ready = poll_items(waiter, true);
        left = clock_left_ms(deadline);
        if (ready == 0 && left != 0)
            sleep_on_items(waiter, left);
    }
    return ready > 0 || left != 0 ? ready : XF_ETIMEDOUT;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static int prepare_event(xf_wait_item *item)
{
    int rc = event_check(item->event);

    if (rc == 0)
        item->reserved = event_count(item->event);
    return rc;
}

static int prepare_item(xf_wait_item *item, bool sleeps)
{
    switch (item->kind) {
    case XF_WAIT_PROCESS:
    case XF_WAIT_MESSAGE:
        return sleeps ? process_lead_prepare(item->process) : process_lead_check_own(item->process);
    case XF_WAIT_FUTURE:
        return future_check_wait(item->future, sleeps ? XF_FOREVER : 0);
    case XF_WAIT_RECEIVE:
    case XF_WAIT_SEND:
        return pipe_check(item->pipe, item->kind == XF_WAIT_SEND);
    case XF_WAIT_GET:
    case XF_WAIT_PUT:
        return queue_check(item->queue);
    case XF_WAIT_EVENT:
        return prepare_event(item);
    default:
        return 0;
    }
}

/* The pointer in the item that belongs to its kind. */
static const void *object_of(const xf_wait_item *item)
{
    switch (item->kind) {
    case XF_WAIT_PROCESS:
    case XF_WAIT_MESSAGE:
        return item->process;
    case XF_WAIT_FUTURE:
        return item->future;
    case XF_WAIT_GET:
    case XF_WAIT_PUT:
        return item->queue;
    case XF_WAIT_RECEIVE:
    case XF_WAIT_SEND:
        return item->pipe;
    case XF_WAIT_EVENT:
        return item->event;
    default:
        return item->call;
    }
}

int wait_prepare(xf_wait_item *items, int count, bool sleeps)
{
    int used = 0, rc = items || count < 1 ? 0 : error_check_data(items, (uint64_t)count, "items");

    for (int i = 0; i < count && rc == 0; i++) {
        xf_wait_item *item = &items[i];
        if (item->kind == XF_WAIT_NOTHING)
            continue;
        if ((unsigned)item->kind > XF_WAIT_STOP)
            return error_detail(XF_EINVAL, "item %d has the unknown kind %d", i, (int)item->kind);
        if (!object_of(item))
            return error_detail(XF_EINVAL, "item %d of kind %d has a NULL pointer", i, (int)item->kind);
        rc = prepare_item(item, sleeps);
        used++;
    }
    return rc == 0 && used == 0 ? error_detail(XF_EINVAL, "none of %d items has something to wait for", count) : rc;
}

void wait_rearm(xf_wait_item *items, int count)
{
    for (int i = 0; i < count; i++)
        if (items[i].kind == XF_WAIT_EVENT && items[i].ready)
            items[i].reserved = event_count(items[i].event);
}

static void free_words(os_word **words)
{
    free(*words);
}

int xf_wait(xf_wait_item *items, int count, int timeout_ms)
{
    OS_HOLD_CANCEL;

    enum { FEW = 16 };
    __attribute__((cleanup(free_words))) os_word *many = NULL; /* also when an exception leaves a task that it runs */
    os_word few[FEW];
    waiter waiter = {.items = items, .count = count, .words = few};
    uint64_t deadline = clock_deadline(timeout_ms);
    int rc = wait_prepare(items, count, timeout_ms != 0);

    if (rc < 0)
        return rc;
    if (timeout_ms == 0)
        poll_processes(items, count);
    else if (count > FEW)
        waiter.words = many = malloc((size_t)count * sizeof *many);
    if (!waiter.words)
        return error_detail(XF_ENOMEM, "a wait for %d items", count);
    return wait_for(&waiter, deadline);
}
