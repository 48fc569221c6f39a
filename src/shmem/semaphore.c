/* Semaphores: a word for each permit, or one number. */
#include "base/error.h"
#include "shmem/sync.h"

typedef struct semaphore_state {
    sync_head head; /* parameter: how many permits; 0: it is a number */
    sync_eventcount bell;
    _Atomic uint32_t value;
    _Alignas(64) _Atomic uint64_t permits[]; /* who has each; 0: nobody */
} semaphore_state;

_Static_assert(sizeof(semaphore_state) <= XF_SEMAPHORE_BYTES(0), "a semaphore fits its place");

struct xf_semaphore {
    sync_handle hold;
};

static semaphore_state *state_of(const xf_semaphore *semaphore)
{
    return semaphore->hold.state;
}

int xf_semaphore_create(xf_semaphore **out, const xf_semaphore_options *options)
{
    static const xf_semaphore_options defaults;
    sync_handle *hold;
    int rc;

    if (!options)
        options = &defaults;
    if (options->limit > XF_SEMAPHORE_PERMITS_MAX || options->value > INT32_MAX || (options->limit && options->value))
        return error_detail(XF_EINVAL, "a semaphore with the limit %u and the value %u", options->limit,
                            options->value);
    rc = sync_create(&hold, XF_KIND_SEMAPHORE, XF_SEMAPHORE_BYTES((size_t)options->limit), options->limit,
                     &options->place);
    if (rc < 0)
        return rc;
    *out = (xf_semaphore *)hold;
    atomic_store(&state_of(*out)->value, options->value);
    return 0;
}

SYNC_LIFE(xf_semaphore, XF_KIND_SEMAPHORE)

/* ---- A number -------------------------------------------------------------------------------- */

static bool take_one_off(semaphore_state *state)
{
    uint32_t value = atomic_load(&state->value);

    while (value > 0)
        if (atomic_compare_exchange_weak(&state->value, &value, value - 1))
            return true;
    return false;
}

static int add_one(xf_semaphore *semaphore)
{
    semaphore_state *state = state_of(semaphore);
    uint32_t value = atomic_load(&state->value);

    do
        if (value == INT32_MAX)
            return error_detail(XF_ELIMIT, "a semaphore cannot be raised above %u", (unsigned)value);
    while (!atomic_compare_exchange_weak(&state->value, &value, value + 1));
    sync_wake(&semaphore->hold, &state->bell, 1);
    return 0;
}

/* ---- Permits --------------------------------------------------------------------------------- */

/* XF_EAGAIN when there was none to be had, unless somebody has rung the bell meanwhile: while one permit was looked at,
 * another may have come free.
 *   look  Whether the dead are looked for. */
static int take_permit(semaphore_state *state, uint64_t own, bool look)
{
    uint32_t count = state->head.parameter;

    for (uint32_t i = 0; i < count; i++) {
        _Atomic uint64_t *permit = &state->permits[(own + i) % count];
        uint64_t nobody = 0;
        if (atomic_load(permit) == 0 && atomic_compare_exchange_strong(permit, &nobody, own))
            return 0;
    }
    for (uint32_t i = 0; look && i < count; i++) {
        uint64_t holder = atomic_load(&state->permits[i]);
        if (sync_is_dead(holder) && atomic_compare_exchange_strong(&state->permits[i], &holder, own))
            return error_detail(XF_EOWNERDEAD, "who had the permit ended");
    }
    return XF_EAGAIN;
}

static int give_back(xf_semaphore *semaphore)
{
    semaphore_state *state = state_of(semaphore);
    _Atomic uint64_t *permit = sync_find(state->permits, state->head.parameter, os_self_thread());

    if (!permit)
        return error_detail(XF_ESTATE, "this thread has no permit of the semaphore");
    atomic_store(permit, 0);
    sync_wake(&semaphore->hold, &state->bell, 1);
    return 0;
}

/* ---- Both ------------------------------------------------------------------------------------ */

static int try(semaphore_state *state, uint64_t own, sync_wait *wait)
{
    if (state->head.parameter)
        return take_permit(state, own, sync_is_time_to_check(wait));
    (void)sync_is_time_to_check(wait);
    return take_one_off(state) ? 0 : XF_EAGAIN;
}

int xf_semaphore_acquire(xf_semaphore *semaphore, int timeout_ms)
{
    semaphore_state *state = state_of(semaphore);
    uint64_t own = os_self_thread();
    sync_wait wait = sync_wait_begin(timeout_ms);

    for (;;) {
        uint32_t seen = atomic_load(&state->bell.count);
        int rc = try(state, own, &wait);
        if (rc != XF_EAGAIN)
            return rc;
        if (sync_has_expired(&wait) && atomic_load(&state->bell.count) == seen)
            return XF_ETIMEDOUT;
        sync_sleep(&semaphore->hold, &state->bell, seen, &wait);
    }
}

int xf_semaphore_release(xf_semaphore *semaphore)
{
    return state_of(semaphore)->head.parameter ? give_back(semaphore) : add_one(semaphore);
}
