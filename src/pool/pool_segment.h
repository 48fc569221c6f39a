/* The segment of a pool: the memory that its processes share.
 *
 * One segment, as large as the pool's memory may become, holds the worker slots, the jobs, three rings of jobs that
 * have queued chunks, and pages for everything else.  Nothing in it is a pointer: places are offsets from its start.
 * Nothing in it is behind a lock: a process may be killed at any instruction, and the others continue. */
#ifndef POOL_SEGMENT_H
#define POOL_SEGMENT_H

#include "crossfork/pool.h"
#include "crossfork/task.h"
#include "lockfree/wake_word.h"
#include "os/memory.h"
#include "pool/job.h"

enum {
    SEGMENT_MAGIC = 0x78667031,
    SEGMENT_JOBS = XF_FUTURES_MAX + 1,
    SEGMENT_RING = 4 * SEGMENT_JOBS, /* entries of a ring; a power of 2 */
    SEGMENT_TASKS = 1024,            /* different tasks that a pool can run */
    SEGMENT_PRIORITIES = 3,
    SEGMENT_IDLE_WORDS = XF_POOL_WORKERS_MAX / 64
};

_Static_assert(XF_FUTURES_MAX < 1 << JOB_RING_NUMBER_BITS, "a tail has room for every job");

/* What a worker shares about itself.  It alone writes all of it but epoch, retire and stop_intent. */
typedef struct worker_slot {
    _Alignas(2 * CACHE_LINE) volatile uint32_t progress; /* finished items of the chunk that it claims or has claimed */
    _Atomic uint32_t epoch;                              /* counts the workers that were in this slot */
    _Atomic uint64_t intent;      /* job_intent of the chunk that it claims or has claimed; 0: none */
    _Atomic uint64_t hazard;      /* number + 1 of the job whose memory it reads; 0: none */
    _Atomic uint64_t claim_time;  /* uv_hrtime when it claimed a chunk of a JOB_TIMED job */
    _Atomic uint64_t stop_intent; /* set by the parent: the intent whose task is asked to stop */
    _Atomic uint64_t items_done;  /* of all jobs */
    _Atomic uint32_t busy;        /* it is not waiting for work */
    _Atomic uint32_t ready;       /* its initializer is done */
    _Atomic uint32_t retire;      /* set by the parent: exit after this chunk */
    _Atomic uint32_t idle_exit;   /* it exits because it had nothing to do for idle_ms */
} worker_slot;

typedef struct segment_task {
    char name[XF_TASK_NAME_MAX + 1];
} segment_task;

typedef enum pool_shutdown {
    SHUTDOWN_NONE,
    SHUTDOWN_AFTER_WORK, /* workers exit when no job has queued chunks */
    SHUTDOWN_NOW         /* workers exit after the chunk that they run */
} pool_shutdown;

typedef struct segment_header {
    uint32_t magic;
    uint32_t slot_count; /* workers that there can be; the parent's cursor has this number */
    uint64_t size;
    uint64_t slots_at, tasks_at, jobs_at, rings_at, units_at, arena_at;
    uint64_t unit_count;
    uint64_t tasks_per_worker;
    uint32_t initializer, finalizer;         /* number of the task + 1; 0: none */
    int32_t depth_limit;                     /* of children that its tasks start */
    int32_t idle_ms;                         /* how long a worker waits for work before it exits; 0: for ever */
    _Alignas(2 * CACHE_LINE) wake_word done; /* processes sleep on it until more is done */
    _Atomic uint32_t shutdown;               /* pool_shutdown */
    _Atomic uint32_t spin_us;
    _Atomic uint32_t slots_used;                                        /* no slot from it on ever had a worker */
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t idle[SEGMENT_IDLE_WORDS]; /* a bit for each slot whose worker sleeps */
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t first_free;               /* no unit before it is free, as far as known */
    _Atomic uint64_t committed;                                         /* units whose pages have memory */
    _Atomic uint64_t searched;                                          /* at least as many units as may be taken */
    job_ring rings[SEGMENT_PRIORITIES];
} segment_header;

/* The segment as one process maps it. */
typedef struct pool_segment {
    os_shm shm;
    segment_header *header;
    worker_slot *slots;
    segment_task *tasks;
    job *jobs;
    _Atomic uint32_t *ring_entries[SEGMENT_PRIORITIES]; /* numbers of jobs */
    _Atomic uint32_t *units;                            /* for each page, what it is taken for; 0: it is free */
} pool_segment;

/* Creates the segment.  XF_ENOMEM, XF_EHANDLES. */
int pool_segment_create(pool_segment *segment, uint32_t slots, size_t memory_limit);

/* Fills in the view of a segment that another process has created. */
void pool_segment_attach(pool_segment *segment, const os_shm *shm);

static inline void *pool_segment_at(const pool_segment *segment, uint64_t at)
{
    return (char *)segment->shm.address + at;
}

static inline uint64_t pool_segment_offset(const pool_segment *segment, const void *address)
{
    return (uint64_t)((const char *)address - (const char *)segment->shm.address);
}

/* ---- Pages ----------------------------------------------------------------------------------- */

enum { PAGES_OF_PARENT = 1, PAGES_OF_JOBS = 2 }; /* what pages are taken for: job n's are PAGES_OF_JOBS + n */

/* Takes a run of pages for size bytes, and gives it memory.
 *   at  Set to the offset of the run.
 * XF_ENOMEM when the limit does not leave as much.  A process that is killed inside this call leaves pages that are
 * taken but in no list; pool_segment_sweep_pages finds them. */
int pool_segment_take_pages(pool_segment *segment, uint64_t size, uint32_t what, uint64_t *at);

/* Frees the run of pages that begins at the offset. */
void pool_segment_free_pages(pool_segment *segment, uint64_t at);

/* Frees all pages that are taken for `what`. */
void pool_segment_sweep_pages(pool_segment *segment, uint32_t what);

/* Whether all of the bytes are in pages that have memory. */
bool pool_segment_holds(const pool_segment *segment, uint64_t at, uint64_t size);

/* The size of all pages that are taken. */
uint64_t pool_segment_used(const pool_segment *segment);

/* ---- Waiting until more is done -------------------------------------------------------------- */

/* Wakes the processes that sleep on the done word.  What they wait for was written before, by a sequentially consistent
 * access or with a fence behind it. */
static inline void pool_segment_wake_waiters(pool_segment *segment)
{
    wake_word_signal(&segment->shm, &segment->header->done);
}

/* ---- Parts of a job -------------------------------------------------------------------------- */

static inline claim_word *pool_segment_claim(const pool_segment *segment, job *job, uint64_t chunk)
{
    return job->flags & JOB_ONE_CHUNK ? &job->claim : (claim_word *)pool_segment_at(segment, job->claims) + chunk;
}

/* Where the inputs of a job begin, or the spans of them. */
static inline void *pool_segment_inputs(const pool_segment *segment, job *job)
{
    return job->flags & JOB_EMBEDDED ? job->embedded : pool_segment_at(segment, job->in);
}

/* Where the outputs of a job begin, or the spans of them. */
static inline void *pool_segment_outputs(const pool_segment *segment, job *job)
{
    return job->flags & JOB_EMBEDDED ? job->embedded + job_aligned(job->in_size) : pool_segment_at(segment, job->out);
}

/* The cursor of a slot.  The parent's comes first, so that a sum over all of them ends at the slots in use. */
static inline worker_cursor *pool_segment_cursor(const pool_segment *segment, const job *job, uint32_t slot)
{
    worker_cursor *cursors = pool_segment_at(segment, job->cursors);

    return cursors + (slot < segment->header->slot_count ? slot + 1 : 0);
}

#endif
