/* Claiming chunks, and committing them.  No function here takes a lock, and a process that calls one may be killed at
 * any instruction.  docs/design/claim.md describes the protocol, which order matters, and why. */
#ifndef CHUNK_CLAIM_H
#define CHUNK_CLAIM_H

#include "pool/pool_segment.h"

/* A chunk that is claimed, or about to be. */
typedef struct chunk_ref {
    job *job;
    uint32_t shard; /* of a job of many chunks: where the worker begins */
    uint64_t chunk;
    claim_word *word;
    uint64_t claim; /* the word as it was read, or as this worker's claim has set it */
} chunk_ref;

/* Claims a chunk of the highest priority for a worker: false when no job has queued chunks. */
bool chunk_claim_first(pool_segment *segment, uint32_t slot, chunk_ref *claimed);

/* Claims the next chunk of the same job, unless a job of a higher priority has queued chunks. */
bool chunk_claim_next(pool_segment *segment, uint32_t slot, chunk_ref *claimed);

/* Ends a worker's use of a job of which it has claimed something.  If all chunks of the job are done by now, marks
 * the job complete and wakes the processes that wait for it. */
void chunk_claim_leave(pool_segment *segment, uint32_t slot, job *job);

/* Commits the claimed chunk with so many finished items: false when the worker is doomed. */
bool chunk_claim_commit(pool_segment *segment, uint32_t slot, const chunk_ref *claimed, uint32_t items);

/* If all chunks of the job are done, marks the job complete and wakes the processes that wait for it.  Returns whether
 * they are. */
bool chunk_claim_complete(pool_segment *segment, job *job);

/* Whether any job has queued chunks, as far as the rings show, without a look at the jobs. */
bool chunk_claim_has_work(const pool_segment *segment);

/* Puts a job into the ring of its priority.  Only the parent calls this, with the pool's lock held. */
void chunk_claim_push(pool_segment *segment, job *job, int priority);

#endif
