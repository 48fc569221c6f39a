/* Barriers: a generation, and for each party its thread and the generation whose end it has reached. */
#include "base/error.h"
#include "shmem/sync.h"

typedef struct party {
    _Atomic uint64_t thread; /* 0: none */
    _Atomic uint32_t arrived;
} party;

/* The low bits of the generation's word say why the barrier is broken; the rest counts generations. */
enum { DEATH = 1, ABANDONED = 2, BROKEN = DEATH | ABANDONED, STEP = 4 };

typedef struct barrier_state {
    sync_head head; /* parameter: the number of parties */
    _Atomic uint32_t generation;
    sync_eventcount changes;
    _Alignas(64) party parties[];
} barrier_state;

_Static_assert(sizeof(barrier_state) <= XF_BARRIER_BYTES(0), "a barrier fits its place");
_Static_assert(sizeof(party) == 16, "so do its parties");

struct xf_barrier {
    sync_handle handle;
};

int xf_barrier_create(xf_barrier **out, unsigned parties, const xf_barrier_options *options)
{
    static const xf_barrier_options defaults;
    sync_handle *handle;
    int rc;

    if (parties < 1 || parties > XF_BARRIER_PARTIES_MAX)
        return error_detail(XF_EINVAL, "a barrier of %u parties", parties);
    rc = sync_create(&handle, XF_KIND_BARRIER, XF_BARRIER_BYTES((size_t)parties), parties,
                     options ? &options->place : &defaults.place);
    if (rc == 0)
        *out = (xf_barrier *)handle;
    return rc;
}

SYNC_LIFE(xf_barrier, XF_KIND_BARRIER)

static barrier_state *barrier_of(const xf_barrier *barrier)
{
    return barrier->handle.state;
}

/* Changes the generation and wakes all parties; false when another thread has changed it. */
static bool barrier_advance(xf_barrier *barrier, uint32_t from, uint32_t to)
{
    barrier_state *state = barrier_of(barrier);
    bool moved = atomic_compare_exchange_strong(&state->generation, &from, to);

    if (moved)
        sync_wake(&barrier->handle, &state->changes, OS_ALL);
    return moved;
}

/* The party of this thread; NULL: it has none. */
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
    uint64_t none;

    for (uint32_t i = 0; i < state->head.parameter && !party; i++) {
        none = 0;
        if (atomic_compare_exchange_strong(&state->parties[i].thread, &none, own))
            party = &state->parties[i];
    }
    return party;
}

static bool all_parties_arrived(barrier_state *state, uint32_t generation)
{
    for (uint32_t i = 0; i < state->head.parameter; i++)
        if (atomic_load(&state->parties[i].arrived) != generation + STEP)
            return false;
    return true;
}

static bool has_dead_party(barrier_state *state)
{
    for (uint32_t i = 0; i < state->head.parameter; i++)
        if (sync_is_dead(atomic_load(&state->parties[i].thread)))
            return true;
    return false;
}

static int barrier_error(uint32_t generation)
{
    return generation & DEATH ? error_detail(XF_EOWNERDEAD, "a party of the barrier exited")
                              : error_detail(XF_ESTATE, "a party of the barrier gave up, or it was reset");
}

int xf_barrier_register(xf_barrier *barrier)
{
    barrier_state *state = barrier_of(barrier);

    if (!object_is_own(barrier->handle.object))
        return object_not_own();
    return take_party(state, os_self_thread())
               ? 0
               : error_detail(XF_ELIMIT, "the barrier has its %u parties already", (unsigned)state->head.parameter);
}

/* Waits until the generation is over.  Any party that sees that all have arrived ends it: the last one to arrive may
 * have been killed before it could. */
static int barrier_wait_for_all(xf_barrier *barrier, uint32_t generation, int timeout_ms)
{
    barrier_state *state = barrier_of(barrier);
    sync_wait wait = sync_wait_begin(timeout_ms);

    for (;;) {
        uint32_t seen = atomic_load(&state->changes.count), now = atomic_load(&state->generation);
        if (now != generation)
            return now & BROKEN ? barrier_error(now) : now == generation + STEP ? 0 : barrier_error(ABANDONED);
        if (all_parties_arrived(state, generation)) {
            if (barrier_advance(barrier, generation, generation + STEP))
                return 1;
        } else if (sync_is_time_to_check(&wait) && has_dead_party(state)) {
            (void)barrier_advance(barrier, generation, generation | DEATH);
        } else if (sync_has_expired(&wait)) {
            if (barrier_advance(barrier, generation, generation | ABANDONED))
                return XF_ETIMEDOUT;
        } else {
            sync_sleep(&barrier->handle, &state->changes, seen, &wait);
        }
    }
}

int xf_barrier_wait(xf_barrier *barrier, int timeout_ms)
{
    barrier_state *state = barrier_of(barrier);
    uint32_t generation;
    party *party;
    int rc;

    if (!object_is_own(barrier->handle.object))
        return object_not_own();
    generation = atomic_load(&state->generation);
    if (generation & BROKEN)
        return barrier_error(generation);
    rc = xf_barrier_register(barrier);
    if (rc < 0)
        return rc;
    party = find_party(state, os_self_thread());
    if (party)
        atomic_store(&party->arrived, generation + STEP);
    return barrier_wait_for_all(barrier, generation, timeout_ms);
}

/* The parties are removed first, so that none counts as arrived in the new generation by its word of an old one. */
void xf_barrier_reset(xf_barrier *barrier)
{
    barrier_state *state = barrier_of(barrier);
    uint32_t generation;

    if (!object_is_own(barrier->handle.object))
        return;
    generation = atomic_load(&state->generation);
    for (uint32_t i = 0; i < state->head.parameter; i++) {
        atomic_store(&state->parties[i].arrived, 0);
        atomic_store(&state->parties[i].thread, 0);
    }
    while (!barrier_advance(barrier, generation, (generation | BROKEN) + 1 + STEP))
        generation = atomic_load(&state->generation);
}
