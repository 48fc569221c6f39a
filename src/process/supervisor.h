/* The supervisor: one thread that looks after processes and pools while no other thread waits for them.
 *
 * It starts when the first of them is added, ends a second after the last one was removed (or at supervisor_end),
 * and keeps the server of XF_START_FORKSERVER.  It runs a libuv loop with a timer, a wake-up and the watcher of
 * children. */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "os/child.h"
#include "os/memory.h"

/* A member of everything that is supervised: a process, a pool. */
typedef struct supervised {
    void (*on_due)(
        struct supervised *supervised); /* on the supervisor's thread: the child has news, or the deadline has
                                                      passed */
    uint64_t deadline;                  /* the supervisor's own */
    uint32_t slot;                      /* the supervisor's own */
} supervised;

/* Starts the supervisor if it does not run.  XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
int supervisor_add(supervised *supervised);

/* When this returns, on_due does not run and will not be called again, unless this is called from on_due itself. */
void supervisor_remove(supervised *supervised);

/* Called from on_due of another one (a pool's process): from here on that call counts as a call of this one's (the
 * pool's) on_due, for which supervisor_remove waits. */
void supervisor_enter(supervised *supervised);

/* Has on_due called when there is news from the child, until os_child_unwatch. */
int supervisor_watch(supervised *supervised, os_child *child);

/* Has on_due called at that time of uv_hrtime, in nanoseconds; CLOCK_NEVER: at no time. */
void supervisor_set_deadline(supervised *supervised, uint64_t deadline);

/* A wake word for news of children, on which threads sleep that wait for many things.  Only between supervisor_add
 * and supervisor_remove.
 *   supervisor_open_wake_word  Called before the others.  XF_ENOMEM, XF_EHANDLES.
 *   supervisor_arm             Sets the word to sleep on (wake_word_arm).
 *   supervisor_wake_waiters    Wakes all sleepers.  Costs a load when there are none. */
int supervisor_open_wake_word(void);
void supervisor_arm(os_word *word);
void supervisor_wake_waiters(void);

/* Starts a child; for OS_SERVER, by the server, which is started if it does not run. */
int supervisor_start_child(os_child **child, os_start *start);

/* Ends the supervisor and the server now.  XF_EBUSY while something is supervised. */
int supervisor_end(void);

/* Whether this process has a supervisor thread now. */
bool supervisor_runs(void);

#endif
