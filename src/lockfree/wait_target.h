/* What a thread sleeps on until a thing may have become ready.
 *
 * Each thing that can be waited for together with others has a function THING_is_ready, which takes a target:
 *   target  Set when the thing is not ready, after whoever changes it has been told that somebody sleeps; NULL when
 *           nobody is going to sleep. */
#ifndef WAIT_TARGET_H
#define WAIT_TARGET_H

#include "os/os.h"

typedef struct wait_target {
    os_word word;   /* of NULL: it will never be ready */
    int recheck_ms; /* how long to sleep at most before it is checked again, whatever the word says; -1: no limit */
} wait_target;

#endif
