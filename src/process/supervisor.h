/* The supervisor: one thread that looks after children while nobody waits for them.
 *
 * It starts with the first supervised, ends a second after the last one has gone (or at supervisor_end), and keeps the
 * server of XF_START_FORKSERVER.  It runs a libuv loop with a timer, a wake-up and the watcher of children. */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "os/os.h"

/* Something to look after; a member of what it is about. */
typedef struct supervised {
    void (*attend)(
        struct supervised *supervised); /* on the supervisor's thread: there is news, or the deadline has passed */
    uint64_t deadline;                  /* the supervisor's own */
    uint32_t slot;                      /* the supervisor's own */
} supervised;

/* Takes a supervised on, and starts the supervisor if it does not run.  XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
int supervisor_add(supervised *supervised);

/* Lets a supervised go: when this returns, attend does not run and never will, unless this is called from attend
 * itself. */
void supervisor_remove(supervised *supervised);

/* From attend of another supervised, which this one is a part of or has to do with: supervisor_remove of this one waits
 * for that call too. */
void supervisor_enter(supervised *supervised);

/* Calls attend when there is news from the child; until os_child_unwatch. */
int supervisor_watch(supervised *supervised, os_child *child);

/* Calls attend at that time of uv_hrtime, in nanoseconds; CLOCK_NEVER: does not. */
void supervisor_set_deadline(supervised *supervised, uint64_t deadline);

/* A shared page for a new child, zero-filled: one that was given back, or a new one.  Only while there are wards. */
int supervisor_take_box(os_shm *box);

/* Gives a page back that nobody writes to any more. */
void supervisor_give_box(os_shm *box);

/* A bell for news of children, for those who wait for more than one thing.  Only while there are wards.
 *   supervisor_open_wake_word  Has to have been called before; XF_ENOMEM, XF_EHANDLES.
 *   supervisor_arm       Sets what to sleep on until something that is not seen yet comes.
 *   supervisor_wake_waiters       Wakes those who do; costs nothing when nobody does. */
int supervisor_open_wake_word(void);
void supervisor_arm(os_word *word);
void supervisor_wake_waiters(void);

/* Whether this is the supervisor's thread. */
bool supervisor_is_this_thread(void);

/* Starts a child; for OS_SERVER, by the server, which is started if it does not run. */
int supervisor_start_child(os_child **child, os_start *start);

/* Ends the supervisor and the server now.  XF_EBUSY while there are wards. */
int supervisor_end(void);

/* Whether this process has a supervisor thread now. */
bool supervisor_runs(void);

#endif
