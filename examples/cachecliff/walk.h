/* The worker's side: reading an input in an order that no cache foresees, and what that takes. */
#ifndef CACHECLIFF_WALK_H
#define CACHECLIFF_WALK_H

#include <crossfork.h>

#include <stdbool.h>
#include <stdint.h>

enum { WALK_LINE = 64 }; /* bytes that one read brings into the cache */

/* One worker's part; all workers of a run begin together. */
typedef struct walk {
    xf_ref input; /* shared memory of 2^n lines */
    xf_ref start; /* a barrier for all workers */
    uint64_t reads;
    uint64_t seed; /* of the order of reads */
    bool copies;   /* it works on a copy of its own */
} walk;

typedef struct walked {
    uint64_t begin, end;   /* nanoseconds, by a clock that all processes have in common */
    uint64_t computed;     /* nanoseconds of those that it had a processor */
    uint64_t sum;          /* of what was read */
    uint64_t resident;     /* bytes that the process has in memory, meanwhile */
    uint64_t proportional; /* the same, with what n processes share counted as an n-th; 0: the system does not tell */
    uint64_t misses;       /* of the last cache */
    bool has_misses;       /* the system tells */
} walked;

extern xf_task walk_through;

#endif
