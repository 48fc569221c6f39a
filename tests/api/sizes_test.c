/* Goal: each size and count of the public calls may be anything from 0 to the largest number, and each pointer to data
 * may be NULL: the call returns what its header says, and nothing is lost, left behind or out of bounds.
 *
 * The first table has a row for each size.  Sizes that no machine has are tried around the places where a sum of sizes,
 * a product or a rounding would overflow. */
#include "base/error.h"
#include "leak_check.h"
#include "pool_tasks.h"

#include <limits.h>

enum { UNTRIED = 1, PATIENCE_MS = 60000 };

static xf_pool *pool; /* of all rows */
static const xf_process_options quiet = {.stderr_to = XF_STDIO_NULL, .start = XF_START_DEFAULT};

/* ---- In a child ------------------------------------------------------------------------------ */

typedef struct question {
    enum { OUTPUT, SEND, SEND_NULL } what;
    size_t size;
} question;

/* Makes a call of a task's, and fails with what it returns. */
static int ask_entry(xf_call *call)
{
    const question *asked = xf_call_input(call, NULL);
    int rc = asked->what == OUTPUT ? (xf_call_output(call, asked->size) ? 0 : XF_ENOMEM)
                                   : xf_send(call, asked->what == SEND ? "x" : NULL, asked->size);

    return rc < 0 ? xf_fail(call, rc, "%s", xf_error_detail()) : 0;
}

static xf_task ask = {.name = "ask", .entry = ask_entry, .input_size = sizeof(question), .output_size = XF_ANY_SIZE};

static int nothing_entry(xf_call *call)
{
    xf_call_output(call, 0);
    return 0;
}

static xf_task nothing = {.name = "nothing", .entry = nothing_entry};

/* What the call returned, and the child's detail as this thread's. */
static int ask_child(question question)
{
    xf_process *process = start(&ask, &question, sizeof question, &quiet);
    xf_status status = join(process);

    if (status.kind != XF_END_DONE)
        (void)error_detail(0, "%s", xf_process_report(process)->message);
    assert_int_equal(xf_process_free(process), 0);
    return status.kind == XF_END_FAILED ? status.code : status.kind == XF_END_DONE ? 0 : XF_ESTATE;
}

static int output_of_a_process(size_t size)
{
    return ask_child((question){OUTPUT, size});
}

static int message_of_a_process(size_t size)
{
    return ask_child((question){SEND, size});
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static int create_pool(const xf_pool_options *options)
{
    xf_pool *made;
    int rc = xf_pool_create(&made, options);

    if (rc == 0)
        xf_pool_free(made);
    return rc;
}

static int pool_memory_limit(size_t size)
{
    return create_pool(&(xf_pool_options){.workers = 1, .memory_limit = size});
}

static int pool_initializer_size(size_t size)
{
    int input = 0;

    return create_pool(
        &(xf_pool_options){.workers = 1, .initializer = &build, .initializer_input = &input, .initializer_size = size});
}

static int pool_tasks_per_worker(size_t size)
{
    return create_pool(&(xf_pool_options){.workers = 1, .tasks_per_worker = size});
}

/* Two buffers are two, even if each is as large as memory. */
static int pool_buffer(size_t size)
{
    char *one, *other;
    int rc;

    faults_forget_detail();
    one = xf_pool_buffer_alloc(pool, size);
    rc = one ? 0 : XF_ENOMEM;
    other = xf_pool_buffer_alloc(pool, 1);
    assert_non_null(other);
    assert_ptr_not_equal(one, other);
    xf_pool_buffer_free(pool, other);
    xf_pool_buffer_free(pool, one);
    if (rc < 0)
        (void)xf_pool_buffer_alloc(pool, size); /* for its detail */
    return rc;
}

static int map_squares(size_t count, size_t chunk)
{
    double in[10] = {2}, out[10];

    return xf_pool_map(pool, &(xf_map){.task = &square, .in = in, .out = out, .count = count, .chunk = chunk});
}

static int map_count(size_t size)
{
    return map_squares(size, 0);
}

static int map_count_in_chunks(size_t size)
{
    return map_squares(size, SIZE_MAX);
}

static int map_chunk(size_t size)
{
    return map_squares(10, size);
}

static int map_count_of_nothing(size_t size)
{
    return xf_pool_map(pool, &(xf_map){.task = &nothing, .count = size});
}

static int map_bytes_count(size_t size)
{
    xf_bytes bytes = {"x", 1};

    return xf_pool_map(pool, &(xf_map){.task = &reverse, .bytes = &bytes, .count = size});
}

static int map_bytes_size(size_t size)
{
    xf_bytes bytes[] = {{"x", 1}, {"y", size}, {"z", size}};

    return xf_pool_map(pool, &(xf_map){.task = &reverse, .bytes = bytes, .count = 3});
}

static int submit_of(xf_task *task, const void *in, size_t size)
{
    xf_future *future;
    int rc = xf_pool_submit(&future, pool, &(xf_map){.task = task, .in = in, .size = size});

    if (rc < 0)
        return rc;
    rc = xf_future_wait(future, PATIENCE_MS);
    if (rc == XF_EFAILED)
        rc = xf_future_status(future, 0).code;
    xf_future_free(future);
    return rc;
}

static int submit_size(size_t size)
{
    return submit_of(&reverse, "x", size);
}

static int output_of_an_item(size_t size)
{
    return submit_of(&give, &size, sizeof size);
}

static int two_inputs(void *arg, xf_bytes *input)
{
    int *left = arg;

    *input = (xf_bytes){"ab", 2};
    return (*left)-- > 0;
}

static int imap_window(size_t size)
{
    int left = 2, rc;
    xf_imap *imap;
    xf_future *future;
    xf_imap_options options = {.task = &reverse, .next = two_inputs, .arg = &left, .window = size};

    rc = xf_imap_create(&imap, pool, &options);
    if (rc < 0)
        return rc;
    while ((rc = xf_imap_next(imap, &future, NULL, PATIENCE_MS)) > 0)
        xf_future_free(future);
    xf_imap_free(imap);
    return rc;
}

/* ---- Processes ------------------------------------------------------------------------------- */

static int start_with(size_t size, const xf_process_options *options)
{
    xf_process *process;
    int rc = xf_process_start(&process, &reverse, "x", size, options);

    if (rc == 0) {
        join(process);
        assert_int_equal(xf_process_free(process), 0);
    }
    return rc;
}

static int process_input(size_t size)
{
    return start_with(size, &quiet);
}

static int process_saved_input(size_t size)
{
    xf_process_options options = quiet;

    options.save_failures = ".";
    return start_with(size, &options);
}

static int process_capture_limit(size_t size)
{
    return start_with(1, &(xf_process_options){.stderr_to = XF_STDIO_CAPTURE, .capture_limit = size});
}

static int process_message_limit(size_t size)
{
    xf_process_options options = quiet;

    options.message_limit = size;
    return start_with(1, &options);
}

static int process_memory_limit(size_t size)
{
    xf_process_options options = quiet;

    options.limits.memory = size;
    return start_with(1, &options);
}

/* ---- Codecs ---------------------------------------------------------------------------------- */

static int put_result;

static int encode_size(xf_writer *writer, const void *object)
{
    return put_result = xf_writer_put(writer, "x", *(const size_t *)object);
}

static int encode_null(xf_writer *writer, const void *object)
{
    (void)object;
    return put_result = xf_writer_put(writer, NULL, 1);
}

static const xf_codec size_codec = {encode_size, NULL, NULL}, null_codec = {encode_null, NULL, NULL};

/* ---- Queues and pipes ------------------------------------------------------------------------ */

static xf_queue *create_queue(const xf_queue_options *options)
{
    xf_queue *queue = NULL;

    assert_int_equal(xf_queue_create(&queue, options), 0);
    return queue;
}

static int queue_with(const xf_queue_options *options)
{
    xf_queue *queue;
    int rc = xf_queue_create(&queue, options);

    if (rc == 0)
        xf_queue_free(queue);
    return rc;
}

static int queue_capacity(size_t size)
{
    return queue_with(&(xf_queue_options){.capacity = size});
}

static int queue_message_size(size_t size)
{
    return queue_with(&(xf_queue_options){.message_size = size});
}

static int queue_memory_limit(size_t size)
{
    return queue_with(&(xf_queue_options){.memory_limit = size});
}

static int queue_put(size_t size)
{
    xf_queue *queue = create_queue(NULL);
    int rc = xf_queue_put(queue, "x", size, 0);

    xf_queue_free(queue);
    return rc;
}

static int queue_put_many(size_t size)
{
    xf_queue *queue = create_queue(NULL);
    xf_bytes message = {"x", size};
    int rc = xf_queue_put_many(queue, &message, 1, 0);

    xf_queue_free(queue);
    return rc < 0 ? rc : 0;
}

static int queue_put_object(size_t size)
{
    xf_queue *queue = create_queue(NULL);
    int rc = xf_queue_put_object(queue, &size_codec, &size, 0);

    xf_queue_free(queue);
    assert_int_equal(rc, put_result < 0 ? XF_ECODEC : 0);
    return put_result;
}

static int queue_reserve(size_t size)
{
    xf_queue *queue = create_queue(NULL);
    xf_queue_slot slot;
    int rc = xf_queue_reserve(queue, size, &slot, 0);

    if (rc == 0)
        xf_queue_cancel(queue, &slot);
    xf_queue_free(queue);
    return rc;
}

static int queue_commit(size_t size)
{
    xf_queue *queue = create_queue(NULL);
    xf_queue_slot slot;
    int rc;

    assert_int_equal(xf_queue_reserve(queue, 1, &slot, 0), 0);
    slot.size = size;
    rc = xf_queue_commit(queue, &slot, 0);
    if (rc < 0)
        xf_queue_cancel(queue, &slot);
    xf_queue_free(queue);
    return rc;
}

static int queue_get_into(size_t size)
{
    xf_queue *queue = create_queue(NULL);
    char room;
    size_t got = 0;
    int rc;

    assert_int_equal(xf_queue_put(queue, "x", 1, 0), 0);
    rc = xf_queue_get_into(queue, &room, size, &got, 0);
    assert_int_equal(got, 1);
    xf_queue_free(queue);
    return rc;
}

static int pipe_with(const xf_pipe_options *options)
{
    xf_pipe *one, *other;
    int rc = xf_pipe_create(&one, &other, options);

    if (rc == 0) {
        xf_pipe_free(one);
        xf_pipe_free(other);
    }
    return rc;
}

static int pipe_capacity(size_t size)
{
    return pipe_with(&(xf_pipe_options){.capacity = size});
}

static int pipe_message_size(size_t size)
{
    return pipe_with(&(xf_pipe_options){.message_size = size});
}

static int pipe_memory_limit(size_t size)
{
    return pipe_with(&(xf_pipe_options){.memory_limit = size});
}

static int send_through_pipe(const void *data, size_t size, void *room, size_t room_size)
{
    xf_pipe *one, *other;
    size_t got = 0;
    int rc;

    assert_int_equal(xf_pipe_create(&one, &other, NULL), 0);
    rc = xf_pipe_send(one, data, size, 0);
    if (rc == 0)
        rc = xf_pipe_receive_into(other, room, room_size, &got, 0);
    xf_pipe_free(one);
    xf_pipe_free(other);
    return rc;
}

static int pipe_send(size_t size)
{
    char room;

    return send_through_pipe("x", size, &room, 1);
}

static int pipe_receive_into(size_t size)
{
    char room;

    return send_through_pipe("x", 1, &room, size);
}

static const char *own_name(void)
{
    static char name[40];

    snprintf(name, sizeof name, "sizes-%ld", (long)uv_os_getpid());
    return name;
}

static int listen_with(const xf_listener_options *options)
{
    xf_listener *listener;
    int rc = xf_listener_create(&listener, own_name(), options);

    if (rc == 0)
        xf_listener_free(listener);
    return rc;
}

static int listener_key_size(size_t size)
{
    return listen_with(&(xf_listener_options){.key = {.bytes = "a key of 18 bytes.", .size = size}});
}

static int listener_memory_limit(size_t size)
{
    return listen_with(&(xf_listener_options){.pipe = {.memory_limit = size}});
}

static int connect_memory_limit(size_t size)
{
    xf_pipe *pipe;

    return xf_connect(&pipe, own_name(), &(xf_connect_options){.memory_limit = size}, 0);
}

/* ---- Shared memory --------------------------------------------------------------------------- */

static int shm_with(size_t size, const xf_shm_options *options)
{
    xf_shm *shm;
    int rc = xf_shm_create(&shm, size, options);

    if (rc == 0)
        xf_shm_free(shm);
    return rc;
}

static int shm_size(size_t size)
{
    return shm_with(size, NULL);
}

static int shm_limit(size_t size)
{
    return shm_with(1, &(xf_shm_options){.limit = size});
}

static int shm_grow(size_t size)
{
    xf_shm *shm = NULL;
    int rc;

    assert_int_equal(xf_shm_create(&shm, 1, &(xf_shm_options){.limit = 8192}), 0);
    rc = xf_shm_grow(shm, size);
    xf_shm_free(shm);
    return rc;
}

static int publish_key_size(size_t size)
{
    xf_shm *shm = NULL;
    int rc;

    assert_int_equal(xf_shm_create(&shm, 1, NULL), 0);
    rc = xf_shm_publish(shm, own_name(), &(xf_key){.bytes = "a key of 18 bytes.", .size = size});
    xf_shm_free(shm);
    return rc;
}

static int place_of_a_lock(size_t size)
{
    xf_shm *shm = NULL;
    xf_lock *lock = NULL;
    int rc;

    assert_int_equal(xf_shm_create(&shm, 4096, NULL), 0);
    rc = xf_lock_create(&lock, &(xf_lock_options){.place = {shm, size}});
    xf_lock_free(lock);
    xf_shm_free(shm);
    return rc;
}

static int heap_limit(size_t size)
{
    xf_heap *heap;
    int rc = xf_heap_create(&heap, size);

    if (rc == 0)
        xf_heap_free(heap);
    return rc;
}

static int heap_alloc(size_t size)
{
    xf_heap *heap = NULL;
    void *memory = NULL;
    int rc;

    assert_int_equal(xf_heap_create(&heap, 1 << 20), 0);
    rc = xf_heap_alloc(heap, size, &memory);
    if (rc < 0)
        assert_null(memory);
    xf_heap_free(heap);
    return rc;
}

static int heap_at(size_t size)
{
    xf_heap *heap = NULL;
    int rc;

    assert_int_equal(xf_heap_create(&heap, 1 << 20), 0);
    rc = xf_heap_at(heap, size) ? 0 : XF_ENOENT;
    xf_heap_free(heap);
    return rc;
}

static int array_of(size_t count, size_t size)
{
    xf_array *array;
    int rc = xf_array_create(&array, count, size);

    if (rc == 0)
        xf_array_free(array);
    return rc;
}

static int array_count(size_t size)
{
    return array_of(size, 1);
}

static int array_size(size_t size)
{
    return array_of(1, size);
}

static int array_both(size_t size)
{
    return array_of(size, size);
}

static int array_open(size_t size)
{
    xf_array *array = NULL, *again = NULL;
    xf_ref ref;
    int rc;

    assert_int_equal(xf_array_create(&array, 3, 1), 0);
    assert_int_equal(xf_array_ref(array, &ref), 0);
    rc = xf_array_open(&again, &ref, size);
    xf_array_free(again);
    xf_array_free(array);
    return rc;
}

static int advise_own(size_t size)
{
    xf_advice advice;
    int rc = xf_advise(&advice, &(xf_workload){.own = size, .shared = 1});

    assert_in_range(advice.workers, 1, 100000);
    return rc;
}

static int advise_shared(size_t size)
{
    xf_advice advice;
    int rc = xf_advise(&advice, &(xf_workload){.own = 1, .shared = size});

    assert_in_range(advice.workers, 1, 100000);
    return rc;
}

/* ---- The table of sizes ---------------------------------------------------------------------- */

static const struct size_row {
    const char *name;
    int (*call)(size_t size);
    int zero, one, huge; /* what it returns */
} size_rows[] = {
    {"xf_pool_options.memory_limit", pool_memory_limit, 0, 0, XF_ENOMEM},
    {"xf_pool_options.initializer_size", pool_initializer_size, XF_ESIZE, XF_ESIZE, XF_EINVAL},
    {"xf_pool_options.tasks_per_worker", pool_tasks_per_worker, 0, 0, 0},
    {"xf_pool_buffer_alloc", pool_buffer, 0, 0, XF_ENOMEM},
    {"xf_map.count", map_count, 0, 0, XF_ENOMEM},
    {"xf_map.count, one chunk", map_count_in_chunks, 0, 0, XF_ENOMEM},
    {"xf_map.count, of size 0", map_count_of_nothing, 0, 0, XF_ENOMEM},
    {"xf_map.chunk", map_chunk, 0, 0, 0},
    {"xf_map.count of bytes", map_bytes_count, 0, 0, XF_ENOMEM},
    {"xf_map.bytes[].size", map_bytes_size, 0, 0, XF_ENOMEM},
    {"xf_map.size", submit_size, 0, 0, XF_ENOMEM},
    {"xf_call_output in a pool", output_of_an_item, 0, 0, XF_TASK_NO_MEMORY},
    {"xf_imap_options.window", imap_window, 0, 0, 0},
    {"xf_process_start", process_input, 0, 0, XF_ENOMEM},
    {"xf_process_start, saved", process_saved_input, 0, 0, XF_ENOMEM},
    {"xf_process_options.capture_limit", process_capture_limit, 0, 0, XF_EINVAL},
    {"xf_process_options.message_limit", process_message_limit, 0, 0, 0},
    {"xf_limits.memory", process_memory_limit, 0, UNTRIED, 0},
    {"xf_call_output in a process", output_of_a_process, 0, 0, XF_ENOMEM},
    {"xf_send", message_of_a_process, 0, 0, XF_ENOMEM},
    {"xf_queue_options.capacity", queue_capacity, 0, 0, XF_EINVAL},
    {"xf_queue_options.message_size", queue_message_size, 0, 0, XF_EINVAL},
    {"xf_queue_options.memory_limit", queue_memory_limit, 0, 0, XF_EINVAL},
    {"xf_queue_put", queue_put, 0, 0, XF_ELIMIT},
    {"xf_queue_put_many", queue_put_many, 0, 0, XF_ELIMIT},
    {"xf_writer_put", queue_put_object, 0, 0, XF_ENOMEM},
    {"xf_queue_reserve", queue_reserve, 0, 0, XF_ELIMIT},
    {"xf_queue_slot.size", queue_commit, 0, 0, XF_EINVAL},
    {"xf_queue_get_into", queue_get_into, XF_ESIZE, 0, 0},
    {"xf_pipe_options.capacity", pipe_capacity, 0, 0, XF_EINVAL},
    {"xf_pipe_options.message_size", pipe_message_size, 0, 0, XF_EINVAL},
    {"xf_pipe_options.memory_limit", pipe_memory_limit, 0, 0, XF_EINVAL},
    {"xf_pipe_send", pipe_send, 0, 0, XF_ELIMIT},
    {"xf_pipe_receive_into", pipe_receive_into, XF_ESIZE, 0, 0},
    {"xf_listener_options.key.size", listener_key_size, XF_EINVAL, XF_EINVAL, XF_EINVAL},
    {"xf_listener_options.pipe.memory_limit", listener_memory_limit, 0, 0, XF_EINVAL},
    {"xf_connect_options.memory_limit", connect_memory_limit, XF_ENOENT, XF_ENOENT, XF_ENOENT},
    {"xf_shm_create", shm_size, XF_EINVAL, 0, XF_ENOMEM},
    {"xf_shm_options.limit", shm_limit, 0, 0, XF_ENOMEM},
    {"xf_shm_grow", shm_grow, 0, 0, XF_ELIMIT},
    {"xf_shm_publish's key.size", publish_key_size, XF_EINVAL, XF_EINVAL, XF_EINVAL},
    {"xf_sync_place.at", place_of_a_lock, 0, XF_EINVAL, XF_EINVAL},
    {"xf_heap_create", heap_limit, XF_EINVAL, 0, XF_ENOMEM},
    {"xf_heap_alloc", heap_alloc, 0, 0, XF_ELIMIT},
    {"xf_heap_at", heap_at, XF_ENOENT, XF_ENOENT, XF_ENOENT},
    {"xf_array_create's count", array_count, XF_EINVAL, 0, XF_ENOMEM},
    {"xf_array_create's size", array_size, XF_EINVAL, 0, XF_ENOMEM},
    {"xf_array_create, both", array_both, XF_EINVAL, 0, XF_ENOMEM},
    {"xf_array_open", array_open, XF_ESIZE, 0, XF_ESIZE},
    {"xf_workload.own", advise_own, 0, 0, 0},
    {"xf_workload.shared", advise_shared, 0, 0, 0},
};

/* An error has a detail, unless it is the code of the task itself. */
static void expect_code(const char *name, unsigned long long size, int rc, int due)
{
    if (rc != due)
        fail_msg("%s of %llu: %s (%s), not %s", name, size, xf_err_name(rc), xf_error_detail(), xf_err_name(due));
    if (rc < 0 && rc != XF_TASK_NO_MEMORY && rc != XF_ENOENT && !*xf_error_detail())
        fail_msg("%s of %llu: no detail", name, size);
}

static void try_size(const struct size_row *row, size_t size, int due)
{
    if (due == UNTRIED)
        return;
    faults_forget_detail();
    expect_code(row->name, size, row->call(size), due);
}

static void try_all_sizes(void)
{
    static const size_t huge[] = {SIZE_MAX / 2,    SIZE_MAX / 2 + 1, SIZE_MAX - 65536,
                                  SIZE_MAX - 4096, SIZE_MAX - 64,    SIZE_MAX};

    for (size_t i = 0; i < sizeof size_rows / sizeof *size_rows; i++) {
        try_size(&size_rows[i], 0, size_rows[i].zero);
        try_size(&size_rows[i], 1, size_rows[i].one);
        for (size_t k = 0; k < sizeof huge / sizeof *huge; k++)
            try_size(&size_rows[i], huge[k], size_rows[i].huge);
        expect_squares(pool, 100, NULL); /* the pool has not suffered */
    }
}

/* ---- The table of numbers -------------------------------------------------------------------- */

static int pool_workers(int number)
{
    return create_pool(&(xf_pool_options){.workers = number});
}

static int pool_nesting(int number)
{
    return create_pool(&(xf_pool_options){.workers = 1, .nesting = number});
}

static int pool_times(int number)
{
    return create_pool(&(xf_pool_options){
        .workers = 1, .max_attempts = number, .idle_ms = number, .spin_us = number, .process = &quiet});
}

static int pool_resize(int number)
{
    int rc = xf_pool_resize(pool, number);

    if (rc == 0)
        assert_int_equal(xf_pool_resize(pool, 2), 0);
    return rc;
}

static int pool_stats_room(int number)
{
    xf_worker_stats workers[2];
    xf_pool_stats stats;
    int rc = xf_pool_stats_get(pool, &stats, workers, number);

    return rc < 0 ? rc : 0;
}

static int get_many(int number)
{
    xf_queue *queue = create_queue(NULL);
    xf_message message;
    int rc;

    assert_int_equal(xf_queue_put(queue, "x", 1, 0), 0);
    rc = xf_queue_get_many(queue, &message, number, 0);
    if (rc == 1)
        xf_message_free(&message);
    xf_queue_free(queue);
    return rc < 0 ? rc : 0;
}

static int queue_stats_room(int number)
{
    xf_queue *queue = create_queue(NULL);
    xf_queue_stats stats;
    xf_queue_loss losses[XF_QUEUE_LOSSES_MAX];
    int rc = xf_queue_stats_get(queue, &stats, losses, number);

    xf_queue_free(queue);
    return rc;
}

static int barrier_parties(int number)
{
    xf_barrier *barrier = NULL;
    int rc = xf_barrier_create(&barrier, (unsigned)number, NULL);

    xf_barrier_free(barrier);
    return rc;
}

static int semaphore_limit(int number)
{
    xf_semaphore *semaphore = NULL;
    int rc = xf_semaphore_create(&semaphore, &(xf_semaphore_options){.limit = (unsigned)number});

    xf_semaphore_free(semaphore);
    return rc;
}

static int semaphore_value(int number)
{
    xf_semaphore *semaphore = NULL;
    int rc = xf_semaphore_create(&semaphore, &(xf_semaphore_options){.value = (unsigned)number});

    xf_semaphore_free(semaphore);
    return rc;
}

static int wait_count(int number)
{
    return xf_wait(&(xf_wait_item){.kind = XF_WAIT_NOTHING}, number, 0);
}

static int wait_any_count(int number)
{
    return xf_future_wait_any(NULL, number, 0);
}

static int wait_all_count(int number)
{
    return xf_future_wait_all(NULL, number, 0);
}

static const struct number_row {
    const char *name;
    int (*call)(int number);
    int negative, zero, one, huge;
} number_rows[] = {
    {"xf_pool_options.workers", pool_workers, UNTRIED, 0, 0, XF_EINVAL},
    {"xf_pool_options.nesting", pool_nesting, UNTRIED, 0, 0, 0},
    {"xf_pool_options.max_attempts, idle_ms, spin_us", pool_times, XF_EINVAL, 0, 0, 0},
    {"xf_pool_resize", pool_resize, XF_EINVAL, XF_EINVAL, 0, XF_EINVAL},
    {"xf_pool_stats_get", pool_stats_room, 0, 0, 0, 0},
    {"xf_queue_get_many", get_many, XF_EINVAL, XF_EINVAL, 0, 0},
    {"xf_queue_stats_get", queue_stats_room, 0, 0, 0, 0},
    {"xf_barrier_create", barrier_parties, XF_EINVAL, XF_EINVAL, 0, XF_EINVAL},
    {"xf_semaphore_options.limit", semaphore_limit, XF_EINVAL, 0, 0, XF_EINVAL},
    {"xf_semaphore_options.value", semaphore_value, XF_EINVAL, 0, 0, 0},
    {"xf_wait", wait_count, XF_EINVAL, XF_EINVAL, XF_EINVAL, UNTRIED},
    {"xf_future_wait_any", wait_any_count, XF_EINVAL, XF_EINVAL, XF_EINVAL, XF_EINVAL},
    {"xf_future_wait_all", wait_all_count, XF_EINVAL, 0, XF_EINVAL, XF_EINVAL},
};

static void try_number(const struct number_row *row, int number, int due)
{
    if (due == UNTRIED)
        return;
    faults_forget_detail();
    expect_code(row->name, (unsigned long long)number, row->call(number), due);
}

static void try_all_numbers(void)
{
    for (size_t i = 0; i < sizeof number_rows / sizeof *number_rows; i++) {
        const struct number_row *row = &number_rows[i];
        try_number(row, INT_MIN, row->negative);
        try_number(row, 0, row->zero);
        try_number(row, 1, row->one);
        try_number(row, INT_MAX / 2, row->huge);
        try_number(row, INT_MAX, row->huge);
    }
    expect_squares(pool, 100, NULL);
}

/* ---- The table of NULLs ---------------------------------------------------------------------- */

static int null_in(void)
{
    return xf_pool_map(pool, &(xf_map){.task = &square, .count = 5});
}

static int null_in_async(void)
{
    xf_future *future;

    return xf_pool_map_async(&future, pool, &(xf_map){.task = &square, .count = 5});
}

static int null_submit(void)
{
    return submit_of(&reverse, NULL, 3);
}

static int null_bytes(void)
{
    xf_bytes bytes[] = {{"x", 1}, {NULL, 1}};

    return xf_pool_map(pool, &(xf_map){.task = &reverse, .bytes = bytes, .count = 2});
}

static int null_only_bytes(void)
{
    xf_bytes bytes = {NULL, 1};

    return xf_pool_map(pool, &(xf_map){.task = &reverse, .bytes = &bytes, .count = 1});
}

static int null_initializer_input(void)
{
    return create_pool(&(xf_pool_options){.workers = 1, .initializer = &build, .initializer_size = sizeof(int)});
}

static int null_worker_stats(void)
{
    xf_pool_stats stats;

    return xf_pool_stats_get(pool, &stats, NULL, 1);
}

static int null_input(void)
{
    xf_process *process;

    return xf_process_start(&process, &reverse, NULL, 3, NULL);
}

static int null_message(void)
{
    return ask_child((question){SEND_NULL, 3});
}

static int null_encoded(void)
{
    xf_queue *queue = create_queue(NULL);
    int rc = xf_queue_put_object(queue, &null_codec, &queue, 0);

    assert_int_equal(rc, XF_ECODEC);
    xf_queue_free(queue);
    return put_result;
}

static int null_put(void)
{
    xf_queue *queue = create_queue(NULL);
    int rc = xf_queue_put(queue, NULL, 3, 0);

    xf_queue_free(queue);
    return rc;
}

/* Nothing is put when one of the messages cannot be. */
static int null_put_many(void)
{
    xf_queue *queue = create_queue(NULL);
    xf_bytes messages[] = {{"x", 1}, {NULL, 1}};
    xf_queue_stats stats;
    int rc = xf_queue_put_many(queue, messages, 2, 0);

    assert_int_equal(xf_queue_stats_get(queue, &stats, NULL, 0), 0);
    assert_int_equal(stats.messages, 0);
    xf_queue_free(queue);
    return rc;
}

static int null_messages(void)
{
    xf_queue *queue = create_queue(NULL);
    int rc = xf_queue_put_many(queue, NULL, 2, 0);

    xf_queue_free(queue);
    return rc;
}

/* The message stays. */
static int null_room(void)
{
    xf_queue *queue = create_queue(NULL);
    size_t got;
    int rc;

    assert_int_equal(xf_queue_put(queue, "x", 1, 0), 0);
    rc = xf_queue_get_into(queue, NULL, 1, &got, 0);
    assert_int_equal(xf_queue_peek(queue, &got, 0), 0);
    xf_queue_free(queue);
    return rc;
}

static int null_got_many(void)
{
    xf_queue *queue = create_queue(NULL);
    int rc = xf_queue_get_many(queue, NULL, 2, 0);

    xf_queue_free(queue);
    return rc;
}

static int null_losses(void)
{
    xf_queue *queue = create_queue(NULL);
    xf_queue_stats stats;
    int rc = xf_queue_stats_get(queue, &stats, NULL, 2);

    xf_queue_free(queue);
    return rc;
}

static int null_send(void)
{
    char room;

    return send_through_pipe(NULL, 3, &room, 1);
}

static int null_pipe_room(void)
{
    return send_through_pipe("x", 1, NULL, 1);
}

static int null_key(void)
{
    return listen_with(&(xf_listener_options){.key = {.size = 20}});
}

static int null_futures(void)
{
    return xf_future_wait_any(NULL, 2, 0);
}

static int null_all_futures(void)
{
    return xf_future_wait_all(NULL, 2, 0);
}

static int null_items(void)
{
    return xf_wait(NULL, 2, 0);
}

static void never(xf_watch *watch, const xf_wait_item *items, int count, void *arg)
{
    (void)watch, (void)items, (void)count, (void)arg;
}

static int null_watched(void)
{
    xf_watch *watch;

    return xf_watch_start(&watch, uv_default_loop(), &(xf_watch_options){.count = 2, .callback = never});
}

static const struct null_row {
    const char *name;
    int (*call)(void);
    const char *in_detail;
} null_rows[] = {
    {"xf_pool_map", null_in, "map->in"},
    {"xf_pool_map_async", null_in_async, "map->in"},
    {"xf_pool_submit", null_submit, "input 0"},
    {"xf_map.bytes", null_bytes, "input 1"},
    {"xf_map.bytes, one", null_only_bytes, "input 0"},
    {"xf_pool_options.initializer_input", null_initializer_input, "initializer_input"},
    {"xf_pool_stats_get", null_worker_stats, "workers"},
    {"xf_process_start", null_input, "input"},
    {"xf_send", null_message, "data"},
    {"xf_writer_put", null_encoded, "encoding"},
    {"xf_queue_put", null_put, "data"},
    {"xf_queue_put_many", null_put_many, "message"},
    {"xf_queue_put_many, all", null_messages, "messages"},
    {"xf_queue_get_into", null_room, "room"},
    {"xf_queue_get_many", null_got_many, "messages"},
    {"xf_queue_stats_get", null_losses, "losses"},
    {"xf_pipe_send", null_send, "data"},
    {"xf_pipe_receive_into", null_pipe_room, "room"},
    {"xf_listener_options.key", null_key, "key"},
    {"xf_future_wait_any", null_futures, "futures"},
    {"xf_future_wait_all", null_all_futures, "futures"},
    {"xf_wait", null_items, "items"},
    {"xf_watch_start", null_watched, "items"},
};

static void try_all_nulls(void)
{
    for (size_t i = 0; i < sizeof null_rows / sizeof *null_rows; i++) {
        const struct null_row *row = &null_rows[i];
        int rc;
        faults_forget_detail();
        rc = row->call();
        if (rc != XF_EINVAL || !strstr(xf_error_detail(), row->in_detail))
            fail_msg("%s: %s (%s)", row->name, xf_err_name(rc), xf_error_detail());
    }
    expect_squares(pool, 100, NULL);
}

/* ---- The tests ------------------------------------------------------------------------------- */

static void open_the_pool(void)
{
    pool = open_pool(&(xf_pool_options){.workers = 2, .memory_limit = 256 << 20});
    expect_squares(pool, 100, NULL);
}

static void free_the_pool(void)
{
    await_memory(pool, 0);
    xf_pool_free(pool);
    assert_int_equal(xf_cleanup(), 0);
}

/* Tries all twice, as the first time leaves what is kept for later. */
static void try_twice(void (*try_all)(void))
{
    counts before = {0};
    size_t memory = 0;

    for (int round = 0; round < 2; round++) {
        open_the_pool();
        try_all();
        free_the_pool();
        if (round == 0) {
            before = count();
            memory = support_memory();
        }
    }
    expect_nothing_left(&before, 0, "none");
    assert_in_range(support_memory(), 0, memory + (64 << 20));
}

static void any_size_is_an_error_or_works(void **state)
{
    (void)state;
    try_twice(try_all_sizes);
}

static void any_number_is_an_error_or_works(void **state)
{
    (void)state;
    try_twice(try_all_numbers);
}

static void null_with_a_size_is_an_error(void **state)
{
    (void)state;
    try_twice(try_all_nulls);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_size_is_an_error_or_works),
        cmocka_unit_test(any_number_is_an_error_or_works),
        cmocka_unit_test(null_with_a_size_is_an_error),
    };

    assert_int_equal(xf_task_register(&ask), 0);
    assert_int_equal(xf_task_register(&nothing), 0);
    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
