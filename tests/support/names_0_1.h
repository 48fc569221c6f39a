/* The names and argument orders of crossfork 0.1, for a program that is not converted yet: compile it with
 * -include names_0_1.h, or include this header in place of crossfork.h.  docs/names.md has the table.
 *
 * In C++ the member `what` of xf_wait_item has to be renamed to `kind` by hand: the standard library has a what,
 * too. */
#ifndef CROSSFORK_NAMES_0_1_H
#define CROSSFORK_NAMES_0_1_H

/* With -include this comes before the program can ask for more than C11 of its C library. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <crossfork.h>

#include <string.h>

/* ---- Calls of another form ------------------------------------------------------------------- */

/* The options of an imap, where those of a map were a member. */
typedef struct names_0_1_imap_options {
    size_t window;
    bool unordered;
    xf_map map;
} names_0_1_imap_options;

static inline int names_0_1_process_join(xf_process *process, int timeout_ms, xf_status *status)
{
    return xf_process_join(process, status, timeout_ms);
}

static inline int names_0_1_process_receive(xf_process *process, int timeout_ms, xf_message *message)
{
    return xf_process_receive(process, message, timeout_ms);
}

static inline void names_0_1_heap_close(xf_heap *heap)
{
    xf_heap_free(heap);
}

static inline xf_map names_0_1_map(xf_task *task, const xf_map *options)
{
    xf_map map;

    memset(&map, 0, sizeof map);
    if (options)
        map = *options;
    map.task = task;
    return map;
}

static inline int names_0_1_pool_map(xf_pool *pool, xf_task *task, const void *in, void *out, size_t count,
                                     const xf_map *options)
{
    xf_map map = names_0_1_map(task, options);

    map.in = in;
    map.out = out;
    map.count = count;
    return xf_pool_map(pool, &map);
}

static inline int names_0_1_pool_map_async(xf_future **future, xf_pool *pool, xf_task *task, const void *in, void *out,
                                           size_t count, const xf_map *options)
{
    xf_map map = names_0_1_map(task, options);

    map.in = in;
    map.out = out;
    map.count = count;
    return xf_pool_map_async(future, pool, &map);
}

static inline int names_0_1_pool_map_bytes(xf_future **future, xf_pool *pool, xf_task *task, const xf_bytes *in,
                                           size_t count, const xf_map *options)
{
    static const xf_bytes none = {NULL, 0};
    xf_map map = names_0_1_map(task, options);

    map.bytes = in ? in : &none;
    map.count = count;
    return xf_pool_map_async(future, pool, &map);
}

static inline int names_0_1_pool_submit(xf_future **future, xf_pool *pool, xf_task *task, const void *input,
                                        size_t size, const xf_map *options)
{
    xf_map map = names_0_1_map(task, options);

    map.in = input;
    map.size = size;
    return xf_pool_submit(future, pool, &map);
}

static inline int names_0_1_imap_open(xf_imap **imap, xf_pool *pool, xf_task *task, xf_generator next, void *arg,
                                      const names_0_1_imap_options *options)
{
    xf_imap_options now;

    memset(&now, 0, sizeof now);
    now.task = task;
    now.next = next;
    now.arg = arg;
    if (options) {
        now.window = options->window;
        now.unordered = options->unordered;
        now.timeout_ms = options->map.timeout_ms;
        now.priority = options->map.priority;
    }
    return xf_imap_create(imap, pool, &now);
}

static inline int names_0_1_watch_start(xf_watch **watch, struct uv_loop_s *loop, const xf_wait_item *items, int count,
                                        xf_watch_callback callback, void *arg)
{
    xf_watch_options options = {items, count, callback, arg};

    return xf_watch_start(watch, loop, &options);
}

static inline int names_0_1_shm_find(xf_shm **shm, const char *name, const xf_key *key, xf_shm_access access,
                                     int timeout_ms)
{
    xf_shm_find_options options = {key, access};

    return xf_shm_find(shm, name, &options, timeout_ms);
}

#define xf_process_join(...) names_0_1_process_join(__VA_ARGS__)
#define xf_process_receive(...) names_0_1_process_receive(__VA_ARGS__)
#define xf_heap_close names_0_1_heap_close
#define xf_heap_free xf_heap_dealloc
#define xf_pool_map(...) names_0_1_pool_map(__VA_ARGS__)
#define xf_pool_map_async(...) names_0_1_pool_map_async(__VA_ARGS__)
#define xf_pool_map_bytes(...) names_0_1_pool_map_bytes(__VA_ARGS__)
#define xf_pool_submit(...) names_0_1_pool_submit(__VA_ARGS__)
#define xf_map_options xf_map
#define xf_imap_open(...) names_0_1_imap_open(__VA_ARGS__)
#define xf_imap_options names_0_1_imap_options
#define xf_watch_start(...) names_0_1_watch_start(__VA_ARGS__)
#define xf_shm_find(...) names_0_1_shm_find(__VA_ARGS__)
#ifndef __cplusplus
#define what kind
#endif

/* ---- Functions ------------------------------------------------------------------------------- */

#define xf_pool_open xf_pool_create
#define xf_listener_open xf_listener_create
#define xf_shm_close xf_shm_free
#define xf_array_close xf_array_free
#define xf_lock_close xf_lock_free
#define xf_rwlock_close xf_rwlock_free
#define xf_semaphore_close xf_semaphore_free
#define xf_condition_close xf_condition_free
#define xf_event_close xf_event_free
#define xf_barrier_close xf_barrier_free
#define xf_once_close xf_once_free
#define xf_pool_alloc xf_pool_buffer_alloc
#define xf_pool_release xf_pool_buffer_free
#define xf_pipe_poll xf_pipe_peek
#define xf_barrier_join xf_barrier_register
#define xf_stopping xf_stop_requested
#define xf_write xf_writer_put

/* ---- Types ----------------------------------------------------------------------------------- */

#define xf_slot xf_queue_slot
#define xf_view xf_queue_message_view
#define xf_loss xf_queue_loss
#define xf_place xf_sync_place
#define xf_load xf_workload
#define xf_kind xf_object_kind
#define xf_source xf_log_source
#define xf_level xf_log_level
#define xf_wait_what xf_wait_kind

/* ---- Constants ------------------------------------------------------------------------------- */

#define XF_DEBUG XF_LOG_DEBUG
#define XF_INFO XF_LOG_INFO
#define XF_WARNING XF_LOG_WARNING
#define XF_ERROR XF_LOG_ERROR
#define XF_LOG_MAX XF_LOG_LINE_MAX
#define XF_NORMAL XF_PRIORITY_NORMAL
#define XF_HIGH XF_PRIORITY_HIGH
#define XF_LOW XF_PRIORITY_LOW
#define XF_PLACE_NONE XF_PLACEMENT_NONE
#define XF_PLACE_CORES XF_PLACEMENT_CORES
#define XF_PLACE_NUMA XF_PLACEMENT_NUMA
#define XF_FROM_LOG XF_SOURCE_LOG
#define XF_FROM_STDOUT XF_SOURCE_STDOUT
#define XF_FROM_STDERR XF_SOURCE_STDERR
#define XF_INLINE XF_POOL_INLINE
#define XF_WORKERS_MAX XF_POOL_WORKERS_MAX
#define XF_RESIZE_MIN XF_POOL_RESIZE_MIN
#define XF_JOBS_MAX XF_FUTURES_MAX
#define XF_QUEUE_MAX XF_QUEUE_CAPACITY_MAX
#define XF_LOSSES_MAX XF_QUEUE_LOSSES_MAX
#define XF_READERS_MAX XF_RWLOCK_READERS_MAX
#define XF_PERMITS_MAX XF_SEMAPHORE_PERMITS_MAX
#define XF_PARTIES_MAX XF_BARRIER_PARTIES_MAX
#define XF_WHY_SIZE XF_ADVICE_WHY_SIZE
#define XF_END_START XF_END_START_FAILED
#define XF_END_PROTOCOL XF_END_PROTOCOL_ERROR
#define XF_START_SERVER XF_START_FORKSERVER

#define XF_AT(array, type, i) XF_ARRAY_AT(array, type, i)
#ifndef __cplusplus
#define XF_ATOMIC_AT(array, type, i) XF_ARRAY_ATOMIC_AT(array, type, i)
#endif

#endif
