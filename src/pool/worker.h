/* The worker of a pool: the task that a child runs to take work from the pool's segment. */
#ifndef WORKER_H
#define WORKER_H

#include "os/machine.h"
#include "pool/chunk_claim.h"
#include "process/call.h"

/* The task that every worker process is started with.  Its input is a worker_start and the initializer's input, and its
 * segment is the pool's. */
extern xf_task worker_task;

typedef struct worker_start {
    uint32_t slot;
    uint32_t epoch;
    os_cpu_set cpus; /* where it runs; an empty set: anywhere */
} worker_start;

typedef struct worker {
    pool_segment segment;
    uint32_t number; /* of its slot */
    worker_slot *slot;
    xf_call *call;
    chunk_ref claimed;
    uint64_t item;                 /* of the job: the one that runs */
    uint64_t slab_at, slab_end;    /* room in the slab that was taken last */
    uint64_t slab_serial;          /* serial of the job that this slab is for */
    bool is_inline;                /* it runs in the process of the pool, where no supervisor is to be notified */
    xf_task *tasks[SEGMENT_TASKS]; /* by number; NULL: not looked up yet */
} worker;

/* Runs all queued chunks in the calling process: the worker of an inline pool. */
void worker_run_inline(worker *worker);

/* Parts of the back-end of a task's calls, for inline pools too; backend_arg is the worker.
 *   worker_item           The item that runs now.
 *   worker_asked_to_stop  Whether the item, or the whole pool, was asked to stop. */
int worker_output(xf_call *call, size_t size);
uint64_t worker_item(const xf_call *call);
void worker_begin_failure(xf_call *call);
int worker_send(xf_call *call, const void *data, size_t size);
bool worker_asked_to_stop(const xf_call *call);

#endif
