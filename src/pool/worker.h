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
    xf_task *tasks[SEGMENT_TASKS]; /* by their numbers; NULL: not looked up yet */
} worker;

/* Runs all that waits, in the calling process: a pool without processes. */
void worker_run_inline(worker *worker);

/* For the calls of a task: its output in the plane; the item that runs now, and its failure; whether it is to stop. */
void *worker_output(xf_call *call, size_t size);
uint64_t worker_item(const xf_call *call);
void worker_begin_failure(xf_call *call);
bool worker_stopping(xf_call *call, int timeout_ms);

#endif
