/* Semaphores: one word for each permit, or one number. */
#include "base/error.h"
#include "shmem/sync.h"

typedef struct semaphore_state {
    sync_head head; /* parameter: the number of permits; 0: the semaphore is a number */
    sync_eventcount changes;
    _Atomic uint32_t value;
    _Alignas(64) _Atomic uint64_t permits[]; /* the thread that holds each; 0: none */
} semaphore_state;

_Static_assert(sizeof(semaphore_state) <= XF_SEMAPHORE_BYTES(0), "a semaphore fits its place");

struct xf_semaphore {
    sync_handle handle;
};

static semaphore_state *semaphore_of(const xf_semaphore *semaphore)
{
    return semaphore->handle.state;
}

int xf_semaphore_create(xf_semaphore **out, const xf_semaphore_options *options)
{
    static const xf_semaphore_options defaults;
    sync_handle *handle;
    int rc;

    if (!options)
        options = &defaults;
    if (options->limit > XF_SEMAPHORE_PERMITS_MAX || options->value > INT32_MAX || (options->limit && options->value))
        return error_detail(XF_EINVAL, "a semaphore with the limit %u and the value %u", options->limit,
                            options->value);
    rc = sync_create(&handle, XF_KIND_SEMAPHORE, XF_SEMAPHORE_BYTES((size_t)options->limit), options->limit,
                     &options->place);
    if (rc < 0)
        return rc;
    *out = (xf_semaphore *)handle;
    atomic_store(&semaphore_of(*out)->value, options->value);
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
    semaphore_state *state = semaphore_of(semaphore);
    uint32_t value = atomic_load(&state->value);

    do
        if (value == INT32_MAX)
            return error_detail(XF_ELIMIT, "a semaphore cannot be raised above %u", (unsigned)value);
    while (!atomic_compare_exchange_weak(&state->value, &value, value + 1));
    sync_wake(&semaphore->handle, &state->changes, 1);
    return 0;
}

/* ---- Permits --------------------------------------------------------------------------------- */

/* Takes a permit; XF_EAGAIN when each permit was taken at the moment when it was read.  While one permit is read,
 * another may become free.  So none was free at any one moment only if nothing has changed meanwhile.
 *   check_dead  Whether to check for dead holders, and to take over their permits. */
static int take_permit(semaphore_state *state, uint64_t own, bool check_dead)
{
    uint32_t count = state->head.parameter;

    for (uint32_t i = 0; i < count; i++) {
        _Atomic uint64_t *permit = &state->permits[(own + i) % count];
        uint64_t none = 0;
        if (atomic_load(permit) == 0 && atomic_compare_exchange_strong(permit, &none, own))
            return 0;
    }
    for (uint32_t i = 0; check_dead && i < count; i++) {
        uint64_t holder = atomic_load(&state->permits[i]);
        if (sync_is_dead(holder) && atomic_compare_exchange_strong(&state->permits[i], &holder, own))
            return error_detail(XF_EOWNERDEAD, "the previous holder exited while holding the permit");
    }
    return XF_EAGAIN;
}

static int give_permit_back(xf_semaphore *semaphore)
{
    semaphore_state *state = semaphore_of(semaphore);
    _Atomic uint64_t *permit = sync_find(state->permits, state->head.parameter, os_self_thread());

    if (!permit)
        return error_detail(XF_ESTATE, "this thread holds no permit of the semaphore");
    atomic_store(permit, 0);
    sync_wake(&semaphore->handle, &state->changes, 1);
    return 0;
}

/* ---- Both ------------------------------------------------------------------------------------ */

static int semaphore_try(semaphore_state *state, uint64_t own, sync_wait *wait)
{
    if (state->head.parameter)
        return take_permit(state, own, sync_is_time_to_check(wait));
    (void)sync_is_time_to_check(wait);
    return take_one_off(state) ? 0 : XF_EAGAIN;
}

int xf_semaphore_acquire(xf_semaphore *semaphore, int timeout_ms)
{
    semaphore_state *state = semaphore_of(semaphore);
    uint64_t own = os_self_thread();
    sync_wait wait = sync_wait_begin(timeout_ms);

    if (!object_is_own(semaphore->handle.object))
        return object_not_own();
    for (;;) {
        uint32_t seen = atomic_load(&state->changes.count);
        int rc = semaphore_try(state, own, &wait);
        if (rc != XF_EAGAIN)
            return rc;
        if (sync_has_expired(&wait) && atomic_load(&state->changes.count) == seen)
            return XF_ETIMEDOUT;
        sync_sleep(&semaphore->handle, &state->changes, seen, &wait);
    }
}

int xf_semaphore_release(xf_semaphore *semaphore)
{
    if (!object_is_own(semaphore->handle.object))
        return object_not_own();
    return semaphore_of(semaphore)->head.parameter ? give_permit_back(semaphore) : add_one(semaphore);
}
