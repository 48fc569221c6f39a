/* What processes have taken of a lane and are not done with: for those who wait until all is done. */
#include "base/error.h"
#include "messaging/ring.h"

static ring_consumer *find_hand(lane *lane, uint64_t who)
{
    for (uint32_t i = 0; i < lane->plan.hands; i++)
        if (atomic_load(&lane->hands[i].who) == who)
            return &lane->hands[i];
    return NULL;
}

/* Takes an unused hand, which somebody else may do first. */
static ring_consumer *take_hand(lane *lane)
{
    ring_consumer *hand;
    uint64_t nobody = 0;

    while ((hand = find_hand(lane, 0)))
        if (atomic_compare_exchange_strong(&hand->who, &nobody, lane->me))
            return hand;
        else
            nobody = 0;
    return NULL;
}

static void forget_dead(lane *lane)
{
    for (uint32_t i = 0; i < lane->plan.hands; i++) {
        uint64_t who = atomic_load(&lane->hands[i].who);
        if (who && !os_process_lives(who))
            ring_inflight_forget(lane, who);
    }
}

int ring_inflight_open(lane *lane)
{
    if (lane->plan.hands == 0 || lane->own_hand)
        return 0;
    lane->own_hand = find_hand(lane, lane->me);
    if (!lane->own_hand)
        lane->own_hand = take_hand(lane);
    if (!lane->own_hand) {
        forget_dead(lane);
        lane->own_hand = take_hand(lane);
    }
    return lane->own_hand ? 0 : error_detail(XF_ELIMIT, "%u processes take tasks", lane->plan.hands);
}

void ring_inflight_forget(lane *lane, uint64_t who)
{
    ring_consumer *hand = find_hand(lane, who);

    if (!hand)
        return;
    atomic_fetch_add(&lane->head->undone, atomic_exchange(&hand->owed, 0));
    atomic_compare_exchange_strong(&hand->who, &who, 0);
}

int ring_acknowledge(lane *lane)
{
    _Atomic uint64_t *owed = &lane->own_hand->owed;
    uint64_t seen = atomic_load(owed);

    do
        if (seen == 0)
            return error_detail(XF_ESTATE, "every message that was got is done already");
    while (!atomic_compare_exchange_weak(owed, &seen, seen - 1));
    if (seen == 1)
        wake_word_signal(lane->shm, &lane->head->done);
    return 0;
}

/* Whoever is done with a message has put before what followed from it: so when nothing is in the lane, then nothing in
 * any hand, and nothing was put in between, there is nothing at all. */
static bool is_done(lane *lane, void *arg, uint64_t *in_the_way)
{
    uint64_t before = ring_put_count(lane);
    ring_position spot;
    ring_found sight;

    (void)arg;
    sight = ring_search_message(lane, &spot, in_the_way);
    if (sight == RING_FOUND || *in_the_way)
        return sight == RING_BROKEN;
    for (uint32_t i = 0; i < lane->plan.hands; i++)
        if (atomic_load(&lane->hands[i].owed) > 0) {
            *in_the_way = atomic_load(&lane->hands[i].who);
            return false;
        }
    return ring_put_count(lane) == before;
}

int ring_wait_done(lane *lane, uint64_t deadline)
{
    return ring_wait(lane, &lane->head->done, NULL, is_done, NULL, deadline);
}
