/* Goal: a thread that is cancelled in a call of crossfork completes the call (POSIX). */
#include "tasks.h"

#include <pthread.h>
#include <unistd.h>

/* ---- Tasks ----------------------------------------------------------------------------------- */

XF_ENTRY(wait_for_stop)
{
    send_number(call, 1);
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

XF_ENTRY(crash)
{
    (void)call;
    abort();
    return 0;
}

XF_TASK(twice, const int *in, int *out)
{
    *out = 2 * *in;
    return 0;
}

XF_TASK(slow, const int *in, int *out)
{
    (void)xf_stop_requested(call, *in);
    *out = 2 * *in;
    return 0;
}

/* ---- A thread that is to be cancelled ------------------------------------------------------- */

/* What a thread does while it is to be cancelled: it makes calls, and returns the line of the first that goes wrong, or
 * 0.  The first cancellation point that lets the thread end is one too many. */
typedef struct cancelled {
    int (*does)(void *arg);
    void *arg;
    int line; /* -1: it did not come to the end */
} cancelled;

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return __LINE__;                                                                                           \
    } while (0)

static void *run_cancelled(void *arg)
{
    cancelled *self = arg;

    pthread_cancel(pthread_self());
    self->line = self->does(self->arg);
    pthread_testcancel();
    return NULL;
}

/* Returns the line; -2 when the thread cannot be cancelled any more. */
static int line_of(int (*does)(void *arg), void *arg)
{
    cancelled self = {does, arg, -1};
    pthread_t thread;
    void *end;

    pthread_create(&thread, NULL, run_cancelled, &self);
    pthread_join(thread, &end);
    return self.line == 0 && end != PTHREAD_CANCELED ? -2 : self.line;
}

static void expect_completed(int (*does)(void *arg))
{
    assert_int_equal(line_of(does, NULL), 0);
    assert_int_equal(line_of(does, NULL), 0); /* what the first has left behind does no harm */
}

/* ---- Processes ------------------------------------------------------------------------------- */

static int use_processes(void *arg)
{
    const xf_process_options captured = {.stdout_to = XF_STDIO_CAPTURE, .stderr_to = XF_STDIO_LOG, .grace_ms = 1000};
    xf_process *process;
    xf_message message;
    xf_status status;
    xf_stack stack;
    char *output;

    (void)arg;
    EXPECT(xf_process_start(&process, &wait_for_stop, NULL, 0, &captured) == 0);
    EXPECT(xf_process_receive(process, &message, XF_FOREVER) == 0);
    xf_message_free(&message);
    EXPECT(xf_process_receive(process, &message, 20) == XF_ETIMEDOUT);
    EXPECT(xf_process_join(process, NULL, 20) == XF_ETIMEDOUT);
    EXPECT(xf_process_pid(process) > 0 && xf_process_alive(process));
    if (xf_process_stack(process, &stack) == 0)
        xf_stack_free(&stack);
    xf_process_terminate(process);
    EXPECT(xf_process_join(process, &status, XF_FOREVER) == 0 && status.kind == XF_END_DONE);
    EXPECT(xf_process_output(process, 1, &output, NULL) == 0);
    xf_memory_free(output);
    EXPECT(xf_process_free(process) == 0);
    EXPECT(xf_process_start(&process, &wait_for_stop, NULL, 0, NULL) == 0);
    xf_process_kill(process);
    EXPECT(xf_process_join(process, &status, XF_FOREVER) == 0 && status.kind == XF_END_TERMINATED);
    xf_process_detach(process);
    EXPECT(xf_process_start(&process, &wait_for_stop, NULL, 0, NULL) == 0);
    EXPECT(xf_process_free(process) == 0);
    return 0;
}

static int read_a_report(void *arg)
{
    xf_process *process;
    FILE *null = arg;

    EXPECT(xf_process_start(&process, &crash, NULL, 0, &(xf_process_options){.stderr_to = XF_STDIO_NULL}) == 0);
    EXPECT(xf_process_join(process, NULL, XF_FOREVER) == 0);
    EXPECT(xf_process_report(process) != NULL);
    EXPECT(xf_report_print(xf_process_report(process), null) == 0);
    EXPECT(xf_report_json(xf_process_report(process), null) == 0);
    EXPECT(xf_process_free(process) == 0);
    return 0;
}

static void calls_on_processes_are_completed(void **state)
{
    FILE *null = fopen("/dev/null", "w");

    (void)state;
    expect_completed(use_processes);
    assert_non_null(null);
    assert_int_equal(line_of(read_a_report, null), 0);
    fclose(null);
}

static int join_for_ever(void *process)
{
    EXPECT(xf_process_join(process, NULL, XF_FOREVER) == 0);
    return 0;
}

static int receive_for_ever(void *process)
{
    xf_message message;

    EXPECT(xf_process_receive(process, &message, XF_FOREVER) == 0);
    xf_message_free(&message);
    return 0;
}

/* Other threads can join meanwhile and afterwards. */
static void who_is_cancelled_in_a_join_hands_on(void **state)
{
    xf_process *process = start(&wait_for_stop, NULL, 0, NULL);
    cancelled joins[2] = {{join_for_ever, process, -1}, {join_for_ever, process, -1}};
    pthread_t threads[2];

    (void)state;
    assert_int_equal(line_of(receive_for_ever, process), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_cancelled, &joins[i]), 0);
    assert_int_equal(xf_process_join(process, NULL, 50), XF_ETIMEDOUT);
    for (int i = 0; i < 2; i++)
        pthread_cancel(threads[i]);
    xf_process_terminate(process);
    assert_int_equal(xf_process_join(process, NULL, XF_FOREVER), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(joins[i].line, 0);
    }
    expect_end(process, XF_END_DONE, 0);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static int wait_for_futures(xf_pool *pool)
{
    int in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8] = {0}, long_ms = 100000;
    xf_map quick = {.task = &twice, .in = in, .out = out, .count = 8},
           endless = {.task = &slow, .in = &long_ms, .size = sizeof long_ms};
    xf_future *futures[2];

    EXPECT(xf_pool_map(pool, &quick) == 0 && out[7] == 16);
    EXPECT(xf_pool_submit(&futures[0], pool, &endless) == 0);
    EXPECT(xf_pool_map_async(&futures[1], pool, &quick) == 0);
    EXPECT(xf_future_wait(futures[0], 20) == XF_ETIMEDOUT);
    EXPECT(xf_future_wait_all(futures, 2, 20) == XF_ETIMEDOUT);
    EXPECT(xf_future_wait_any(futures, 2, XF_FOREVER) == 1);
    EXPECT(xf_wait(&(xf_wait_item){.kind = XF_WAIT_FUTURE, .future = futures[0]}, 1, 20) == XF_ETIMEDOUT);
    xf_future_cancel(futures[0]);
    EXPECT(xf_future_wait(futures[0], XF_FOREVER) <= 0);
    xf_future_free(futures[0]);
    xf_future_free(futures[1]);
    return 0;
}

static int lose_a_worker(xf_pool *pool)
{
    xf_future *future;

    EXPECT(xf_pool_submit(&future, pool, &(xf_map){.task = &crash}) == 0);
    EXPECT(xf_future_wait(future, XF_FOREVER) == XF_EFAILED);
    EXPECT(xf_future_report(future, 0)->status.kind == XF_END_CRASHED);
    xf_future_free(future);
    return 0;
}

static int pull(void *arg, xf_bytes *input)
{
    static const int one = 1;
    int *left = arg;

    *input = (xf_bytes){&one, sizeof one};
    return (*left)-- > 0;
}

static int iterate(xf_pool *pool)
{
    int left = 4;
    xf_imap *imap;
    xf_future *future;

    EXPECT(xf_imap_create(&imap, pool, &(xf_imap_options){.task = &twice, .next = pull, .arg = &left}) == 0);
    for (int i = 0; i < 3; i++) {
        EXPECT(xf_imap_next(imap, &future, NULL, XF_FOREVER) == 1);
        xf_future_free(future);
    }
    xf_imap_free(imap);
    return 0;
}

static int use_pools(void *arg)
{
    const xf_process_options quiet = {.stderr_to = XF_STDIO_NULL, .grace_ms = 1000};
    xf_pool *pool;
    void *buffer;

    (void)arg;
    EXPECT(xf_pool_create(&pool, &(xf_pool_options){.workers = 2, .process = &quiet}) == 0);
    EXPECT(wait_for_futures(pool) == 0);
    EXPECT(lose_a_worker(pool) == 0);
    EXPECT(iterate(pool) == 0);
    buffer = xf_pool_buffer_alloc(pool, 100000);
    EXPECT(buffer != NULL);
    xf_pool_buffer_free(pool, buffer);
    EXPECT(xf_pool_resize(pool, 1) == 0);
    xf_pool_cancel(pool);
    xf_pool_close(pool);
    EXPECT(xf_pool_join(pool, XF_FOREVER) == 0);
    xf_pool_free(pool);
    EXPECT(xf_pool_create(&pool, &(xf_pool_options){.workers = 2, .eager = true, .process = &quiet}) == 0);
    EXPECT(xf_pool_terminate(pool, XF_FOREVER) == 0);
    xf_pool_free(pool);
    return 0;
}

static int use_an_inline_pool(void *arg)
{
    int in[2] = {1, 2}, out[2] = {0};
    xf_pool *pool;

    (void)arg;
    EXPECT(xf_pool_create(&pool, &(xf_pool_options){.workers = XF_POOL_INLINE}) == 0);
    EXPECT(xf_pool_map(pool, &(xf_map){.task = &slow, .in = in, .out = out, .count = 2}) == 0 && out[1] == 4);
    EXPECT(iterate(pool) == 0);
    xf_pool_free(pool);
    return 0;
}

static void calls_on_pools_are_completed(void **state)
{
    (void)state;
    expect_completed(use_pools);
    expect_completed(use_an_inline_pool);
}

/* ---- What processes share -------------------------------------------------------------------- */

static int use_messages(void *arg)
{
    xf_queue *queue;
    xf_pipe *one, *other;
    xf_message message;
    char large[200000] = "";

    (void)arg;
    EXPECT(xf_queue_create(&queue, &(xf_queue_options){.capacity = 1, .counts_tasks = true}) == 0);
    EXPECT(xf_queue_get(queue, &message, 20) == XF_ETIMEDOUT);
    EXPECT(xf_queue_put(queue, large, sizeof large, XF_FOREVER) == 0);
    EXPECT(xf_queue_put(queue, "x", 1, 20) == XF_ETIMEDOUT);
    EXPECT(xf_queue_get(queue, &message, XF_FOREVER) == 0);
    xf_message_free(&message);
    EXPECT(xf_queue_join(queue, 20) == XF_ETIMEDOUT);
    EXPECT(xf_queue_task_done(queue) == 0 && xf_queue_join(queue, XF_FOREVER) == 0);
    EXPECT(xf_wait(&(xf_wait_item){.kind = XF_WAIT_GET, .queue = queue}, 1, 20) == XF_ETIMEDOUT);
    xf_queue_free(queue);
    EXPECT(xf_pipe_create(&one, &other, NULL) == 0);
    EXPECT(xf_pipe_receive(one, &message, 20) == XF_ETIMEDOUT);
    EXPECT(xf_pipe_send(one, large, sizeof large, XF_FOREVER) == 0);
    EXPECT(xf_pipe_receive(other, &message, XF_FOREVER) == 0);
    xf_message_free(&message);
    xf_pipe_free(one);
    xf_pipe_free(other);
    return 0;
}

static int use_locks(void *arg)
{
    xf_lock *lock;
    xf_rwlock *rwlock;
    xf_semaphore *semaphore;
    xf_condition *condition;

    (void)arg;
    EXPECT(xf_lock_create(&lock, NULL) == 0 && xf_rwlock_create(&rwlock, NULL) == 0);
    EXPECT(xf_semaphore_create(&semaphore, NULL) == 0 && xf_condition_create(&condition, NULL) == 0);
    EXPECT(xf_lock_acquire(lock, XF_FOREVER) == 0 && xf_lock_acquire(lock, 20) == XF_EDEADLK);
    EXPECT(xf_condition_wait(condition, lock, 20) == XF_ETIMEDOUT);
    EXPECT(xf_lock_release(lock) == 0);
    EXPECT(xf_rwlock_read(rwlock, XF_FOREVER) == 0 && xf_rwlock_release(rwlock) == 0);
    EXPECT(xf_rwlock_write(rwlock, XF_FOREVER) == 0 && xf_rwlock_release(rwlock) == 0);
    EXPECT(xf_semaphore_acquire(semaphore, 20) == XF_ETIMEDOUT);
    xf_condition_free(condition);
    xf_semaphore_free(semaphore);
    xf_rwlock_free(rwlock);
    xf_lock_free(lock);
    return 0;
}

static int use_events(void *arg)
{
    xf_event *events[3];
    xf_wait_item items[3];
    xf_barrier *barrier;
    xf_once *once;

    (void)arg;
    EXPECT(xf_barrier_create(&barrier, 2, NULL) == 0 && xf_once_create(&once, NULL) == 0);
    EXPECT(xf_barrier_wait(barrier, 20) < 0);
    EXPECT(xf_once_begin(once, XF_FOREVER) >= 0 && xf_once_end(once) == 0);
    for (int i = 0; i < 3; i++) {
        EXPECT(xf_event_create(&events[i], NULL) == 0);
        items[i] = (xf_wait_item){.kind = XF_WAIT_EVENT, .event = events[i]};
    }
    EXPECT(xf_event_wait(events[0], 20) == XF_ETIMEDOUT);
    EXPECT(xf_wait(items, 3, 20) == XF_ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        xf_event_free(events[i]);
    xf_once_free(once);
    xf_barrier_free(barrier);
    return 0;
}

static int use_memory(void *arg)
{
    xf_shm *shm, *other;
    xf_ref ref;

    (void)arg;
    EXPECT(xf_shm_create(&shm, 10000, &(xf_shm_options){.limit = 1000000}) == 0 && xf_shm_ref(shm, &ref) == 0);
    EXPECT(xf_shm_open(&other, &ref, XF_SHM_READ) == 0 && xf_shm_grow(shm, 50000) == 0);
    xf_shm_free(other);
    xf_shm_free(shm);
    return 0;
}

static void calls_on_shared_objects_are_completed(void **state)
{
    (void)state;
    expect_completed(use_messages);
    expect_completed(use_locks);
    expect_completed(use_events);
    expect_completed(use_memory);
}

/* ---- Unrelated processes --------------------------------------------------------------------- */

static int use_a_listener(void *arg)
{
    const char *name = arg;
    const xf_listener_options options = {.key = {.bytes = "a key of some length", .size = 20}};
    xf_listener *listener;
    xf_pipe *pipe;
    xf_shm *shm;

    EXPECT(xf_listener_create(&listener, name, &options) == 0);
    EXPECT(xf_listener_accept(listener, &pipe, 20) == XF_ETIMEDOUT);
    EXPECT(xf_connect(&pipe, "cancel-test-nobody", NULL, 20) < 0);
    xf_listener_free(listener);
    EXPECT(xf_shm_create(&shm, 10000, NULL) == 0 && xf_shm_publish(shm, name, NULL) == 0);
    xf_shm_free(shm);
    EXPECT(xf_shm_find(&shm, name, NULL, 20) < 0);
    return 0;
}

static void calls_on_names_are_completed(void **state)
{
    char name[40];

    (void)state;
    snprintf(name, sizeof name, "cancel-test-%d", (int)getpid());
    assert_int_equal(line_of(use_a_listener, name), 0);
    assert_int_equal(line_of(use_a_listener, name), 0);
}

/* ---- In a child ------------------------------------------------------------------------------ */

static int call_back(void *arg)
{
    xf_call *call = arg;

    EXPECT(xf_log(call, XF_LOG_INFO, "logged") == 0);
    EXPECT(xf_send(call, "message", 7) <= 0);
    xf_progress(call, 1, 2);
    EXPECT(!xf_stop_requested(call, 20));
    return 0;
}

/* Returns the line of the call that failed.  The thread of the task itself is never cancelled. */
XF_ENTRY(call_from_threads)
{
    int line = line_of(call_back, call);

    pthread_cancel(pthread_self());
    pthread_testcancel();
    return line ? line : line_of(call_back, call);
}

static void calls_of_a_task_are_completed(void **state)
{
    xf_pool *pool;
    xf_future *future;

    (void)state;
    expect_end(start(&call_from_threads, NULL, 0, NULL), XF_END_DONE, 0);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 1}), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &call_from_threads}), 0);
        assert_int_equal(xf_future_wait(future, XF_FOREVER), 0);
        xf_future_free(future);
    }
    xf_pool_free(pool);
}

static int clean_up(void *arg)
{
    (void)arg;
    EXPECT(xf_cleanup() == 0);
    return 0;
}

static void the_end_is_completed(void **state)
{
    (void)state;
    expect_completed(clean_up);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_on_processes_are_completed),
        cmocka_unit_test(who_is_cancelled_in_a_join_hands_on),
        cmocka_unit_test(calls_on_pools_are_completed),
        cmocka_unit_test(calls_on_shared_objects_are_completed),
        cmocka_unit_test(calls_on_names_are_completed),
        cmocka_unit_test(calls_of_a_task_are_completed),
        cmocka_unit_test(the_end_is_completed),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
