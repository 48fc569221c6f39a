/* The jobs of a pool: their slots in the segment, their memory, and the chunks that the parent ends itself.  All
 * functions are called with the pool's lock held. */
#ifndef POOL_JOBS_H
#define POOL_JOBS_H

#include "pool/pool_state.h"

/* Gets the number of the task in the segment, and enters the task there if it is new.  XF_ELIMIT. */
int pool_jobs_number_task(xf_pool *pool, xf_task *task, uint32_t *number);

/* Takes a job slot that is not used.  XF_ENOMEM, XF_ELIMIT. */
int pool_jobs_take(xf_pool *pool, uint32_t *number);

/* Makes a job slot free again. */
void pool_jobs_give_back(xf_pool *pool, job *job);

/* Makes sure that the ring has room for one more entry.  XF_ENOMEM, XF_ELIMIT. */
int pool_jobs_reserve_entry(xf_pool *pool, int priority);

/* Ends a chunk for the parent, with so many finished items.  No other process may change the chunk's word any more. */
void pool_jobs_complete_chunk(xf_pool *pool, job *job, claim_word *word, uint32_t items);

/* Cancels the chunks that no worker has claimed. */
void pool_jobs_cancel_unclaimed(xf_pool *pool, xf_future *future, xf_end why);

/* Frees the memory of a future's job, now or as soon as no worker reads it, and then the job slot. */
void pool_jobs_retire(xf_pool *pool, xf_future *future);

/* Frees the memory of retired jobs that no worker reads any more. */
void pool_jobs_reclaim(xf_pool *pool);

/* Waits for memory of retired jobs, without the lock.  Returns whether more memory may be free now: false when no job
 * is retired, or the worker that reads its memory does not leave it before the deadline. */
bool pool_jobs_await_memory(xf_pool *pool, uint64_t deadline);

#endif
