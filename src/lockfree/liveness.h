/* A liveness cache: which processes are dead, remembered for the last few.
 *
 * Asking the system whether a process lives takes system calls, and a walk over many words meets the same few processes
 * again and again.  A cache serves one walk. */
#ifndef LIVENESS_H
#define LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

enum { LIVENESS_PROCESSES = 16 };

/* {0}: nothing is known. */
typedef struct liveness {
    uint64_t processes[LIVENESS_PROCESSES];
    bool dead[LIVENESS_PROCESSES];
    unsigned next;
} liveness;

/* Whether a process is dead; 0, which names no process, is not. */
bool liveness_is_dead(liveness *cache, uint64_t process);

/* Does the same, but is true only once for each process that is remembered: for a caller that recovers what the process
 * had. */
bool liveness_take_dead(liveness *cache, uint64_t process);

#endif
