/* Goal: a process that the program forks by itself may free its copies of everything that crossfork made, at once or in
 * an exit handler, and the program does not notice; every other call on them is an error there; and it may use
 * crossfork anew.
 *
 * Windows has no fork: nothing can copy a process there, so there is nothing to test. */
#include "pool_tasks.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_S = 60, PATIENCE_MS = 60000 };

/* In a copy: ends it with the number of the line as its exit code, modulo 251. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "in the copy, line %d: %s (%s)\n", __LINE__, #condition, xf_error_detail());               \
            _exit(1 + __LINE__ % 250);                                                                                 \
        }                                                                                                              \
    } while (0)

static void await_copy(pid_t copy)
{
    int status = 0;

    assert_true(copy > 0);
    assert_int_equal(waitpid(copy, &status, 0), copy);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the copy ended with status %x", (unsigned)status);
}

/* Runs a function in a forked copy of this process, which is killed if that takes too long. */
static void run_in_copy(void (*run)(void *arg), void *arg)
{
    pid_t copy = fork();

    if (copy == 0) {
        alarm(PATIENCE_S);
        run(arg);
        _exit(0);
    }
    await_copy(copy);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

/* What a test has when it forks. */
typedef struct family {
    xf_pool *pool;
    xf_future *running, *complete;
    xf_imap *imap;
    void *buffer;
    int64_t pid; /* of the pool's only worker */
} family;

static int64_t worker_of(xf_pool *pool)
{
    xf_pool_stats stats;
    xf_worker_stats worker = {0};

    while (xf_pool_stats_get(pool, &stats, &worker, 1) < 1 || !worker.ready)
        continue;
    return worker.pid;
}

static int no_input(void *arg, xf_bytes *input)
{
    (void)arg, (void)input;
    return 0;
}

static void open_family(family *family)
{
    xf_imap_options options = {.task = &square, .next = no_input};
    order fine = {FINE, 1};

    *family = (struct family){.pool = open_workers(1)};
    family->complete = order_many(family->pool, &fine, 1, NULL);
    assert_int_equal(xf_future_wait(family->complete, PATIENCE_MS), 0);
    assert_int_equal(xf_imap_create(&family->imap, family->pool, &options), 0);
    family->running = order_one(family->pool, PATIENT, NULL);
    family->buffer = xf_pool_buffer_alloc(family->pool, 1);
    assert_non_null(family->buffer);
    family->pid = worker_of(family->pool);
}

/* The pool and its worker are as they were: the worker still runs the item, and then the next one. */
static void close_family(family *family)
{
    int zero = 0;
    int64_t pid = 0;
    xf_pool_stats stats = stats_of(family->pool);

    assert_int_equal(worker_of(family->pool), family->pid);
    assert_true(support_alive(family->pid));
    assert_int_equal(stats.replaced, 0);
    assert_int_equal(stats.lost, 0);
    assert_int_equal(xf_future_wait(family->running, 0), XF_ETIMEDOUT);
    assert_non_null(xf_future_result(family->complete, 0, NULL));
    xf_future_cancel(family->running);
    assert_int_equal(xf_future_wait(family->running, PATIENCE_MS), XF_EFAILED);
    assert_int_equal(xf_pool_map(family->pool, &(xf_map){.task = &own_pid, .in = &zero, .out = &pid, .count = 1}), 0);
    expect_squares(family->pool, 1000, NULL);
    xf_imap_free(family->imap);
    xf_future_free(family->running);
    xf_future_free(family->complete);
    xf_pool_buffer_free(family->pool, family->buffer);
    await_memory(family->pool, 0);
    xf_pool_free(family->pool);
}

static void free_pool_in_copy(void *arg)
{
    xf_pool_free(((family *)arg)->pool);
}

static void a_copy_frees_a_pool(void **state)
{
    family family;

    (void)state;
    open_family(&family);
    run_in_copy(free_pool_in_copy, &family);
    close_family(&family);
}

/* The memory of a copy is its own: it does not matter in which order it frees. */
static void free_all_in_copy(void *arg)
{
    family *family = arg;

    xf_future_free(family->running);
    xf_imap_free(family->imap);
    xf_pool_buffer_free(family->pool, family->buffer);
    xf_pool_free(family->pool);
    xf_future_free(family->complete);
}

static void a_copy_frees_everything_of_a_pool(void **state)
{
    family family;

    (void)state;
    open_family(&family);
    run_in_copy(free_all_in_copy, &family);
    close_family(&family);
}

static void use_pool_in_copy(void *arg)
{
    family *family = arg;
    double in = 1, out;
    xf_map map = {.task = &square, .in = &in, .out = &out, .count = 1};
    xf_wait_item item = {.kind = XF_WAIT_FUTURE, .future = family->running};
    xf_imap_options imap_options = {.task = &square, .next = no_input};
    xf_pool_stats stats;
    xf_future *future;
    xf_imap *imap;
    void *object;

    CHECK(xf_pool_map(family->pool, &map) == XF_ESTATE);
    CHECK(strstr(xf_error_detail(), "forked copy"));
    CHECK(xf_pool_map_async(&future, family->pool, &map) == XF_ESTATE);
    CHECK(xf_pool_submit(&future, family->pool, &map) == XF_ESTATE);
    CHECK(!xf_pool_buffer_alloc(family->pool, 1));
    CHECK(xf_pool_resize(family->pool, 2) == XF_ESTATE);
    CHECK(xf_pool_join(family->pool, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_pool_terminate(family->pool, 0) == XF_ESTATE);
    CHECK(xf_pool_terminate(family->pool, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_pool_stats_get(family->pool, &stats, NULL, 0) == XF_ESTATE);
    CHECK(xf_imap_create(&imap, family->pool, &imap_options) == XF_ESTATE);
    CHECK(xf_imap_next(family->imap, &future, NULL, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_future_wait(family->running, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_future_wait(family->complete, 0) == XF_ESTATE);
    CHECK(xf_future_wait_any(&family->running, 1, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_future_wait_all(&family->running, 1, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_wait(&item, 1, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_wait(&item, 1, 0) == XF_ESTATE);
    CHECK(xf_future_count(family->complete) == 0);
    CHECK(xf_future_failures(family->complete) == 0);
    CHECK(xf_future_status(family->complete, 0).kind == XF_END_NONE);
    CHECK(!xf_future_result(family->complete, 0, NULL));
    CHECK(!xf_future_report(family->complete, 0));
    CHECK(xf_future_result_object(family->complete, 0, &object) == XF_ESTATE);
    xf_future_cancel(family->running);
    xf_pool_cancel(family->pool);
    xf_pool_close(family->pool);
}

static void other_calls_on_a_pool_fail_in_a_copy(void **state)
{
    family family;

    (void)state;
    open_family(&family);
    run_in_copy(use_pool_in_copy, &family);
    close_family(&family);
}

static void free_pool_in_copy_of_copy(void *arg)
{
    run_in_copy(free_pool_in_copy, arg);
}

static void a_copy_of_a_copy_frees_a_pool(void **state)
{
    family family;

    (void)state;
    open_family(&family);
    run_in_copy(free_pool_in_copy_of_copy, &family);
    close_family(&family);
}

static xf_pool *pool_at_exit;

static void free_pool_at_exit(void)
{
    xf_pool_free(pool_at_exit);
    pool_at_exit = NULL;
    (void)xf_cleanup();
}

/* Exit handlers are inherited. */
static void a_copy_exits_with_the_programs_handlers(void **state)
{
    family family;
    pid_t copy;

    (void)state;
    open_family(&family);
    assert_int_equal(atexit(free_pool_at_exit), 0);
    pool_at_exit = family.pool;
    fflush(NULL);
    copy = fork();
    if (copy == 0) {
        alarm(PATIENCE_S);
        exit(0);
    }
    pool_at_exit = NULL;
    await_copy(copy);
    close_family(&family);
}

static void free_inline_in_copy(void *arg)
{
    double in = 1, out;

    CHECK(xf_pool_map(arg, &(xf_map){.task = &square, .in = &in, .out = &out, .count = 1}) == XF_ESTATE);
    xf_pool_free(arg);
}

static void a_copy_frees_an_inline_pool(void **state)
{
    xf_pool *pool = open_workers(XF_POOL_INLINE);

    (void)state;
    expect_squares(pool, 10, NULL);
    run_in_copy(free_inline_in_copy, pool);
    expect_squares(pool, 10, NULL);
    xf_pool_free(pool);
}

/* Threads that the copy does not have may be in the middle of anything. */
static void copies_are_made_while_the_pool_is_busy(void **state)
{
    enum { THREADS = 2, COPIES = 40 };
    xf_pool *pool = open_workers(2);
    mapper mappers[THREADS];
    family family = {.pool = pool};

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        mappers[i].pool = pool;
        assert_int_equal(uv_thread_create(&mappers[i].thread, map_often, &mappers[i]), 0);
    }
    for (int i = 0; i < COPIES; i++)
        run_in_copy(free_pool_in_copy, &family);
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&mappers[i].thread);
    assert_int_equal(stats_of(pool).replaced, 0);
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

/* ---- Processes ------------------------------------------------------------------------------- */

XF_TASK(wait_for_stop, const int *in, int *out)
{
    *out = *in;
    send_number(call, 1);
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

static void use_process_in_copy(void *arg)
{
    xf_process *process = arg;
    xf_wait_item item = {.kind = XF_WAIT_PROCESS, .process = process};
    xf_message message;
    xf_stack stack;
    uint64_t done, total;
    char *text;
    void *object;

    CHECK(xf_process_join(process, NULL, XF_FOREVER) == XF_ESTATE);
    CHECK(strstr(xf_error_detail(), "forked copy"));
    CHECK(xf_process_receive(process, &message, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_process_output(process, 1, &text, NULL) == XF_ESTATE);
    CHECK(xf_process_progress(process, &done, &total) == XF_ESTATE);
    CHECK(xf_process_stack(process, &stack) == XF_ESTATE);
    CHECK(xf_process_result_object(process, &object) == XF_ESTATE);
    CHECK(xf_wait(&item, 1, 0) == XF_ESTATE);
    CHECK(xf_wait(&item, 1, XF_FOREVER) == XF_ESTATE);
    CHECK(!xf_process_result(process, NULL));
    CHECK(!xf_process_report(process));
    CHECK(!xf_process_alive(process));
    CHECK(xf_process_sentinel(process) == -1);
    CHECK(strcmp(xf_process_name(process), "wait_for_stop") == 0);
    xf_process_terminate(process);
    xf_process_kill(process);
    CHECK(xf_process_free(process) == 0);
}

static void detach_process_in_copy(void *arg)
{
    xf_process_detach(arg);
}

static void a_copy_frees_a_process(void **state)
{
    int input = 5;
    xf_process *process = start(&wait_for_stop, &input, sizeof input, NULL);

    (void)state;
    assert_int_equal(receive_number(process), 1);
    run_in_copy(use_process_in_copy, process);
    run_in_copy(detach_process_in_copy, process);
    assert_int_equal(xf_process_join(process, NULL, 0), XF_ETIMEDOUT);
    assert_true(support_alive(xf_process_pid(process)));
    xf_process_terminate(process);
    assert_int_equal(xf_process_join(process, NULL, PATIENCE_MS), 0);
    assert_int_equal(*(const int *)xf_process_result(process, NULL), 5);
    run_in_copy(use_process_in_copy, process);
    expect_end(process, XF_END_DONE, 0);
}

/* ---- What processes share -------------------------------------------------------------------- */

typedef struct things {
    xf_queue *queue;
    xf_pipe *one, *other;
    xf_lock *lock;
    xf_lock *placed;
    xf_event *event;
    xf_rwlock *rwlock;
    xf_semaphore *semaphore;
    xf_condition *condition;
    xf_barrier *barrier;
    xf_once *once;
    xf_shm *shm, *again, *reader;
    xf_heap *heap;
    xf_array *array;
    xf_listener *listener;
    xf_watch *watch;
    uv_loop_t loop;
    int called;
} things;

static void on_watched(xf_watch *watch, const xf_wait_item *items, int count, void *arg)
{
    things *things = arg;

    (void)items, (void)count;
    things->called++;
    xf_watch_stop(watch); /* in its own callback */
}

static void free_things_in_copy(void *arg)
{
    things *things = arg;
    xf_pipe *pipe;

    CHECK(xf_listener_accept(things->listener, &pipe, XF_FOREVER) == XF_ESTATE);
    xf_listener_stop(things->listener);
    xf_listener_free(things->listener);
    xf_watch_stop(things->watch);
    xf_queue_free(things->queue);
    xf_pipe_free(things->one);
    xf_pipe_free(things->other);
    xf_lock_free(things->placed);
    xf_lock_free(things->lock);
    xf_event_free(things->event);
    xf_rwlock_free(things->rwlock);
    xf_semaphore_free(things->semaphore);
    xf_condition_free(things->condition);
    xf_barrier_free(things->barrier);
    xf_once_free(things->once);
    xf_shm_free(things->reader);
    xf_shm_free(things->again);
    xf_shm_free(things->shm);
    xf_heap_free(things->heap);
    xf_array_free(things->array);
    CHECK(xf_cleanup() == 0);
}

static void use_messages_in_copy(things *things)
{
    const xf_bytes bytes = {"x", 1};
    char room[4];
    size_t size;
    xf_message message;
    xf_queue_slot slot = {0};
    xf_queue_message_view view;
    xf_queue_stats stats;
    xf_ref ref;

    CHECK(xf_queue_put(things->queue, "x", 1, XF_FOREVER) == XF_ESTATE);
    CHECK(strstr(xf_error_detail(), "forked copy"));
    CHECK(xf_queue_put_many(things->queue, &bytes, 1, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_queue_reserve(things->queue, 1, &slot, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_queue_commit(things->queue, &slot, XF_FOREVER) == XF_ESTATE);
    xf_queue_cancel(things->queue, &slot);
    CHECK(xf_queue_get(things->queue, &message, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_queue_get_into(things->queue, room, sizeof room, &size, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_queue_get_many(things->queue, &message, 1, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_queue_view(things->queue, &view, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_queue_peek(things->queue, &size, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_queue_task_done(things->queue) == XF_ESTATE);
    CHECK(xf_queue_join(things->queue, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_queue_stats_get(things->queue, &stats, NULL, 0) == XF_ESTATE);
    CHECK(xf_queue_close(things->queue) == XF_ESTATE);
    CHECK(xf_queue_ref(things->queue, &ref) == XF_ESTATE);
    CHECK(xf_pipe_send(things->one, "x", 1, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_pipe_receive(things->other, &message, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_pipe_receive_into(things->other, room, sizeof room, &size, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_pipe_peek(things->other, &size, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_pipe_ref(things->one, &ref) == XF_ESTATE);
}

static void use_locks_in_copy(things *things)
{
    xf_lock *lock = NULL;
    xf_ref ref;

    CHECK(xf_lock_acquire(things->lock, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_lock_release(things->lock) == XF_ESTATE);
    CHECK(xf_lock_acquire(things->placed, 0) == XF_ESTATE);
    CHECK(xf_lock_ref(things->lock, &ref) == XF_ESTATE);
    CHECK(xf_lock_create(&lock, &(xf_lock_options){.place = {things->shm, 128}}) == XF_ESTATE);
    CHECK(xf_rwlock_read(things->rwlock, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_rwlock_write(things->rwlock, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_rwlock_release(things->rwlock) == XF_ESTATE);
    CHECK(xf_semaphore_acquire(things->semaphore, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_semaphore_release(things->semaphore) == XF_ESTATE);
    CHECK(xf_condition_wait(things->condition, things->lock, XF_FOREVER) == XF_ESTATE);
    xf_condition_signal(things->condition);
    xf_condition_broadcast(things->condition);
    CHECK(xf_barrier_register(things->barrier) == XF_ESTATE);
    CHECK(xf_barrier_wait(things->barrier, XF_FOREVER) == XF_ESTATE);
    xf_barrier_reset(things->barrier);
    CHECK(xf_once_begin(things->once, XF_FOREVER) == XF_ESTATE);
    CHECK(xf_once_end(things->once) == XF_ESTATE);
    CHECK(xf_event_wait(things->event, XF_FOREVER) == XF_ESTATE);
    CHECK(!xf_event_is_set(things->event));
    xf_event_set(things->event);
    xf_event_clear(things->event);
}

static void use_memory_in_copy(things *things)
{
    xf_heap_stats stats;
    void *memory;
    xf_ref ref;

    CHECK(xf_heap_alloc(things->heap, 1, &memory) == XF_ESTATE);
    CHECK(xf_heap_dealloc(things->heap, things) == XF_ESTATE);
    CHECK(xf_heap_keep(things->heap, things) == XF_ESTATE);
    CHECK(xf_heap_own(things->heap, things) == XF_ESTATE);
    CHECK(xf_heap_size(things->heap, things) == 0);
    CHECK(xf_heap_offset(things->heap, things) == 0);
    CHECK(!xf_heap_at(things->heap, 4096));
    CHECK(xf_heap_reclaim(things->heap) == 0);
    xf_heap_stats_get(things->heap, &stats);
    CHECK(xf_heap_ref(things->heap, &ref) == XF_ESTATE);
    CHECK(xf_shm_size(things->shm) == 0);
    CHECK(xf_shm_grow(things->shm, 8192) == XF_ESTATE);
    CHECK(xf_shm_publish(things->again, "copy", NULL) == XF_ESTATE);
    CHECK(xf_shm_ref(things->shm, &ref) == XF_ESTATE);
    CHECK(xf_array_count(things->array) == 0);
    CHECK(xf_array_ref(things->array, &ref) == XF_ESTATE);
}

static void use_things_in_copy(void *arg)
{
    things *things = arg;
    xf_wait_item items[] = {{.kind = XF_WAIT_GET, .queue = things->queue},
                            {.kind = XF_WAIT_PUT, .queue = things->queue},
                            {.kind = XF_WAIT_SEND, .pipe = things->one},
                            {.kind = XF_WAIT_RECEIVE, .pipe = things->other},
                            {.kind = XF_WAIT_EVENT, .event = things->event}};

    use_messages_in_copy(things);
    use_locks_in_copy(things);
    use_memory_in_copy(things);
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        CHECK(xf_wait(&items[i], 1, 0) == XF_ESTATE);
        CHECK(xf_wait(&items[i], 1, XF_FOREVER) == XF_ESTATE);
    }
    free_things_in_copy(things);
}

static const char *thing_name(const char *kind)
{
    static char name[40];

    snprintf(name, sizeof name, "copy-%s-%ld", kind, (long)getpid());
    return name;
}

static void make_things(things *things)
{
    xf_ref ref;

    assert_int_equal(xf_queue_create(&things->queue, &(xf_queue_options){.counts_tasks = true}), 0);
    assert_int_equal(xf_pipe_create(&things->one, &things->other, NULL), 0);
    assert_int_equal(xf_lock_create(&things->lock, NULL), 0);
    assert_int_equal(xf_event_create(&things->event, NULL), 0);
    assert_int_equal(xf_rwlock_create(&things->rwlock, NULL), 0);
    assert_int_equal(xf_semaphore_create(&things->semaphore, NULL), 0);
    assert_int_equal(xf_condition_create(&things->condition, NULL), 0);
    assert_int_equal(xf_barrier_create(&things->barrier, 2, NULL), 0);
    assert_int_equal(xf_once_create(&things->once, NULL), 0);
    assert_int_equal(xf_shm_create(&things->shm, 4096, NULL), 0);
    assert_int_equal(xf_shm_ref(things->shm, &ref), 0);
    assert_int_equal(xf_shm_open(&things->again, &ref, XF_SHM_WRITE), 0);
    assert_int_equal(xf_shm_open(&things->reader, &ref, XF_SHM_READ), 0);
    assert_int_equal(xf_lock_create(&things->placed, &(xf_lock_options){.place = {things->shm, 64}}), 0);
    assert_int_equal(xf_shm_publish(things->shm, thing_name("shm"), NULL), 0);
    assert_int_equal(xf_heap_create(&things->heap, 1 << 20), 0);
    assert_int_equal(xf_array_create(&things->array, 10, 8), 0);
    assert_int_equal(xf_listener_create(&things->listener, thing_name("listener"), NULL), 0);
    assert_int_equal(uv_loop_init(&things->loop), 0);
    assert_int_equal(xf_watch_start(&things->watch, &things->loop,
                                    &(xf_watch_options){&(xf_wait_item){.kind = XF_WAIT_EVENT, .event = things->event},
                                                        1, on_watched, things}),
                     0);
    assert_int_equal(xf_lock_acquire(things->lock, 0), 0);
    assert_int_equal(xf_queue_put(things->queue, "queue", 6, 0), 0);
    assert_int_equal(xf_pipe_send(things->one, "pipe", 5, 0), 0);
}

static void connect_to(void *name)
{
    xf_pipe *pipe = NULL;

    if (xf_connect(&pipe, name, NULL, PATIENCE_MS) == 0)
        xf_pipe_free(pipe);
}

/* Each of them still does what it does. */
static void expect_things(things *things)
{
    char room[10];
    size_t got;
    xf_shm *found = NULL;
    xf_pipe *pipe = NULL;
    uv_thread_t thread;
    void *memory;
    char name[40];

    assert_int_equal(xf_queue_get_into(things->queue, room, sizeof room, &got, 0), 0);
    assert_string_equal(room, "queue");
    assert_int_equal(xf_pipe_receive_into(things->other, room, sizeof room, &got, 0), 0);
    assert_string_equal(room, "pipe");
    assert_int_equal(xf_pipe_receive_into(things->other, room, sizeof room, &got, 0), XF_ETIMEDOUT); /* still open */
    assert_int_equal(xf_lock_release(things->lock), 0);
    assert_int_equal(xf_lock_acquire(things->placed, 0), 0);
    assert_int_equal(xf_lock_release(things->placed), 0);
    memset(xf_shm_data(things->again), 7, 64);
    assert_int_equal(((const char *)xf_shm_data(things->reader))[63], 7);
    assert_int_equal(xf_shm_find(&found, thing_name("shm"), NULL, PATIENCE_MS), 0);
    xf_shm_free(found);
    assert_int_equal(xf_heap_alloc(things->heap, 100, &memory), 0);
    XF_ARRAY_AT(things->array, int64_t, 9) = 3;
    snprintf(name, sizeof name, "%s", thing_name("listener"));
    assert_int_equal(uv_thread_create(&thread, connect_to, name), 0);
    assert_int_equal(xf_listener_accept(things->listener, &pipe, PATIENCE_MS), 0);
    uv_thread_join(&thread);
    xf_pipe_free(pipe);
    xf_event_set(things->event);
    uv_run(&things->loop, UV_RUN_DEFAULT);
    assert_int_equal(things->called, 1);
}

static void a_copy_frees_what_processes_share(void **state)
{
    things things = {.called = 0};

    (void)state;
    make_things(&things);
    run_in_copy(free_things_in_copy, &things);
    run_in_copy(use_things_in_copy, &things);
    expect_things(&things);
    assert_int_equal(uv_loop_close(&things.loop), 0);
    xf_listener_free(things.listener);
    xf_queue_free(things.queue);
    xf_pipe_free(things.one);
    xf_pipe_free(things.other);
    xf_lock_free(things.placed);
    xf_lock_free(things.lock);
    xf_event_free(things.event);
    xf_rwlock_free(things.rwlock);
    xf_semaphore_free(things.semaphore);
    xf_condition_free(things.condition);
    xf_barrier_free(things.barrier);
    xf_once_free(things.once);
    xf_shm_free(things.reader);
    xf_shm_free(things.again);
    xf_shm_free(things.shm);
    xf_heap_free(things.heap);
    xf_array_free(things.array);
}

/* ---- Anew ------------------------------------------------------------------------------------ */

static void use_crossfork_in_copy(void *arg)
{
    double in = 3, out = 0;
    xf_process *process = NULL;
    xf_pool *pool = NULL;

    CHECK(xf_pool_create(&pool, &(xf_pool_options){.workers = 1}) == 0);
    CHECK(xf_pool_map(pool, &(xf_map){.task = &square, .in = &in, .out = &out, .count = 1}) == 0);
    CHECK(out == 9);
    xf_pool_free(((family *)arg)->pool);
    CHECK(xf_pool_map(pool, &(xf_map){.task = &square, .in = &in, .out = &out, .count = 1}) == 0);
    xf_pool_free(pool);
    CHECK(xf_process_start(&process, &square, &in, sizeof in, NULL) == 0);
    CHECK(xf_process_join(process, NULL, PATIENCE_MS) == 0);
    CHECK(xf_process_free(process) == 0);
    CHECK(xf_cleanup() == 0);
}

/* The thread sanitizer ends a copy of a program with threads that starts a thread. */
#ifdef __SANITIZE_THREAD__
enum { COPIES_HAVE_THREADS = 0 };
#else
enum { COPIES_HAVE_THREADS = 1 };
#endif

static void a_copy_may_use_crossfork_anew(void **state)
{
    family family;

    (void)state;
    if (!COPIES_HAVE_THREADS)
        skip();
    open_family(&family);
    run_in_copy(use_crossfork_in_copy, &family);
    close_family(&family);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_frees_a_pool),
        cmocka_unit_test(a_copy_frees_everything_of_a_pool),
        cmocka_unit_test(other_calls_on_a_pool_fail_in_a_copy),
        cmocka_unit_test(a_copy_of_a_copy_frees_a_pool),
        cmocka_unit_test(a_copy_exits_with_the_programs_handlers),
        cmocka_unit_test(a_copy_frees_an_inline_pool),
        cmocka_unit_test(copies_are_made_while_the_pool_is_busy),
        cmocka_unit_test(a_copy_frees_a_process),
        cmocka_unit_test(a_copy_frees_what_processes_share),
        cmocka_unit_test(a_copy_may_use_crossfork_anew),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
