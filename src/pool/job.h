/* The work of one future, as the processes of a pool share it: a plan, which the parent writes, and a state, which
 * workers write.
 *
 * The plan lies in the books, which workers can only read; the state, and whatever else a worker changes, in the work
 * segment.  The parent keeps a plan of its own in the future and goes by that: it reads nothing back that a worker
 * could have changed without checking it.  Places are numbers and never pointers. */
#ifndef JOB_H
#define JOB_H

#include "pool/claim_word.h"

#include <stddef.h>

enum {
    CACHE_LINE = 64,        /* bytes of memory that processors exchange at a time */
    JOB_ALIGN = 16,         /* alignment of what is kept by itself and is no input or output */
    OUTPUT_ALIGN = 64,      /* alignment of the memory that a task writes its output to */
    JOB_BUFFER_SIZE = 64,   /* bytes of input, and of output, that fit into the job */
    JOB_EMBEDDED_SIZE = 32, /* bytes of input, and of output, that fit into its first lines */
    JOB_RING_NUMBER_BITS = 20
};

enum {
    JOB_IN_SPANS = 1,         /* the inputs are spans */
    JOB_OUT_SPANS = 2,        /* the outputs are spans */
    JOB_TIMED = 4,            /* workers note the time at which they claim an item */
    JOB_NOTIFY = 8,           /* the worker that completes the job notifies the supervisor */
    JOB_STOP_AT_FAILURE = 16, /* the first failure cancels what is not claimed yet */
    JOB_ONE_CHUNK = 32,       /* the job has one chunk, and so neither an array of claim words nor cursors */
    JOB_ONE_ITEM = 64,        /* the job has one item, and so one chunk; its input is not a span */
    JOB_EMBEDDED = 128,       /* the one item's input and output are in the first lines of plan and state */
    JOB_BATCH = 256,          /* the task's batch function runs the items */
    JOB_OUT_GUARDED = 512,    /* there are guard bytes behind the outputs as a whole */
    JOB_OUT_FRONTED = 1024,   /* and in front of them */
    JOB_GUARD_PAGES = 2048    /* each output is written in front of an unmapped page first */
};

/* A place in one of the two segments: an offset, with PLACE_IN_BOOKS for the books. */
typedef uint64_t job_place;

#define PLACE_IN_BOOKS (UINT64_C(1) << 63)

typedef struct span {
    job_place at;
    uint64_t size;
} span;

/* What the parent decided when the work was submitted.  It does not change while the job is active. */
typedef struct job_plan {
    uint32_t shards; /* parts of the chunks; each worker begins in one */
    uint16_t task, flags;
    uint64_t in_size;
    uint64_t out_size;
    uint8_t embedded[JOB_EMBEDDED_SIZE]; /* the input */
    uint64_t serial;                     /* the job is used again: each use has a serial number of its own */
    uint64_t count;                      /* items */
    uint64_t items_per_chunk;
    uint64_t chunk_count;
    job_place in;     /* count inputs of in_size bytes, or spans */
    job_place out;    /* count outputs of out_size bytes, or spans */
    uint64_t claims;  /* in the work segment: claim words, one a chunk */
    uint64_t cursors; /* in the work segment: worker_cursor of the parent, and of each slot */
} job_plan;

enum { JOB_ACTIVE = 1, JOB_CLOSING = 2 }; /* its memory is there, see the worker's hazard; nothing is to be claimed */

/* In the books.  A job is never unmapped, so it may be read after it has ended.  What its places refer to may be read
 * only with a claim of one of its chunks, or under a hazard.  The first line has everything that a worker needs of an
 * embedded job. */
typedef struct job {
    _Alignas(CACHE_LINE) _Atomic uint32_t progress; /* of JOB_ACTIVE and JOB_CLOSING */
    _Atomic uint32_t requeues;                      /* how often the parent has queued a chunk again */
    _Alignas(8) job_plan plan;
    _Alignas(CACHE_LINE) uint8_t in_buffer[JOB_BUFFER_SIZE];
} job;

_Static_assert(offsetof(job, plan.serial) == CACHE_LINE, "what a worker needs of an embedded job is one line");

/* In the work segment. */
typedef struct job_state {
    _Alignas(2 * CACHE_LINE) claim_word claim;                       /* of the only chunk */
    span out_span;                                                   /* of the only item */
    _Alignas(JOB_EMBEDDED_SIZE) uint8_t embedded[JOB_EMBEDDED_SIZE]; /* the output */
    _Atomic uint32_t complete;                                       /* all of its many chunks are done */
    _Atomic uint32_t failed;                                         /* an item of a JOB_STOP_AT_FAILURE job failed */
    _Atomic uint32_t unknown;                                        /* there was no room to note some failure */
    _Atomic uint64_t failures;                                       /* list of failure_record */
    _Atomic uint64_t noted;                                          /* items in that list, or for which was no room */
    _Atomic uint64_t slabs;                                          /* list of slab */
    _Alignas(CACHE_LINE) uint8_t out_buffer[JOB_BUFFER_SIZE];
} job_state;

/* Where one worker is in a job of many chunks, or the parent is. */
typedef struct worker_cursor {
    _Alignas(
        CACHE_LINE) _Atomic uint64_t next; /* of the slot's own shard: no chunk before it is queued, as far as known */
    _Atomic uint64_t tail;                 /* no chunk from it on is queued, as far as known */
    _Atomic uint64_t finished;             /* chunks of any shard that this slot has committed */
    uint64_t requeues;                     /* the job's requeues that this slot has dealt with */
} worker_cursor;

typedef enum failure_kind {
    FAILURE_CODE,     /* of the task's own */
    FAILURE_OWN_CODE, /* an XF_E* code of crossfork's own */
    FAILURE_OVERRUN,
    FAILURE_KINDS
} failure_kind;

/* An item that ended with a code, or that wrote beyond its output. */
typedef struct failure_record {
    uint64_t next;
    uint64_t item;
    uint32_t kind; /* failure_kind */
    int32_t code;
    uint64_t size;    /* of the text that follows, with its terminating 0; 0: nothing follows */
    uint64_t more;    /* items behind it that ended in the same way */
    uint64_t refused; /* bytes of output that it asked for and did not get; 0: none */
} failure_record;

/* What follows the text of a record, from the next multiple of 8 bytes on.  The lines are behind it. */
typedef struct failure_details {
    uint64_t lines_size;  /* of the failure_line */
    uint64_t lines_total; /* that the item logged, as far as known */
    int64_t pid;
    double began, ended; /* seconds since 1970 */
} failure_details;

/* A line that the item logged.  The text follows, up to a multiple of 8 bytes. */
typedef struct failure_line {
    double time;
    uint32_t level;
    uint32_t size;
} failure_line;

/* Pages that a worker has filled for a job. */
typedef struct slab {
    uint64_t next;
    uint64_t size;
} slab;

/* The jobs of one priority that have queued chunks, in order.  The tail, in the books, holds the last entry's job too,
 * so that a worker that sees a new tail need not read another line to learn which job it is.  The head is in the work
 * segment. */
static inline uint64_t job_ring_end(uint64_t tail)
{
    return tail >> JOB_RING_NUMBER_BITS;
}

static inline uint32_t job_ring_last(uint64_t tail)
{
    return (uint32_t)tail & ((1U << JOB_RING_NUMBER_BITS) - 1);
}

/* The size, rounded up so that what follows is aligned. */
static inline uint64_t job_aligned(uint64_t size)
{
    return (size + JOB_ALIGN - 1) / JOB_ALIGN * JOB_ALIGN;
}

/* The size, rounded up to whole words of 8 bytes. */
static inline uint64_t job_words(uint64_t size)
{
    return (size + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
}

/* The first item of the chunk. */
static inline uint64_t job_first_item(const job_plan *plan, uint64_t chunk)
{
    return chunk ? chunk * plan->items_per_chunk : 0;
}

/* How many items the chunk has. */
static inline uint32_t job_items_in(const job_plan *plan, uint64_t chunk)
{
    uint64_t left;

    if (plan->flags & JOB_ONE_ITEM)
        return 1;
    left = plan->count - job_first_item(plan, chunk);
    return (uint32_t)(left < plan->items_per_chunk ? left : plan->items_per_chunk);
}

/* The first chunk of the shard; for shard number plan->shards, the end of the last one. */
static inline uint64_t job_shard_begin(const job_plan *plan, uint32_t shard)
{
    return (uint64_t)(shard * (plan->chunk_count / plan->shards) +
                      (shard < plan->chunk_count % plan->shards ? shard : plan->chunk_count % plan->shards));
}

/* What a worker says of the chunk that it claims or has claimed; 0 is none. */
static inline uint64_t job_intent(uint32_t job, uint64_t chunk)
{
    return ((uint64_t)job + 1) << 40 | chunk;
}

/* The job of an intent; of intent 0, a number that no job has. */
static inline uint64_t job_of_intent(uint64_t intent)
{
    return (intent >> 40) - 1;
}

static inline uint64_t job_chunk_of_intent(uint64_t intent)
{
    return intent & ((UINT64_C(1) << 40) - 1);
}

#endif
