#include "pool/worker.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/spin.h"
#include "process/child.h"
#include "process/task_boundary.h"
#include "protocol/task_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { SLAB_SIZE = 65536 };

/* ---- Output ---------------------------------------------------------------------------------- */

/* Takes pages, and adds them to the job's list of slabs, with which they are freed. */
static int add_slab(worker *worker, uint64_t size)
{
    pool_segment *segment = &worker->segment;
    job *job = worker->claimed.job;
    uint64_t at, next;
    slab *slab;
    int rc = pool_segment_take_pages(segment, size, PAGES_OF_JOBS + (uint32_t)(job - segment->jobs), &at);

    if (rc < 0)
        return rc;
    slab = pool_segment_at(segment, at);
    slab->size = size;
    next = atomic_load(&job->slabs);
    do
        slab->next = next;
    while (!atomic_compare_exchange_weak(&job->slabs, &next, at));
    worker->slab_serial = job->serial;
    worker->slab_at = at + sizeof *slab;
    worker->slab_end = at + size;
    return 0;
}

/* Takes memory that stays as long as the job; NULL when there is none. */
static void *take_from_slab(worker *worker, uint64_t size)
{
    uint64_t minimum = worker->claimed.job->flags & JOB_ONE_CHUNK ? 0 : SLAB_SIZE, at;

    if (size > UINT64_MAX / 2)
        return NULL;
    if (worker->slab_serial != worker->claimed.job->serial || worker->slab_end - worker->slab_at < size) {
        uint64_t needed = size + sizeof(slab);
        if (add_slab(worker, needed < minimum ? minimum : needed) < 0)
            return NULL;
    }
    at = worker->slab_at;
    size = job_aligned(size);
    worker->slab_at = worker->slab_end - at < size ? worker->slab_end : at + size;
    return pool_segment_at(&worker->segment, at);
}

static span *out_span(worker *worker, uint64_t item)
{
    job *job = worker->claimed.job;

    return job->flags & JOB_ONE_ITEM ? &job->out_span : (span *)pool_segment_at(&worker->segment, job->out) + item;
}

int worker_output(xf_call *call, size_t size)
{
    worker *worker = call->backend_arg;
    job *job = worker->claimed.job;
    void *output;

    if (!(job->flags & JOB_OUT_SPANS))
        output = (char *)pool_segment_outputs(&worker->segment, job) + worker->item * job->out_size;
    else if (job->flags & JOB_ONE_ITEM && size <= JOB_BUFFER_SIZE)
        output = job->out_buffer;
    else
        output = take_from_slab(worker, size);
    if (!output)
        return XF_ENOMEM;
    if (size <= XF_ZEROED_MAX)
        memset(output, 0, size);
    call->output = (os_shm){output, size, -1, 0};
    return 0;
}

/* ---- Failures -------------------------------------------------------------------------------- */

/* Ends a worker that cannot even record that an item failed: the item is lost with it. */
static _Noreturn void exit_worker(const char *why)
{
    fprintf(stderr, "crossfork: a worker exits: %s\n", why);
    os_self_exit(1);
}

static void record_failure(worker *worker, uint64_t item, int code, const char *text)
{
    job *job = worker->claimed.job;
    size_t size = strlen(text) + 1;
    failure_record *record = take_from_slab(worker, sizeof *record + size);
    uint64_t next;

    if (!record) {
        size = 1;
        text = "";
        record = take_from_slab(worker, sizeof *record + size);
    }
    if (!record)
        exit_worker("no memory to record a failure");
    record->item = item;
    record->code = code;
    record->size = (uint32_t)size;
    memcpy(record + 1, text, size);
    next = atomic_load(&job->failures);
    do
        record->next = next;
    while (!atomic_compare_exchange_weak(&job->failures, &next, pool_segment_offset(&worker->segment, record)));
    if (job->flags & JOB_STOP_AT_FAILURE)
        atomic_store(&job->closing, 1);
}

/* Records what xf_fail was called for, if it was called. */
static void flush_failure(worker *worker)
{
    xf_call *call = worker->call;

    if (call->fail_code != 0)
        record_failure(worker, call->fail_item, call->fail_code, call->fail_text ? call->fail_text : "");
    free(call->fail_text);
    call->fail_text = NULL;
    call->fail_code = 0;
}

static uint64_t first_item(const worker *worker)
{
    return job_first_item(worker->claimed.job, worker->claimed.chunk);
}

uint64_t worker_item(const xf_call *call)
{
    const worker *worker = call->backend_arg;

    return worker->claimed.job ? first_item(worker) + worker->slot->progress : 0;
}

void worker_begin_failure(xf_call *call)
{
    worker *worker = call->backend_arg;
    uint64_t item = worker_item(call);

    if (!worker->claimed.job)
        return; /* the initializer */
    if (call->fail_code != 0 && call->fail_item != item)
        flush_failure(worker);
    call->fail_item = item;
}

/* ---- The back-end of a task's calls ---------------------------------------------------------- */

static int worker_log(xf_call *call, xf_log_line *line, size_t size)
{
    line->item = worker_item(call);
    return child_log_put(call, line, size);
}

int worker_send(xf_call *call, const void *data, size_t size)
{
    (void)call, (void)data, (void)size;
    return error_detail(XF_ESTATE, "xf_send is not available in a pool's task");
}

bool worker_asked_to_stop(const xf_call *call)
{
    const worker *worker = call->backend_arg;

    return atomic_load(&worker->slot->stop_intent) == atomic_load(&worker->slot->intent) ||
           atomic_load(&worker->segment.header->shutdown) == SHUTDOWN_NOW;
}

static bool worker_stop_requested(xf_call *call, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    uint32_t seen;

    for (;;) {
        seen = atomic_load(&call->box->wake);
        if (worker_asked_to_stop(call))
            return true;
        if (timeout_ms == 0 || uv_hrtime() >= deadline)
            return false;
        os_shm_wait(&call->channel.inherited->box, &call->box->wake, seen, clock_left_ms(deadline));
    }
}

static const call_backend worker_backend = {.output = worker_output,
                                            .begin_failure = worker_begin_failure,
                                            .log = worker_log,
                                            .send = worker_send,
                                            .stop_requested = worker_stop_requested,
                                            .stop_target = child_stop_target};

/* ---- Running --------------------------------------------------------------------------------- */

static xf_task *task_of_number(worker *worker, uint32_t number)
{
    xf_task *task = worker->tasks[number];

    if (!task)
        task = worker->tasks[number] = xf_task_find(worker->segment.tasks[number].name);
    if (!task)
        exit_worker("a task is not registered in it");
    return task;
}

static void point_to_input(worker *worker)
{
    pool_segment *segment = &worker->segment;
    job *job = worker->claimed.job;
    const char *in = pool_segment_inputs(segment, job);

    if (job->flags & JOB_IN_SPANS) {
        span input = ((const span *)in)[worker->item];
        worker->call->input = pool_segment_at(segment, input.at);
        worker->call->input_size = (size_t)input.size;
    } else {
        worker->call->input = in + worker->item * job->in_size;
        worker->call->input_size = (size_t)job->in_size;
    }
}

static int keep_output(worker *worker)
{
    xf_call *call = worker->call;

    if (!call->has_output && call->task->output_size != XF_ANY_SIZE)
        return xf_fail(call, XF_ESIZE, "task %s returned no output", call->task->name);
    if (worker->claimed.job->flags & JOB_OUT_SPANS)
        *out_span(worker, worker->item) =
            call->has_output ? (span){pool_segment_offset(&worker->segment, call->output.address), call->output.size}
                             : (span){worker->claimed.job->in, 0};
    return 0;
}

/* Runs one item.  Returns its code. */
static int run_item(worker *worker)
{
    xf_call *call = worker->call;
    int code;

    call->output = OS_SHM_NONE;
    call->has_output = false;
    point_to_input(worker);
    atomic_store_explicit(&call->box->phase, XF_PHASE_LOADING, memory_order_relaxed);
    code = call_decode(call);
    if (code == 0)
        code = task_boundary(call, NULL);
    call_end_object(call);
    if (code == 0)
        code = keep_output(worker);
    return code;
}

/* Runs items until one fails.  Returns the code of that one, or 0 when all are finished. */
static int run_items(worker *worker, uint32_t end)
{
    pool_segment *segment = &worker->segment;
    job *job = worker->claimed.job;
    uint64_t first = first_item(worker);
    int code = 0;

    worker->item = first + worker->slot->progress;
    worker->call->input = NULL;
    if (job->flags & JOB_BATCH) {
        task_batch batch = {(char *)pool_segment_inputs(segment, job) + worker->item * job->in_size,
                            (char *)pool_segment_outputs(segment, job) + worker->item * job->out_size,
                            end - worker->slot->progress, &worker->slot->progress};
        return task_boundary(worker->call, &batch);
    }
    while (code == 0 && worker->slot->progress < end) {
        worker->item = first + worker->slot->progress;
        code = run_item(worker);
        if (code == 0)
            worker->slot->progress++;
    }
    return code;
}

static void fail_item(worker *worker, int code)
{
    uint64_t item = first_item(worker) + worker->slot->progress;

    if (worker->call->fail_code != 0 && worker->call->fail_item == item) {
        flush_failure(worker);
    } else {
        flush_failure(worker);
        record_failure(worker, item, code, "");
    }
    worker->slot->progress++;
}

/* Runs the claimed chunk, and commits it: false when this worker is doomed. */
static bool run_chunk(worker *worker)
{
    job *job = worker->claimed.job;
    worker_slot *slot = worker->slot;
    uint32_t before = slot->progress, end = job_items_in(job, worker->claimed.chunk);
    bool committed;

    worker->call->task = task_of_number(worker, job->task);
    while (slot->progress < end) {
        int code = run_items(worker, end);
        if (code == 0)
            break;
        fail_item(worker, code);
        if (job->flags & JOB_STOP_AT_FAILURE)
            break;
    }
    if (worker->call->fail_code != 0)
        flush_failure(worker); /* the task has called xf_fail and returned 0 */
    committed = chunk_claim_commit(&worker->segment, worker->number, &worker->claimed, slot->progress);
    atomic_store_explicit(&slot->items_done,
                          atomic_load_explicit(&slot->items_done, memory_order_relaxed) + slot->progress - before,
                          memory_order_relaxed);
    return committed;
}

/* Notifies the supervisor of a job that has callbacks or stops at a failure. */
static void notify_parent(worker *worker, const job *job)
{
    bool complete = job->flags & JOB_ONE_CHUNK || atomic_load(&job->complete);
    bool stopped = job->flags & JOB_STOP_AT_FAILURE && atomic_load(&job->closing);

    if (job->flags & JOB_NOTIFY && (complete || stopped) && !worker->is_inline)
        channel_send(&worker->call->channel, FRAME_PROGRESS, NULL, NULL, 0, true);
}

/* The parent is about to kill this worker. */
static _Noreturn void await_kill(worker *worker)
{
    _Atomic uint32_t *wake = &worker->call->box->wake;

    for (;;)
        os_shm_wait(&worker->call->channel.inherited->box, wake, atomic_load(wake), -1);
}

static bool must_exit(const worker *worker)
{
    const segment_header *header = worker->segment.header;
    uint64_t limit = header->tasks_per_worker;

    return atomic_load_explicit(&worker->slot->retire, memory_order_relaxed) ||
           atomic_load_explicit(&header->shutdown, memory_order_relaxed) == SHUTDOWN_NOW ||
           (limit && atomic_load_explicit(&worker->slot->items_done, memory_order_relaxed) >= limit);
}

/* Runs chunks until no job has queued ones: false when this worker has to exit. */
static bool run_chunks(worker *worker)
{
    bool more = !must_exit(worker) && chunk_claim_first(&worker->segment, worker->number, &worker->claimed);

    while (more) {
        job *job = worker->claimed.job;
        uint32_t flags = job->flags;
        if (!run_chunk(worker))
            await_kill(worker);
        if (!must_exit(worker) && chunk_claim_next(&worker->segment, worker->number, &worker->claimed))
            continue;
        chunk_claim_leave(&worker->segment, worker->number, job);
        if (flags & JOB_NOTIFY)
            notify_parent(worker, job);
        more = !must_exit(worker) && chunk_claim_first(&worker->segment, worker->number, &worker->claimed);
    }
    worker->claimed.job = NULL;
    return !must_exit(worker);
}

/* ---- Waiting for work ------------------------------------------------------------------------ */

static bool has_reason_to_wake(void *arg)
{
    const worker *worker = arg;

    return chunk_claim_has_work(&worker->segment) || must_exit(worker) ||
           atomic_load(&worker->segment.header->shutdown);
}

/* Sleeps until there may be work: false when there was none for idle_ms, and this worker has to exit.  The parent
 * clears the idle bit of a worker before it counts on that worker; so a worker that finds its bit clear does not
 * exit. */
static bool await_work(worker *worker)
{
    _Atomic uint64_t *idle = &worker->segment.header->idle[worker->number / 64];
    uint64_t bit = UINT64_C(1) << worker->number % 64, deadline;
    black_box *box = worker->call->box;
    bool called;
    uint32_t seen;

    if (spin(has_reason_to_wake, worker, atomic_load(&worker->segment.header->spin_us), CLOCK_NEVER))
        return true;
    deadline = worker->segment.header->idle_ms ? clock_deadline(worker->segment.header->idle_ms) : CLOCK_NEVER;
    seen = atomic_load(&box->wake);
    atomic_fetch_or(idle, bit);
    atomic_thread_fence(memory_order_seq_cst);
    if (!has_reason_to_wake(worker))
        os_shm_wait(&worker->call->channel.inherited->box, &box->wake, seen, clock_left_ms(deadline));
    called = !(atomic_fetch_and(idle, ~bit) & bit);
    return called || has_reason_to_wake(worker) || deadline == CLOCK_NEVER || uv_hrtime() < deadline;
}

/* ---- The life of a worker -------------------------------------------------------------------- */

/* Runs the initializer or the finalizer. */
static int run_once(worker *worker, uint32_t number)
{
    xf_call *call = worker->call;
    const xf_task *task = call->task;
    int code;

    if (number == 0)
        return 0;
    call->task = task_of_number(worker, number - 1);
    call->backend = &child_backend; /* its output is not kept, and its log lines belong to no item */
    code = call_decode(call);
    if (code == 0)
        code = task_boundary(call, NULL);
    call_end_object(call);
    call_drop_output(call);
    call->task = task;
    call->backend = &worker_backend;
    return code ? code : call->fail_code;
}

/* Runs chunks until this worker has to exit, and then the finalizer.  Returns the finalizer's code. */
static int run_worker(worker *worker)
{
    _Atomic uint32_t *shutdown = &worker->segment.header->shutdown;
    int code;

    atomic_store(&worker->slot->ready, 1);
    for (;;) {
        atomic_store_explicit(&worker->slot->busy, 1, memory_order_relaxed);
        if (!run_chunks(worker))
            break;
        atomic_store_explicit(&worker->slot->busy, 0, memory_order_relaxed);
        if (atomic_load(shutdown) && !chunk_claim_has_work(&worker->segment))
            break;
        if (!await_work(worker)) {
            atomic_store(&worker->slot->idle_exit, 1);
            break;
        }
    }
    worker->call->output = OS_SHM_NONE; /* the last item's output belongs to the job */
    worker->call->input_size = 0;
    code = run_once(worker, worker->segment.header->finalizer);
    worker->call->has_output = false;
    return code;
}

static int bind_to_cpus(xf_call *call, const os_cpu_set *cpus)
{
    static const os_cpu_set anywhere;
    int rc = memcmp(cpus, &anywhere, sizeof anywhere) == 0 ? 0 : os_self_bind(cpus);

    return rc < 0 ? xf_fail(call, rc, "option placement: %s", xf_error_detail()) : 0;
}

static int worker_entry(xf_call *call)
{
    static worker self;
    worker_start start;
    int code;

    memcpy(&start, call->input, sizeof start);
    code = bind_to_cpus(call, &start.cpus);
    if (code != 0)
        return code;
    call->input = (const char *)call->input + sizeof start;
    call->input_size -= sizeof start;
    self.number = start.slot;
    self.call = call;
    pool_segment_attach(&self.segment, &call->channel.inherited->inputs[0]);
    self.slot = &self.segment.slots[start.slot];
    call->backend_arg = &self;
    call->backend = &worker_backend;
    child_limit_depth(self.segment.header->depth_limit);
    code = run_once(&self, self.segment.header->initializer);
    if (code != 0)
        return code;
    code = run_worker(&self);
    call->task = &worker_task;
    call->backend = &child_backend;
    return code;
}

xf_task worker_task = {
    .name = "crossfork.worker", .entry = worker_entry, .input_size = XF_ANY_SIZE, .output_size = XF_ANY_SIZE};

XF_BEFORE_MAIN(register_worker)
{
    (void)xf_task_register(&worker_task);
}

void worker_run_inline(worker *worker)
{
    (void)run_chunks(worker);
}
