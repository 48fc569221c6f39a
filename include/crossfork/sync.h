/* Locks and their kin between processes, which no death leaves hanging.
 *
 *     xf_lock *lock;
 *     xf_ref ref;
 *     xf_lock_create(&lock, NULL);
 *     xf_lock_ref(lock, &ref);                             // to be handed over: see ref.h
 *
 *     xf_lock_open(&lock, &ref);                           // in another process
 *     rc = xf_lock_acquire(lock, XF_FOREVER);
 *     if (rc == XF_EOWNERDEAD)
 *         repair();                                        // whoever had it ended, and may have left things half done
 *     if (rc == 0 || rc == XF_EOWNERDEAD)
 *         xf_lock_release(lock);
 *
 * Death.  What a thread holds, it holds by one compare-and-swap that says who it is.  When it ends without giving it
 * back (its process was killed, returned, or only the thread ended) those who wait find that out within some 20 ms, and
 * one of them gets it with XF_EOWNERDEAD.  Nobody else is told, and once released all is as before.  It is the same on
 * every system, whatever the process was to the others: parent, child, sibling, grandchild.
 *
 * Waiting.  timeout_ms is in milliseconds; 0 polls, XF_FOREVER never times out.  XF_ETIMEDOUT means that nothing was
 * acquired.  Who waits sleeps in the kernel; there is no order among those who wait.
 *
 * Places.  An object has a segment of its own, or, where options say so, lies in shared memory of the user's: any
 * number of them in one.  That memory is XF_SYNC_ALIGN-aligned there and not used for anything else, and it must be
 * open for writing in this process.
 *
 * Life.  Each kind has these four; see ref.h for how long an object is there:
 *     int xf_KIND_create(xf_KIND **, ...);             // makes one, and opens it
 *     int xf_KIND_open(xf_KIND **, const xf_ref *);    // opens it in any process of the family
 *     int xf_KIND_ref(xf_KIND *, xf_ref *);            // names it
 *     void xf_KIND_free(xf_KIND *);                    // ends this process's hold; NULL is harmless
 * What a thread holds when it closes the object stays held.
 * Making one fails with XF_EINVAL for an option, XF_ENOMEM, XF_EHANDLES.
 * Opening it fails with XF_EINVAL for a reference of another kind; XF_ENOENT when no process has it open any more;
 * XF_EPROTO when what lies there is not what the reference says; XF_EEND when this is a child and its parent has gone;
 * XF_ENOMEM, XF_EHANDLES, XF_ELIMIT.
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

#define XF_LOCK_BYTES 64 /* in a place of the user's */

typedef struct xf_lock_options {
    bool recursive; /* the thread that has it may acquire it again, and releases it as often */
    xf_sync_place place;
} xf_lock_options;

XF_API int xf_lock_create(xf_lock **lock, const xf_lock_options *options);

/* Acquires it for this thread.
 * Returns 0; XF_EOWNERDEAD: this thread has it, and who had it before ended without releasing it; XF_ETIMEDOUT;
 * XF_EDEADLK when this thread has it already and it is not recursive. */
XF_API int xf_lock_acquire(xf_lock *lock, int timeout_ms);

/* Releases it.  XF_ESTATE when this thread does not have it. */
XF_API int xf_lock_release(xf_lock *lock);

/* ---- Reader-writer lock: one writer, or any number of readers up to XF_RWLOCK_READERS_MAX ----------- */

XF_SYNC_LIFE(xf_rwlock);

#define XF_RWLOCK_READERS_MAX 64 /* at a time; who comes then waits */
#define XF_RWLOCK_BYTES (64 + 8 * XF_RWLOCK_READERS_MAX)

typedef struct xf_rwlock_options {
    xf_sync_place place;
} xf_rwlock_options;

XF_API int xf_rwlock_create(xf_rwlock **rwlock, const xf_rwlock_options *options);

/* Acquires it for reading.  A writer that waits keeps new readers out.  Not recursive.
 * Returns 0; XF_EOWNERDEAD: this thread may read, but a writer has ended while it had the lock, and no writer has had
 * it since; XF_ETIMEDOUT; XF_EDEADLK when this thread has it for writing. */
XF_API int xf_rwlock_read(xf_rwlock *rwlock, int timeout_ms);

/* Acquires it for writing.
 * Returns 0; XF_EOWNERDEAD: this thread has it, and the writer before ended without releasing it (the death of a
 * reader, and of a writer that still waited, is told to nobody: it has changed nothing); XF_ETIMEDOUT; XF_EDEADLK when
 * this thread has it. */
XF_API int xf_rwlock_write(xf_rwlock *rwlock, int timeout_ms);

/* Releases it, for reading or writing.  XF_ESTATE when this thread does not have it. */
XF_API int xf_rwlock_release(xf_rwlock *rwlock);

/* ---- Semaphore ------------------------------------------------------------------------------- */

XF_SYNC_LIFE(xf_semaphore);

#define XF_SEMAPHORE_PERMITS_MAX 4096                /* of a bounded one */
#define XF_SEMAPHORE_BYTES(limit) (64 + 8 * (limit)) /* limit 0: not bounded */

/* A bounded semaphore has a number of permits, each of which belongs to the thread that has acquired it until that
 * thread releases it; a thread that ends passes it on.  One that is not bounded is a number that anybody may raise and
 * that waits at 0: nobody owns it, and what the dead have taken stays taken. */
typedef struct xf_semaphore_options {
    unsigned limit; /* permits of a bounded one, up to XF_SEMAPHORE_PERMITS_MAX; 0: not bounded */
    unsigned value; /* of one that is not bounded, at first */
    xf_sync_place place;
} xf_semaphore_options;

XF_API int xf_semaphore_create(xf_semaphore **semaphore, const xf_semaphore_options *options);

/* Takes a permit, or takes one off the number.
 * Returns 0; XF_EOWNERDEAD: this thread has a permit, and who had it before ended without releasing it; XF_ETIMEDOUT.
 */
XF_API int xf_semaphore_acquire(xf_semaphore *semaphore, int timeout_ms);

/* Gives a permit back, or adds one to the number.
 * Returns 0; XF_ESTATE when it is bounded and this thread has no permit; XF_ELIMIT at 2^31 - 1. */
XF_API int xf_semaphore_release(xf_semaphore *semaphore);

/* ---- Condition: waiting for what a lock protects --------------------------------------------- */

XF_SYNC_LIFE(xf_condition);

#define XF_CONDITION_BYTES 64

typedef struct xf_condition_options {
    xf_sync_place place;
} xf_condition_options;

XF_API int xf_condition_create(xf_condition **condition, const xf_condition_options *options);

/* Releases the lock, waits until it is told, and acquires the lock again; in a loop, because it may also return for no
 * reason:
 *     while (!what_is_waited_for)
 *         rc = xf_condition_wait(condition, lock, timeout_ms);
 * Somebody who ends while it has the lock ends the waiting of one of those who wait, so that it is told.
 *   lock  That this thread has, however often; the same for all who wait on the condition.
 * Returns, always with the lock: 0; XF_ETIMEDOUT; XF_EOWNERDEAD as xf_lock_acquire does.  XF_ESTATE when this thread
 * does not have the lock. */
XF_API int xf_condition_wait(xf_condition *condition, xf_lock *lock, int timeout_ms);

/* Wakes at least one of those who wait, or all.  The lock need not be held. */
XF_API void xf_condition_signal(xf_condition *condition);
XF_API void xf_condition_broadcast(xf_condition *condition);

/* ---- Event: something has happened ----------------------------------------------------------- */

XF_SYNC_LIFE(xf_event);

#define XF_EVENT_BYTES 64

typedef struct xf_event_options {
    xf_sync_place place;
} xf_event_options;

/* It is clear at first. */
XF_API int xf_event_create(xf_event **event, const xf_event_options *options);

/* Sets it, and wakes all who wait; clears it. */
XF_API void xf_event_set(xf_event *event);
XF_API void xf_event_clear(xf_event *event);
XF_API bool xf_event_is_set(const xf_event *event);

/* Waits until it is set.  Returns 0, or XF_ETIMEDOUT. */
XF_API int xf_event_wait(xf_event *event, int timeout_ms);

/* ---- Barrier: threads of many processes wait for each other ---------------------------------- */

XF_SYNC_LIFE(xf_barrier);

#define XF_BARRIER_PARTIES_MAX 4096
#define XF_BARRIER_BYTES(parties) (64 + 16 * (parties))

typedef struct xf_barrier_options {
    xf_sync_place place;
} xf_barrier_options;

/*   parties  How many threads wait for each other, 1 to XF_BARRIER_PARTIES_MAX. */
XF_API int xf_barrier_create(xf_barrier **barrier, unsigned parties, const xf_barrier_options *options);

/* Makes this thread one of the parties, which otherwise it becomes when it first waits: from then on its end is
 * noticed.
 * Returns 0; XF_ELIMIT when there are as many as there may be. */
XF_API int xf_barrier_register(xf_barrier *barrier);

/* Waits until all parties do.  When one of them ends, or gives up, the barrier is broken: for all who wait, and from
 * then on, until it is reset.
 * Returns 1 in one of the parties and 0 in the others; XF_EOWNERDEAD: broken, a party has ended; XF_ESTATE: broken, a
 * party gave up; XF_ETIMEDOUT: this one did; XF_ELIMIT: this thread would be one too many. */
XF_API int xf_barrier_wait(xf_barrier *barrier, int timeout_ms);

/* Makes it whole, without parties.  Those who still wait get XF_ESTATE. */
XF_API void xf_barrier_reset(xf_barrier *barrier);

/* ---- Once: one of all processes does it ------------------------------------------------------ */

XF_SYNC_LIFE(xf_once);

#define XF_ONCE_BYTES 64

typedef struct xf_once_options {
    xf_sync_place place;
} xf_once_options;

XF_API int xf_once_create(xf_once **once, const xf_once_options *options);

/* Asks whether it is this thread that has to do it:
 *     rc = xf_once_begin(once, XF_FOREVER);
 *     if (rc == 1 || rc == XF_EOWNERDEAD) {
 *         set_things_up();
 *         xf_once_end(once);
 *     }
 * Returns 0: it has been done; 1: this thread does it now, and others wait; XF_EOWNERDEAD: the same, and who was at it
 * ended in the middle of it; XF_ETIMEDOUT: somebody is at it; XF_EDEADLK: this thread is. */
XF_API int xf_once_begin(xf_once *once, int timeout_ms);

/* Says that it has been done.  XF_ESTATE when this thread is not at it. */
XF_API int xf_once_end(xf_once *once);

#ifdef __cplusplus
}
#endif

#endif
