/* A pool, inside: what pool.c (its life), pool_workers.c (its workers), pool_jobs.c (its work) and future.c (what comes
 * of it) share. */
#ifndef POOL_H
#define POOL_H

#include "crossfork/pool.h"
#include "pool/pool_segment.h"
#include "pool/worker.h"
#include "process/process.h"
#include "process/process_start.h"
#include "process/report.h"
#include "process/supervisor.h"

#include <uv.h>

/* One place for a worker. */
typedef struct member {
    xf_pool *pool;
    uint32_t number;
    xf_process *process; /* NULL: nobody is there */
    bool retiring;
    uint64_t stopping;  /* the intent that was asked to stop; 0: none */
    xf_end why;         /* it was */
    uint64_t kill_time; /* of uv_hrtime, when it is killed for that */
} member;

/* An item that is not done. */
typedef struct bad {
    uint64_t item;
    xf_status status;
    xf_report *report; /* NULL: none, or no memory for it */
} bad;

/* How often an item was tried that is not given up. */
typedef struct attempt {
    uint64_t item;
    int count;
} attempt;

struct xf_future {
    xf_pool *pool; /* NULL: it was freed */
    struct xf_future *next, *previous;
    job *job;
    xf_task *task;
    xf_map_options options;
    int priority;
    void *out;      /* the caller's, to be filled in; NULL: none */
    uint64_t pages; /* run of pages; 0: none */
    bad *bads;      /* in the order of items once it is settled */
    size_t bad_count, bad_room;
    bad *stopped; /* items that were asked to stop, and why */
    size_t stopped_count, stopped_room;
    attempt *attempts;
    size_t attempt_count, attempt_room;
    xf_status swept; /* how items ended that never began */
    xf_report *swept_report;
    atomic_bool settled; /* bads are complete, and out is filled in */
    bool told;           /* its callbacks were called, or are being called: */
    bool calling;
    bool given_up;        /* by its caller */
    bool short_of_memory; /* some of what should be in bads is not */
};

/* A job whose future was freed, and which a worker may still look at. */
typedef struct retired {
    uint32_t job;
    bool large;     /* it has memory besides */
    uint64_t pages; /* as in the future */
} retired;

enum { POOL_MEMORY_MS = 1000 }; /* for how long a worker that is about to end its look is waited for */

struct xf_pool {
    supervised supervised;
    uv_mutex_t lock;   /* of everything below but the plane; never held while a callback runs */
    uv_cond_t changed; /* a worker has ended, or been started */
    plane plane;
    xf_pool_options options;
    xf_process_options process;
    os_method method;
    int grace_ms;
    int wanted;       /* workers */
    int first_wanted; /* when it was opened */
    int most_busy;    /* workers that the machine can run at a time, as it was then */
    int strength;     /* how many of them have been called for so far */
    int live;
    int ending; /* whose end the supervisor is dealing with */
    member *members;
    os_cpu_set *places; /* of workers, in turn; NULL: anywhere */
    uint32_t place_count;
    bool closed, terminating;
    int failed_starts; /* in a row */
    xf_report *broken; /* why no worker can be started; NULL: not so */
    xf_status broken_status;
    uv_async_t *news;   /* on the user's loop; NULL: callbacks are called on the supervisor's thread */
    bool untold;        /* something has completed that no worker tells that thread of */
    uint32_t job_count; /* that were ever used */
    uint32_t jobs_committed;
    uint64_t jobs_ever;
    uint32_t *free_jobs;
    size_t free_count, free_room;
    xf_future **futures; /* by their jobs */
    size_t future_room;
    xf_future *first; /* of all that are open */
    size_t open_count;
    size_t given_up, given_up_enough; /* how many of them are; when to look for those that can be freed */
    retired *retired;                 /* has room for every job */
    size_t retired_count, retired_room;
    size_t retired_large; /* how many of them have memory */
    uint64_t
        ring_heads[SEGMENT_PRIORITIES]; /* not further than the rings' heads, which are in a line of the workers' */
    xf_task *tasks[SEGMENT_TASKS];
    uint32_t task_count;
    uint64_t vacant;                       /* workers that have ended and were not replaced yet */
    uint64_t lost, replaced, items_before; /* settled by workers that have ended */
    worker *here;                          /* of an inline pool */
    bool running;                          /* somebody is in it */
};

/* ---- pool_workers.c ---------------------------------------------------------------------------------- */

/* With the lock held: wakes idle workers, and starts missing ones, for so many new chunks. */
int pool_workers_call(xf_pool *pool, uint64_t chunks);

/* With the lock held: wakes them all. */
void wake_all_workers(xf_pool *pool);

/* With the lock held: asks whoever runs something of that future to stop, to be killed after the grace. */
void pool_deadlines_stop(xf_pool *pool, const xf_future *future, xf_end why);

/* With the lock held: looks at timeouts and graces that have passed, and sets the next time to look. */
void pool_deadlines_check(xf_pool *pool);

/* With the lock held: makes those too many end. */
void pool_workers_retire(xf_pool *pool);

/* With the lock held: asks all to end after what they run, or kills them. */
void pool_workers_shut_down(xf_pool *pool, bool kill);

/* ---- pool_jobs.c ----------------------------------------------------------------------------------- */

/* With the lock held: the number of the task in the plane.  XF_ELIMIT. */
int pool_jobs_number_task(xf_pool *pool, xf_task *task, uint32_t *number);

/* With the lock held: a job that is not used.  XF_ENOMEM, XF_ELIMIT. */
int pool_jobs_take(xf_pool *pool, uint32_t *number);

/* With the lock held: the opposite. */
void pool_jobs_give_back(xf_pool *pool, job *job);

/* With the lock held: makes sure that there is room for one more entry in the ring.  XF_ENOMEM, XF_ELIMIT. */
int pool_jobs_reserve_entry(xf_pool *pool, int priority);

/* With the lock held: the parent settles a chunk, whose word nobody else changes any more. */
void pool_jobs_complete_chunk(xf_pool *pool, job *job, claim_word *word, uint32_t items);

/* With the lock held: gives the memory of a future's job back, now or as soon as no worker looks at it, and the job
 * itself when it is wanted. */
void pool_jobs_retire(xf_pool *pool, xf_future *future);

/* With the lock held: frees what was retired and is looked at no more. */
void pool_jobs_reclaim(xf_pool *pool);

/* With the lock held, which is given up meanwhile: waits for memory that was retired.
 * Returns whether more may be free now; false when none is retired, or a worker that looks at it does not go on. */
bool pool_jobs_await_memory(xf_pool *pool, uint64_t deadline);

/* With the lock held: a dead worker's claim, which it had with that epoch; what it ran ended like that. */
void pool_recovery_recover(xf_pool *pool, uint32_t slot, uint32_t epoch, xf_end why, xf_process *dead);

/* With the lock held: saves an item that is not done, where that is wanted (save_failures).
 *   saved  Set to the path, freed by the caller with free; NULL: it was not.
 * Returns 0, or why it was not, with the error detail. */
int save_item(xf_pool *pool, const xf_future *future, uint64_t item, xf_status status, char **saved);

/* With the lock held: takes what is not claimed out of the job. */
void pool_jobs_cancel_unclaimed(xf_pool *pool, xf_future *future, xf_end why);

/* ---- future.c -------------------------------------------------------------------------------- */

/* Whether every item has ended. */
bool future_is_complete(const xf_future *future);

/* With the lock held: collects what became of the items, once. */
void item_results_collect(xf_future *future);

/* With the lock held: notes an item that is not done.  The report, which may be NULL, is the future's then. */
void item_results_add(xf_future *future, uint64_t item, xf_report *report, xf_status status);

/* With the lock held: notes that an item has ended like that, and saves it where that is wanted; the report is copied.
 */
void item_results_add_report(xf_future *future, uint64_t item, const xf_report *report, stack_trace *trace);

/* With the lock held: deals with what has completed, on the supervisor's thread; or has the user's loop do it. */
void future_callbacks_dispatch(xf_pool *pool);

/* With the lock held, on any thread: has the same done soon, for a future that completes without a worker. */
void future_callbacks_schedule(xf_future *future);

/* With the lock held: runs callbacks, and ends what was given up.  Gives the lock up meanwhile. */
void future_callbacks_run(xf_pool *pool);

/* With the lock held: frees what was given up and has completed, now and then. */
void pool_futures_reap(xf_pool *pool);

/* With the lock held: frees it. */
void pool_futures_free(xf_future *future);

/* ---- pool.c ---------------------------------------------------------------------------------- */

/* With the lock held: XF_ESTATE or what broke it; 0: it takes work. */
int pool_state_check(const xf_pool *pool);

/* A growing array: room for one more of that size.  XF_ENOMEM. */
int pool_state_grow(void *array, size_t count, size_t *room, size_t size);

/* Runs what waits, in an inline pool. */
void pool_inline_run(xf_pool *pool);

#endif
