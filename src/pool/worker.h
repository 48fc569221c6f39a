/* A pool's worker: what a child runs that takes its work from the data plane. */
#ifndef WORKER_H
#define WORKER_H

#include "pool/pool_segment.h"
#include "process/call.h"

/* The task that every worker is started with; its input is a worker_start, its segment the plane. */
extern xf_task worker_task;

typedef struct worker_start {
    uint32_t slot;
    uint32_t epoch;
    os_cpu_set cpus; /* where it runs; none: anywhere */
} worker_start;

typedef struct worker {
    plane plane;
    uint32_t number; /* of its slot */
    slot *slot;
    xf_call *call;
    find claimed;
    uint64_t item;                 /* that runs, of the job's */
    uint64_t slab_at, slab_end;    /* room in the pages that were taken last, */
    uint64_t slab_serial;          /* and for which work */
    bool is_inline;                /* it runs in the process of the pool, where there is nobody to notify */
    xf_task *tasks[SEGMENT_TASKS]; /* by their numbers; NULL: not looked up yet */
} worker;

/* Runs all that waits, in the calling process: a pool without processes. */
void worker_run_inline(worker *worker);

/* The back-end of a task's calls; backend_arg is the worker.  A pool without processes uses these functions, too, with
 * a log and a stop_requested of its own.
 *   worker_item  The item that runs now.
 *   worker_asked_to_stop  Whether the item, or the whole pool, was asked to stop. */
int worker_output(xf_call *call, size_t size);
uint64_t worker_item(const xf_call *call);
void worker_begin_failure(xf_call *call);
int worker_send(xf_call *call, const void *data, size_t size);
bool worker_asked_to_stop(const xf_call *call);

#endif
