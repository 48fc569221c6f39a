/* Messages in flight: what each process has taken of a ring and not acknowledged, for ring_wait_done. */
#include "base/error.h"
#include "messaging/ring_internal.h"

static ring_consumer *find_consumer(ring *ring, uint64_t process)
{
    for (uint32_t i = 0; i < ring->plan.consumers; i++)
        if (atomic_load(&ring->consumers[i].process) == process)
            return &ring->consumers[i];
    return NULL;
}

/* Becomes a consumer: takes an unused entry, unless another process is faster. */
static ring_consumer *take_consumer(ring *ring)
{
    ring_consumer *consumer;
    uint64_t unused = 0;

    while ((consumer = find_consumer(ring, 0)))
        if (atomic_compare_exchange_strong(&consumer->process, &unused, ring->me))
            return consumer;
        else
            unused = 0;
    return NULL;
}

static void forget_dead_consumers(ring *ring)
{
    for (uint32_t i = 0; i < ring->plan.consumers; i++) {
        uint64_t process = atomic_load(&ring->consumers[i].process);
        if (process && !os_process_lives(process))
            ring_inflight_forget(ring, process);
    }
}

int ring_inflight_open(ring *ring)
{
    if (ring->plan.consumers == 0 || ring->own_consumer)
        return 0;
    ring->own_consumer = find_consumer(ring, ring->me);
    if (!ring->own_consumer)
        ring->own_consumer = take_consumer(ring);
    if (!ring->own_consumer) {
        forget_dead_consumers(ring);
        ring->own_consumer = take_consumer(ring);
    }
    return ring->own_consumer ? 0 : error_detail(XF_ELIMIT, "%u processes take tasks", ring->plan.consumers);
}

void ring_inflight_forget(ring *ring, uint64_t process)
{
    ring_consumer *consumer = find_consumer(ring, process);

    if (!consumer)
        return;
    atomic_fetch_add(&ring->head->undone, atomic_exchange(&consumer->unacked, 0));
    atomic_compare_exchange_strong(&consumer->process, &process, 0);
}

int ring_inflight_remove(ring *ring)
{
    _Atomic uint64_t *unacked = &ring->own_consumer->unacked;
    uint64_t seen = atomic_load(unacked);

    do
        if (seen == 0)
            return error_detail(XF_ESTATE, "every message that was got is done already");
    while (!atomic_compare_exchange_weak(unacked, &seen, seen - 1));
    if (seen == 1)
        wake_word_signal(ring->shm, &ring->head->done);
    return 0;
}

int ring_acknowledge(ring *ring)
{
    int rc = ring_inflight_open(ring);

    return rc < 0 ? rc : ring_inflight_remove(ring);
}

/* A consumer puts the messages that result from a message before it acknowledges that one.  So the ring is done if it
 * is empty, then no message is in flight, and the number of puts has not changed between the two checks. */
bool ring_inflight_is_done(ring *ring, void *arg, uint64_t *blocker)
{
    uint64_t before = ring_search_put_count(ring);
    ring_position position;
    ring_found found;

    (void)arg;
    found = ring_search_message(ring, &position, blocker);
    if (found == RING_FOUND || *blocker)
        return found == RING_BROKEN;
    for (uint32_t i = 0; i < ring->plan.consumers; i++)
        if (atomic_load(&ring->consumers[i].unacked) > 0) {
            *blocker = atomic_load(&ring->consumers[i].process);
            return false;
        }
    return ring_search_put_count(ring) == before;
}
