#include "pool/worker_output.h"

#include "base/aligned.h"
#include "base/error.h"
#include "pool/output_guard.h"
#include "pool/worker_failure.h"
#include "pool/worker_slab.h"

#include <string.h>

enum { STAGED_MAX = OS_PAGE };

/* ---- Output ---------------------------------------------------------------------------------- */

void worker_output_forget(worker *worker)
{
    worker->staging.kept = worker->staging.front = NULL;
    worker->staging.guard_size = 0;
}

/* Has the next output written in front of an unmapped page, behind guard bytes up to that. */
static void *stage_output(worker *worker, void *kept, size_t size)
{
    worker_staging *staging = &worker->staging;
    size_t aligned = (size + OUTPUT_ALIGN - 1) / OUTPUT_ALIGN * OUTPUT_ALIGN;
    char *output;

    if (size > SIZE_MAX - OUTPUT_ALIGN)
        return NULL;
    if (!staging->memory.address || staging->memory.size < aligned) {
        os_guarded_free(&staging->memory);
        if (os_guarded_create(&staging->memory, aligned > STAGED_MAX ? aligned : STAGED_MAX) < 0)
            return NULL;
    }
    output = (char *)staging->memory.address + staging->memory.size - aligned;
    staging->kept = kept;
    staging->guard = output + size;
    staging->guard_size = aligned - size;
    output_guard_set(staging->guard, staging->guard_size);
    return output;
}

static bool is_staged(const worker *worker, size_t size)
{
    return size <= STAGED_MAX || worker->claimed.plan->flags & JOB_GUARD_PAGES;
}

/* Memory for an output that is written in its place, between guard bytes. */
static void *take_guarded(worker *worker, size_t size)
{
    worker_staging *staging = &worker->staging;
    char *memory = size > SIZE_MAX - 2 * OUTPUT_GUARD
                       ? NULL
                       : worker_slab_take_output(worker, size + 2 * OUTPUT_GUARD, OUTPUT_ALIGN);

    if (!memory)
        return NULL;
    staging->front = memory;
    staging->guard = memory + OUTPUT_GUARD + size;
    staging->guard_size = OUTPUT_GUARD;
    output_guard_set(staging->front, OUTPUT_GUARD);
    output_guard_set(staging->guard, OUTPUT_GUARD);
    return memory + OUTPUT_GUARD;
}

/* Memory in which an output of any size is kept. */
static void *take_output(worker *worker, size_t size)
{
    if (worker->claimed.plan->flags & JOB_ONE_ITEM && size <= JOB_BUFFER_SIZE)
        return worker->segment.states[worker->claimed.number].out_buffer;
    if (is_staged(worker, size))
        return worker_slab_take_output(worker, size, aligned_for(size));
    return take_guarded(worker, size);
}

static void *place_of_output(worker *worker, uint64_t item)
{
    return worker->out + item * worker->claimed.plan->out_size;
}

int worker_output_give(xf_call *call, size_t size)
{
    worker *worker = call->backend_arg;
    bool sized = !(worker->claimed.plan->flags & JOB_OUT_SPANS);
    void *output;

    worker_output_forget(worker);
    output = sized ? place_of_output(worker, worker->item) : take_output(worker, size);
    worker->refused = output ? 0 : size;
    if (output && is_staged(worker, size))
        output = stage_output(worker, output, size);
    worker->unstaged = output || worker->refused ? 0 : size;
    if (!output)
        return XF_ENOMEM;
    if (size <= XF_ZEROED_MAX)
        memset(output, 0, size);
    call->output = (os_shm){output, size, -1, 0};
    return 0;
}

void *worker_output_of_one(worker *worker)
{
    size_t size = (size_t)worker->claimed.plan->out_size;
    void *kept = place_of_output(worker, 0), *output;

    worker_output_forget(worker);
    output = is_staged(worker, size) ? stage_output(worker, kept, size) : NULL;
    return output ? output : kept; /* it needs no staging, only its neighbours do */
}

static span *out_span(worker *worker, uint64_t item)
{
    const job_plan *plan = worker->claimed.plan;

    return plan->flags & JOB_ONE_ITEM ? &worker->segment.states[worker->claimed.number].out_span
                                      : (span *)pool_segment_at(&worker->segment, plan->out) + item;
}

static void keep_span(worker *worker)
{
    const xf_call *call = worker->call;
    const void *kept = worker->staging.kept ? worker->staging.kept : call->output.address;

    *out_span(worker, worker->item) =
        call->has_output ? (span){pool_segment_offset(&worker->segment, kept), call->output.size} : (span){0, 0};
}

int worker_output_keep(worker *worker, int code)
{
    worker_staging *staging = &worker->staging;
    xf_call *call = worker->call;
    bool is_batch = worker->claimed.plan->flags & JOB_BATCH;
    size_t size = is_batch ? (size_t)worker->claimed.plan->out_size : call->output.size;

    worker->overrun =
        staging->guard_size ? output_guard_overrun(staging->front, staging->guard, staging->guard_size) : 0;
    if (worker->overrun > 0)
        return XF_EFAILED;
    if (code != 0)
        return code;
    if (!is_batch && call_lacks_output(call))
        return call_fail_own(call, XF_ESIZE, "task %s returned no output", call->task->name);
    if (staging->kept)
        memcpy(staging->kept, (const char *)staging->guard - size, size);
    if (worker->claimed.plan->flags & JOB_OUT_SPANS)
        keep_span(worker);
    return 0;
}

void worker_output_check_guard(worker *worker)
{
    const job_plan *plan = worker->claimed.plan;
    const char *front = (const char *)place_of_output(worker, 0) - OUTPUT_GUARD;
    void *guard = place_of_output(worker, plan->count);
    size_t overrun = output_guard_overrun(plan->flags & JOB_OUT_FRONTED ? front : NULL, guard, OUTPUT_GUARD);

    if (overrun == 0)
        return;
    worker_failure_note_overrun(worker, plan->count - 1, overrun);
    output_guard_set(guard, OUTPUT_GUARD);
}
