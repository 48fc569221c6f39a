/* The data plane: what a pool's processes share.
 *
 * One segment, as large as the pool's memory may become, holds the worker slots, the jobs, three rings of jobs that
 * wait, and an arena of pages for everything else.  Nothing in it is a pointer: places are offsets from its start.
 * Nothing in it is behind a lock: a process may be killed at any instruction, and the rest goes on. */
#ifndef PLANE_H
#define PLANE_H

#include "crossfork/pool.h"
#include "crossfork/task.h"
#include "lockfree/wake_word.h"
#include "os/os.h"
#include "pool/chunk_word.h"

#include <stddef.h>

enum {
    SEGMENT_MAGIC = 0x78667031,
    SEGMENT_JOBS = XF_FUTURES_MAX + 1,
    SEGMENT_RING = 4 * SEGMENT_JOBS, /* entries of a ring; a power of 2 */
    SEGMENT_TASKS = 1024,            /* different tasks that a pool can run */
    SEGMENT_PRIORITIES = 3,
    CACHE_LINE = 64,        /* what processors share memory by */
    JOB_BUFFER_SIZE = 64,   /* bytes of input and output that fit a job */
    JOB_EMBEDDED_SIZE = 32, /* of both together that fit its first line */
    JOB_ALIGN = 16,         /* of what is for a task to read or write */
    SEGMENT_IDLE_WORDS = XF_POOL_WORKERS_MAX / 64
};

/* What a worker shares about itself.  It alone writes all of it but epoch, retire and stop. */
typedef struct slot {
    _Alignas(2 * CACHE_LINE) volatile uint32_t progress; /* settled items of the chunk it claims or has claimed */
    _Atomic uint32_t epoch;                              /* counts the workers that were in this slot */
    _Atomic uint64_t intent; /* job_intent of the chunk that it claims or has claimed; 0: none */
    _Atomic uint64_t hazard; /* job + 1 whose memory it looks at; 0: none */
    _Atomic uint64_t since;  /* uv_hrtime when it claimed a chunk of a job with a timeout */
    _Atomic uint64_t stop;   /* set by the parent: the intent whose task is asked to stop */
    _Atomic uint64_t items;  /* settled, of all jobs */
    _Atomic uint32_t busy;   /* it is not looking for work */
    _Atomic uint32_t ready;  /* its initializer is done */
    _Atomic uint32_t retire; /* set by the parent: end after this chunk */
    _Atomic uint32_t unused; /* it ends because there was nothing to do */
} slot;

/* One per slot and one for the parent, for each job of many chunks. */
typedef struct cell {
    _Alignas(
        CACHE_LINE) _Atomic uint64_t next; /* the slot's own range: no chunk before it is queued, as far as known */
    _Atomic uint64_t tail;                 /* no chunk from it on is queued, as far as known */
    uint64_t end;                          /* of the range: job_shard_begin, which divides */
    _Atomic uint64_t finished;             /* chunks that the slot has settled, of any range */
    uint64_t requeues;                     /* of the job, that the slot has seen */
} cell;

enum {
    JOB_IN_SPANS = 1,         /* inputs are views */
    JOB_OUT_SPANS = 2,        /* outputs are */
    JOB_TIMED = 4,            /* workers say since when they run an item */
    JOB_NOTIFY = 8,           /* a worker tells the supervisor when all is settled */
    JOB_STOP_AT_FAILURE = 16, /* the first failure ends the rest */
    JOB_ONE_CHUNK = 32,       /* one chunk: no claims, no cells */
    JOB_ONE_ITEM = 64,        /* one item, and so one chunk, whose input is no view */
    JOB_EMBEDDED = 128,       /* a single item whose input and output are in the job's first line */
    JOB_BATCH = 256           /* the task's batch runs it */
};

/* Bytes in the segment. */
typedef struct view {
    uint64_t at;
    uint64_t size;
} view;

/* The work of one future.  Jobs are never unmapped, so that looking at one that has ended does no harm; what its
 * offsets refer to is looked at with a claim of it, or a hazard.  The first line has all that a worker needs of a brief
 * one, so that only this line changes the processor, there and back. */
typedef struct job {
    _Alignas(2 * CACHE_LINE) claim_word claim; /* of the only chunk */
    uint64_t in_size;
    uint64_t out_size;
    uint16_t task;
    uint16_t flags;
    _Atomic uint32_t active;
    _Alignas(JOB_ALIGN) uint8_t brief[JOB_EMBEDDED_SIZE]; /* input, and output after it */
    uint64_t serial;                                      /* tells apart the works that this job is used for */
    uint64_t count;                                       /* items */
    uint64_t chunk;                                       /* items in a chunk */
    uint64_t chunk_count;
    uint64_t in; /* inputs of in_size bytes each, or views */
    uint64_t out;
    uint64_t claims; /* claim_word for each chunk */
    uint64_t cells;
    uint32_t ranges;           /* that the chunks are divided into */
    _Atomic uint32_t closing;  /* nothing of it is claimed any more */
    _Atomic uint32_t requeues; /* how often the parent has put a chunk back */
    _Atomic uint32_t settled;  /* all chunks are, if there are many */
    _Atomic uint32_t hurt;     /* a worker died of it: some of its pages may be in no list */
    _Atomic uint64_t failures; /* list of failure */
    _Atomic uint64_t slabs;    /* list of slab */
    view out_view;             /* of the only item */
    _Alignas(JOB_ALIGN) uint8_t in_bytes[JOB_BUFFER_SIZE];
    _Alignas(JOB_ALIGN) uint8_t out_bytes[JOB_BUFFER_SIZE];
} job;

_Static_assert(offsetof(job, serial) == CACHE_LINE, "what a worker needs of a brief job is one line");

/* An item that ended with a code. */
typedef struct failure {
    uint64_t next;
    uint64_t item;
    int32_t code;
    uint32_t size; /* of the text that follows, with its terminating 0 */
} failure;

/* Pages that a worker has filled for a job. */
typedef struct slab {
    uint64_t next;
    uint64_t size;
} slab;

/* The last entry is in the tail too: who sees that it has come need not look elsewhere for what it is. */
typedef struct ring {
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t head; /* before it nothing waits, as far as known */
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t tail; /* the parent's: its place, above the last entry's job */
} ring;

enum { RING_JOB_BITS = 20 };
_Static_assert(XF_FUTURES_MAX < 1 << RING_JOB_BITS, "a tail has room for every job");

static inline uint64_t ring_end(uint64_t tail)
{
    return tail >> RING_JOB_BITS;
}

typedef struct segment_task {
    char name[XF_TASK_NAME_MAX + 1];
} segment_task;

typedef struct segment_header {
    uint32_t magic;
    uint32_t slots; /* how many there can be; the parent counts as one more */
    uint64_t size;
    uint64_t slots_at, tasks_at, jobs_at, rings_at, units_at, arena_at;
    uint64_t unit_count;
    uint64_t tasks_per_worker;
    uint32_t initializer, finalizer;         /* number of the task + 1; 0: none */
    int32_t depth_limit;                     /* of its tasks' own children */
    int32_t idle_ms;                         /* how long a worker waits for work before it ends; 0: for ever */
    _Alignas(2 * CACHE_LINE) wake_word done; /* processes sleep on it until more is done */
    _Atomic uint32_t leaving;                /* workers end: LEAVE_ */
    _Atomic uint32_t spin_us;
    _Atomic uint32_t slots_used;                                        /* no slot from it on ever had a worker */
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t idle[SEGMENT_IDLE_WORDS]; /* a bit for each slot that sleeps */
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t first_free;               /* no unit before it is free, as far as known */
    _Atomic uint64_t committed;                                         /* units that have memory */
    _Atomic uint64_t searched;                                          /* units that may be taken; not fewer */
    ring rings[SEGMENT_PRIORITIES];
} segment_header;

enum { SHUTDOWN_NONE, SHUTDOWN_AFTER_WORK, SHUTDOWN_NOW };

/* A process's view of it. */
typedef struct plane {
    os_shm shm;
    segment_header *head;
    slot *slots;
    segment_task *tasks;
    job *jobs;
    _Atomic uint32_t *ring[SEGMENT_PRIORITIES];
    _Atomic uint32_t *units; /* what each page of the arena is taken for; 0: free */
} plane;

/* Makes the segment.  XF_ENOMEM, XF_EHANDLES. */
int pool_segment_create(plane *plane, uint32_t slots, size_t memory_limit);

/* Looks at a segment that another process has made. */
void pool_segment_attach(plane *plane, const os_shm *shm);

static inline void *pool_segment_at(const plane *plane, uint64_t at)
{
    return (char *)plane->shm.address + at;
}

static inline uint64_t pool_segment_offset(const plane *plane, const void *address)
{
    return (uint64_t)((const char *)address - (const char *)plane->shm.address);
}

/* ---- The arena: runs of pages ---------------------------------------------------------------- */

enum { PAGES_OF_PARENT = 1, PAGES_OF_JOBS = 2 }; /* what pages are taken for: job n's are PAGES_OF_JOBS + n */

/* Takes pages for size bytes, and gives them memory.
 *   at  Set to their offset.
 * XF_ENOMEM when the limit does not leave so much.  A process that is killed meanwhile leaves pages that are taken for
 * nothing, which pool_segment_sweep_pages finds. */
int pool_segment_take_pages(plane *plane, uint64_t size, uint32_t what, uint64_t *at);

/* Frees the run of pages that begins there. */
void pool_segment_free_pages(plane *plane, uint64_t at);

/* Frees all pages that are taken for that. */
void pool_segment_sweep_pages(plane *plane, uint32_t what);

/* Whether the bytes are all in pages that are taken. */
bool pool_segment_holds(const plane *plane, uint64_t at, uint64_t size);

/* ---- Claiming -------------------------------------------------------------------------------- */

/* A chunk that may be claimed, or is. */
typedef struct find {
    job *job;
    uint32_t range; /* of its many chunks, the slot's own */
    uint64_t chunk;
    claim_word *word;
    uint64_t claim; /* the word as it was seen, or is */
} find;

static inline uint64_t job_intent(uint32_t job, uint64_t chunk)
{
    return ((uint64_t)job + 1) << 40 | chunk;
}

static inline claim_word *pool_segment_claim(const plane *plane, job *job, uint64_t chunk)
{
    return job->flags & JOB_ONE_CHUNK ? &job->claim : (claim_word *)pool_segment_at(plane, job->claims) + chunk;
}

/* So many bytes, and what keeps the next ones aligned. */
static inline uint64_t job_aligned(uint64_t size)
{
    return (size + JOB_ALIGN - 1) / JOB_ALIGN * JOB_ALIGN;
}

/* Where the inputs of a job begin, or the views of them. */
static inline void *pool_segment_inputs(const plane *plane, job *job)
{
    return job->flags & JOB_EMBEDDED ? job->brief : pool_segment_at(plane, job->in);
}

/* Where the outputs of a job begin, or the views of them. */
static inline void *pool_segment_outputs(const plane *plane, job *job)
{
    return job->flags & JOB_EMBEDDED ? job->brief + job_aligned(job->in_size) : pool_segment_at(plane, job->out);
}

/* The cell of a slot; the parent's comes first, so that only the slots in use have to be looked at. */
static inline cell *pool_segment_cursor(const plane *plane, const job *job, uint32_t slot)
{
    return (cell *)pool_segment_at(plane, job->cells) + (slot < plane->head->slots ? slot + 1 : 0);
}

/* The first item of the chunk. */
static inline uint64_t job_first_item(const job *job, uint64_t chunk)
{
    return chunk ? chunk * job->chunk : 0;
}

/* How many items the chunk has. */
static inline uint32_t job_items_in(const job *job, uint64_t chunk)
{
    uint64_t left;

    if (job->flags & JOB_ONE_ITEM)
        return 1;
    left = job->count - job_first_item(job, chunk);
    return (uint32_t)(left < job->chunk ? left : job->chunk);
}

/* Where a range begins; that of job->ranges is the end of all. */
static inline uint64_t job_shard_begin(const job *job, uint32_t range)
{
    return (uint64_t)(range * (job->chunk_count / job->ranges) +
                      (range < job->chunk_count % job->ranges ? range : job->chunk_count % job->ranges));
}

/* Claims a chunk of the highest priority for a worker: false when nothing waits. */
bool chunk_claim_first(plane *plane, uint32_t slot, find *claimed);

/* Claims the next chunk of the same job, unless something of a higher priority waits. */
bool chunk_claim_next(plane *plane, uint32_t slot, find *claimed);

/* Ends a worker's dealings with a job that it has claimed something of; tells the rest if all of it is settled. */
void chunk_claim_leave(plane *plane, uint32_t slot, job *job);

/* Marks what was claimed as settled up to that item: false when its owner is doomed. */
bool chunk_claim_commit(plane *plane, uint32_t slot, const find *claimed, uint32_t items);

/* Whether all of the job is settled; says so in job->settled. */
bool chunk_claim_complete(plane *plane, job *job);

/* Whether any job waits, as far as can be told without looking at it. */
bool chunk_claim_has_work(const plane *plane);

/* Puts a job into its ring: the parent only. */
void chunk_claim_push(plane *plane, job *job, int priority);

/* Wakes those that sleep until more is done, if any do. */
void pool_segment_wake_waiters(plane *plane);

/* Wakes them in any case: a worker may have died after it had taken the sleepers' bit and before it woke them. */
void plane_tell_after_death(plane *plane);

#endif
