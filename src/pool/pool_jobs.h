/* The jobs of a pool: their numbers, their memory, and the chunks that the parent ends itself.  All
 * functions are called with the pool's lock held. */
#ifndef POOL_JOBS_H
#define POOL_JOBS_H

#include "pool/pool_state.h"

/* Gets the number of the task in the segment, and enters the task there if it is new.  XF_ELIMIT. */
int pool_jobs_number_task(xf_pool *pool, xf_task *task, uint32_t *number);

/* Takes the number of a job that is not used.  XF_ENOMEM, XF_ELIMIT. */
int pool_jobs_take(xf_pool *pool, uint32_t *number);

/* Makes the number free again. */
void pool_jobs_give_back(xf_pool *pool, uint32_t number);

/* Makes sure that the ring has room for one more entry.  XF_ENOMEM, XF_ELIMIT. */
int pool_jobs_reserve_entry(xf_pool *pool, int priority);

/* Puts a future's job into the ring of its priority, in which an entry was reserved. */
void pool_jobs_push(xf_pool *pool, xf_future *future);

/* Puts a job that has queued chunks into its ring once more.  Where the ring has no room, the rest of the job ends with
 * that error. */
void pool_jobs_push_again(xf_pool *pool, xf_future *future);

/* Says that nothing more of the job is to be claimed. */
void pool_jobs_close(xf_future *future);

/* Ends a chunk for the parent, with so many finished items.  No other process may change the chunk's word any more. */
void pool_jobs_complete_chunk(xf_pool *pool, xf_future *future, uint64_t chunk, uint32_t items);

/* Ends a chunk whose claim word was overwritten: how its items ended is not known.  If a worker runs it, its commit
 * fails, and it is killed as one that was doomed.
 *   claim  The word as it was read.  If it has changed since, nothing is done. */
void pool_jobs_end_damaged(xf_pool *pool, xf_future *future, uint64_t chunk, uint64_t claim);

/* Whether all chunks of the job are done now; the process that finds that first wakes the waiters. */
bool pool_jobs_check_complete(xf_pool *pool, const xf_future *future);

/* Cancels the chunks that no worker has claimed. */
void pool_jobs_cancel_unclaimed(xf_pool *pool, xf_future *future, xf_end why);

/* Frees the memory of a future's job, now or as soon as no worker reads it, and then the job slot. */
void pool_jobs_retire(xf_pool *pool, xf_future *future);

/* Frees the memory of retired jobs that no worker reads any more. */
void pool_jobs_reclaim(xf_pool *pool);

/* Frees the pages that workers have taken and that no job has any more: a list that was overwritten did not name them.
 * Returns whether there were any. */
bool pool_jobs_sweep(xf_pool *pool);

/* Waits for memory of retired jobs, without the lock.  Returns whether more memory may be free now: false when no job
 * is retired, or the worker that reads its memory does not leave it before the deadline. */
bool pool_jobs_await_memory(xf_pool *pool, uint64_t deadline);

#endif
