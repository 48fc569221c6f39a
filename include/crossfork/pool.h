/* Pools: many tasks, a few workers.
 *
 *     xf_pool *pool;
 *     if (xf_pool_create(&pool, NULL) < 0)
 *         return 1;
 *     int rc = xf_pool_map(pool, &square, in, out, 1000000, NULL);
 *     if (rc < 0)
 *         fprintf(stderr, "%s: %s\n", xf_err_name(rc), xf_error_detail());
 *     xf_pool_free(pool);
 *
 * Workers are child processes that take work from shared memory by themselves: one compare-and-swap claims a chunk of
 * items and says who has it.  A worker that dies, however it dies, costs the one item that it was running; that item is
 * reported, the worker is replaced, and everything else completes.
 * Workers are started when there is work for them. */
#ifndef CROSSFORK_POOL_H
#define CROSSFORK_POOL_H

#include "advise.h"
#include "export.h"
#include "process.h"
#include "report.h"
#include "task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xf_pool xf_pool;

/* Work that was given to a pool: one item, or the many of a map. */
typedef struct xf_future xf_future;

/* ---- Opening and closing --------------------------------------------------------------------- */

/* As the number of workers: none.  Tasks run in the calls that hand them in, for debugging; a crash or an exit is the
 * program's, and timeouts, limits and captured streams do not hold. */
#define XF_POOL_INLINE (-1)

#define XF_POOL_WORKERS_MAX 1024
#define XF_POOL_RESIZE_MIN 64

/* How a pool works.  {0} is the default in every member. */
typedef struct xf_pool_options {
    int workers;          /* 0: one for each core that this process may use, and no more than the CPU quota of its
                             group allows (xf_advise without a load); XF_POOL_INLINE; XF_POOL_WORKERS_MAX at most */
    xf_task *initializer; /* run in each worker before its first item; NULL: nothing */
    const void *initializer_input;
    size_t initializer_size;   /* at most 16 KiB */
    xf_task *finalizer;        /* run without input in each worker that ends in good order */
    uint64_t tasks_per_worker; /* a worker is replaced after so many items; 0: never */
    int max_attempts;          /* how often an item that kills its worker is tried; default 1 */
    int nesting;               /* how deep its tasks may nest pools and processes below themselves; 0: to XF_DEPTH_MAX;
                                  -1: not at all */
    int idle_ms;               /* workers that had nothing to do for so long end; 0: they stay */
    int spin_us;               /* how long a wait spins before it sleeps; default 50 when there is a core to spare for
                                  that, and 0 otherwise; -1: 0 */
    struct uv_loop_s *loop; /* a uv_loop_t on whose thread callbacks are called; NULL: on the supervisor's.  The pool is
                               opened and freed on that thread then, and the loop has to run once more to let go */
    bool eager;             /* start all workers in xf_pool_create */
    size_t memory_limit;    /* bytes of shared memory at most; default: the machine's memory, or its group's */
    xf_placement placement; /* where workers run, among the processors that this process may use when it opens the pool;
                               what they start runs there, too.  Not for XF_POOL_INLINE */
    const xf_process_options *process; /* how workers are started, and where their logs go; NULL: the default, but for
                                          the start method, which is XF_START_FORKSERVER */
} xf_pool_options;

/* Opens a pool.  It reserves address space for memory_limit, and uses memory as it needs it.
 *   pool     Set to the new pool, which the caller frees with xf_pool_free.
 *   options  NULL for the default.  Copied, except what its pointers refer to, which must stay until the pool is freed.
 * Returns 0; XF_EINVAL for an option out of range; XF_EMAIN when the program never called xf_main; XF_ENOTASK,
 * XF_EDUPTASK for the initializer or the finalizer, XF_ESIZE for the initializer; XF_EDEPTH beyond XF_DEPTH_MAX, or the
 * nesting that the pool allows in whose task this is; XF_ENOTSUP for fork on Windows; XF_ENOMEM, XF_EHANDLES,
 * XF_EPROCESSES, XF_ESYSTEM.
 * Differences: none to be seen; on Windows memory that was committed once stays the pool's until it is freed. */
XF_API int xf_pool_create(xf_pool **pool, const xf_pool_options *options);

/* Takes no more work from now on; what was handed in is completed, and then the workers end.  Does not wait. */
XF_API void xf_pool_close(xf_pool *pool);

/* Waits until a closed pool has completed everything and its workers have ended.
 * Returns 0; XF_ETIMEDOUT; XF_ESTATE when the pool was not closed. */
XF_API int xf_pool_join(xf_pool *pool, int timeout_ms);

/* Closes the pool, cancels everything that waits or runs, and ends the workers: asked politely they may take grace_ms
 * of options.process (and timeout_ms at most), then they are killed.
 * Returns 0 once all have ended; XF_ETIMEDOUT when the system has not ended them timeout_ms after that. */
XF_API int xf_pool_terminate(xf_pool *pool, int timeout_ms);

/* Ends the pool by killing what still runs, and frees everything of it: futures that were not freed stay valid as far
 * as xf_future_free goes, and no further.  NULL is harmless.
 * Threads: no other call on this pool may be under way or follow. */
XF_API void xf_pool_free(xf_pool *pool);

/* Changes the number of workers, to 1 at least, and at most four times what the pool was opened with, or
 * XF_POOL_RESIZE_MIN where that is less: missing ones are started when there is work for them, those too many end after
 * the item they run.
 * Returns 0; XF_EINVAL; XF_ESTATE when the pool is closed or inline. */
XF_API int xf_pool_resize(xf_pool *pool, int workers);

/* ---- Handing work in ------------------------------------------------------------------------- */

typedef enum xf_priority { XF_PRIORITY_NORMAL, XF_PRIORITY_HIGH, XF_PRIORITY_LOW } xf_priority;

/* Called once a future is complete: on the thread of options.loop, or else on crossfork's supervisor thread; in an
 * XF_POOL_INLINE pool in the call that runs the tasks.  It may call anything but what waits or frees the pool.  It may
 * free the future, if nobody else does, which is there until the last of them has returned. */
typedef void (*xf_future_callback)(xf_future *future, void *arg);

/* How work is done.  {0} is the default in every member. */
typedef struct xf_map_options {
    size_t chunk;   /* items that a worker claims at a time; 0: so that each worker claims some 1,000 times.  With
                             a timeout it is always 1 */
    int timeout_ms; /* how long one item may run: then it is asked to stop (xf_stop_requested), and grace_ms later its
                             worker is killed.  0: as long as it likes */
    xf_priority priority;          /* work of a higher one is claimed first; within one, what was handed in first */
    bool stop_at_failure;          /* once an item did not end as XF_END_DONE, what is not claimed yet is cancelled */
    xf_future_callback on_success; /* every item is done */
    xf_future_callback on_failure; /* some item is not */
    xf_future_callback on_done;    /* in either case, after those two */
    void *arg;
    xf_future **results; /* for xf_pool_map: set to the future with each item's status, freed by the caller, once the
                            items were handed in, whatever is returned then; untouched before that, so make it NULL
                            first.  NULL: not asked for */
} xf_map_options;

/* Runs the task on each of count inputs, and waits.
 *   in, out  count inputs and outputs of the sizes that the task declares, one after the other.  Memory of
 *            xf_pool_buffer_alloc is used in place; other memory is copied once.  What an item that is not done has
 *            written is unspecified.  out may be NULL when outputs are not wanted here.
 *   options  Its callbacks may be called after this has returned.
 * Returns 0 when every item is done; XF_EFAILED when some are not: see options.results; XF_EINVAL for an option out of
 * range; XF_ESIZE when the task does not declare sizes; XF_ENOTASK, XF_EDUPTASK; XF_ESTATE when the pool is closed; why
 * no worker can be started, when the pool has found that out before, which may be XF_EFAILED, too: then nothing was
 * handed in; XF_ENOMEM beyond memory_limit; XF_ELIMIT with more than XF_FUTURES_MAX futures or 1,024 different tasks;
 * XF_EPROCESSES, XF_EHANDLES, XF_ESYSTEM. */
XF_API int xf_pool_map(xf_pool *pool, xf_task *task, const void *in, void *out, size_t count,
                       const xf_map_options *options);

#define XF_FUTURES_MAX 1048575

/* The same without waiting.
 *   future  Set to the new future, which the caller frees with xf_future_free; in may be changed once this returns.
 *   out     Filled in by the first call that waits for or looks at the complete future; must stay until then.
 * Returns as xf_pool_map, but not what becomes of the items. */
XF_API int xf_pool_map_async(xf_future **future, xf_pool *pool, xf_task *task, const void *in, void *out, size_t count,
                             const xf_map_options *options);

/* Bytes of any length. */
typedef struct xf_bytes {
    const void *data;
    size_t size;
} xf_bytes;

/* Runs the task on each of count inputs of any length, without waiting; see xf_future_result for the outputs.
 *   in  Copied, unless it is memory of xf_pool_buffer_alloc.  For a task with an input codec, data is the object to
 *       encode.
 * Returns 0; XF_ESIZE when an input is not as long as the task declares; XF_ECODEC; otherwise as xf_pool_map_async. */
XF_API int xf_pool_map_bytes(xf_future **future, xf_pool *pool, xf_task *task, const xf_bytes *in, size_t count,
                             const xf_map_options *options);

/* Runs the task on one input, without waiting: as xf_pool_map_bytes with a count of 1. */
XF_API int xf_pool_submit(xf_future **future, xf_pool *pool, xf_task *task, const void *input, size_t size,
                          const xf_map_options *options);

/* Memory that the workers see too, for inputs and outputs without a copy.
 * Returns size bytes, aligned to a page and not zero-filled, freed with xf_pool_buffer_free before the pool is; NULL
 * when memory_limit does not leave so much, and xf_error_detail says so. */
XF_API void *xf_pool_buffer_alloc(xf_pool *pool, size_t size);

/* Frees what xf_pool_buffer_alloc gave; no work on it may be under way.  NULL is harmless. */
XF_API void xf_pool_buffer_free(xf_pool *pool, void *memory);

/* ---- Futures --------------------------------------------------------------------------------- */

/* Waits until every item has ended, one way or another.
 * Returns 0 when all are done, XF_EFAILED when some ended otherwise; XF_ETIMEDOUT while some have not ended; XF_ENOMEM
 * when there was none to note what became of some items.
 * Threads: any; several may wait for one future. */
XF_API int xf_future_wait(xf_future *future, int timeout_ms);

/* Waits until one of count futures of one pool is complete: returns its index, or XF_ETIMEDOUT. */
XF_API int xf_future_wait_any(xf_future *const *futures, int count, int timeout_ms);

/* Waits until all of count futures of one pool are complete: as xf_future_wait. */
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
 * Returns memory of the future, aligned to 8 bytes at least, valid until it is freed; NULL when the item is not done.
 */
XF_API const void *xf_future_result(xf_future *future, size_t item, size_t *size);

/* Decodes the output of an item that is done with the task's output codec.
 *   object  Set to a new object, which the caller ends with the codec's destroy.
 * Returns 0; XF_ESTATE while the future is not complete, or when the task has no output codec; XF_EFAILED when the item
 * is not done; XF_ECODEC when the bytes do not decode. */
XF_API int xf_future_result_object(xf_future *future, size_t item, void **object);

/* The report of an item that is not done; valid until the future is freed.  NULL when the item is done, or the future
 * not complete. */
XF_API const xf_report *xf_future_report(xf_future *future, size_t item);

/* Cancels what has not ended: what is not claimed never starts, what runs is asked to stop and killed grace_ms later.
 * Does not wait: the future becomes complete as soon as all that has happened. */
XF_API void xf_future_cancel(xf_future *future);

/* Cancels every future of the pool. */
XF_API void xf_pool_cancel(xf_pool *pool);

/* Gives a future up; what has not ended is completed all the same, and callbacks that have not been called are called,
 * unless the pool is freed before.  NULL is harmless. */
XF_API void xf_future_free(xf_future *future);

/* ---- Endless input --------------------------------------------------------------------------- */

/* Gives the next input: 1, with *input set, valid until the next call; 0 at the end; a negative number as an error,
 * which is the end too. */
typedef int (*xf_generator)(void *arg, xf_bytes *input);

typedef struct xf_imap xf_imap;

typedef struct xf_imap_options {
    size_t window;      /* inputs that may be pulled ahead of what xf_imap_next gave; default: 4 for each worker */
    bool unordered;     /* give results as they come, not in the order of inputs */
    xf_map_options map; /* only timeout_ms and priority are used */
} xf_imap_options;

/* Begins to run a task on what a generator gives, however much that is.
 *   next  Called from xf_imap_create and xf_imap_next only.
 * Returns 0 or XF_ENOMEM; an input that cannot be handed in is told by xf_imap_next.
 * Threads: calls on one imap are made by one thread at a time. */
XF_API int xf_imap_create(xf_imap **imap, xf_pool *pool, xf_task *task, xf_generator next, void *arg,
                          const xf_imap_options *options);

/* Gives the next result.
 *   future  Set to a complete future of one item, freed by the caller.
 *   index   Set to the number of its input, from 0; may be NULL.
 * Returns 1; 0 after the last one; what the generator gave as an error, at its position; XF_ETIMEDOUT; an error as of
 * xf_pool_submit, at the position of the input that could not be handed in. */
XF_API int xf_imap_next(xf_imap *imap, xf_future **future, size_t *index, int timeout_ms);

/* Cancels what was pulled and not given, and frees everything.  NULL is harmless. */
XF_API void xf_imap_free(xf_imap *imap);

/* ---- What a pool is doing -------------------------------------------------------------------- */

typedef struct xf_pool_stats {
    int workers;        /* that the pool should have */
    int started;        /* that it has */
    int busy;           /* of those */
    uint64_t queued;    /* items that nobody has claimed */
    uint64_t done;      /* items that ended as XF_END_DONE or XF_END_FAILED, ever */
    uint64_t lost;      /* items whose worker died, ever */
    uint64_t replaced;  /* workers that were started in place of another, ever */
    size_t futures;     /* that are open */
    size_t memory;      /* bytes of shared memory in use */
    size_t memory_peak; /* bytes of shared memory committed */
} xf_pool_stats;

typedef struct xf_worker_stats {
    int64_t pid; /* 0: it is just being started */
    bool ready;  /* it has started, and its initializer is done */
    bool busy;
    char task[64]; /* what it runs, cut to that; "" when it is idle */
    uint64_t item; /* of that task's future */
    uint64_t done; /* items */
} xf_worker_stats;

/* Takes a snapshot.
 *   workers  Filled in for the first room workers that are started; NULL when room is 0.
 * Returns the number of workers that are started. */
XF_API int xf_pool_stats_get(xf_pool *pool, xf_pool_stats *stats, xf_worker_stats *workers, int room);

#ifdef __cplusplus
}
#endif

#endif
