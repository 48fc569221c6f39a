/* Goal: whatever workers write to the memory that they share with their pool, the parent reads nothing that has no
 * memory and nothing beyond it, every item ends, and the parent gets all of its own pages back.
 *
 * The pool is whole but for its processes and its segments: a worker here is a record that ends when the input says so,
 * and memory of a segment can be touched once it was committed or made readable, as on Windows.  The clock stands still
 * until the input moves it.  An input is a list of steps: a number, and what that step takes. */
#include "base/clock.h"
#include "base/error.h"
#include "fuzz.h"
#include "machine/machine.h"
#include "pool/output_guard.h"
#include "pool/pool_audit.h"
#include "pool/pool_futures.h"
#include "pool/pool_inline.h"
#include "pool/pool_jobs.h"
#include "pool/worker.h"
#include "process/child.h"
#include "process/process_lead.h"
#include "process/stack_trim.h"
#include "process/start_method.h"
#include "protocol/task_table.h"

#include <sanitizer/allocator_interface.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <sys/mman.h>

enum { MEMORY = 48 * OS_PAGE, WORKERS = 3, GUARD = 1 << 20, SEGMENTS = 3, STEPS_MAX = 200, ENDS = 6 };

static fuzz_input input;
static uint64_t now;
static bool no_more_workers;

/* ---- Segments -------------------------------------------------------------------------------- */

enum { PAGE_NEVER, PAGE_RESTS, PAGE_LIVE };

/* A segment is used again by the next input: only its pages that were touched are made new.  Around it, and where no
 * page was ever live, nothing can be accessed; a page that rests is poisoned. */
typedef struct memory {
    char *address;
    size_t size;
    bool open;
    uint8_t *pages; /* PAGE_ */
    uint32_t *live; /* their numbers */
    size_t live_count;
} memory;

static memory segments[SEGMENTS];

static memory *segment_of(const os_shm *shm)
{
    CHECK(shm->handle >= 0 && shm->handle < SEGMENTS && segments[shm->handle].open);
    return &segments[shm->handle];
}

static void reserve(memory *segment, size_t size)
{
    char *address = mmap(NULL, size + 2 * (size_t)GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK(address != MAP_FAILED);
    *segment = (memory){address + GUARD, size, false, calloc(1, size / OS_PAGE), calloc(4, size / OS_PAGE), 0};
    CHECK(segment->pages && segment->live);
}

int os_shm_create(os_shm *shm, size_t size, int flags)
{
    int at = 0;

    CHECK(size % OS_PAGE == 0);
    while (at < SEGMENTS && segments[at].open)
        at++;
    CHECK(at < SEGMENTS);
    if (!segments[at].address)
        reserve(&segments[at], size);
    CHECK(segments[at].size == size);
    segments[at].open = true;
    *shm = (os_shm){segments[at].address, size, at, flags};
    return 0;
}

static int bring_in(const os_shm *shm, size_t offset, size_t size)
{
    memory *segment = &segments[0];

    while (segment->address != shm->address)
        segment++;
    if (offset > shm->size || size > shm->size - offset)
        return XF_ENOMEM;
    CHECK(offset % OS_PAGE == 0 && size % OS_PAGE == 0);
    for (size_t i = offset / OS_PAGE; i < (offset + size) / OS_PAGE; i++) {
        char *page = segment->address + i * OS_PAGE;
        if (segment->pages[i] == PAGE_LIVE)
            continue;
        if (segment->pages[i] == PAGE_NEVER)
            CHECK(mprotect(page, OS_PAGE, PROT_READ | PROT_WRITE) == 0);
        ASAN_UNPOISON_MEMORY_REGION(page, OS_PAGE);
        segment->pages[i] = PAGE_LIVE;
        segment->live[segment->live_count++] = (uint32_t)i;
    }
    return 0;
}

int os_shm_commit(const os_shm *shm, size_t offset, size_t size)
{
    return bring_in(shm, offset, size);
}

int os_shm_make_readable(const os_shm *shm, size_t offset, size_t size)
{
    return bring_in(shm, offset, size);
}

/* The handle stays: it is the number of the segment. */
void os_shm_forget(os_shm *shm)
{
    (void)segment_of(shm);
}

void os_shm_close(os_shm *shm)
{
    memory *segment = segment_of(shm);

    while (segment->live_count > 0) {
        uint32_t page = segment->live[--segment->live_count];
        memset(segment->address + (size_t)page * OS_PAGE, 0, OS_PAGE);
        ASAN_POISON_MEMORY_REGION(segment->address + (size_t)page * OS_PAGE, OS_PAGE);
        segment->pages[page] = PAGE_RESTS;
    }
    segment->open = false;
    *shm = OS_SHM_NONE;
}

bool os_shm_is_sealed(const os_shm *shm)
{
    return shm->flags & OS_SHM_OWNED;
}

void os_shm_let_go(os_shm *shm)
{
    os_shm_close(shm);
}

void os_shm_wait(const os_shm *shm, _Atomic uint32_t *word, uint32_t seen, int timeout_ms)
{
    (void)shm, (void)word, (void)seen;
    now += (uint64_t)timeout_ms * CLOCK_NS_PER_MS;
}

void os_shm_wake(const os_shm *shm, _Atomic uint32_t *word, int count)
{
    (void)shm, (void)word, (void)count;
}

/* ---- In place of the system, and of processes ------------------------------------------------ */

uint64_t uv_hrtime(void)
{
    return now;
}

bool os_self_locate(uintptr_t code, char *path, size_t size, uint64_t *offset)
{
    (void)code, (void)path, (void)size, (void)offset;
    return false;
}

uint32_t os_self_generation(void)
{
    return 0;
}

uint64_t machine_pool_memory(uint64_t memory)
{
    return memory;
}

uint64_t os_self_room(void)
{
    return UINT64_MAX;
}

int machine_outline(int *workers, uint64_t *memory)
{
    *workers = WORKERS;
    *memory = MEMORY;
    return 0;
}

int machine_places(xf_placement placement, os_cpu_set **places, uint32_t *count)
{
    (void)placement, (void)places, (void)count;
    return 0;
}

int start_method_choose(xf_start_method wanted, const os_method *otherwise, os_method *method)
{
    (void)wanted, (void)otherwise;
    memset(method, 0, sizeof *method);
    return 0;
}

int child_depth(void)
{
    return 0;
}

int child_depth_limit(void)
{
    return 2;
}

int supervisor_add(supervised *supervised)
{
    (void)supervised;
    return 0;
}

void supervisor_remove(supervised *supervised)
{
    (void)supervised;
}

void supervisor_enter(supervised *supervised)
{
    (void)supervised;
}

void supervisor_set_deadline(supervised *supervised, uint64_t deadline)
{
    supervised->deadline = deadline;
}

static callback_source *posted;

int callback_thread_add(callback_source *source)
{
    source->added = true;
    return 0;
}

void callback_thread_remove(callback_source *source)
{
    source->added = false;
    posted = NULL;
}

void callback_thread_post(callback_source *source)
{
    if (source->added)
        posted = source;
}

void callback_thread_enter(callback_source *source)
{
    (void)source;
}

bool callback_thread_is_this(void)
{
    return false;
}

int pool_inline_open(xf_pool *pool)
{
    (void)pool;
    return XF_EINVAL;
}

void pool_inline_close(xf_pool *pool)
{
    (void)pool;
}

void pool_inline_run(xf_pool *pool)
{
    (void)pool;
}

xf_task worker_task = {.name = "worker"};

int process_start_check_options(const xf_process_options *options)
{
    (void)options;
    return 0;
}

int process_start_grace_ms(const xf_process_options *options)
{
    (void)options;
    return 10;
}

int process_start(xf_process **process, const process_plan *plan, const xf_process_options *options)
{
    (void)options;
    if (no_more_workers)
        return XF_EPROCESSES;
    *process = calloc(1, sizeof **process);
    CHECK(*process);
    (*process)->owner = plan->owner;
    return 0;
}

int64_t process_known_pid(xf_process *process)
{
    return process->pid;
}

bool process_is_ready(xf_process *process)
{
    return process->inbox.ready;
}

const xf_report *process_report(xf_process *process)
{
    return &process->report;
}

void process_kill_late(xf_process *process)
{
    process->kill_asked = true;
}

void process_wake(xf_process *process)
{
    process->stop_asked = true;
}

void xf_process_kill(xf_process *process)
{
    process->kill_asked = true;
}

void process_lead_release(xf_process *process)
{
    process_owner owner = process->owner;

    free(process);
    owner.released(owner.arg);
}

void process_lead_let_go(xf_process *process)
{
    (void)process;
}

/* Nobody has recorded one. */
const char *os_end_name(int64_t system, const char **cause)
{
    (void)system;
    *cause = "";
    return "";
}

stack_trace *stack_trace_share(stack_trace *trace)
{
    CHECK(!trace);
    return NULL;
}

void stack_trace_free(stack_trace *trace)
{
    CHECK(!trace);
}

const xf_frame *stack_trace_frames(stack_trace *trace, size_t *count)
{
    (void)trace;
    *count = 0;
    return NULL;
}

size_t stack_trim(xf_status status, const xf_frame *frames, size_t count)
{
    (void)status, (void)frames;
    CHECK(count == 0);
    return 0;
}

bool replay_file_is_wanted(xf_end kind)
{
    return kind != XF_END_DONE;
}

int replay_file_encode(xf_writer *file, const replay_case *what)
{
    (void)file;
    CHECK(fuzz_sum(what->input, what->size) <= 255U * (unsigned)what->size);
    return 0;
}

int replay_file_save(xf_writer *file, const char *directory, const char *task, xf_status status, char **path)
{
    (void)file, (void)directory, (void)task, (void)status, (void)path;
    return 0;
}

/* ---- What the caller does -------------------------------------------------------------------- */

enum { ITEMS_MAX = 24, ITEM = 8, LARGE = 200, COLLECTED_MAX = 32 * MEMORY };

static int never(xf_call *call)
{
    (void)call;
    return 0;
}

static xf_task sized = {.name = "sized", .entry = never, .input_size = ITEM, .output_size = ITEM};
static xf_task large = {.name = "large", .entry = never, .input_size = ITEM, .output_size = LARGE};
static xf_task any = {.name = "any", .entry = never, .input_size = XF_ANY_SIZE, .output_size = XF_ANY_SIZE};

static xf_pool *pool;
static unsigned char in[ITEMS_MAX * ITEM], out[ITEMS_MAX * LARGE];
static xf_bytes bytes[ITEMS_MAX];
static char *buffer; /* of the pool: inputs, and then outputs */

static void on_done(xf_future *future, void *arg)
{
    (void)arg;
    CHECK(xf_future_failures(future) <= xf_future_count(future));
}

enum { SHAPES = 10 };

static const xf_map shapes[SHAPES] = {
    {.task = &sized, .in = in, .size = ITEM, .count = 1},                               /* embedded */
    {.task = &large, .in = in, .size = ITEM, .count = 1},                               /* behind it are guard bytes */
    {.task = &any, .in = in, .size = 100, .count = 1},                                  /* one span */
    {.task = &sized, .in = in, .out = out, .count = ITEMS_MAX, .chunk = 5},             /* copied to the caller */
    {.task = &sized, .in = in, .count = 6, .chunk = 6},                                 /* many items, one chunk */
    {.task = &any, .bytes = bytes, .count = ITEMS_MAX, .chunk = 2, .on_done = on_done}, /* spans */
    {.task = &large, .in = in, .count = 9, .chunk = 2, .stop_at_failure = true},
    {.task = &sized, .in = in, .count = 4, .timeout_ms = 5, .on_done = on_done, .priority = XF_PRIORITY_HIGH},
    {.task = &any, .bytes = bytes, .count = 5, .chunk = 5, .stop_at_failure = true, .priority = XF_PRIORITY_LOW},
    {.task = &sized, .count = 8, .chunk = 3}, /* in and out are in the buffer */
};

static xf_future *futures[SHAPES];

static void submit_shape(uint32_t shape)
{
    xf_map map = shapes[shape];

    if (futures[shape])
        return;
    if (!map.in && !map.bytes) {
        map.in = buffer;
        map.out = buffer + map.count * ITEM;
    }
    if (map.count == 1)
        xf_pool_submit(&futures[shape], pool, &map);
    else
        xf_pool_map_async(&futures[shape], pool, &map);
}

static void read_report(const xf_report *report)
{
    if (report)
        fuzz_text(report->message), fuzz_text(report->kind_name), fuzz_text(report->code_name), fuzz_text(report->task);
}

/* What is returned as an output is memory that tasks write outputs to. */
static void check_place(const xf_future *future, const char *data, size_t size)
{
    const segment_layout *layout = &pool->segment.layout;
    uint64_t at = pool_segment_offset(&pool->segment, data);
    const char *own = (const char *)future_state(future)->out_buffer;

    if (size == 0)
        return;
    if (future->plan.flags & JOB_OUT_SPANS)
        CHECK((at >= layout->slabs_at && at + size <= layout->buffers_at) || (data == own && size <= JOB_BUFFER_SIZE));
    else
        CHECK(size == future->plan.out_size && at >= layout->states_at && at + size <= layout->work_size);
}

static void read_item(xf_future *future, size_t item)
{
    size_t size = 0;
    const char *data = xf_future_result(future, item, &size);
    xf_status status = xf_future_status(future, item);

    CHECK(!data || status.kind == XF_END_DONE);
    if (data) {
        check_place(future, data, size);
        CHECK(fuzz_sum(data, size) <= 255U * (unsigned)size);
    }
    read_report(xf_future_report(future, item));
}

static size_t allocated;

static void count_allocation(const volatile void *address, size_t size)
{
    (void)address;
    allocated += size;
}

static void ignore_free(const volatile void *address)
{
    (void)address;
}

/* What workers have recorded takes time and memory as the pool's memory is large, and no more. */
static void read_future(xf_future *future)
{
    size_t before = allocated, failures = xf_future_failures(future), count = xf_future_count(future);

    CHECK(failures <= count && allocated - before <= (size_t)COLLECTED_MAX);
    CHECK(xf_future_failure(future, failures) == count);
    for (size_t i = 0; i < failures; i++)
        CHECK(xf_future_failure(future, i) < xf_future_failure(future, i + 1));
    for (size_t i = 0; i <= count; i++)
        read_item(future, i);
    xf_future_wait(future, 0);
}

/* Four uses of memory may each be as large as the limit, and what is kept back for notes of failures comes on top. */
static void read_stats(void)
{
    const size_t most = 4 * (size_t)MEMORY + MEMORY / 16 + (1 << 20);
    xf_pool_stats stats;
    xf_worker_stats workers[WORKERS];
    int count = xf_pool_stats_get(pool, &stats, workers, WORKERS);

    CHECK(count >= 0 && count <= WORKERS && stats.memory <= most && stats.memory_peak <= most);
    for (int i = 0; i < count; i++)
        CHECK(memchr(workers[i].task, 0, sizeof workers[i].task));
}

static void free_shape(uint32_t shape)
{
    xf_future_free(futures[shape]);
    futures[shape] = NULL;
}

/* ---- What workers do ------------------------------------------------------------------------- */

/* Small, or at the end of what there is. */
static uint64_t take_odd(void)
{
    uint64_t byte = fuzz_number(&input, 1);

    return byte < 0xF0 ? byte : byte < 0xF8 ? byte << 24 : UINT64_MAX - (0xFF - byte) * 4096;
}

/* An index below the bound. */
static uint32_t take_below(uint64_t bound)
{
    return (uint32_t)(fuzz_number(&input, 1) % bound);
}

/* Writes to what has memory. */
static void poke_into(const os_shm *shm, uint64_t at, const void *data, size_t size)
{
    const memory *segment = segment_of(shm);

    for (size_t i = 0; i < size; i++)
        if (at + i < segment->size && segment->pages[(at + i) / OS_PAGE] == PAGE_LIVE)
            segment->address[at + i] = ((const char *)data)[i];
}

static void poke(uint64_t at, const void *data, size_t size)
{
    poke_into(&pool->segment.work, at, data, size);
}

/* A part of a segment. */
typedef struct part {
    uint64_t at, size;
} part;

/* Any bytes anywhere; for one place in four in the books, which workers cannot write to where the system says so. */
static void scribble(void)
{
    const segment_layout *layout = &pool->segment.layout;
    const part books[] = {{0, sizeof(books_head)},
                          {layout->orders_at, WORKERS * sizeof(worker_order)},
                          {layout->tasks_at, 4 * sizeof(segment_task)},
                          {layout->jobs_at, SHAPES * sizeof(job)},
                          {layout->entries_at, OS_PAGE},
                          {layout->inputs_at, 2 * OS_PAGE}};
    const part parts[] = {{0, sizeof(work_head)},
                          {layout->slots_at, WORKERS * sizeof(worker_slot)},
                          {layout->states_at, SHAPES * sizeof(job_state)},
                          {layout->control_at, MEMORY},
                          {layout->slab_words_at, MEMORY / OS_PAGE * sizeof(uint64_t)},
                          {layout->slabs_at, 2 * OS_PAGE},
                          {layout->buffers_at, 4 * OS_PAGE}};
    uint32_t number = take_below(sizeof parts / sizeof *parts), at = (uint32_t)fuzz_number(&input, 3);
    bool in_books = at % 4 == 3;
    part part = in_books ? books[number % (sizeof books / sizeof *books)] : parts[number];
    size_t size = take_below(33);
    uint8_t data[32];

    fuzz_take(&input, data, size);
    poke_into(in_books ? &pool->segment.books : &pool->segment.work, part.at + (at & ~3U) % part.size, data, size);
}

/* A future, and one of its chunks. */
static xf_future *take_chunk(uint64_t *chunk)
{
    xf_future *future = futures[take_below(SHAPES)];

    *chunk = future ? take_below(future->plan.chunk_count) : 0;
    return future;
}

static void write_claim(void)
{
    uint64_t chunk;
    xf_future *future = take_chunk(&chunk);
    uint32_t state = take_below(6), owner = take_below(WORKERS + 2), epoch = take_below(4);
    uint64_t skip = take_odd();

    if (owner > WORKERS)
        owner = pool->segment.slot_count;
    if (future)
        atomic_store(future_claim(future, chunk), claim_word_make((claim_state)state, owner, epoch, (uint32_t)skip));
}

/* Claims as a worker does, and says how far it is. */
static void claim(void)
{
    uint64_t chunk;
    xf_future *future = take_chunk(&chunk);
    worker_handle *worker = &pool->workers[take_below(WORKERS)];
    worker_slot *slot = &pool->segment.slots[worker->number];
    uint32_t progress = (uint32_t)take_odd();

    if (!future)
        return;
    atomic_store(&slot->intent, job_intent(future->number, chunk));
    atomic_store(&slot->claim_time, now);
    if (worker->process)
        worker->process->inbox.ready = true;
    atomic_store(&slot->hazard, take_below(2) ? future->number + 1 : 0);
    atomic_store(future_claim(future, chunk), claim_word_make(CLAIM_CLAIMED, worker->number, worker->epoch, 0));
    slot->progress = progress;
}

static void finish(void)
{
    uint64_t chunk;
    xf_future *future = take_chunk(&chunk);
    uint32_t owner = take_below(WORKERS), marks = take_below(8);

    if (!future)
        return;
    atomic_store(future_claim(future, chunk),
                 claim_word_make(CLAIM_DONE, owner, 0, job_items_in(&future->plan, chunk)));
    if (!(future->plan.flags & JOB_ONE_CHUNK) && marks & 1)
        atomic_fetch_add(&pool_segment_cursor(&pool->segment, &future->plan, owner)->finished, 1);
    atomic_store(&future_state(future)->complete, marks >> 1 & 1);
    atomic_store(&future_state(future)->failed, marks >> 2 & 1);
}

/* Takes pages for a job, and enters them into its list.  All have memory before, since a worker that has changed what
 * the words say of that would be the one to fault. */
static void take_slab(void)
{
    const segment_layout *layout = &pool->segment.layout;
    xf_future *future = futures[take_below(SHAPES)];
    uint64_t at, size = take_below(4) * OS_PAGE + 1;

    CHECK(os_shm_commit(&pool->segment.work, layout->slab_words_at, layout->buffers_at - layout->slab_words_at) == 0);
    if (!future || pool_segment_take_slab(&pool->segment, size,
                                          pool_segment_slab_word(future->number, future->plan.serial), &at) < 0)
        return;
    poke(at, &(slab){atomic_load(&future_state(future)->slabs), size}, sizeof(slab));
    atomic_store(&future_state(future)->slabs, at);
}

/* Records that follow, overlap, or lead back to each other. */
static void record_failures(void)
{
    xf_future *future = futures[take_below(SHAPES)];
    uint64_t at = pool->segment.layout.slabs_at + fuzz_number(&input, 2) * 8, step = take_below(32) * 8;
    uint32_t count = take_below(8) == 7 ? 4096 : 3, items = take_below(ITEMS_MAX) + 1,
             kind = take_below(FAILURE_KINDS + 1);
    uint64_t size = take_below(2) ? take_odd() : fuzz_number(&input, 3);
    uint64_t more = take_below(2) ? 0 : take_odd();
    failure_details details = {.lines_size = take_below(2) ? 0 : take_odd()};

    if (!future)
        return;
    for (uint32_t i = 0; i < count; i++) {
        failure_record record = {.next = i + 1 < count ? at + (i + 1) * step : 0,
                                 .item = i % items,
                                 .kind = kind,
                                 .code = -5,
                                 .size = size,
                                 .more = more};
        poke(at + i * step, &record, sizeof record);
        if (take_below(2))
            poke(at + i * step + sizeof record + (size < 4096 ? job_words(size) : 0), &details, sizeof details);
    }
    atomic_store(&future_state(future)->failures, at);
}

static void write_span(void)
{
    xf_future *future = futures[take_below(SHAPES)];
    uint32_t where = take_below(4), item = take_below(ITEMS_MAX);
    uint64_t size = take_odd(), at = fuzz_number(&input, 3);
    span output = {at + (where == 1 ? pool->segment.layout.slabs_at : 0), size};

    if (!future || !(future->plan.flags & JOB_OUT_SPANS) || item >= future->plan.count)
        return;
    if (where == 2)
        output.at = pool_segment_offset(&pool->segment, future_state(future)->out_buffer) + at % 2 * ITEM;
    if (future->plan.flags & JOB_ONE_ITEM)
        future_state(future)->out_span = output;
    else
        poke(future->plan.out + item * sizeof(span), &output, sizeof output);
}

static void end_worker(uint32_t number, uint32_t how)
{
    static const xf_status ends[ENDS] = {{XF_END_KILLED, 9, 9},  {XF_END_EXITED, WORKER_LOST_CLAIM, 0},
                                         {XF_END_DONE, 0, 0},    {XF_END_CRASHED, XF_CRASH_ABORT, 6},
                                         {XF_END_FAILED, -3, 0}, {XF_END_PROTOCOL_ERROR, XF_EPROTO, 0}};
    xf_process *process = pool->workers[number].process;

    if (!process)
        return;
    process->report = (xf_report){.status = ends[how],
                                  .kind_name = "",
                                  .code_name = "",
                                  .message = "",
                                  .name = "worker",
                                  .task = "worker",
                                  .stderr_tail = "",
                                  .dump = "",
                                  .saved = ""};
    process->owner.ended(process->owner.arg);
}

static void end_some_worker(void)
{
    uint32_t number = take_below(WORKERS);

    end_worker(number, take_below(ENDS));
}

/* ---- A whole input --------------------------------------------------------------------------- */

static void run_threads(void)
{
    callback_source *source;

    pool->supervised.on_due(&pool->supervised);
    source = posted;
    posted = NULL;
    if (source)
        source->call(source);
}

static void let_time_pass(void)
{
    now += (uint64_t)fuzz_number(&input, 2) * CLOCK_NS_PER_MS;
    run_threads();
}

static void act_as_worker(uint32_t step)
{
    static void (*const acts[])(void) = {scribble, write_claim, claim, finish, take_slab, record_failures, write_span};

    acts[step % (sizeof acts / sizeof *acts)]();
}

static void act_as_caller(uint32_t step)
{
    uint32_t shape = take_below(SHAPES);

    if (step == 0)
        submit_shape(shape);
    else if (step == 1)
        free_shape(shape);
    else if (futures[shape] && step == 2)
        read_future(futures[shape]);
    else if (futures[shape] && step == 3)
        xf_future_cancel(futures[shape]);
}

static void act(void)
{
    uint32_t step = fuzz_number(&input, 1) % 16;

    if (step < 7)
        act_as_worker(step);
    else if (step < 11)
        act_as_caller(step - 7);
    else if (step == 11)
        read_stats();
    else if (step == 12)
        end_some_worker();
    else if (step == 13)
        let_time_pass();
    else
        pool_audit_if_due(pool);
}

static void open_pool(void)
{
    static const xf_process_options process = {.save_failures = "nowhere"};
    static const xf_pool_options options = {
        .workers = WORKERS, .memory_limit = MEMORY, .max_attempts = 2, .spin_us = -1, .process = &process};

    no_more_workers = false;
    now = UINT64_C(1) << 40;
    for (size_t i = 0; i < ITEMS_MAX; i++)
        bytes[i] = (xf_bytes){in, i};
    CHECK(xf_pool_create(&pool, &options) == 0);
    buffer = xf_pool_buffer_alloc(pool, (size_t)16 * ITEM);
    CHECK(buffer);
    bytes[3].data = buffer;
}

/* Looks all jobs through: what fits no state has to be seen twice, and then the counts do not fit. */
static void look_through(void)
{
    for (int i = 0; i < 4; i++) {
        now += (uint64_t)POOL_AUDIT_MS * CLOCK_NS_PER_MS;
        pool_audit_if_due(pool);
        run_threads();
    }
}

static void close_pool(void)
{
    no_more_workers = true;
    for (uint32_t i = 0; i < WORKERS; i++)
        end_worker(i, 0);
    xf_pool_cancel(pool);
    look_through();
    for (uint32_t i = 0; i < SHAPES; i++) {
        CHECK(!futures[i] || future_is_complete(futures[i]));
        if (futures[i])
            read_future(futures[i]);
        free_shape(i);
    }
    xf_pool_buffer_free(pool, buffer);
    read_stats(); /* which frees what can be freed */
    CHECK(!pool->first && pool->retired_count == 0 && pool->pages.taken == 0);
    xf_pool_free(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!task_table_is_closed()) {
        CHECK(xf_task_register(&sized) == 0 && xf_task_register(&large) == 0 && xf_task_register(&any) == 0);
        CHECK(__sanitizer_install_malloc_and_free_hooks(count_allocation, ignore_free));
        task_table_close();
    }
    input = (fuzz_input){data, size};
    open_pool();
    for (uint32_t shapes_at_first = fuzz_number(&input, 2), i = 0; i < SHAPES; i++)
        if (shapes_at_first >> i & 1)
            submit_shape(i);
    for (int i = 0; i < STEPS_MAX && input.left > 0; i++)
        act();
    close_pool();
    return 0;
}
