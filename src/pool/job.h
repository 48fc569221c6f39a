/* The work of one future, as the processes of a pool share it.  Everything here lies in the pool's segment, so places
 * are offsets from the start of the segment and never pointers. */
#ifndef JOB_H
#define JOB_H

#include "pool/claim_word.h"

#include <stddef.h>

enum {
    CACHE_LINE = 64,        /* bytes of memory that processors exchange at a time */
    JOB_ALIGN = 16,         /* alignment of what a task reads or writes */
    JOB_BUFFER_SIZE = 64,   /* bytes of input, and of output, that fit into the job */
    JOB_EMBEDDED_SIZE = 32, /* bytes of input and output together that fit into the job's first line */
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
    JOB_EMBEDDED = 128,       /* the one item's input and output are in the job's first line */
    JOB_BATCH = 256           /* the task's batch function runs the items */
};

/* Bytes in the segment. */
typedef struct span {
    uint64_t at;
    uint64_t size;
} span;

/* A job is never unmapped, so it may be read after it has ended.  What its offsets refer to may be read only with a
 * claim of one of its chunks, or under a hazard.  The first line has everything that a worker needs of an embedded
 * job: then this is the only line that travels between processors, there and back. */
typedef struct job {
    _Alignas(2 * CACHE_LINE) claim_word claim; /* of the only chunk */
    uint64_t in_size;
    uint64_t out_size;
    uint16_t task;
    uint16_t flags;
    _Atomic uint32_t active;                                 /* its memory is there; see the worker's hazard */
    _Alignas(JOB_ALIGN) uint8_t embedded[JOB_EMBEDDED_SIZE]; /* the input, and the output after it */
    uint64_t serial; /* the job slot is used again: each use has a serial number of its own */
    uint64_t count;  /* items */
    uint64_t items_per_chunk;
    uint64_t chunk_count;
    uint64_t in; /* count inputs of in_size bytes, or spans */
    uint64_t out;
    uint64_t claims;           /* claim words, one a chunk */
    uint64_t cursors;          /* worker_cursor of the parent, and of each slot */
    uint32_t shards;           /* parts of the chunks; each worker begins in one */
    _Atomic uint32_t closing;  /* nothing of it is to be claimed any more */
    _Atomic uint32_t requeues; /* how often the parent has queued a chunk again */
    _Atomic uint32_t complete; /* all of its many chunks are done */
    _Atomic uint32_t may_leak; /* a worker died while it ran the job: some of its pages may be in no list */
    _Atomic uint64_t failures; /* list of failure_record */
    _Atomic uint64_t slabs;    /* list of slab */
    span out_span;             /* of the only item */
    _Alignas(JOB_ALIGN) uint8_t in_buffer[JOB_BUFFER_SIZE];
    _Alignas(JOB_ALIGN) uint8_t out_buffer[JOB_BUFFER_SIZE];
} job;

_Static_assert(offsetof(job, serial) == CACHE_LINE, "what a worker needs of an embedded job is one line");

/* Where one worker is in a job of many chunks, or the parent is. */
typedef struct worker_cursor {
    _Alignas(
        CACHE_LINE) _Atomic uint64_t next; /* of the slot's own shard: no chunk before it is queued, as far as known */
    _Atomic uint64_t tail;                 /* no chunk from it on is queued, as far as known */
    uint64_t end;                          /* of the shard; kept because job_shard_begin divides */
    _Atomic uint64_t finished;             /* chunks of any shard that this slot has committed */
    uint64_t requeues;                     /* the job's requeues that this slot has dealt with */
} worker_cursor;

/* An item that ended with a code. */
typedef struct failure_record {
    uint64_t next;
    uint64_t item;
    int32_t code;
    uint32_t size; /* of the text that follows, with its terminating 0 */
} failure_record;

/* Pages that a worker has filled for a job. */
typedef struct slab {
    uint64_t next;
    uint64_t size;
} slab;

/* The jobs of one priority that have queued chunks, in order.  The tail holds the last entry's job too, so that a
 * worker that sees a new tail need not read another line to learn which job it is. */
typedef struct job_ring {
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t head; /* no entry before it has queued chunks, as far as known */
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t tail; /* written by the parent: the end, above the last entry's job */
} job_ring;

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

/* The first item of the chunk. */
static inline uint64_t job_first_item(const job *job, uint64_t chunk)
{
    return chunk ? chunk * job->items_per_chunk : 0;
}

/* How many items the chunk has. */
static inline uint32_t job_items_in(const job *job, uint64_t chunk)
{
    uint64_t left;

    if (job->flags & JOB_ONE_ITEM)
        return 1;
    left = job->count - job_first_item(job, chunk);
    return (uint32_t)(left < job->items_per_chunk ? left : job->items_per_chunk);
}

/* The first chunk of the shard; for shard number job->shards, the end of the last one. */
static inline uint64_t job_shard_begin(const job *job, uint32_t shard)
{
    return (uint64_t)(shard * (job->chunk_count / job->shards) +
                      (shard < job->chunk_count % job->shards ? shard : job->chunk_count % job->shards));
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
