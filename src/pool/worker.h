/* The worker of a pool: the task that a child runs to take work from the pool's segments. */
#ifndef WORKER_H
#define WORKER_H

#include "base/aligned.h"
#include "os/machine.h"
#include "pool/chunk_claim.h"
#include "process/call.h"

#include <stdio.h>

/* The task that every worker process is started with.  Its input is a worker_start and the initializer's input, and its
 * segments are the pool's. */
extern xf_task worker_task;

typedef struct worker_start {
    _Alignas(ALIGNED_MAX) uint32_t slot; /* so the input that follows is aligned for any type */
    uint32_t epoch;
    os_cpu_set cpus; /* where it runs; an empty set: anywhere */
} worker_start;

/* Where the output of the item that runs is written, and where it is kept then. */
typedef struct worker_staging {
    os_guarded memory; /* of this process alone */
    void *kept;        /* NULL: it is written where it is kept */
    void *front;       /* guard bytes in front of it; NULL: none */
    void *guard;       /* guard bytes behind it */
    size_t guard_size; /* 0: none */
} worker_staging;

/* Room in a slab, which is for the job with that serial number. */
typedef struct slab_room {
    uint64_t serial, at, end;
} slab_room;

typedef struct worker {
    pool_segment segment;
    chunk_claimer me;
    worker_slot *slot;
    worker_order *order;
    xf_call *call;
    bool claims; /* it has claimed a chunk: */
    chunk_ref claimed;
    const char *in; /* of its job: the inputs, or the spans of them */
    char *out;      /* and the outputs, or the spans of those */
    uint64_t item;  /* of the job: the one that runs */
    worker_staging staging;
    size_t overrun; /* bytes that the item which has run wrote beyond its output */
    slab_room outputs, notes,
        short_notes;           /* room in the slabs that were taken last for outputs, and for worker_failure.h */
    failure_record *last_note; /* that it has written, */
    uint64_t last_serial;      /* for the job with that serial number */
    double began;              /* clock_now when the item, or the chunk, began */
    uint64_t refused;          /* bytes of output that it asked for last and that memory_limit did not leave; 0: none */
    uint64_t unstaged;         /* the same, for which the worker itself had no memory */
    bool is_inline;            /* it runs in the process of the pool, where no supervisor is to be notified */
    xf_task *tasks[SEGMENT_TASKS]; /* by number; NULL: not looked up yet */
} worker;

/* Runs all queued chunks in the calling process: the worker of an inline pool. */
void worker_run_inline(worker *worker);

/* After an exception has left a task of an inline pool: end the item, which has failed, and its chunk. */
void worker_abandon_item(worker *worker);
void worker_abandon_chunk(worker *worker);

/* Parts of the back-end of a task's calls, for inline pools too; backend_arg is the worker.
 *   worker_asked_to_stop  Whether the item, or the whole pool, was asked to stop. */
int worker_send(xf_call *call, const void *data, size_t size);
bool worker_asked_to_stop(const xf_call *call);

/* Exit codes of a worker that cannot go on: it holds what it runs, or its claim was overwritten. */
enum { WORKER_HELPLESS = 1, WORKER_LOST_CLAIM = 250 };

/* Ends a worker that cannot run what it has claimed, or that has lost its claim. */
static inline _Noreturn void worker_exit(const char *why, int code)
{
    fprintf(stderr, "crossfork: a worker exits: %s\n", why);
    os_self_exit(code);
}

#endif
