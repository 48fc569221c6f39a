/* Locks and other synchronization between processes, which no death blocks.
 *
 *     xf_lock *lock;
 *     xf_ref ref;
 *     xf_lock_create(&lock, NULL);
 *     xf_lock_ref(lock, &ref);                             // to be handed over: see ref.h
 *
 *     xf_lock_open(&lock, &ref);                           // in another process
 *     rc = xf_lock_acquire(lock, XF_FOREVER);
 *     if (rc == XF_EOWNERDEAD)
 *         repair();                                        // the previous owner died, maybe in the middle of a change
 *     if (rc == 0 || rc == XF_EOWNERDEAD)
 *         xf_lock_release(lock);
 *
 * Death.  One compare-and-swap records which thread owns an object.  When the owner ends without releasing it (its
 * process was killed, returned, or only the thread ended), the waiters find that out within some 20 ms, and one of them
 * gets the object with XF_EOWNERDEAD.  The others are not informed, and once it is released everything is as before.
 * It is the same on every system, however the processes are related: parent, child, sibling, grandchild.
 *
 * Waiting.  timeout_ms is in milliseconds; 0 polls, XF_FOREVER never times out.  XF_ETIMEDOUT means that nothing was
 * acquired.  Waiters sleep in the kernel; there is no order among them.
 *
 * Places.  An object has a segment of its own, or, when the options have a place, lies in shared memory of the user:
 * one segment can hold any number of objects.  That memory is XF_SYNC_ALIGN-aligned and not used for anything else, and
 * it must be open for writing in this process.
 *
 * Life.  Each kind has these four; ref.h says how long an object exists:
 *     int xf_KIND_create(xf_KIND **, ...);             // creates one, and opens it
 *     int xf_KIND_open(xf_KIND **, const xf_ref *);    // opens it in any process of the process tree
 *     int xf_KIND_ref(xf_KIND *, xf_ref *);            // names it
 *     void xf_KIND_free(xf_KIND *);                    // ends it in this process; NULL is harmless
 * An object that a thread holds when it frees it stays held.
 * Creating one fails with XF_EINVAL for an option, XF_ENOMEM, XF_EHANDLES.
 * Opening it fails with XF_EINVAL for a reference of another kind; XF_ENOENT when no process has it open any more;
 * XF_EPROTO when the memory does not hold the kind of object that the reference names; XF_EEND when this is a child and
 * its parent has ended; XF_ENOMEM, XF_EHANDLES, XF_ELIMIT.
 * Naming it fails with XF_ENOMEM, XF_EHANDLES, XF_ELIMIT, XF_EEND. */
#ifndef CROSSFORK_SYNC_H
#define CROSSFORK_SYNC_H

#include "ref.h"
#include "shm.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XF_SYNC_ALIGN 64

/* Where an object lies; all zero: in a segment of its own. */
typedef struct xf_sync_place {
    xf_shm *shm;
    size_t at; /* offset in its data */
} xf_sync_place;

#define XF_SYNC_LIFE(kind)                                                                                             \
    typedef struct kind kind;                                                                                          \
    XF_API int kind##_open(kind **object, const xf_ref *ref);                                                          \
    XF_API int kind##_ref(kind *object, xf_ref *ref);                                                                  \
    XF_API void kind##_free(kind *object)

/* ---- Lock: one thread at a time -------------------------------------------------------------- */

XF_SYNC_LIFE(xf_lock);

#define XF_LOCK_BYTES 64 /* of shared memory, at a place of the user */

typedef struct xf_lock_options {
    bool recursive; /* the thread that owns it may acquire it again, and releases it as often */
    xf_sync_place place;
} xf_lock_options;

XF_API int xf_lock_create(xf_lock **lock, const xf_lock_options *options);

/* Acquires the lock for this thread.
 * Returns 0; XF_EOWNERDEAD: this thread owns it, and the previous owner exited without releasing it; XF_ETIMEDOUT;
 * XF_EDEADLK when this thread owns it already and it is not recursive. */
XF_API int xf_lock_acquire(xf_lock *lock, int timeout_ms);

/* Releases the lock.  XF_ESTATE when this thread does not own it. */
XF_API int xf_lock_release(xf_lock *lock);

/* ---- Reader-writer lock: one writer, or any number of readers up to XF_RWLOCK_READERS_MAX ----------- */

XF_SYNC_LIFE(xf_rwlock);

#define XF_RWLOCK_READERS_MAX 64 /* at a time; further readers wait */
#define XF_RWLOCK_BYTES (64 + 8 * XF_RWLOCK_READERS_MAX)

typedef struct xf_rwlock_options {
    xf_sync_place place;
} xf_rwlock_options;

XF_API int xf_rwlock_create(xf_rwlock **rwlock, const xf_rwlock_options *options);

/* Acquires the lock for reading.  A writer that waits keeps new readers out.  Not recursive.
 * Returns 0; XF_EOWNERDEAD: this thread may read, but a writer exited while it owned the lock, and no writer has owned
 * it since; XF_ETIMEDOUT; XF_EDEADLK when this thread owns it for writing. */
XF_API int xf_rwlock_read(xf_rwlock *rwlock, int timeout_ms);

/* Acquires the lock for writing.
 * Returns 0; XF_EOWNERDEAD: this thread owns it, and the previous writer exited without releasing it (the death of a
 * reader, or of a writer that still waited, is not reported: it has changed nothing); XF_ETIMEDOUT; XF_EDEADLK when
 * this thread owns it. */
XF_API int xf_rwlock_write(xf_rwlock *rwlock, int timeout_ms);

/* Releases the lock, for reading or writing.  XF_ESTATE when this thread does not own it. */
XF_API int xf_rwlock_release(xf_rwlock *rwlock);

/* ---- Semaphore ------------------------------------------------------------------------------- */

XF_SYNC_LIFE(xf_semaphore);

#define XF_SEMAPHORE_PERMITS_MAX 4096                /* of a bounded one */
#define XF_SEMAPHORE_BYTES(limit) (64 + 8 * (limit)) /* limit 0: not bounded */

/* A bounded semaphore has a number of permits, each of which belongs to the thread that acquired it until that thread
 * releases it; when the thread ends, another one gets its permit.  An unbounded semaphore is a number that any thread
 * may raise, and at 0 a thread that lowers it waits: no thread owns it, and a dead process gives nothing back. */
typedef struct xf_semaphore_options {
    unsigned limit; /* permits of a bounded one, up to XF_SEMAPHORE_PERMITS_MAX; 0: unbounded */
    unsigned value; /* of an unbounded one, at first */
    xf_sync_place place;
} xf_semaphore_options;

XF_API int xf_semaphore_create(xf_semaphore **semaphore, const xf_semaphore_options *options);

/* Acquires a permit, or lowers the number by one.
 * Returns 0; XF_EOWNERDEAD: this thread has a permit whose previous owner exited without releasing it; XF_ETIMEDOUT. */
XF_API int xf_semaphore_acquire(xf_semaphore *semaphore, int timeout_ms);

/* Releases a permit, or raises the number by one.
 * Returns 0; XF_ESTATE when it is bounded and this thread has no permit; XF_ELIMIT at 2^31 - 1. */
XF_API int xf_semaphore_release(xf_semaphore *semaphore);

/* ---- Condition: waiting for a state that a lock protects ------------------------------------- */

XF_SYNC_LIFE(xf_condition);

#define XF_CONDITION_BYTES 64

typedef struct xf_condition_options {
    xf_sync_place place;
} xf_condition_options;

XF_API int xf_condition_create(xf_condition **condition, const xf_condition_options *options);

/* Releases the lock, waits for a signal, and acquires the lock again.  Call it in a loop, because it may also return
 * without a signal:
 *     while (!is_as_wanted)
 *         rc = xf_condition_wait(condition, lock, timeout_ms);
 * When a thread ends while it owns the lock, one of the waiters wakes with XF_EOWNERDEAD.
 *   lock  This thread owns it, however often; all that wait on the condition use the same one.
 * Returns, always with the lock: 0; XF_ETIMEDOUT; XF_EOWNERDEAD as xf_lock_acquire does.  XF_ESTATE when this thread
 * does not own the lock. */
XF_API int xf_condition_wait(xf_condition *condition, xf_lock *lock, int timeout_ms);

/* Wakes at least one waiter, or all.  The caller need not own the lock. */
XF_API void xf_condition_signal(xf_condition *condition);
XF_API void xf_condition_broadcast(xf_condition *condition);

/* ---- Event: something has happened ----------------------------------------------------------- */

XF_SYNC_LIFE(xf_event);

#define XF_EVENT_BYTES 64

typedef struct xf_event_options {
    xf_sync_place place;
} xf_event_options;

/* The event is clear at first. */
XF_API int xf_event_create(xf_event **event, const xf_event_options *options);

/* Sets the event, and wakes all waiters; clears it. */
XF_API void xf_event_set(xf_event *event);
XF_API void xf_event_clear(xf_event *event);
XF_API bool xf_event_is_set(const xf_event *event);

/* Waits until the event is set.  Returns 0, or XF_ETIMEDOUT. */
XF_API int xf_event_wait(xf_event *event, int timeout_ms);

/* ---- Barrier: threads of many processes wait for each other ---------------------------------- */

XF_SYNC_LIFE(xf_barrier);

#define XF_BARRIER_PARTIES_MAX 4096
#define XF_BARRIER_BYTES(parties) (64 + 16 * (parties))

typedef struct xf_barrier_options {
    xf_sync_place place;
} xf_barrier_options;

/* Creates a barrier.
 *   parties  How many threads wait for each other, 1 to XF_BARRIER_PARTIES_MAX. */
XF_API int xf_barrier_create(xf_barrier **barrier, unsigned parties, const xf_barrier_options *options);

/* Makes this thread one of the parties; without it, a thread becomes one when it first waits.  From then on its death
 * breaks the barrier.
 * Returns 0; XF_ELIMIT when all parties are registered already. */
XF_API int xf_barrier_register(xf_barrier *barrier);

/* Waits until all parties wait.  When a party ends, or times out, the barrier is broken for all waiters, and stays
 * broken until it is reset.
 * Returns 1 in one of the parties and 0 in the others; XF_EOWNERDEAD: broken, a party has ended; XF_ESTATE: broken, a
 * party timed out; XF_ETIMEDOUT: this one did; XF_ELIMIT: this thread would be one party too many. */
XF_API int xf_barrier_wait(xf_barrier *barrier, int timeout_ms);

/* Repairs the barrier; no party is registered then.  Threads that still wait get XF_ESTATE. */
XF_API void xf_barrier_reset(xf_barrier *barrier);

/* ---- Once: one of all processes runs an initialization --------------------------------------- */

XF_SYNC_LIFE(xf_once);

#define XF_ONCE_BYTES 64

typedef struct xf_once_options {
    xf_sync_place place;
} xf_once_options;

XF_API int xf_once_create(xf_once **once, const xf_once_options *options);

/* Asks whether this thread has to run the initialization:
 *     rc = xf_once_begin(once, XF_FOREVER);
 *     if (rc == 1 || rc == XF_EOWNERDEAD) {
 *         set_things_up();
 *         xf_once_end(once);
 *     }
 * Returns 0: it was run; 1: this thread runs it now, and others wait; XF_EOWNERDEAD: the same, and the thread that ran
 * it before exited in the middle of it; XF_ETIMEDOUT: another thread still runs it; XF_EDEADLK: this thread runs it. */
XF_API int xf_once_begin(xf_once *once, int timeout_ms);

/* Records that the initialization was run.  XF_ESTATE when this thread does not run it. */
XF_API int xf_once_end(xf_once *once);

#ifdef __cplusplus
}
#endif

#endif
