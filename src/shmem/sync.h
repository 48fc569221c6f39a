/* What locks and their kin have in common: where they lie, and how their users sleep.
 *
 * A holder is named by os_self_thread, in one word, by one compare-and-swap.  Who waits for it sleeps on a bell, and
 * for SYNC_RECHECK_MS at most: then it looks whether the holder lives.  That also makes good for a wake-up that was
 * lost because the one who owed it was killed between its change and its ring.  While nobody dies no wake-up is lost:
 * model/lock.pml. */
#ifndef SYNC_H
#define SYNC_H

#include "crossfork/sync.h"
#include "objects/object.h"

#include <stdatomic.h>

enum { SYNC_VERSION = 1, SYNC_RECHECK_MS = 20 };

/* The start of each state in shared memory, for a check. */
typedef struct sync_head {
    uint32_t magic;
    uint32_t kind;
    uint32_t bytes; /* of the state */
    uint32_t parameter;
} sync_head;

/* What users of a state sleep on. */
typedef struct sync_eventcount {
    _Atomic uint32_t count;    /* of changes that were told; the word that is slept on */
    _Atomic uint32_t sleepers; /* about to sleep, or asleep; those who are killed count for ever, which costs a call */
} sync_eventcount;

/* A process's hold; xf_lock and the others are one each. */
typedef struct sync_handle {
    object *object; /* that it lies in */
    void *state;
    uint32_t place; /* of xf_ref: 0 for a segment of its own */
} sync_handle;

/* Makes a state that is zero but for its head, and a hold of it. */
int sync_create(sync_handle **out, xf_object_kind kind, size_t bytes, uint32_t parameter, const xf_sync_place *place);
int sync_open(sync_handle **out, const xf_ref *ref, xf_object_kind kind);
int sync_ref(sync_handle *hold, xf_object_kind kind, xf_ref *ref);
void sync_close(sync_handle *hold);

/* The three calls of XF_SYNC_LIFE, for a kind that is struct { sync_handle hold; }. */
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
        return sync_ref(&object->hold, number, ref);                                                                   \
    }                                                                                                                  \
    void kind##_free(kind *object)                                                                                     \
    {                                                                                                                  \
        sync_close(object ? &object->hold : NULL);                                                                     \
    }

/* ---- Waiting --------------------------------------------------------------------------------- */

/* How long one call waits, and when it looks for the dead next. */
typedef struct sync_wait {
    uint64_t deadline;
    uint64_t look;
    uint64_t now; /* as sync_is_time_to_check has seen it */
} sync_wait;

sync_wait sync_wait_begin(int timeout_ms);

/* Whether it is time to look for the dead: now and then, and before giving up. */
bool sync_is_time_to_check(sync_wait *wait);

/* Whether it is time to give up, as of the last sync_is_time_to_check: so whoever gives up has looked for the dead
 * since its time was over. */
bool sync_has_expired(const sync_wait *wait);

/* Sleeps until the bell is rung, for a while at most.
 *   seen  The bell's count before what is waited for was looked at. */
void sync_sleep(const sync_handle *hold, sync_eventcount *bell, uint32_t seen, const sync_wait *wait);

/* The same while a holder is there, whoever: for holders that ring only when somebody sleeps. */
void sync_sleep_while(const sync_handle *hold, sync_eventcount *bell, uint32_t seen, const sync_wait *wait,
                      const _Atomic uint64_t *holder);

/* Says that something has changed, and wakes up to count of those who sleep. */
void sync_wake(const sync_handle *hold, sync_eventcount *bell, int count);

/* Whether a holder has ended; nobody (0) has not. */
static inline bool sync_is_dead(uint64_t holder)
{
    return holder != 0 && !os_thread_lives(holder);
}

/* Whether the thread is in a word of a list, and where. */
static inline _Atomic uint64_t *sync_find(_Atomic uint64_t *words, uint32_t count, uint64_t thread)
{
    for (uint32_t i = 0; i < count; i++)
        if (atomic_load(&words[i]) == thread)
            return &words[i];
    return NULL;
}

#endif
