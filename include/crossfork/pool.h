/* Pools: many tasks, a few workers.
 *
 *     xf_pool *pool;
 *     if (xf_pool_create(&pool, NULL) < 0)
 *         return 1;
 *     int rc = xf_pool_map(pool, &(xf_map){.task = &square, .in = in, .out = out, .count = 1000000});
 *     if (rc < 0)
 *         fprintf(stderr, "%s: %s\n", xf_err_name(rc), xf_error_detail());
 *     xf_pool_free(pool);
 *
 * Workers are child processes that take work from shared memory by themselves: one compare-and-swap claims a chunk of
 * items and records which worker has it.  A worker that dies, however it dies, costs the one item that it was running;
 * that item is reported, the worker is replaced, and everything else completes.
 * A pool starts workers when there is work for them.
 * A pool belongs to the process that created it.  In a process that the program forked by itself, xf_pool_free frees
 * that process's copy alone, and other calls fail with XF_ESTATE: docs/semantics/copies.md. */
#ifndef CROSSFORK_POOL_H
#define CROSSFORK_POOL_H

#include "advise.h"
#include "export.h"
#include "process.h"
#include "report.h"
#include "task.h"
#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xf_pool xf_pool;

/* Work that was submitted to a pool: one item, or the many of a map. */
typedef struct xf_future xf_future;

/* ---- Creating and closing -------------------------------------------------------------------- */

/* As the number of workers: none.  Tasks run in the calls that submit them, for debugging.  A crash or an exit is then
 * the program's own, and timeouts, deadlines, limits and captured streams have no effect.  A C++ exception that leaves
 * a task or a callback leaves the call that submitted the work, too: the item has failed, what is left of that work is
 * cancelled, and the pool can be used as before.  Where threads share the pool, one of them may run what another has
 * submitted, and gets its exceptions; what it leaves behind then is run by the threads that wait for it.  On POSIX it
 * does not notice a longjmp out of a task. */
#define XF_POOL_INLINE (-1)

#define XF_POOL_WORKERS_MAX 1024
#define XF_POOL_RESIZE_MIN 64

/* How a pool works.  {0} is the default in every member. */
typedef struct xf_pool_options {
    int workers;          /* 0: one for each core that this process may use, and no more than the CPU quota of its
                             group allows (xf_advise without a workload); XF_POOL_INLINE; XF_POOL_WORKERS_MAX at most */
    xf_task *initializer; /* each worker runs it before its first item; NULL: nothing */
    const void *initializer_input;
    size_t initializer_size;   /* at most 16 KiB; 0 with initializer_input NULL */
    xf_task *finalizer;        /* each worker that ends in good order runs it, without input; NULL: nothing */
    uint64_t tasks_per_worker; /* the pool replaces a worker after this many items; 0: never */
    int max_attempts;          /* how often an item that kills its worker is tried; default 1 */
    int nesting;               /* how deep its tasks may nest pools and processes below themselves; 0: to XF_DEPTH_MAX;
                                  -1: not at all */
    int idle_ms;               /* a worker that had nothing to do for this long ends; 0: it stays */
    int spin_us;               /* how long a wait spins before it sleeps; default 50 when there is a core to spare for
                                  that, and 0 otherwise; -1: 0 */
    struct uv_loop_s *loop;    /* a uv_loop_t whose thread calls the callbacks; NULL: crossfork's callback thread does.
                               With a loop, the pool is created and freed on the loop's thread, and the loop has to run
                               once more after that to release its handle */
    bool eager;                /* xf_pool_create starts all workers */
    bool guard_pages;       /* for debugging: each output is written in front of an unmapped page and copied from there,
                               so a write beyond it is an access violation, whose report has the line */
    size_t memory_limit;    /* bytes of shared memory at most, and a sixteenth and 1 MiB more to note how items failed;
                               default: 60 percent of what the machine has left, or its group, and no more than limits
                               on address space (RLIMIT_AS) allow with as much left for the program */
    xf_placement placement; /* where workers run, among the processors that this process may use when it creates the
                               pool; processes that they start run there, too.  Not for XF_POOL_INLINE */
    const xf_process_options *process; /* how workers are started, and where their logs go; NULL: the default, except
                                          that the start method is XF_START_FORKSERVER */
} xf_pool_options;

/* Creates a pool.  It reserves address space for four times memory_limit, and uses memory as it needs it, up to
 * memory_limit in all.
 *   pool     Set to the new pool, which the caller frees with xf_pool_free.
 *   options  NULL for the default.  Copied, except for the objects that its pointers refer to, which must stay until
 *            the pool is freed.
 * Returns 0; XF_EINVAL for an option out of range, or an initializer_input that is NULL although it has a size;
 * XF_EMAIN when the program never called xf_main; XF_ENOTASK, XF_EDUPTASK for the initializer or the finalizer,
 * XF_ESIZE for the initializer; XF_EDEPTH beyond XF_DEPTH_MAX, or beyond the nesting that the pool allows whose task
 * makes this call; XF_ENOTSUP for fork on Windows; XF_ENOMEM, XF_EHANDLES, XF_EPROCESSES, XF_ESYSTEM.
 * Differences: on Windows memory that was committed once stays the pool's until it is freed. */
XF_API int xf_pool_create(xf_pool **pool, const xf_pool_options *options);

/* Refuses new work from now on.  The pool completes the work that it has, and then the workers end.  Does not wait. */
XF_API void xf_pool_close(xf_pool *pool);

/* Waits until a closed pool has completed everything and its workers have ended.
 * Returns 0; XF_ETIMEDOUT; XF_ESTATE when the pool was not closed; XF_EDEADLK in a callback (xf_future_callback), or in
 * a task of the pool, if it is inline. */
XF_API int xf_pool_join(xf_pool *pool, int timeout_ms);

/* Closes the pool, cancels all work that waits or runs, and ends the workers: they are asked to stop, and may take
 * grace_ms of options.process (and timeout_ms at most), then they are killed.
 * Returns 0 once all have ended; XF_ETIMEDOUT when the system has not ended them timeout_ms after that; XF_EDEADLK as
 * xf_pool_join, and then nothing was done. */
XF_API int xf_pool_terminate(xf_pool *pool, int timeout_ms);

/* Ends the pool by killing its workers, and frees everything of it.  A future that was not freed stays valid for
 * xf_future_free, and every other call on it fails.  NULL is harmless.
 * In a callback (xf_future_callback) or a log callback it kills the workers and returns; no further callback of a
 * future of the pool is called, but on_log for lines that are on their way may be; its memory is freed when the
 * callback has returned, the workers have ended and those lines have come.  In a task or a callback of the same pool,
 * if it is inline, it does nothing, and xf_error_detail says so.
 * Threads: no other call on this pool may be under way or follow. */
XF_API void xf_pool_free(xf_pool *pool);

/* Changes the number of workers, to 1 at least, and at most to four times the number that the pool was created with, or
 * to XF_POOL_RESIZE_MIN where that is more.  The pool starts missing workers when there is work for them; a surplus
 * worker ends after the item that it runs.
 * Returns 0; XF_EINVAL; XF_ESTATE when the pool is closed or inline. */
XF_API int xf_pool_resize(xf_pool *pool, int workers);

/* ---- Submitting work ------------------------------------------------------------------------- */

typedef enum xf_priority { XF_PRIORITY_NORMAL, XF_PRIORITY_HIGH, XF_PRIORITY_LOW } xf_priority;

/* Called once a future is complete: on the thread of options.loop, or else on crossfork's callback thread; in an
 * XF_POOL_INLINE pool in the call that runs the tasks.  On the callback thread no pool can be waited for, because all
 * other callbacks would wait, too: xf_pool_map, xf_pool_join, xf_pool_terminate, xf_imap_next and the waits for
 * futures return XF_EDEADLK at once, except with a timeout of 0, and for the future that is called back.
 * xf_pool_free may be called.  It may free the future if no other thread frees it; the future stays until its last
 * callback has returned.  On the thread of a loop of the program, all calls may be made. */
typedef void (*xf_future_callback)(xf_future *future, void *arg);

/* Work for a pool: a task, its inputs, and how to run it.  {0} is the default in every member but task. */
typedef struct xf_map {
    xf_task *task;
    const void *in;        /* count inputs of the size that the task declares, one after the other; for xf_pool_submit
                              one input of size bytes; NULL only where that makes no byte.  Memory of
                              xf_pool_buffer_alloc is used in place; other memory is copied once, before the call
                              returns */
    size_t size;           /* bytes of the input of xf_pool_submit */
    const xf_bytes *bytes; /* in place of in and out: count inputs of any length.  Copied, unless they lie in memory of
                              xf_pool_buffer_alloc.  For a task with an input codec, data is the object to encode */
    void *out;             /* room for count outputs of the size that the task declares; NULL: xf_future_result has
                              them.  An item that is not done leaves unspecified bytes there */
    size_t count;
    size_t chunk;         /* items that a worker claims at a time; 0: so many that each worker claims some 1,000 times.
                             With timeout_ms or deadline_ms it is always 1 */
    int timeout_ms;       /* how long one item may run: then it is asked to stop (xf_stop_requested), and grace_ms later
                             its worker is killed.  0: no limit */
    xf_priority priority; /* workers claim work of a higher priority first; within one priority, older work first */
    bool stop_at_failure; /* once an item did not end as XF_END_DONE, the items that have not begun are cancelled;
                             items of an XF_TASK that are claimed may begin as after xf_future_cancel */
    xf_future_callback on_success; /* every item is done */
    xf_future_callback on_failure; /* some item is not */
    xf_future_callback on_done;    /* in either case, after those two */
    void *arg;                     /* for the callbacks */
    xf_future **results; /* for xf_pool_map: set to the future with each item's status, which the caller frees, once the
                            items were submitted, whatever the call returns then.  Untouched before that, so make it
                            NULL first.  NULL: no future is wanted */
    int deadline_ms;     /* how long all items together may take from this call on, waiting for a worker included: then
                            those that run are asked to stop as for timeout_ms, and those that wait never start.  Both
                            end as XF_END_TIMED_OUT; the attempt in the report of one that never started is 0.
                            0: no limit */
} xf_map;

/* Runs the task on each input, and waits.  The callbacks may be called after this has returned.
 * Returns 0 when every item is done; XF_EFAILED when some are not: see map->results; XF_EINVAL for a member out of
 * range, and for inputs that are NULL although they have a size; XF_ESIZE when the task does not declare sizes, or one
 * of bytes is not as long as it declares; XF_ECODEC; XF_ENOTASK, XF_EDUPTASK; XF_ESTATE when the pool is closed;
 * XF_EDEADLK for xf_pool_map in a callback (xf_future_callback); the reason why no worker can be started, when the pool
 * knows it already, which may be XF_EFAILED, too: then nothing was submitted; XF_ENOMEM beyond memory_limit; XF_ELIMIT
 * with more than XF_FUTURES_MAX futures or 1,024 different tasks; XF_EPROCESSES, XF_EHANDLES, XF_ESYSTEM. */
XF_API int xf_pool_map(xf_pool *pool, const xf_map *map);

#define XF_FUTURES_MAX 1048575

/* Runs the task on each input, without waiting.
 *   future  Set to the new future, which the caller frees with xf_future_free.  The inputs may be changed once this
 *           returns.  The first call that waits for the future, or asks for its results once it is complete, fills
 *           map->out in, which must stay until then.
 * Returns as xf_pool_map; xf_future_wait returns XF_EFAILED for items that are not done. */
XF_API int xf_pool_map_async(xf_future **future, xf_pool *pool, const xf_map *map);

/* Runs the task on one input, without waiting: map->in, of map->size bytes, or for a task with an input codec the
 * object to encode.  bytes, out and count are not used; xf_future_result has the output.
 * Returns as xf_pool_map_async; XF_ESIZE when size is not what the task declares. */
XF_API int xf_pool_submit(xf_future **future, xf_pool *pool, const xf_map *map);

/* Allocates memory that the workers see too, for inputs and outputs without a copy.  Behind it there are 64 guard
 * bytes: when a map whose outputs end where the memory ends has overwritten them, its last item ends as XF_END_CRASHED.
 * There are none inside of it, so an item that writes beyond its output there changes what lies behind.
 * Returns size bytes (0 is as 1), aligned to a page and not zero-filled, which the caller frees with
 * xf_pool_buffer_free before it frees the pool; NULL when memory_limit leaves no room, and xf_error_detail says so. */
XF_API void *xf_pool_buffer_alloc(xf_pool *pool, size_t size);

/* Frees memory of xf_pool_buffer_alloc; no work on it may be under way.  NULL is harmless. */
XF_API void xf_pool_buffer_free(xf_pool *pool, void *buffer);

/* ---- Futures --------------------------------------------------------------------------------- */

/* Waits until every item has ended, one way or another.
 * Returns 0 when all are done, XF_EFAILED when some ended otherwise; XF_ETIMEDOUT while some have not ended; XF_EDEADLK
 * in a callback (xf_future_callback); XF_ESTATE when the pool was freed; XF_ENOMEM when memory was missing to keep how
 * some items ended: then the items of which it is not known are XF_END_UNKNOWN.
 * Threads: any; several may wait for one future. */
XF_API int xf_future_wait(xf_future *future, int timeout_ms);

/* Waits until one of count futures of one pool is complete.
 * Returns its index; XF_ETIMEDOUT; XF_EDEADLK, XF_ESTATE as xf_future_wait; XF_EINVAL for a count below 1, or futures
 * that are NULL. */
XF_API int xf_future_wait_any(xf_future *const *futures, int count, int timeout_ms);

/* Waits until all of count futures of one pool are complete.  Returns as xf_future_wait; XF_EINVAL for a count below 0,
 * or futures that are NULL. */
XF_API int xf_future_wait_all(xf_future *const *futures, int count, int timeout_ms);

/* How many items the future has, and how many of them did not end as XF_END_DONE (0 while it is not complete). */
XF_API size_t xf_future_count(const xf_future *future);
XF_API size_t xf_future_failures(xf_future *future);

/* The item of the n-th failure, counted from 0 in the order of items; count when there are fewer. */
XF_API size_t xf_future_failure(xf_future *future, size_t n);

/* How an item ended; kind XF_END_NONE while the future is not complete. */
XF_API xf_status xf_future_status(xf_future *future, size_t item);

/* The output of an item that is done.
 *   size  Set to the number of bytes; may be NULL.
 * Returns memory of the future, aligned for any type, valid until the future is freed; NULL when the item is not
 * done. */
XF_API const void *xf_future_result(xf_future *future, size_t item, size_t *size);

/* Decodes the output of an item that is done with the task's output codec.
 *   object  Set to a new object, which the caller ends with the codec's destroy.
 * Returns 0; XF_ESTATE while the future is not complete, or when the task has no output codec; XF_EFAILED when the item
 * is not done; XF_ECODEC when the bytes do not decode. */
XF_API int xf_future_result_object(xf_future *future, size_t item, void **object);

/* The report of an item that is not done; valid until the future is freed.  NULL when the item is done, or the future
 * not complete, and where the program had no memory for one. */
XF_API const xf_report *xf_future_report(xf_future *future, size_t item);

/* Cancels the items that have not ended: an item that runs is asked to stop and killed grace_ms later, and the others
 * never start.  Only the items of an XF_TASK that a worker has claimed with the one that runs go on while each of them
 * returns 0: a call runs them all.
 * Does not wait: the future becomes complete when all of them have ended. */
XF_API void xf_future_cancel(xf_future *future);

/* Cancels every future of the pool. */
XF_API void xf_pool_cancel(xf_pool *pool);

/* Gives a future up.  The pool completes its items all the same, and calls the callbacks that have not been called yet,
 * unless the pool is freed before.  NULL is harmless. */
XF_API void xf_future_free(xf_future *future);

/* ---- Endless input --------------------------------------------------------------------------- */

/* Gives the next input.
 *   input  Set when it returns 1; valid until the next call.
 * Returns 1; 0 at the end; a negative number for an error, which is the end too. */
typedef int (*xf_generator)(void *arg, xf_bytes *input);

/* Results of a task on the inputs of a generator. */
typedef struct xf_imap xf_imap;

/* What an imap runs.  {0} is the default in every member but task and next. */
typedef struct xf_imap_options {
    xf_task *task;
    xf_generator next; /* xf_imap_create and xf_imap_next call it, and no other call does */
    void *arg;         /* for next */
    size_t window;     /* inputs that may be pulled before xf_imap_next has given their results; default: 4 for each
                          worker */
    bool unordered;    /* xf_imap_next gives results as they come, not in the order of inputs */
    int timeout_ms;    /* as in xf_map */
    xf_priority priority;
    int deadline_ms; /* as in xf_map, for each input by itself, from when next gave it */
} xf_imap_options;

/* Begins to run a task on the inputs of a generator, however many there are.
 *   imap  Set to the new imap, which the caller frees with xf_imap_free.
 * Returns 0; XF_EINVAL when options name no task or no generator; XF_ENOMEM.  xf_imap_next returns the error of an
 * input that cannot be submitted.
 * Threads: calls on one imap are made by one thread at a time. */
XF_API int xf_imap_create(xf_imap **imap, xf_pool *pool, const xf_imap_options *options);

/* Gives the next result.
 *   future  Set to a complete future of one item, which the caller frees.
 *   index   Set to the number of its input, from 0; may be NULL.
 * Returns 1; 0 after the last one; the generator's error, at its position; XF_ETIMEDOUT; XF_EDEADLK as xf_future_wait:
 * then it can be called again; an error of xf_pool_submit, at
 * the position of the input that could not be submitted. */
XF_API int xf_imap_next(xf_imap *imap, xf_future **future, size_t *index, int timeout_ms);

/* Cancels the inputs that were pulled and whose results were not given, and frees everything.  NULL is harmless. */
XF_API void xf_imap_free(xf_imap *imap);

/* ---- Statistics ------------------------------------------------------------------------------ */

typedef struct xf_pool_stats {
    int workers;        /* that the pool should have */
    int started;        /* that it has */
    int busy;           /* of those */
    uint64_t queued;    /* items that no worker has claimed */
    uint64_t done;      /* items that ended as XF_END_DONE or XF_END_FAILED, ever */
    uint64_t lost;      /* items whose worker died, ever */
    uint64_t replaced;  /* workers that were started in place of another, ever */
    size_t futures;     /* that are open */
    size_t memory;      /* bytes of shared memory in use */
    size_t memory_peak; /* bytes of shared memory committed */
    bool sealed;        /* no worker can get a writable view of the pool's books, whatever it tries; false on Linux
                           before 5.1, where they are only mapped read-only, and for XF_POOL_INLINE */
} xf_pool_stats;

typedef struct xf_worker_stats {
    int64_t pid; /* 0: it is just being started, or has just ended */
    bool ready;  /* it has started, and its initializer is done */
    bool busy;
    char task[64]; /* the task that it runs, cut to that; "" when it is idle */
    uint64_t item; /* of that task's future */
    uint64_t done; /* items */
} xf_worker_stats;

/* Takes a snapshot of the pool and its workers.
 *   workers  Filled in for the first room workers that are started; NULL when room is 0.
 * Returns the number of workers that are started; XF_EINVAL when workers is NULL and room is above 0. */
XF_API int xf_pool_stats_get(xf_pool *pool, xf_pool_stats *stats, xf_worker_stats *workers, int room);

#ifdef __cplusplus
}
#endif

#endif
