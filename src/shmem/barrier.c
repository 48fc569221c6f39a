/* Barriers: a generation, and for each party who it is and the generation it has come to the end of. */
#include "base/error.h"
#include "shmem/sync.h"

typedef struct party {
    _Atomic uint64_t thread; /* 0: nobody */
    _Atomic uint32_t arrived;
} party;

/* In the generation's word. */
enum { DEATH = 1, GIVEN_UP = 2, BROKEN = DEATH | GIVEN_UP, STEP = 4 };

typedef struct barrier_state {
    sync_head head; /* parameter: how many parties */
    _Atomic uint32_t generation;
    sync_eventcount bell;
    _Alignas(64) party parties[];
} barrier_state;

_Static_assert(sizeof(barrier_state) <= XF_BARRIER_BYTES(0), "a barrier fits its place");
_Static_assert(sizeof(party) == 16, "so do its parties");

struct xf_barrier {
    sync_handle hold;
};

int xf_barrier_create(xf_barrier **out, unsigned parties, const xf_barrier_options *options)
{
    static const xf_barrier_options defaults;
    sync_handle *hold;
    int rc;

    if (parties < 1 || parties > XF_BARRIER_PARTIES_MAX)
        return error_detail(XF_EINVAL, "a barrier of %u parties", parties);
    rc = sync_create(&hold, XF_KIND_BARRIER, XF_BARRIER_BYTES((size_t)parties), parties,
                     options ? &options->place : &defaults.place);
    if (rc == 0)
        *out = (xf_barrier *)hold;
    return rc;
}

SYNC_LIFE(xf_barrier, XF_KIND_BARRIER)

static barrier_state *state_of(const xf_barrier *barrier)
{
    return barrier->hold.state;
}

/* Changes the generation, unless another has, and tells all. */
static bool move(xf_barrier *barrier, uint32_t from, uint32_t to)
{
    barrier_state *state = state_of(barrier);
    bool moved = atomic_compare_exchange_strong(&state->generation, &from, to);

    if (moved)
        sync_wake(&barrier->hold, &state->bell, OS_ALL);
    return moved;
}

/* This thread's party; NULL: there are others enough. */
static party *find_party(barrier_state *state, uint64_t own)
{
    for (uint32_t i = 0; i < state->head.parameter; i++)
        if (atomic_load(&state->parties[i].thread) == own)
            return &state->parties[i];
    return NULL;
}

static party *take_party(barrier_state *state, uint64_t own)
{
    party *party = find_party(state, own);
    uint64_t nobody;

    for (uint32_t i = 0; i < state->head.parameter && !party; i++) {
        nobody = 0;
        if (atomic_compare_exchange_strong(&state->parties[i].thread, &nobody, own))
            party = &state->parties[i];
    }
    return party;
}

static bool all_arrived(barrier_state *state, uint32_t generation)
{
    for (uint32_t i = 0; i < state->head.parameter; i++)
        if (atomic_load(&state->parties[i].arrived) != generation + STEP)
            return false;
    return true;
}

static bool has_dead(barrier_state *state)
{
    for (uint32_t i = 0; i < state->head.parameter; i++)
        if (sync_is_dead(atomic_load(&state->parties[i].thread)))
            return true;
    return false;
}

static int why_broken(uint32_t generation)
{
    return generation & DEATH ? error_detail(XF_EOWNERDEAD, "a party of the barrier ended")
                              : error_detail(XF_ESTATE, "a party of the barrier gave up, or it was reset");
}

int xf_barrier_register(xf_barrier *barrier)
{
    barrier_state *state = state_of(barrier);

    return take_party(state, os_self_thread())
               ? 0
               : error_detail(XF_ELIMIT, "the barrier has its %u parties already", (unsigned)state->head.parameter);
}

/* Waits until the generation is over.  Whoever sees that all have arrived ends it, for the last may have been killed
 * before it could. */
static int await_all(xf_barrier *barrier, uint32_t generation, int timeout_ms)
{
    barrier_state *state = state_of(barrier);
    sync_wait wait = sync_wait_begin(timeout_ms);

    for (;;) {
        uint32_t seen = atomic_load(&state->bell.count), now = atomic_load(&state->generation);
        if (now != generation)
            return now & BROKEN ? why_broken(now) : now == generation + STEP ? 0 : why_broken(GIVEN_UP);
        if (all_arrived(state, generation)) {
            if (move(barrier, generation, generation + STEP))
                return 1;
        } else if (sync_is_time_to_check(&wait) && has_dead(state)) {
            (void)move(barrier, generation, generation | DEATH);
        } else if (sync_has_expired(&wait)) {
            if (move(barrier, generation, generation | GIVEN_UP))
                return XF_ETIMEDOUT;
        } else {
            sync_sleep(&barrier->hold, &state->bell, seen, &wait);
        }
    }
}

int xf_barrier_wait(xf_barrier *barrier, int timeout_ms)
{
    barrier_state *state = state_of(barrier);
    uint32_t generation = atomic_load(&state->generation);
    party *party;
    int rc;

    if (generation & BROKEN)
        return why_broken(generation);
    rc = xf_barrier_register(barrier);
    if (rc < 0)
        return rc;
    party = find_party(state, os_self_thread());
    if (party)
        atomic_store(&party->arrived, generation + STEP);
    return await_all(barrier, generation, timeout_ms);
}

/* The parties leave first, so that none of them arrives in the new generation by what it said in an old one. */
void xf_barrier_reset(xf_barrier *barrier)
{
    barrier_state *state = state_of(barrier);
    uint32_t generation = atomic_load(&state->generation);

    for (uint32_t i = 0; i < state->head.parameter; i++) {
        atomic_store(&state->parties[i].arrived, 0);
        atomic_store(&state->parties[i].thread, 0);
    }
    while (!move(barrier, generation, (generation | BROKEN) + 1 + STEP))
        generation = atomic_load(&state->generation);
}
