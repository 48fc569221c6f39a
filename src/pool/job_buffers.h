/* Where a job's parts lie in the pool's memory: claim words and cursors, inputs, outputs.  All functions are called
 * with the pool's lock held, but for job_buffers_hold. */
#ifndef JOB_BUFFERS_H
#define JOB_BUFFERS_H

#include "pool/pool_state.h"

/* Work as a call has brought it. */
typedef struct submission {
    xf_task *task;
    const void *in;         /* count inputs of in_size bytes each, unless inputs is set */
    const xf_bytes *inputs; /* count inputs of any size; NULL: in has them */
    size_t in_size;
    bool in_segment; /* in is in memory of xf_pool_buffer_alloc, and is not copied */
    void *out;       /* for count outputs; NULL: the caller asks the future for them */
    size_t count;
} submission;

/* Whether the bytes lie in memory of xf_pool_buffer_alloc. */
bool job_buffers_hold(const xf_pool *pool, const void *data, uint64_t size);

/* Whether the only input is copied into the job itself. */
bool job_buffers_fit(const submission *work);

/* Gives the job its memory, copies the inputs in, and completes the future's plan.  XF_ENOMEM. */
int job_buffers_place(xf_pool *pool, xf_future *future, const submission *work);

#endif
