#include "pool/worker.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/spin.h"
#include "os/identity.h"
#include "pool/worker_failure.h"
#include "pool/worker_output.h"
#include "process/child.h"
#include "process/task_boundary.h"
#include "protocol/task_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* ---- The back-end of a task's calls ---------------------------------------------------------- */

static int worker_log(xf_call *call, xf_log_line *line, size_t size)
{
    line->item = worker_failure_item(call);
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

    bool item_stops = worker->claims &&
                      atomic_load(&worker->order->stop_intent) == atomic_load(&worker->slot->intent) &&
                      atomic_load(&worker->order->stop_serial) == worker->claimed.plan->serial;

    return item_stops || atomic_load(&worker->segment.head->shutdown) == SHUTDOWN_NOW;
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

static const call_backend worker_backend = {.output = worker_output_give,
                                            .begin_failure = worker_failure_replace,
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
        worker_exit("a task is not registered in it", WORKER_HELPLESS);
    return task;
}

static void point_to_input(worker *worker)
{
    pool_segment *segment = &worker->segment;
    const job_plan *plan = worker->claimed.plan;

    if (plan->flags & JOB_IN_SPANS) {
        span input = ((const span *)(const void *)worker->in)[worker->item];
        worker->call->input = pool_segment_place(segment, input.at);
        worker->call->input_size = (size_t)input.size;
    } else {
        worker->call->input = worker->in + worker->item * plan->in_size;
        worker->call->input_size = (size_t)plan->in_size;
    }
}

/* Runs one item.  Returns its code. */
static int run_item(worker *worker)
{
    xf_call *call = worker->call;
    int code;

    call->output = OS_SHM_NONE;
    call->has_output = false;
    worker_output_forget(worker);
    worker_failure_begin(worker);
    point_to_input(worker);
    atomic_store_explicit(&call->box->phase, XF_PHASE_LOADING, memory_order_relaxed);
    code = call_decode(call);
    if (code == 0)
        code = task_boundary(call, NULL);
    call_end_object(call);
    return worker_output_keep(worker, code);
}

/* Runs the only item of a job by the batch function.  It is counted once its output is kept. */
static int run_batch_of_one(worker *worker)
{
    volatile unsigned settled = worker->slot->progress;
    task_batch batch = {worker->in, worker_output_of_one(worker), 1, &settled};
    int code;

    worker_failure_begin(worker);
    code = worker_output_keep(worker, task_boundary(worker->call, &batch));
    if (code == 0)
        worker->slot->progress = settled;
    return code;
}

enum { TIMED_BATCH = 16 }; /* of fewer items, to read the clock could take longer than to run them */

/* Runs so many items by the batch function until one fails. */
static int run_batch(worker *worker, uint32_t count)
{
    const job_plan *plan = worker->claimed.plan;
    task_batch batch = {worker->in + worker->item * plan->in_size, worker->out + worker->item * plan->out_size, count,
                        &worker->slot->progress};

    if (count >= TIMED_BATCH)
        worker_failure_begin(worker);
    return task_boundary(worker->call, &batch);
}

/* Runs one item after the other until one fails, or the rest is not to begin. */
static int run_singly(worker *worker, uint32_t count)
{
    int code;

    do {
        code = run_item(worker);
        if (code == 0) {
            worker->slot->progress++;
            worker->item++;
        }
    } while (code == 0 && --count > 0 && !chunk_claim_is_closing(&worker->segment, &worker->claimed));
    return code;
}

/* Runs the items of the chunk, of which so many are finished, until one fails, or the rest is not to begin.  Returns
 * the code of the one that failed, or 0. */
static int run_items(worker *worker, uint32_t finished, uint32_t end)
{
    const job_plan *plan = worker->claimed.plan;

    worker->item = job_first_item(plan, worker->claimed.chunk) + finished;
    if (!(plan->flags & JOB_BATCH))
        return run_singly(worker, end - finished);
    return plan->flags & JOB_ONE_ITEM ? run_batch_of_one(worker) : run_batch(worker, end - finished);
}

/* Runs the claimed chunk, and commits it: false when this worker is doomed. */
static bool run_chunk(worker *worker)
{
    const job_plan *plan = worker->claimed.plan;
    worker_slot *slot = worker->slot;
    uint32_t before = slot->progress, end = job_items_in(plan, worker->claimed.chunk), finished;
    bool committed;

    while ((finished = slot->progress) < end) {
        int code = run_items(worker, finished, end);
        if (code == 0)
            break;
        worker_failure_note(worker, code);
        slot->progress++;
        if (chunk_claim_is_closing(&worker->segment, &worker->claimed))
            break;
    }
    if (worker->call->fail_code != 0)
        worker_failure_flush(worker); /* the task has called xf_fail and returned 0 */
    if (plan->flags & JOB_OUT_GUARDED && worker->claimed.chunk + 1 == plan->chunk_count)
        worker_output_check_guard(worker);
    finished = slot->progress;
    committed = chunk_claim_commit(&worker->me, &worker->claimed, finished);
    atomic_store_explicit(&slot->items_done,
                          atomic_load_explicit(&slot->items_done, memory_order_relaxed) + finished - before,
                          memory_order_relaxed);
    return committed;
}

/* Notifies the supervisor of a job that has callbacks or stops at a failure. */
static void notify_parent(worker *worker, uint32_t flags)
{
    const job_state *state = &worker->segment.states[worker->claimed.number];
    bool complete = flags & JOB_ONE_CHUNK || atomic_load(&state->complete);
    bool stopped = flags & JOB_STOP_AT_FAILURE && atomic_load(&state->failed);

    if (flags & JOB_NOTIFY && (complete || stopped) && !worker->is_inline)
        channel_send(&worker->call->channel, FRAME_PROGRESS, NULL, NULL, 0, true);
}

/* The claim of the chunk that has run is not this worker's any more.  Mostly the parent has doomed it, and is about to
 * kill this worker; otherwise the claim word was overwritten. */
static _Noreturn void leave_lost_claim(worker *worker)
{
    _Atomic uint32_t *wake = &worker->call->box->wake;
    uint64_t claim = atomic_load(worker->claimed.word);

    if (claim != claim_word_doom(worker->claimed.claim))
        worker_exit("its claim was overwritten", WORKER_LOST_CLAIM);
    for (;;)
        os_shm_wait(&worker->call->channel.inherited->box, wake, atomic_load(wake), -1);
}

static inline bool must_exit(const worker *worker)
{
    const books_head *head = worker->segment.head;
    uint64_t limit = head->tasks_per_worker;

    return atomic_load_explicit(&worker->order->retire, memory_order_relaxed) ||
           atomic_load_explicit(&head->shutdown, memory_order_relaxed) == SHUTDOWN_NOW ||
           (limit && atomic_load_explicit(&worker->slot->items_done, memory_order_relaxed) >= limit);
}

static bool claim_first(worker *worker)
{
    worker->claims = !must_exit(worker) && chunk_claim_first(&worker->me, &worker->claimed);
    return worker->claims;
}

/* The plan is that of the claimed chunk only once that is claimed. */
static void begin_job(worker *worker)
{
    const chunk_ref *claimed = &worker->claimed;

    worker->call->task = task_of_number(worker, claimed->plan->task);
    worker->call->input = NULL;
    worker->in = pool_segment_inputs(&worker->segment, claimed->plan);
    worker->out = pool_segment_outputs(&worker->segment, claimed->number, claimed->plan);
    if (claimed->plan->flags & JOB_BATCH && !(claimed->plan->flags & JOB_ONE_ITEM))
        worker_failure_begin(worker);
}

/* Runs chunks until no job has queued ones: false when this worker has to exit. */
static bool run_chunks(worker *worker)
{
    while (claim_first(worker)) {
        uint32_t flags = worker->claimed.plan->flags;
        begin_job(worker);
        do
            if (!run_chunk(worker))
                leave_lost_claim(worker);
        while (!must_exit(worker) && chunk_claim_next(&worker->me, &worker->claimed));
        chunk_claim_leave(&worker->me, &worker->claimed);
        if (flags & JOB_NOTIFY)
            notify_parent(worker, flags);
    }
    return !must_exit(worker);
}

/* ---- Waiting for work ------------------------------------------------------------------------ */

static bool has_reason_to_wake(void *arg)
{
    const worker *worker = arg;

    return chunk_claim_has_work(&worker->segment) || must_exit(worker) || atomic_load(&worker->segment.head->shutdown);
}

/* Sleeps until there may be work: false when there was none for idle_ms, and this worker has to exit.  The parent
 * clears the idle bit of a worker before it counts on that worker; so a worker that finds its bit clear does not
 * exit. */
static bool await_work(worker *worker)
{
    const books_head *head = worker->segment.head;
    _Atomic uint64_t *idle = &worker->segment.shared->idle[worker->me.slot / 64];
    uint64_t bit = UINT64_C(1) << worker->me.slot % 64, deadline;
    black_box *box = worker->call->box;
    bool called;
    uint32_t seen;

    if (spin(has_reason_to_wake, worker, atomic_load(&head->spin_us), CLOCK_NEVER))
        return true;
    deadline = head->idle_ms ? clock_deadline(head->idle_ms) : CLOCK_NEVER;
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
    const _Atomic uint32_t *shutdown = &worker->segment.head->shutdown;
    int code;

    channel_send(&worker->call->channel, FRAME_READY, NULL, NULL, 0, true);
    for (;;) {
        atomic_store_explicit(&worker->slot->busy, 1, memory_order_relaxed);
        if (!run_chunks(worker))
            break;
        atomic_store_explicit(&worker->slot->intent, 0, memory_order_relaxed);
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
    code = run_once(worker, worker->segment.head->finalizer);
    worker->call->has_output = false;
    return code;
}

static int bind_to_cpus(xf_call *call, const os_cpu_set *cpus)
{
    static const os_cpu_set anywhere;
    int rc = memcmp(cpus, &anywhere, sizeof anywhere) == 0 ? 0 : os_self_bind(cpus);

    return rc < 0 ? xf_fail(call, rc, "option placement: %s", xf_error_detail()) : 0;
}

/* What the process begins with may be a copy of another pool's worker, whose task forked it: then all that it has is
 * about that pool's segment, except the memory in which outputs are staged. */
static void begin_worker(worker *self, xf_call *call)
{
    *self = (worker){.call = call, .staging.memory = self->staging.memory};
    pool_segment_attach(&self->segment, &call->channel.inherited->inputs[0], &call->channel.inherited->inputs[1]);
}

static int worker_entry(xf_call *call)
{
    static worker self;
    worker_start start;
    int code;

    os_self_show("worker");
    memcpy(&start, call->input, sizeof start);
    code = bind_to_cpus(call, &start.cpus);
    if (code != 0)
        return code;
    call->input = (const char *)call->input + sizeof start;
    call->input_size -= sizeof start;
    begin_worker(&self, call);
    self.me = chunk_claim_by(&self.segment, start.slot, start.epoch);
    self.slot = &self.segment.slots[start.slot];
    self.order = &self.segment.orders[start.slot];
    call->backend_arg = &self;
    call->backend = &worker_backend;
    child_limit_depth(self.segment.head->depth_limit);
    code = run_once(&self, self.segment.head->initializer);
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

void worker_abandon_item(worker *worker)
{
    (void)xf_fail(worker->call, XF_EFAILED, "an exception left the task");
    worker_failure_note(worker, XF_EFAILED);
    worker->slot->progress++;
    call_end_object(worker->call);
}

void worker_abandon_chunk(worker *worker)
{
    (void)chunk_claim_commit(&worker->me, &worker->claimed, worker->slot->progress);
    chunk_claim_leave(&worker->me, &worker->claimed);
}
