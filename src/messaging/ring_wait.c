/* Waiting for a ring: spin, then sleep. */
#include "base/clock.h"
#include "messaging/ring_internal.h"

#include <uv.h>

/* Each RING_RECHECK_MS the first thread that comes here checks the process in its way. */
static void check_blocker(ring *ring, uint64_t process)
{
    uint64_t now = uv_hrtime(), due = atomic_load_explicit(&ring->next_check, memory_order_relaxed);

    if (now >= due &&
        atomic_compare_exchange_strong(&ring->next_check, &due, now + RING_RECHECK_MS * (uint64_t)CLOCK_NS_PER_MS))
        ring_recover(ring, process);
}

/* A process that dies before it wakes the sleepers leaves them asleep: no thread sleeps longer than RING_SLEEP_MS. */
bool ring_wait_poll(ring *ring, const ring_awaited *awaited, wait_target *target)
{
    uint64_t blocker = 0;
    uint32_t seen = target ? wake_word_arm(awaited->word) : 0;

    if (awaited->holds(ring, awaited->arg, &blocker))
        return true;
    if (blocker)
        check_blocker(ring, blocker);
    if (awaited->holds(ring, awaited->arg, &blocker))
        return true;
    if (target)
        *target = (wait_target){{ring->shm, awaited->word, seen, NULL}, blocker ? RING_RECHECK_MS : RING_SLEEP_MS};
    return false;
}

int ring_wait(ring *ring, const ring_awaited *awaited, uint64_t deadline)
{
    wait_target target;
    int left;

    if (awaited->quick && deadline > uv_hrtime() && spin(awaited->quick, ring, ring->plan.spin_us, deadline))
        return 0;
    for (;;) {
        if (ring_wait_poll(ring, awaited, &target))
            return 0;
        left = clock_left_ms(deadline);
        if (left == 0)
            return XF_ETIMEDOUT;
        os_shm_wait(ring->shm, awaited->word, target.word.seen,
                    left < 0 || left > target.recheck_ms ? target.recheck_ms : left);
    }
}

int ring_wait_done(ring *ring, uint64_t deadline)
{
    return ring_wait(ring, &(ring_awaited){&ring->head->done, ring_inflight_is_done, NULL, NULL}, deadline);
}
