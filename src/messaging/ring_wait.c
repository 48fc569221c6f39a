/* Waiting for a lane: spin, then sleep. */
#include "base/clock.h"
#include "messaging/ring.h"

#include <uv.h>

/* Whoever is in the way is looked at every RING_RECHECK_MS, by whichever thread comes first. */
static void look_at(lane *lane, uint64_t who)
{
    uint64_t now = uv_hrtime(), due = atomic_load_explicit(&lane->next_look, memory_order_relaxed);

    if (now >= due &&
        atomic_compare_exchange_strong(&lane->next_look, &due, now + RING_RECHECK_MS * (uint64_t)CLOCK_NS_PER_MS))
        ring_recover(lane, who);
}

/* One who dies before it wakes those who sleep leaves them asleep; so nobody sleeps for longer than RING_SLEEP_MS. */
bool ring_wait_poll(lane *lane, wake_word *bell, ring_condition holds, void *arg, wait_target *target)
{
    uint64_t in_the_way = 0;
    uint32_t seen = target ? wake_word_arm(bell) : 0;

    if (holds(lane, arg, &in_the_way))
        return true;
    if (in_the_way)
        look_at(lane, in_the_way);
    if (holds(lane, arg, &in_the_way))
        return true;
    if (target)
        *target = (wait_target){{lane->shm, bell, seen, NULL}, in_the_way ? RING_RECHECK_MS : RING_SLEEP_MS};
    return false;
}

int ring_wait(lane *lane, wake_word *bell, spin_look glimpse, ring_condition holds, void *arg, uint64_t deadline)
{
    wait_target target;
    int left;

    if (glimpse && deadline > uv_hrtime() && spin(glimpse, lane, lane->plan.spin_us, deadline))
        return 0;
    for (;;) {
        if (ring_wait_poll(lane, bell, holds, arg, &target))
            return 0;
        left = clock_left_ms(deadline);
        if (left == 0)
            return XF_ETIMEDOUT;
        os_shm_wait(lane->shm, bell, target.word.seen, left < 0 || left > target.recheck_ms ? target.recheck_ms : left);
    }
}
