/* Reader-writer locks: a word for the writer, and one for each possible reader. */
#include "base/error.h"
#include "shmem/sync.h"

/* A bit of the writer's word: the last writer died holding the lock, and none has held it since. */
#define WRITER_DIED (UINT64_C(1) << OS_THREAD_BITS)

/* Another: the writer waits for readers and has not changed anything yet. */
#define WRITER_WAITING (UINT64_C(2) << OS_THREAD_BITS)

typedef struct rwlock_state {
    sync_head head;
    _Atomic uint64_t writer;
    sync_eventcount changes;
    _Alignas(64) _Atomic uint64_t readers[XF_RWLOCK_READERS_MAX];
} rwlock_state;

_Static_assert(sizeof(rwlock_state) <= XF_RWLOCK_BYTES, "a reader-writer lock fits its place");

struct xf_rwlock {
    sync_handle handle;
};

int xf_rwlock_create(xf_rwlock **out, const xf_rwlock_options *options)
{
    static const xf_rwlock_options defaults;
    sync_handle *handle;
    int rc = sync_create(&handle, XF_KIND_RWLOCK, XF_RWLOCK_BYTES, 0, options ? &options->place : &defaults.place);

    if (rc == 0)
        *out = (xf_rwlock *)handle;
    return rc;
}

SYNC_LIFE(xf_rwlock, XF_KIND_RWLOCK)

static rwlock_state *rwlock_of(const xf_rwlock *rwlock)
{
    return rwlock->handle.state;
}

static uint64_t writer_thread(uint64_t writer)
{
    return writer & ~(WRITER_DIED | WRITER_WAITING);
}

static int writer_result(uint64_t writer)
{
    return writer & WRITER_DIED ? error_detail(XF_EOWNERDEAD, "a writer exited while holding the lock") : 0;
}

static void rwlock_wake(xf_rwlock *rwlock)
{
    sync_wake(&rwlock->handle, &rwlock_of(rwlock)->changes, OS_ALL);
}

/* Takes a dead writer out of its word.  A writer that was still waiting has changed nothing, so it does not count as
 * WRITER_DIED. */
static void clear_dead_writer(rwlock_state *state, uint64_t writer)
{
    uint64_t left = writer & WRITER_WAITING ? writer & WRITER_DIED : WRITER_DIED;

    if (sync_is_dead(writer_thread(writer)))
        atomic_compare_exchange_strong(&state->writer, &writer, left);
}

/* ---- Readers --------------------------------------------------------------------------------- */

/* Takes a reader's word for this thread; NULL when all are taken.
 *   check_dead  Whether to check for dead readers, and to take over their words. */
static _Atomic uint64_t *rwlock_enter(rwlock_state *state, uint64_t own, bool check_dead)
{
    for (uint32_t i = 0; i < XF_RWLOCK_READERS_MAX; i++) {
        _Atomic uint64_t *word = &state->readers[(own + i) % XF_RWLOCK_READERS_MAX];
        uint64_t reader = atomic_load(word);
        if (reader == 0 || (check_dead && sync_is_dead(reader)))
            if (atomic_compare_exchange_strong(word, &reader, own))
                return word;
    }
    return NULL;
}

/* A writer takes its word and then checks the readers' words; a reader takes its word and then checks the writer's.  So
 * at least one of the two sees the other. */
int xf_rwlock_read(xf_rwlock *rwlock, int timeout_ms)
{
    rwlock_state *state = rwlock_of(rwlock);
    uint64_t own = os_self_thread(), writer;
    sync_wait wait = sync_wait_begin(timeout_ms);

    if (!object_is_own(rwlock->handle.object))
        return object_not_own();
    writer = atomic_load(&state->writer);
    if (writer_thread(writer) == own)
        return error_detail(XF_EDEADLK, "this thread holds the lock for writing");
    for (;;) {
        uint32_t seen = atomic_load(&state->changes.count);
        bool check_dead = sync_is_time_to_check(&wait);
        _Atomic uint64_t *word;
        writer = atomic_load(&state->writer);
        if (check_dead)
            clear_dead_writer(state, writer);
        word = writer_thread(atomic_load(&state->writer)) == 0 ? rwlock_enter(state, own, check_dead) : NULL;
        if (word && writer_thread(writer = atomic_load(&state->writer)) == 0)
            return writer_result(writer);
        if (word) {
            atomic_store(word, 0);
            rwlock_wake(rwlock);
        }
        if (sync_has_expired(&wait) && (word || atomic_load(&state->changes.count) == seen)) /* see take_permit */
            return XF_ETIMEDOUT;
        sync_sleep(&rwlock->handle, &state->changes, seen, &wait);
    }
}

/* ---- Writers --------------------------------------------------------------------------------- */

/* Whether any reader is left.
 *   check_dead  Whether to check for dead readers, and to clear their words. */
static bool rwlock_has_readers(rwlock_state *state, bool check_dead)
{
    for (uint32_t i = 0; i < XF_RWLOCK_READERS_MAX; i++) {
        uint64_t reader = atomic_load(&state->readers[i]);
        if (check_dead && sync_is_dead(reader))
            atomic_compare_exchange_strong(&state->readers[i], &reader, 0);
        if (atomic_load(&state->readers[i]) != 0)
            return true;
    }
    return false;
}

/* Takes the writer's word.  That keeps new readers out. */
static int rwlock_become_writer(xf_rwlock *rwlock, uint64_t own, sync_wait *wait)
{
    rwlock_state *state = rwlock_of(rwlock);

    for (;;) {
        uint32_t seen = atomic_load(&state->changes.count);
        uint64_t writer = atomic_load(&state->writer);
        if (writer_thread(writer) == 0 &&
            atomic_compare_exchange_strong(&state->writer, &writer, writer | own | WRITER_WAITING))
            return 0;
        if (writer_thread(writer) == 0)
            continue;
        if (sync_is_time_to_check(wait)) {
            clear_dead_writer(state, writer);
            if (atomic_load(&state->writer) != writer)
                continue;
        }
        if (sync_has_expired(wait))
            return XF_ETIMEDOUT;
        sync_sleep(&rwlock->handle, &state->changes, seen, wait);
    }
}

static int rwlock_wait_for_readers(xf_rwlock *rwlock, sync_wait *wait)
{
    rwlock_state *state = rwlock_of(rwlock);

    for (;;) {
        uint32_t seen = atomic_load(&state->changes.count);
        if (!rwlock_has_readers(state, sync_is_time_to_check(wait)))
            return 0;
        if (sync_has_expired(wait))
            return XF_ETIMEDOUT;
        sync_sleep(&rwlock->handle, &state->changes, seen, wait);
    }
}

int xf_rwlock_write(xf_rwlock *rwlock, int timeout_ms)
{
    rwlock_state *state = rwlock_of(rwlock);
    uint64_t own = os_self_thread();
    sync_wait wait = sync_wait_begin(timeout_ms);
    int rc;

    if (!object_is_own(rwlock->handle.object))
        return object_not_own();
    if (writer_thread(atomic_load(&state->writer)) == own || sync_find(state->readers, XF_RWLOCK_READERS_MAX, own))
        return error_detail(XF_EDEADLK, "this thread holds the lock already");
    rc = rwlock_become_writer(rwlock, own, &wait);
    if (rc < 0)
        return rc;
    rc = rwlock_wait_for_readers(rwlock, &wait);
    if (rc == 0)
        return writer_result(atomic_fetch_and(&state->writer, ~WRITER_WAITING));
    atomic_fetch_and(&state->writer, WRITER_DIED); /* this writer has changed nothing */
    rwlock_wake(rwlock);
    return rc;
}

int xf_rwlock_release(xf_rwlock *rwlock)
{
    rwlock_state *state = rwlock_of(rwlock);
    uint64_t own = os_self_thread();
    _Atomic uint64_t *word;

    if (!object_is_own(rwlock->handle.object))
        return object_not_own();
    if (writer_thread(atomic_load(&state->writer)) == own) {
        atomic_store(&state->writer, 0);
    } else {
        word = sync_find(state->readers, XF_RWLOCK_READERS_MAX, own);
        if (!word)
            return error_detail(XF_ESTATE, "this thread does not hold the lock");
        atomic_store(word, 0);
    }
    rwlock_wake(rwlock);
    return 0;
}
