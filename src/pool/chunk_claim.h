/* Claiming chunks, and committing them.  No function here takes a lock, and a process that calls one may be killed at
 * any instruction.  docs/design/claim.md describes the protocol, which order matters, and why.
 *
 * A worker goes by the plans in the books, and trusts nothing of the words that other workers write: a number that is
 * out of its bounds costs time, and never leads beyond the segment. */
#ifndef CHUNK_CLAIM_H
#define CHUNK_CLAIM_H

#include "pool/pool_segment.h"

/* Who claims: one worker, by its slot and the epoch of that. */
typedef struct chunk_claimer {
    pool_segment *segment;
    uint32_t slot;
    worker_slot *says;      /* what it says in that slot */
    uint64_t claimed, done; /* its claim words, without the finished items */
} chunk_claimer;

/* A chunk that is claimed, or about to be.  What follows from the job is worked out once for all chunks that are
 * claimed of it in turn. */
typedef struct chunk_ref {
    uint32_t number; /* of its job */
    const job_plan *plan;
    claim_word *words;               /* of the job, one a chunk */
    worker_cursor *own;              /* the worker's; NULL: the job has one chunk.  Of a job of many chunks: */
    worker_cursor *front;            /* that of the shard */
    uint32_t shard;                  /* where the worker begins */
    uint64_t shard_begin, shard_end; /* its bounds */
    uint64_t chunk;
    claim_word *word;
    uint64_t claim; /* the word as this worker's claim has set it */
} chunk_ref;

/* The worker of the slot. */
static inline chunk_claimer chunk_claim_by(pool_segment *segment, uint32_t slot, uint32_t epoch)
{
    return (chunk_claimer){segment, slot, &segment->slots[slot], claim_word_make(CLAIM_CLAIMED, slot, epoch, 0),
                           claim_word_make(CLAIM_DONE, slot, epoch, 0)};
}

/* Claims a chunk of the highest priority: false when no job has queued chunks. */
bool chunk_claim_first(const chunk_claimer *me, chunk_ref *claimed);

/* Claims the next chunk of the same job, unless a job of a higher priority has queued chunks. */
bool chunk_claim_next(const chunk_claimer *me, chunk_ref *claimed);

/* Whether no more of the job is to be claimed, nor begun of what is claimed. */
bool chunk_claim_is_closing(const pool_segment *segment, const chunk_ref *ref);

/* Ends a worker's use of a job of which it has claimed something.  If all chunks of the job are done by now, marks
 * the job complete and wakes the processes that wait for it. */
void chunk_claim_leave(const chunk_claimer *me, const chunk_ref *claimed);

/* Commits the claimed chunk with so many finished items: false when the worker is doomed. */
bool chunk_claim_commit(const chunk_claimer *me, const chunk_ref *claimed, uint32_t items);

/* Adds up how many chunks of a job of many chunks the parent and the first slots have finished. */
uint64_t chunk_claim_sum(const pool_segment *segment, const job_plan *plan, uint32_t slots);

/* For the parent: if all chunks of the job are done, marks the job complete and wakes the processes that wait for it.
 * Returns whether they are.
 *   slots  How many slots ever had a worker. */
bool chunk_claim_complete(pool_segment *segment, uint32_t number, const job_plan *plan, uint32_t slots);

/* Whether any job has queued chunks, as far as the rings show, without a look at the jobs. */
bool chunk_claim_has_work(const pool_segment *segment);

#endif
