/* The word that a thread sleeps on until a thing may have become ready.
 *
 * Each thing that can be waited for together with others has a function THING_is_ready, which takes a target:
 *   target  Set when the thing is not ready, after the word was armed: a process that changes the thing wakes the
 *           thread.  NULL when no thread is going to sleep. */
#ifndef WAIT_TARGET_H
#define WAIT_TARGET_H

#include "os/memory.h"

typedef struct wait_target {
    os_word word;   /* word.word is NULL: the thing will never be ready */
    int recheck_ms; /* sleep at most this long, then check the thing again whatever the word says; -1: no limit */
} wait_target;

#endif
