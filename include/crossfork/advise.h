/* How many workers, and where.
 *
 *     xf_workload load = {.own = 8 << 20, .shared = 64 << 20};
 *     xf_advice advice;
 *     if (xf_advise(&advice, &load) < 0)
 *         return 1;
 *     fputs(advice.why, stderr);
 *     xf_pool_create(&pool, &(xf_pool_options){.workers = advice.workers, .placement = advice.placement});
 *
 * More workers than cores, or than a container's quota allows, gain nothing, and those whose data leave no room for the
 * others' in caches and memory take back what they gain.  What is recommended here follows from the machine and from
 * what the caller knows, and says so; examples/cachecliff measures it. */
#ifndef CROSSFORK_ADVISE_H
#define CROSSFORK_ADVISE_H

#include "export.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where workers run. */
typedef enum xf_placement {
    XF_PLACEMENT_NONE,  /* wherever the system puts them */
    XF_PLACEMENT_CORES, /* each on a core of its own, with all of its threads, spread over the caches that cores share;
                           when there are more workers than cores, several have the same */
    XF_PLACEMENT_NUMA   /* each on the cores of one memory node, in turn; the system takes the memory that a worker is
                           the first to touch from there.  The same as all cores where there is one node, or none is
                           known */
} xf_placement;

/* What is known of the work.  0 in a member: not known. */
typedef struct xf_workload {
    size_t own;    /* bytes that a worker reads or writes again and again, and no other worker does */
    size_t shared; /* bytes of input that all workers read, in memory that they share: a copy for each is own */
} xf_workload;

#define XF_ADVICE_WHY_SIZE 2048

/* A recommendation, and what it follows from. */
typedef struct xf_advice {
    int workers; /* at least 1 */
    xf_placement placement;
    int processors;               /* that this process may use */
    int cores;                    /* of those, without second threads */
    int caches;                   /* the last ones, each shared by some of the cores; 0: not known */
    int nodes;                    /* of memory */
    double quota;                 /* how many processors the container or job may keep busy; 0: all */
    size_t memory;                /* bytes that the machine has, or the container or job may have */
    size_t cache;                 /* bytes of one of caches; 0: not known */
    char why[XF_ADVICE_WHY_SIZE]; /* the reasons, in lines of text for people, no more than a screen */
} xf_advice;

/* Recommends how many workers to have and where.
 *   advice  Filled in.
 *   load    NULL: nothing is known.  The number is that of a pool by default then: one for each core, and no more than
 *           the quota allows, rounded up.
 * With a load, the memory bounds the number: an eighth of it is left to others.  And where the data of a cache's
 * workers do not fit it at once, but those of half of them or more do, there are no more than fit: a worker that waits
 * for memory is about half as fast.  Where not even half do, leaving out the rest would cost more than it brings.
 * Returns 0; XF_ENOMEM, XF_ESYSTEM when the system does not tell which processors there are.
 * Differences: caches come from the system, or else from hwloc, where crossfork was built with it.  The quota and
 * memory of a container are those of its cgroups on Linux, also of those around them; on Windows those of the innermost
 * job, as a hard cap of its processor rate. */
XF_API int xf_advise(xf_advice *advice, const xf_workload *load);

#ifdef __cplusplus
}
#endif

#endif
