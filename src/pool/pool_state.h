/* The state of a pool and of its futures, in the parent.  Every file of the parent's side includes this; each has a
 * header of its own for its functions. */
#ifndef POOL_STATE_H
#define POOL_STATE_H

#include "crossfork/pool.h"
#include "os/identity.h"
#include "os/machine.h"
#include "pool/pool_pages.h"
#include "pool/pool_segment.h"
#include "process/callback_thread.h"
#include "process/process.h"
#include "process/process_start.h"
#include "process/report.h"
#include "process/supervisor.h"

#include <uv.h>

/* What the parent knows of one worker slot. */
typedef struct worker_handle {
    xf_pool *pool;
    uint32_t number;     /* of the slot */
    uint32_t epoch;      /* counts the workers that were in this slot */
    xf_process *process; /* NULL: no worker is in the slot */
    bool retiring;
    bool doomed;                                      /* the parent has doomed its claim */
    uint64_t timed_intent, timed_serial, timed_since; /* the claim of a JOB_TIMED job, and when it was seen first */
    uint64_t stop_intent; /* the intent that was asked to stop, and the serial number of its job; 0: none */
    uint64_t stop_serial;
    xf_end stop_reason;
    uint64_t kill_time; /* of uv_hrtime: when the worker is killed if it has not stopped */
} worker_handle;

/* An item that is not done. */
typedef struct item_failure {
    uint64_t item;
    size_t number; /* in the order in which they were added */
    xf_status status;
    xf_report *report; /* NULL: none, or no memory for it */
} item_failure;

/* Items that a worker was asked to stop, and why: from the one that ran on, to the last one of the chunk. */
typedef struct stopped_items {
    uint64_t first, last;
    xf_status status;
} stopped_items;

/* How often an item was tried that may be tried again. */
typedef struct item_attempts {
    uint64_t item;
    int count;
} item_attempts;

typedef enum callbacks_state {
    CALLBACKS_NONE,    /* the future has no callbacks */
    CALLBACKS_PENDING, /* they have not been called yet */
    CALLBACKS_RUNNING, /* they are being called, without the lock */
    CALLBACKS_DONE
} callbacks_state;

/* Runs of pages that a job has; 0: none. */
typedef struct job_pages {
    uint64_t runs[PAGES_USES];
} job_pages;

struct xf_future {
    xf_pool *pool; /* NULL: it was freed */
    struct xf_future *next, *previous;
    uint32_t number; /* of its job */
    job_plan plan;   /* what the job was submitted as, whatever stands in shared memory */
    bool closing;    /* the parent has said that nothing more of it is to be claimed */
    bool may_leak;   /* a worker died while it ran the job: some of its slabs may be in no list */
    xf_task *task;
    xf_map options;
    int priority;
    void *out; /* the caller's buffer, to be filled in; NULL: none */
    job_pages pages;
    uint64_t deadline;      /* of uv_hrtime; CLOCK_NEVER: none, or what it ends was ended */
    uint64_t guard;         /* offset of guard bytes behind the outputs; 0: none */
    uint64_t ring_entry;    /* the number of its entry in the ring */
    uint64_t strays_before; /* a sum over words that did not fit when the job was looked through last; 0: none */
    uint64_t ended_most;    /* chunks that had ended at any look */
    int hurt_looks;         /* looks since then at which something did not fit */
    atomic_bool given_up;   /* the parent has ended it, whatever workers write from now on */
    bool damaged;           /* what it shares does not fit */
    int lost_claims;        /* workers that found their claims overwritten, of this job or when it was the next */
    item_failure *failures; /* in the order of items once collected is set */
    size_t failure_count, failure_room;
    stopped_items *stopped;
    size_t stopped_count, stopped_room;
    item_attempts *attempts;
    size_t attempt_count, attempt_room;
    xf_status unclaimed_status; /* how items ended that no worker had claimed when the job was cancelled */
    xf_report *unclaimed_report;
    span *out_spans;       /* the outputs of a JOB_OUT_SPANS job, once collected is set */
    atomic_bool collected; /* failures are complete, and out is filled in */
    callbacks_state callbacks;
    bool detached;        /* the caller has freed it: the pool frees it once it is complete */
    bool short_of_memory; /* failures lacks some items */
};

/* The job of a future that was freed, while a worker may still read the job's memory. */
typedef struct retired_job {
    uint32_t number;
    bool has_memory; /* pages beyond the job itself */
    bool may_leak;   /* as in the future */
    job_pages pages;
    uint64_t slab_word; /* of its pages */
} retired_job;

enum {
    POOL_AUDIT_MS = 1000,
    POOL_MEMORY_MS = 1000, /* how long a submission waits for the memory of a job that a worker is about to leave, */
    POOL_KILLED_MS = 3000, /* and then for the end of a worker that was killed because it did not */
    POOL_INITIALIZER_INPUT_MAX = 16384
};

struct xf_pool {
    supervised supervised;
    uint32_t generation; /* of the process that created it: os_self_generation */
    uv_mutex_t lock;     /* of everything below except the segment; never held while a callback runs */
    uv_cond_t changed;   /* a worker has ended, or has been started */
    pool_segment segment;
    pool_pages pages;
    xf_pool_options options;
    bool limit_is_default; /* options.memory_limit is not what the program has asked for */
    xf_process_options process;
    os_method method;
    int grace_ms;
    int worker_limit;  /* workers that may run at a time; xf_pool_resize changes it */
    int initial_limit; /* worker_limit when the pool was opened */
    int cpu_count;     /* workers that the machine can run at a time, when the pool was opened */
    int target;        /* workers that the work so far has called for */
    int running;       /* workers that have been started and have not ended */
    int ending;        /* workers that have ended and whose processes are not freed yet: on_log may be behind */
    worker_handle *workers;
    os_cpu_set *cpu_sets; /* workers are bound to them in turn; NULL: they run anywhere */
    uint32_t cpu_set_count;
    bool closed, terminating;
    uint32_t slots_used;      /* as in the books, */
    _Atomic uint32_t spin_us; /* and this, which waits read without the lock */
    uint64_t looked_through;  /* when the jobs were looked through last, of uv_hrtime */
    int audit_ms;             /* how long after that they are looked through again; POOL_AUDIT_MS */
    bool free_asked; /* xf_pool_free was called where it must not wait: release is called as soon as it need not */
    void (*release)(xf_pool *pool); /* ends what is left, and frees all; waits while workers run */
    int failed_starts;              /* in a row, by what the workers did themselves */
    int start_delay_ms;             /* the next one, when workers end again before they are ready */
    uint64_t next_start;            /* of uv_hrtime: no worker is started in place of another before */
    bool awaits_start;              /* workers are missing until then */
    xf_report *broken;              /* why no worker can be started; NULL: workers can be started */
    xf_status broken_status;
    uv_async_t *user_async;    /* on the user's loop; NULL: there is no such loop */
    uint64_t next_check;       /* of its deadlines, of uv_hrtime */
    bool audit_due;            /* the supervisor looks the jobs through at a time that it knows */
    callback_source callbacks; /* added once a future has callbacks, if there is no such loop */
    bool calls_back;           /* the callback thread is in the pool */
    bool callbacks_due;        /* futures are to be looked through, which no worker has said */
    uint32_t job_count;        /* job slots that were ever used */
    uint32_t jobs_committed;
    uint64_t last_serial; /* of a job */
    uint32_t *free_jobs;
    size_t free_count, free_room;
    xf_future **futures; /* by the numbers of their jobs */
    size_t future_room;
    xf_future *first; /* of all open futures */
    size_t open_count;
    size_t detached_count, reap_threshold; /* detached futures; how many there are before pool_futures_reap searches */
    retired_job *retired;                  /* has room for every job */
    size_t retired_count, retired_room;
    size_t retired_with_memory;              /* retired jobs that have memory */
    uint64_t ring_heads[SEGMENT_PRIORITIES]; /* lower bounds of the rings' heads, which workers move */
    uint64_t ring_ends[SEGMENT_PRIORITIES];  /* entries that were ever put into the rings */
    xf_task *tasks[SEGMENT_TASKS];
    uint32_t task_count;
    uint64_t to_replace;          /* workers that ended and were not replaced yet */
    uint64_t lost, replaced;      /* items; workers */
    uint64_t items_before;        /* items done by workers that have ended */
    struct worker *inline_worker; /* of an inline pool; NULL: the pool has worker processes */
    bool inline_running;          /* a thread runs tasks in the inline pool */
};

/* Returns 0, or XF_ESTATE in a forked copy of the process that created the pool: the workers are not its own, and what
 * it writes to the segment would reach them. */
int pool_state_check_own(const xf_pool *pool);

/* Returns 0 if the pool takes work, or XF_ESTATE, or the code of what broke the pool.  The lock is held. */
int pool_state_check(const xf_pool *pool);

/* Says that the first slots have, or had, workers. */
void pool_state_use_slots(xf_pool *pool, uint32_t count);

/* ---- What this thread is doing for a pool --------------------------------------------------- */

typedef enum pool_duty { POOL_RUNS_TASKS, POOL_CALLS_BACK } pool_duty;

/* A duty of this thread, on its stack.  They nest: a callback may use another pool. */
typedef struct pool_frame {
    const xf_pool *pool;
    pool_duty duty;
    struct pool_frame *outer;
} pool_frame;

void pool_state_enter(pool_frame *frame, const xf_pool *pool, pool_duty duty);
void pool_state_leave(const pool_frame *frame);
bool pool_state_is_here(const xf_pool *pool, pool_duty duty);

/* XF_EDEADLK when a wait for the pool could not end, because the thread that would wait is needed for its end: the
 * callback thread, or the one that runs the tasks of an inline pool.  A poll is no wait.  XF_ESTATE as above. */
int pool_state_check_wait(const xf_pool *pool, int timeout_ms);

/* Whether the pool was freed where that could not wait, and the supervisor has to release it: no worker runs any more,
 * and no callback. */
static inline bool pool_state_is_left(const xf_pool *pool)
{
    return pool->free_asked && !pool->user_async && pool->running == 0 && !pool->calls_back;
}

/* Makes room for one more element of that size in a growing array.  XF_ENOMEM. */
int pool_state_grow(void *array, size_t count, size_t *room, size_t size);

static inline worker_order *pool_state_order(const worker_handle *worker)
{
    return &worker->pool->segment.orders[worker->number];
}

static inline worker_slot *pool_state_slot(const worker_handle *worker)
{
    return &worker->pool->segment.slots[worker->number];
}

/* Whether the parent has asked the item to stop that the worker claims by that intent. */
static inline bool pool_state_is_stopped(const worker_handle *worker, const xf_future *future, uint64_t intent)
{
    return worker->stop_intent && worker->stop_intent == intent && worker->stop_serial == future->plan.serial;
}

/* The future's job in the books, its state in the work segment, and the claim word of one of its chunks. */
static inline job *future_job(const xf_future *future)
{
    return &future->pool->segment.jobs[future->number];
}

static inline job_state *future_state(const xf_future *future)
{
    return &future->pool->segment.states[future->number];
}

static inline claim_word *future_claim(const xf_future *future, uint64_t chunk)
{
    return pool_segment_claim(&future->pool->segment, future->number, &future->plan, chunk);
}

/* Whether nothing more of it is to be claimed. */
static inline bool future_is_closing(const xf_future *future)
{
    return future->closing || (future->options.stop_at_failure && atomic_load(&future_state(future)->failed));
}

/* Whether every item of the future has ended, as far as its processes say, or the parent does. */
static inline bool future_is_complete(const xf_future *future)
{
    const job_state *state;

    if (future->collected || future->given_up)
        return true;
    state = future_state(future);
    return future->plan.flags & JOB_ONE_CHUNK ? claim_word_state(atomic_load(&state->claim)) == CLAIM_DONE
                                              : atomic_load(&state->complete) != 0;
}

#endif
