/* The callback thread: one thread that calls the program's callbacks, so that the supervisor is free however long a
 * callback takes.  It starts when the first source is added, and ends with the supervisor. */
#ifndef CALLBACK_THREAD_H
#define CALLBACK_THREAD_H

#include <stdbool.h>

/* A member of what has callbacks: a process, a pool. */
typedef struct callback_source {
    void (*call)(struct callback_source *source); /* on the callback thread: calls what is due */
    struct callback_source *next;                 /* this and the following are the callback thread's own */
    bool added, posted;
} callback_source;

/* Starts the thread if it does not run.  The supervisor must run until the source was removed.  Harmless for a source
 * that was added before.  XF_EPROCESSES, XF_ENOMEM. */
int callback_thread_add(callback_source *source);

/* When this returns, call does not run and will not be called again, unless this is called from call itself.  Harmless
 * for a source that was never added, or is removed already. */
void callback_thread_remove(callback_source *source);

/* Has call called once, soon; never, for a source that is not there any more.  Does not wait. */
void callback_thread_post(callback_source *source);

/* Called from call of another one (a process's): from here on that call counts as a call of this one's (the pool's),
 * for which callback_thread_remove waits. */
void callback_thread_enter(callback_source *source);

/* Whether the calling thread is the callback thread. */
bool callback_thread_is_this(void);

/* Ends the thread, if it runs.  There are no sources any more. */
void callback_thread_end(void);

#endif
