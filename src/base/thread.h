/* Threads of the library's own. */
#ifndef THREAD_H
#define THREAD_H

#include <uv.h>

/* Starts a thread, and returns when it runs.  A thread that begins holds locks of the system or of a sanitizer, and in
 * a child that is forked meanwhile they would stay locked for ever.  XF_EPROCESSES, XF_ENOMEM. */
int thread_start(uv_thread_t *thread, void (*run)(void *arg), void *arg);

#endif
