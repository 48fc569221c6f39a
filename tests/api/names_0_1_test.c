/* Goal: a program for crossfork 0.1 compiles and runs with names_0_1.h, whatever of the renamed names it uses.
 *
 * Everything here is in the spelling of 0.1. */
#include "names_0_1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#ifndef __STDC_NO_ATOMICS__
#include <stdatomic.h>
#endif
/* after the headers that it needs */
#include <uv.h>

#include <cmocka.h>

XF_TASK(square, const double *in, double *out)
{
    *out = *in * *in;
    return 0;
}

XF_ENTRY(echo)
{
    size_t size;
    const void *in = xf_call_input(call, &size);
    void *out = xf_call_output(call, size);

    if (!out)
        return XF_TASK_NO_MEMORY;
    if (size > 0)
        memcpy(out, in, size);
    xf_log(call, XF_INFO, "%zu bytes", size);
    return 0;
}

XF_ENTRY(send_and_stop)
{
    if (xf_send(call, "x", 1) < 0)
        return 1;
    return xf_stopping(call, 10000) ? 0 : 2;
}

XF_ENTRY(add_one)
{
    const xf_ref *ref = xf_call_input(call, NULL);
    xf_array *array;

    if (xf_array_open(&array, ref, sizeof(int)) < 0)
        return 1;
#ifdef __STDC_NO_ATOMICS__
    XF_AT(array, int, 0)++;
#else
    atomic_fetch_add(&XF_ATOMIC_AT(array, int, 0), 1);
#endif
    xf_array_close(array);
    return 0;
}

static int write_text(xf_writer *writer, const void *object)
{
    return xf_write(writer, object, strlen(object) + 1);
}

static int read_text(const void *data, size_t size, void **object)
{
    *object = malloc(size);
    if (!*object)
        return -1;
    memcpy(*object, data, size);
    return 0;
}

static const xf_codec text_codec = {write_text, read_text, free};

/* ---- Processes ------------------------------------------------------------------------------- */

static int logged;

static void on_log(xf_process *process, const xf_log_line *line, void *arg)
{
    xf_level level = line->level;
    xf_source source = line->source;

    (void)process, (void)arg;
    logged += source == XF_FROM_LOG && level == XF_INFO && XF_DEBUG < XF_INFO && XF_WARNING < XF_ERROR;
    logged += source == XF_FROM_STDOUT || source == XF_FROM_STDERR;
}

static void a_process_is_joined(void **state)
{
    xf_process_options options = {.on_log = on_log};
    xf_process *process;
    xf_status status;
    size_t size;

    (void)state;
    assert_int_equal(xf_process_start(&process, &echo, "abc", 3, &options), 0);
    assert_int_equal(xf_process_join(process, XF_FOREVER, &status), 0);
    assert_int_equal(status.kind, XF_END_DONE);
    assert_memory_equal(xf_process_result(process, &size), "abc", 3);
    assert_int_equal(logged, 1);
    xf_process_free(process);
    assert_true(status.kind != XF_END_START && status.kind != XF_END_PROTOCOL);
    assert_true(XF_LOG_MAX > 0);
}

static void a_message_is_received(void **state)
{
    xf_process_options options = {.start = XF_START_SERVER};
    xf_wait_item item = {.what = XF_WAIT_MESSAGE};
    xf_wait_what what = item.what;
    xf_process *process;
    xf_message message;

    (void)state;
    assert_int_equal(what, XF_WAIT_MESSAGE);
    assert_int_equal(xf_process_start(&process, &send_and_stop, NULL, 0, &options), 0);
    item.process = process;
    assert_int_equal(xf_wait(&item, 1, XF_FOREVER), 1);
    assert_int_equal(xf_process_receive(process, XF_FOREVER, &message), 0);
    assert_int_equal(message.size, 1);
    xf_message_free(&message);
    xf_process_terminate(process);
    assert_int_equal(xf_process_join(process, XF_FOREVER, NULL), 0);
    xf_process_free(process);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static void a_pool_maps(void **state)
{
    xf_pool_options options = {.workers = 2, .placement = XF_PLACE_NONE};
    xf_map_options map = {.chunk = 1, .priority = XF_HIGH};
    xf_future *future = NULL;
    double out[3];
    xf_pool *pool;
    double *in;

    (void)state;
    assert_int_equal(xf_pool_open(&pool, &options), 0);
    in = xf_pool_alloc(pool, 3 * sizeof *in);
    assert_non_null(in);
    for (int i = 0; i < 3; i++)
        in[i] = i;
    map.results = &future;
    assert_int_equal(xf_pool_map(pool, &square, in, out, 3, &map), 0);
    assert_int_equal(xf_future_count(future), 3);
    xf_future_free(future);
    assert_true(out[2] == 4);
    assert_int_equal(xf_pool_map(pool, &square, in, out, 3, NULL), 0);
    assert_int_equal(xf_pool_map_async(&future, pool, &square, in, out, 3, &(xf_map_options){.priority = XF_LOW}), 0);
    assert_int_equal(xf_future_wait(future, XF_FOREVER), 0);
    xf_future_free(future);
    xf_pool_release(pool, in);
    xf_pool_free(pool);
    assert_true(XF_JOBS_MAX > 0 && XF_WORKERS_MAX > XF_RESIZE_MIN && XF_NORMAL != XF_HIGH);
    assert_true(XF_PLACE_CORES != XF_PLACE_NUMA);
}

static void a_pool_takes_bytes(void **state)
{
    const xf_bytes in[] = {{"one", 3}, {"three", 5}};
    xf_pool_options options = {.workers = XF_INLINE};
    xf_future *future;
    xf_pool *pool;
    size_t size;

    (void)state;
    assert_int_equal(xf_pool_open(&pool, &options), 0);
    assert_int_equal(xf_pool_map_bytes(&future, pool, &echo, in, 2, NULL), 0);
    assert_int_equal(xf_future_wait(future, XF_FOREVER), 0);
    assert_memory_equal(xf_future_result(future, 1, &size), "three", 5);
    xf_future_free(future);
    assert_int_equal(xf_pool_map_bytes(&future, pool, &echo, NULL, 0, NULL), 0);
    xf_future_free(future);
    assert_int_equal(xf_pool_submit(&future, pool, &echo, "ab", 2, &(xf_map_options){.timeout_ms = 0}), 0);
    assert_int_equal(xf_future_wait(future, XF_FOREVER), 0);
    assert_memory_equal(xf_future_result(future, 0, &size), "ab", 2);
    xf_future_free(future);
    xf_pool_free(pool);
}

static int count_to_three(void *arg, xf_bytes *input)
{
    static const char text[] = "xyz";
    int *given = arg;

    if (*given == 3)
        return 0;
    *input = (xf_bytes){text + (*given)++, 1};
    return 1;
}

static void a_generator_is_pulled(void **state)
{
    xf_imap_options imap_options = {.window = 2, .map = {.priority = XF_HIGH}};
    int given = 0, results = 0;
    xf_future *future;
    xf_pool *pool;
    xf_imap *imap;

    (void)state;
    assert_int_equal(xf_pool_open(&pool, &(xf_pool_options){.workers = 1}), 0);
    assert_int_equal(xf_imap_open(&imap, pool, &echo, count_to_three, &given, &imap_options), 0);
    while (xf_imap_next(imap, &future, NULL, XF_FOREVER) == 1) {
        results++;
        xf_future_free(future);
    }
    assert_int_equal(results, 3);
    xf_imap_free(imap);
    given = 0;
    assert_int_equal(xf_imap_open(&imap, pool, &echo, count_to_three, &given, NULL), 0);
    xf_imap_free(imap);
    xf_pool_free(pool);
}

static void advice_is_given(void **state)
{
    xf_load load = {.own = 1 << 20};
    xf_advice advice;

    (void)state;
    assert_int_equal(xf_advise(&advice, &load), 0);
    assert_true(strlen(advice.why) < XF_WHY_SIZE);
}

/* ---- Shared objects -------------------------------------------------------------------------- */

static void a_queue_lends_memory(void **state)
{
    xf_queue_stats stats;
    xf_loss losses[XF_LOSSES_MAX];
    xf_queue *queue;
    xf_slot slot;
    xf_view view;
    void *text;

    (void)state;
    assert_int_equal(xf_queue_create(&queue, &(xf_queue_options){.capacity = 4}), 0);
    assert_int_equal(xf_queue_reserve(queue, 500, &slot, 0), 0);
    memset(slot.data, 'x', 500);
    assert_int_equal(xf_queue_commit(queue, &slot, 0), 0);
    assert_int_equal(xf_queue_view(queue, &view, 0), 0);
    assert_int_equal(view.size, 500);
    xf_queue_release(queue, &view);
    assert_int_equal(xf_queue_put_object(queue, &text_codec, "text", 0), 0);
    assert_int_equal(xf_queue_get_object(queue, &text_codec, &text, 0), 0);
    assert_string_equal(text, "text");
    free(text);
    assert_int_equal(xf_queue_stats_get(queue, &stats, losses, XF_LOSSES_MAX), 0);
    xf_queue_free(queue);
    assert_true(XF_QUEUE_MAX > 0);
}

static void a_pipe_is_polled(void **state)
{
    xf_pipe *one, *other;
    size_t size;

    (void)state;
    assert_int_equal(xf_pipe_create(&one, &other, NULL), 0);
    assert_int_equal(xf_pipe_send(one, "abc", 3, 0), 0);
    assert_int_equal(xf_pipe_poll(other, &size, 0), 0);
    assert_int_equal(size, 3);
    xf_pipe_free(one);
    xf_pipe_free(other);
}

static void a_child_opens_an_array(void **state)
{
    xf_process *process;
    xf_array *array;
    xf_ref ref;

    (void)state;
    assert_int_equal(xf_array_create(&array, 1, sizeof(int)), 0);
    assert_int_equal(xf_array_ref(array, &ref), 0);
    assert_int_equal((xf_kind)ref.kind, XF_KIND_SHM);
    assert_int_equal(xf_process_start(&process, &add_one, &ref, sizeof ref, NULL), 0);
    assert_int_equal(xf_process_join(process, XF_FOREVER, NULL), 0);
    xf_process_free(process);
    assert_int_equal(XF_AT(array, int, 0), 1);
    xf_array_close(array);
}

static void memory_is_allocated_in_a_heap(void **state)
{
    xf_heap *heap;
    void *memory;

    (void)state;
    assert_int_equal(xf_heap_create(&heap, 1 << 20), 0);
    assert_int_equal(xf_heap_alloc(heap, 100, &memory), 0);
    assert_int_equal(xf_heap_free(heap, memory), 0);
    assert_int_equal(xf_heap_free(heap, NULL), 0);
    xf_heap_close(heap);
    xf_heap_close(NULL);
}

static void memory_is_found_by_its_name(void **state)
{
    char name[32];
    xf_shm *shm, *found;
    int rc;

    (void)state;
    snprintf(name, sizeof name, "names-0-1-%d", (int)uv_os_getpid());
    assert_int_equal(xf_shm_create(&shm, 4096, NULL), 0);
    rc = xf_shm_publish(shm, name, NULL);
    assert_int_equal(rc, 0);
    assert_int_equal(xf_shm_find(&found, name, NULL, XF_SHM_READ, 10000), 0);
    xf_shm_close(found);
    xf_shm_close(shm);
}

static void a_name_is_listened_on(void **state)
{
    xf_listener *listener;
    xf_pipe *pipe;
    char name[32];

    (void)state;
    snprintf(name, sizeof name, "names-0-1-%d", (int)uv_os_getpid());
    assert_int_equal(xf_listener_open(&listener, name, NULL), 0);
    assert_int_equal(xf_listener_accept(listener, &pipe, 0), XF_ETIMEDOUT);
    xf_listener_free(listener);
}

static void locks_are_closed(void **state)
{
    xf_shm *shm;
    xf_place place = {NULL, 0};
    xf_lock_options options = {.recursive = true};
    xf_lock *lock;
    xf_rwlock *rwlock;
    xf_semaphore *semaphore;
    xf_condition *condition;
    xf_event *event;
    xf_barrier *barrier;
    xf_once *once;

    (void)state;
    assert_int_equal(xf_shm_create(&shm, 4096, NULL), 0);
    place.shm = shm;
    options.place = place;
    assert_int_equal(xf_lock_create(&lock, &options), 0);
    assert_int_equal(xf_rwlock_create(&rwlock, NULL), 0);
    assert_int_equal(xf_semaphore_create(&semaphore, &(xf_semaphore_options){.limit = XF_PERMITS_MAX}), 0);
    assert_int_equal(xf_condition_create(&condition, NULL), 0);
    assert_int_equal(xf_event_create(&event, NULL), 0);
    assert_int_equal(xf_barrier_create(&barrier, 1, NULL), 0);
    assert_int_equal(xf_barrier_join(barrier), 0);
    assert_int_equal(xf_once_create(&once, NULL), 0);
    xf_lock_close(lock);
    xf_rwlock_close(rwlock);
    xf_semaphore_close(semaphore);
    xf_condition_close(condition);
    xf_event_close(event);
    xf_barrier_close(barrier);
    xf_once_close(once);
    xf_shm_close(shm);
    assert_true(XF_READERS_MAX > 0 && XF_PARTIES_MAX > 0);
}

/* ---- In an event loop ------------------------------------------------------------------------ */

static void on_ready(xf_watch *watch, const xf_wait_item *items, int count, void *arg)
{
    assert_true(count == 1 && items[0].what == XF_WAIT_EVENT && items[0].ready);
    *(bool *)arg = true;
    xf_watch_stop(watch);
}

static void an_event_is_watched(void **state)
{
    xf_wait_item item = {.what = XF_WAIT_EVENT};
    bool called = false;
    xf_watch *watch;
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(xf_event_create(&item.event, NULL), 0);
    assert_int_equal(xf_watch_start(&watch, &loop, &item, 1, on_ready, &called), 0);
    xf_event_set(item.event);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(called);
    assert_int_equal(uv_loop_close(&loop), 0);
    xf_event_close(item.event);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_is_joined),
        cmocka_unit_test(a_message_is_received),
        cmocka_unit_test(a_pool_maps),
        cmocka_unit_test(a_pool_takes_bytes),
        cmocka_unit_test(a_generator_is_pulled),
        cmocka_unit_test(advice_is_given),
        cmocka_unit_test(a_queue_lends_memory),
        cmocka_unit_test(a_pipe_is_polled),
        cmocka_unit_test(a_child_opens_an_array),
        cmocka_unit_test(memory_is_allocated_in_a_heap),
        cmocka_unit_test(memory_is_found_by_its_name),
        cmocka_unit_test(a_name_is_listened_on),
        cmocka_unit_test(locks_are_closed),
        cmocka_unit_test(an_event_is_watched),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
