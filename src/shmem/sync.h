/* What locks and the other primitives have in common: where they lie, and how their users sleep.
 *
 * One word names the holder (os_self_thread); a thread becomes the holder by one compare-and-swap.  A thread that waits
 * sleeps on an eventcount, for SYNC_RECHECK_MS at most, and then checks whether the holder lives.  This also repairs a
 * wake-up that was lost because a thread was killed between its change and waking the sleepers.  As long as nobody dies
 * no wake-up is lost: model/lock.pml. */
#ifndef SYNC_H
#define SYNC_H

#include "crossfork/sync.h"
#include "objects/object.h"
#include "os/identity.h"

#include <stdatomic.h>

enum { SYNC_VERSION = 1, SYNC_RECHECK_MS = 20 };

/* The start of each state in shared memory, for a check. */
typedef struct sync_head {
    uint32_t magic;
    uint32_t kind;
    uint32_t bytes; /* of the state */
    uint32_t parameter;
} sync_head;

/* What users of a state sleep on: a count of changes. */
typedef struct sync_eventcount {
    _Atomic uint32_t count;    /* the word that is slept on; each change that wakes sleepers adds 1 */
    _Atomic uint32_t sleepers; /* about to sleep, or asleep; a killed one counts for ever, which costs a system call */
} sync_eventcount;

/* A process's handle; xf_lock and the others are one each. */
typedef struct sync_handle {
    object *object; /* that the state lies in */
    void *state;
    uint32_t place; /* reserved of its xf_ref: 0 for a segment of its own */
} sync_handle;

/* Makes a state that is zero except for its head, and a handle to it. */
int sync_create(sync_handle **out, xf_object_kind kind, size_t bytes, uint32_t parameter, const xf_sync_place *place);
int sync_open(sync_handle **out, const xf_ref *ref, xf_object_kind kind);
int sync_ref(sync_handle *handle, xf_object_kind kind, xf_ref *ref);
void sync_close(sync_handle *handle);

/* The three calls of XF_SYNC_LIFE, for a kind that is struct { sync_handle handle; }. */
#define SYNC_LIFE(kind, number)                                                                                        \
    int kind##_open(kind **object, const xf_ref *ref)                                                                  \
    {                                                                                                                  \
        sync_handle *made;                                                                                             \
        int rc = sync_open(&made, ref, number);                                                                        \
        if (rc == 0)                                                                                                   \
            *object = (kind *)made;                                                                                    \
        return rc;                                                                                                     \
    }                                                                                                                  \
    int kind##_ref(kind *object, xf_ref *ref)                                                                          \
    {                                                                                                                  \
        return sync_ref(&object->handle, number, ref);                                                                 \
    }                                                                                                                  \
    void kind##_free(kind *object)                                                                                     \
    {                                                                                                                  \
        sync_close(object ? &object->handle : NULL);                                                                   \
    }

/* ---- Waiting --------------------------------------------------------------------------------- */

/* How long one call waits, and when it checks for dead holders next. */
typedef struct sync_wait {
    uint64_t deadline;
    uint64_t next_check;
    uint64_t now; /* when sync_is_time_to_check was called last */
} sync_wait;

sync_wait sync_wait_begin(int timeout_ms);

/* Whether it is time to check for dead holders: every SYNC_RECHECK_MS, and before the wait times out. */
bool sync_is_time_to_check(sync_wait *wait);

/* Whether the wait had timed out at the last sync_is_time_to_check.  So a thread that gives up has checked for dead
 * holders after its deadline. */
bool sync_has_expired(const sync_wait *wait);

/* Sleeps until there is a change, until the next check at most.
 *   seen  The count of changes, read before the condition that the thread waits for. */
void sync_sleep(const sync_handle *handle, sync_eventcount *changes, uint32_t seen, const sync_wait *wait);

/* Does the same, but only while there is a holder: for holders that wake sleepers only when there are some. */
void sync_sleep_while(const sync_handle *handle, sync_eventcount *changes, uint32_t seen, const sync_wait *wait,
                      const _Atomic uint64_t *holder);

/* Counts a change, and wakes up to count sleepers. */
void sync_wake(const sync_handle *handle, sync_eventcount *changes, int count);

/* Whether a holder is dead; 0 is no holder. */
static inline bool sync_is_dead(uint64_t holder)
{
    return holder != 0 && !os_thread_lives(holder);
}

/* The word of a list that names the thread; NULL: none does. */
static inline _Atomic uint64_t *sync_find(_Atomic uint64_t *words, uint32_t count, uint64_t thread)
{
    for (uint32_t i = 0; i < count; i++)
        if (atomic_load(&words[i]) == thread)
            return &words[i];
    return NULL;
}

#endif
