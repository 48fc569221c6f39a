/* How many workers, and where.
 *
 *     xf_workload load = {.own = 8 << 20, .shared = 64 << 20};
 *     xf_advice advice;
 *     if (xf_advise(&advice, &load) < 0)
 *         return 1;
 *     fputs(advice.why, stderr);
 *     xf_pool_create(&pool, &(xf_pool_options){.workers = advice.workers, .placement = advice.placement});
 *
 * More workers than cores, or than a container's quota allows, gain nothing, and workers whose data displaces the data
 * of others in caches and memory cost more than they gain.  The recommendation follows from the machine and from the
 * caller's description of the work, and names its reasons; examples/cachecliff measures it. */
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
    XF_PLACEMENT_NUMA   /* each on the cores of one memory node, in turn; the system places memory on the node of the
                           worker that touches it first.  Where there is one node, or none is known, that is the same
                           as all cores */
} xf_placement;

/* What the caller knows of the work.  0 in a member: not known. */
typedef struct xf_workload {
    size_t own;    /* bytes that a worker reads or writes again and again, and no other worker does */
    size_t shared; /* bytes of input that all workers read, in memory that they share; copies for each belong to own */
} xf_workload;

#define XF_ADVICE_WHY_SIZE 2048

/* A recommendation, and the facts that it follows from. */
typedef struct xf_advice {
    int workers; /* at least 1 */
    xf_placement placement;
    int processors;               /* that this process may use */
    int cores;                    /* of those, without second threads */
    int caches;                   /* of the last level, each shared by some of the cores; 0: not known */
    int nodes;                    /* of memory */
    double quota;                 /* how many processors the container or job may keep busy; 0: all */
    size_t memory;                /* bytes that the machine has, or the container or job may have */
    size_t cache;                 /* bytes of one of caches; 0: not known */
    char why[XF_ADVICE_WHY_SIZE]; /* the reasons, in lines of text for people, no more than a screen */
} xf_advice;

/* Recommends how many workers to have and where.
 *   advice  Filled in.
 *   load    NULL: nothing is known.  The number is the default of a pool then: one for each core, and no more than the
 *           quota allows, rounded up.
 * With a load, the memory bounds the number: an eighth of it is left to other programs.  And where a cache is too small
 * for the data of all its workers, but not for half of them or more, the number is as many as fit: a worker that waits
 * for memory is about half as fast.  Where not even half fit, fewer workers would cost more than they gain.
 * Returns 0; XF_ENOMEM, XF_ESYSTEM when the system does not list its processors.
 * Differences: caches come from the system, or else from hwloc, where crossfork was built with it.  The quota and
 * memory of a container are those of its cgroups on Linux, also of those around them; on Windows those of the innermost
 * job, as a hard cap of its processor rate. */
XF_API int xf_advise(xf_advice *advice, const xf_workload *load);

#ifdef __cplusplus
}
#endif

#endif
