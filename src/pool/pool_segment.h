/* The memory that the processes of a pool share: two segments, as large as the pool's memory may become.
 *
 * The books are the parent's: options, tasks, plans of jobs, rings, and inputs that were copied in.  Workers can read
 * them, and a write to them is an access violation of the worker that did it.  The work segment is everybody's: claim
 * words, what workers say of themselves, outputs, and the program's own buffers.
 *
 *     books:  head, orders, tasks, jobs, ring entries, inputs
 *     work:   head, slots, job states, claim words and cursors, pages that workers take, outputs and buffers
 *
 * A task that writes on behind an output comes to outputs behind it and to the end of the segment, and to nothing that
 * says how items end, because all of that lies before.  Nothing in the segments is a pointer.  Nothing in them is
 * behind a lock: a process may be killed at any instruction, and the others continue. */
#ifndef POOL_SEGMENT_H
#define POOL_SEGMENT_H

#include "crossfork/pool.h"
#include "crossfork/task.h"
#include "lockfree/page_arena.h"
#include "lockfree/wake_word.h"
#include "os/memory.h"
#include "pool/job.h"

enum {
    SEGMENT_MAGIC = 0x78667032,
    SEGMENT_JOBS = XF_FUTURES_MAX + 1,
    SEGMENT_RING = 4 * SEGMENT_JOBS, /* entries of a ring; a power of 2 */
    SEGMENT_TASKS = 1024,            /* different tasks that a pool can run */
    SEGMENT_PRIORITIES = 3,
    SEGMENT_IDLE_WORDS = XF_POOL_WORKERS_MAX / 64
};

_Static_assert(XF_FUTURES_MAX < 1 << JOB_RING_NUMBER_BITS, "a tail has room for every job");

/* ---- In the books ---------------------------------------------------------------------------- */

/* What the parent asks of the worker in a slot. */
typedef struct worker_order {
    _Alignas(CACHE_LINE) _Atomic uint64_t stop_intent; /* the intent whose task is asked to stop, */
    _Atomic uint64_t stop_serial;                      /* of the job with that serial number */
    _Atomic uint32_t retire;                           /* exit after this chunk */
} worker_order;

typedef struct segment_task {
    char name[XF_TASK_NAME_MAX + 1];
} segment_task;

typedef enum pool_shutdown {
    SHUTDOWN_NONE,
    SHUTDOWN_AFTER_WORK, /* workers exit when no job has queued chunks */
    SHUTDOWN_NOW         /* workers exit after the chunk that they run */
} pool_shutdown;

typedef struct books_head {
    uint32_t magic;
    uint32_t slot_count; /* workers that there can be; the parent's cursor has this number */
    uint64_t memory_limit;
    uint64_t tasks_per_worker;
    uint32_t initializer, finalizer; /* number of the task + 1; 0: none */
    int32_t depth_limit;             /* of children that its tasks start */
    int32_t idle_ms;                 /* how long a worker waits for work before it exits; 0: for ever */
    _Atomic uint32_t shutdown;       /* pool_shutdown */
    _Atomic uint32_t spin_us;
    _Atomic uint32_t slots_used;  /* no slot from it on ever had a worker */
    _Atomic uint64_t pages_taken; /* by the parent */
    struct {
        _Alignas(2 * CACHE_LINE) _Atomic uint64_t tail; /* see job_ring_end */
    } rings[SEGMENT_PRIORITIES];
} books_head;

/* ---- In the work segment --------------------------------------------------------------------- */

/* What a worker says of itself. */
typedef struct worker_slot {
    _Alignas(2 * CACHE_LINE) volatile uint32_t progress; /* finished items of the chunk that it claims or has claimed */
    _Atomic uint64_t intent;     /* job_intent of the chunk that it claims or has claimed; 0: none */
    _Atomic uint64_t hazard;     /* number + 1 of the job whose memory it reads; 0: none */
    _Atomic uint64_t claim_time; /* uv_hrtime when it claimed a chunk of a JOB_TIMED job */
    _Atomic uint64_t items_done; /* of all jobs */
    _Atomic uint32_t busy;       /* it is not waiting for work */
    _Atomic uint32_t idle_exit;  /* it exits because it had nothing to do for idle_ms */
    _Atomic uint64_t
        said_item; /* number + 1 of the item whose task has called xf_fail, which is not noted yet; 0: none */
    _Atomic int32_t said_code; /* and the code */
} worker_slot;

typedef struct work_head {
    _Alignas(2 * CACHE_LINE) wake_word done;                            /* processes sleep on it until more is done */
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t idle[SEGMENT_IDLE_WORDS]; /* a bit for each slot whose worker sleeps */
    struct {
        _Alignas(2 * CACHE_LINE) _Atomic uint64_t head; /* no entry before it has queued chunks, as far as known */
    } rings[SEGMENT_PRIORITIES];
    _Alignas(2 * CACHE_LINE) page_arena_head slabs;
    _Atomic uint64_t slab_pages; /* that workers have taken, about */
} work_head;

/* Where everything is; it follows from slot_count and memory_limit.  Offsets in the two segments. */
typedef struct segment_layout {
    uint64_t orders_at, tasks_at, jobs_at, entries_at, inputs_at, books_size;
    uint64_t slots_at, states_at, control_at, slab_words_at, slabs_at, buffers_at, work_size;
} segment_layout;

/* The segments as one process maps them. */
typedef struct pool_segment {
    os_shm books, work;
    segment_layout layout;
    uint32_t slot_count;
    uint64_t memory_limit; /* bytes, a multiple of OS_PAGE */
    books_head *head;
    worker_order *orders;
    segment_task *tasks;
    job *jobs;
    _Atomic uint32_t *ring_entries[SEGMENT_PRIORITIES]; /* numbers of jobs */
    work_head *shared;
    worker_slot *slots;
    job_state *states;
    page_arena slabs;
    uint64_t words_readable, slabs_readable; /* the ends of what the parent has made sure that it can read */
} pool_segment;

/* The largest limit for which the segments fit into that many bytes of address space; 0: none. */
uint64_t pool_segment_limit_in(uint32_t slots, uint64_t room);

/* Creates the segments.
 *   flags  OS_SHM_COPIED, where tasks run in this process; otherwise 0.
 * XF_ENOMEM, XF_EHANDLES. */
int pool_segment_create(pool_segment *segment, uint32_t slots, size_t memory_limit, int flags);

/* Fills in the view of segments that another process has created. */
void pool_segment_attach(pool_segment *segment, const os_shm *books, const os_shm *work);

/* Unmaps them and closes their handles. */
void pool_segment_close(pool_segment *segment);

static inline void *pool_segment_at(const pool_segment *segment, uint64_t at)
{
    return (char *)segment->work.address + at;
}

/* What is at a place. */
static inline void *pool_segment_place(const pool_segment *segment, job_place place)
{
    return place & PLACE_IN_BOOKS ? (char *)segment->books.address + (place & ~PLACE_IN_BOOKS)
                                  : pool_segment_at(segment, place);
}

/* The offset in the work segment. */
static inline uint64_t pool_segment_offset(const pool_segment *segment, const void *address)
{
    return (uint64_t)((const char *)address - (const char *)segment->work.address);
}

/* The place of something in the books. */
static inline job_place pool_segment_books_place(const pool_segment *segment, const void *address)
{
    return (uint64_t)((const char *)address - (const char *)segment->books.address) | PLACE_IN_BOOKS;
}

/* ---- Pages that workers take ----------------------------------------------------------------- */

/* What pages are taken for: one use of a job.  It is never 0, and never has PAGE_ARENA_FOLLOWS. */
static inline uint64_t pool_segment_slab_word(uint32_t job, uint64_t serial)
{
    return ((serial << JOB_RING_NUMBER_BITS | job) + 1) & ~PAGE_ARENA_FOLLOWS;
}

/* The number of the job for which pages with that word are taken; of 0, a number that no job has. */
static inline uint32_t pool_segment_slab_job(uint64_t word)
{
    return (uint32_t)(word - 1) & ((1U << JOB_RING_NUMBER_BITS) - 1);
}

/* Takes a run of pages for size bytes of the outputs of a job, and gives it memory.
 *   word  pool_segment_slab_word of the job.
 *   at    Set to the offset of the run.
 * XF_ENOMEM when the limit does not leave as much.  A process that is killed inside this call leaves pages that are
 * taken but in no list; pool_segment_sweep_slabs finds them. */
int pool_segment_take_slab(pool_segment *segment, uint64_t size, uint64_t word, uint64_t *at);

/* The same, also of the pages that are kept back beyond the limit for notes of failures. */
int pool_segment_take_kept_back(pool_segment *segment, uint64_t size, uint64_t word, uint64_t *at);

/* Frees the run of pages that begins at the offset, if it was taken for that job.  Returns how many pages it has; 0:
 * there is none. */
uint64_t pool_segment_free_slab(pool_segment *segment, uint64_t at, uint64_t word);

/* Frees all pages whose word is a stale one. */
void pool_segment_sweep_slabs(pool_segment *segment, bool (*is_stale)(const void *arg, uint64_t word), const void *arg);

/* Counts the pages that workers have taken, which a worker that was killed may have left miscounted. */
void pool_segment_count_slabs(pool_segment *segment);

/* Whether all of the bytes are in pages that workers take, and can be read. */
bool pool_segment_is_slab(pool_segment *segment, uint64_t at, uint64_t size);

/* Pages that workers have taken; never more than there are. */
uint64_t pool_segment_slab_pages(const pool_segment *segment);

/* ---- Waiting until more is done -------------------------------------------------------------- */

/* Wakes the processes that sleep on the done word.  What they wait for was written before, by a sequentially consistent
 * access or with a fence behind it. */
static inline void pool_segment_wake_waiters(pool_segment *segment)
{
    wake_word_signal(&segment->work, &segment->shared->done);
}

/* ---- Parts of a job -------------------------------------------------------------------------- */

static inline claim_word *pool_segment_claim(const pool_segment *segment, uint32_t job, const job_plan *plan,
                                             uint64_t chunk)
{
    return plan->flags & JOB_ONE_CHUNK ? &segment->states[job].claim
                                       : (claim_word *)pool_segment_at(segment, plan->claims) + chunk;
}

/* Where the inputs of a job begin, or the spans of them. */
static inline const void *pool_segment_inputs(const pool_segment *segment, const job_plan *plan)
{
    return plan->flags & JOB_EMBEDDED ? plan->embedded : pool_segment_place(segment, plan->in);
}

/* Where the outputs of a job begin, or the spans of them. */
static inline void *pool_segment_outputs(const pool_segment *segment, uint32_t job, const job_plan *plan)
{
    return plan->flags & JOB_EMBEDDED ? segment->states[job].embedded : pool_segment_at(segment, plan->out);
}

/* The cursor of a slot.  The parent's comes first, so that a sum over all of them ends at the slots in use. */
static inline worker_cursor *pool_segment_cursor(const pool_segment *segment, const job_plan *plan, uint32_t slot)
{
    worker_cursor *cursors = pool_segment_at(segment, plan->cursors);

    return cursors + (slot < segment->slot_count ? slot + 1 : 0);
}

#endif
