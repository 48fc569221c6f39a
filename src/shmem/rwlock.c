/* Reader-writer locks: a word for the writer, and one for each reader there can be. */
#include "base/error.h"
#include "shmem/sync.h"

/* In the writer's word: a writer has died, and none has been at it since. */
#define HURT (UINT64_C(1) << OS_THREAD_BITS)

/* In the same: it waits until the readers have gone, and has not been at it itself. */
#define WAITS (UINT64_C(2) << OS_THREAD_BITS)

typedef struct rwlock_state {
    sync_head head;
    _Atomic uint64_t writer;
    sync_eventcount bell;
    _Alignas(64) _Atomic uint64_t readers[XF_RWLOCK_READERS_MAX];
} rwlock_state;

_Static_assert(sizeof(rwlock_state) <= XF_RWLOCK_BYTES, "a reader-writer lock fits its place");

struct xf_rwlock {
    sync_handle hold;
};

int xf_rwlock_create(xf_rwlock **out, const xf_rwlock_options *options)
{
    static const xf_rwlock_options defaults;
    sync_handle *hold;
    int rc = sync_create(&hold, XF_KIND_RWLOCK, XF_RWLOCK_BYTES, 0, options ? &options->place : &defaults.place);

    if (rc == 0)
        *out = (xf_rwlock *)hold;
    return rc;
}

SYNC_LIFE(xf_rwlock, XF_KIND_RWLOCK)

static rwlock_state *state_of(const xf_rwlock *rwlock)
{
    return rwlock->hold.state;
}

static uint64_t thread_of(uint64_t writer)
{
    return writer & ~(HURT | WAITS);
}

static int result_of(uint64_t writer)
{
    return writer & HURT ? error_detail(XF_EOWNERDEAD, "a writer ended while it had the lock") : 0;
}

static void ring(xf_rwlock *rwlock)
{
    sync_wake(&rwlock->hold, &state_of(rwlock)->bell, OS_ALL);
}

/* Sees to it that a writer that has ended no longer is one.  One that waited has changed nothing. */
static void bury_writer(rwlock_state *state, uint64_t writer)
{
    uint64_t left = writer & WAITS ? writer & HURT : HURT;

    if (sync_is_dead(thread_of(writer)))
        atomic_compare_exchange_strong(&state->writer, &writer, left);
}

/* ---- Readers --------------------------------------------------------------------------------- */

/* A word for this thread among the readers; NULL when all are taken.
 *   look  Whether words of the dead may be taken over. */
static _Atomic uint64_t *enter(rwlock_state *state, uint64_t own, bool look)
{
    for (uint32_t i = 0; i < XF_RWLOCK_READERS_MAX; i++) {
        _Atomic uint64_t *word = &state->readers[(own + i) % XF_RWLOCK_READERS_MAX];
        uint64_t reader = atomic_load(word);
        if (reader == 0 || (look && sync_is_dead(reader)))
            if (atomic_compare_exchange_strong(word, &reader, own))
                return word;
    }
    return NULL;
}

/* A writer takes its word and then looks at the readers'; a reader takes its word and then looks at the writer's. */
int xf_rwlock_read(xf_rwlock *rwlock, int timeout_ms)
{
    rwlock_state *state = state_of(rwlock);
    uint64_t own = os_self_thread(), writer = atomic_load(&state->writer);
    sync_wait wait = sync_wait_begin(timeout_ms);

    if (thread_of(writer) == own)
        return error_detail(XF_EDEADLK, "this thread has the lock for writing");
    for (;;) {
        uint32_t seen = atomic_load(&state->bell.count);
        bool look = sync_is_time_to_check(&wait);
        _Atomic uint64_t *word;
        writer = atomic_load(&state->writer);
        if (look)
            bury_writer(state, writer);
        word = thread_of(atomic_load(&state->writer)) == 0 ? enter(state, own, look) : NULL;
        if (word && thread_of(writer = atomic_load(&state->writer)) == 0)
            return result_of(writer);
        if (word) {
            atomic_store(word, 0);
            ring(rwlock);
        }
        if (sync_has_expired(&wait) && (word || atomic_load(&state->bell.count) == seen)) /* see take_permit */
            return XF_ETIMEDOUT;
        sync_sleep(&rwlock->hold, &state->bell, seen, &wait);
    }
}

/* ---- Writers --------------------------------------------------------------------------------- */

/* Whether any reader is left; those that have ended are put out, when it is time to look for them. */
static bool has_readers(rwlock_state *state, bool look)
{
    for (uint32_t i = 0; i < XF_RWLOCK_READERS_MAX; i++) {
        uint64_t reader = atomic_load(&state->readers[i]);
        if (look && sync_is_dead(reader))
            atomic_compare_exchange_strong(&state->readers[i], &reader, 0);
        if (atomic_load(&state->readers[i]) != 0)
            return true;
    }
    return false;
}

/* Takes the writer's word, which keeps new readers out. */
static int become_writer(xf_rwlock *rwlock, uint64_t own, sync_wait *wait)
{
    rwlock_state *state = state_of(rwlock);

    for (;;) {
        uint32_t seen = atomic_load(&state->bell.count);
        uint64_t writer = atomic_load(&state->writer);
        if (thread_of(writer) == 0 && atomic_compare_exchange_strong(&state->writer, &writer, writer | own | WAITS))
            return 0;
        if (thread_of(writer) == 0)
            continue;
        if (sync_is_time_to_check(wait)) {
            bury_writer(state, writer);
            if (atomic_load(&state->writer) != writer)
                continue;
        }
        if (sync_has_expired(wait))
            return XF_ETIMEDOUT;
        sync_sleep(&rwlock->hold, &state->bell, seen, wait);
    }
}

static int await_readers(xf_rwlock *rwlock, sync_wait *wait)
{
    rwlock_state *state = state_of(rwlock);

    for (;;) {
        uint32_t seen = atomic_load(&state->bell.count);
        if (!has_readers(state, sync_is_time_to_check(wait)))
            return 0;
        if (sync_has_expired(wait))
            return XF_ETIMEDOUT;
        sync_sleep(&rwlock->hold, &state->bell, seen, wait);
    }
}

int xf_rwlock_write(xf_rwlock *rwlock, int timeout_ms)
{
    rwlock_state *state = state_of(rwlock);
    uint64_t own = os_self_thread();
    sync_wait wait = sync_wait_begin(timeout_ms);
    int rc;

    if (thread_of(atomic_load(&state->writer)) == own || sync_find(state->readers, XF_RWLOCK_READERS_MAX, own))
        return error_detail(XF_EDEADLK, "this thread has the lock already");
    rc = become_writer(rwlock, own, &wait);
    if (rc < 0)
        return rc;
    rc = await_readers(rwlock, &wait);
    if (rc == 0)
        return result_of(atomic_fetch_and(&state->writer, ~WAITS));
    atomic_fetch_and(&state->writer, HURT); /* it has changed nothing */
    ring(rwlock);
    return rc;
}

int xf_rwlock_release(xf_rwlock *rwlock)
{
    rwlock_state *state = state_of(rwlock);
    uint64_t own = os_self_thread();
    _Atomic uint64_t *word;

    if (thread_of(atomic_load(&state->writer)) == own) {
        atomic_store(&state->writer, 0);
    } else {
        word = sync_find(state->readers, XF_RWLOCK_READERS_MAX, own);
        if (!word)
            return error_detail(XF_ESTATE, "this thread does not have the lock");
        atomic_store(word, 0);
    }
    ring(rwlock);
    return 0;
}
