/* Tasks and shorthands of the pool tests. */
#ifndef POOL_TASKS_H
#define POOL_TASKS_H

#include "tasks.h"

#include <uv.h>

/* ---- Tasks ----------------------------------------------------------------------------------- */

XF_TASK(square, const double *in, double *out)
{
    *out = *in * *in;
    return 0;
}

typedef struct chunk {
    char at[1 << 20];
} chunk;

XF_TASK(own_pid, const int *in, int64_t *out)
{
    (void)in;
    *out = uv_os_getpid();
    return 0;
}

/* What an item does: nothing, or one of these. */
enum { FINE, DIE, EXIT, ABORT, FAIL, HANG, STUBBORN, PATIENT };

typedef struct order {
    int what;
    int value;
} order;

XF_TASK(obey, const order *in, int *out)
{
    *out = in->value + 1;
    switch (in->what) {
    case DIE:
        support_kill_self();
    case EXIT:
        exit(0);
    case ABORT:
        abort();
    case FAIL:
        return xf_fail(call, 7, "item with value %d", in->value);
    case HANG:
    case STUBBORN:
        hang();
        break;
    case PATIENT:
        return xf_stop_requested(call, XF_FOREVER) ? 9 : 0;
    }
    return 0;
}

XF_ENTRY(reverse)
{
    size_t size;
    const char *in = xf_call_input(call, &size);
    char *out = xf_call_output(call, size);

    if (!out)
        return XF_TASK_NO_MEMORY;
    for (size_t i = 0; i < size; i++)
        out[i] = in[size - 1 - i];
    return 0;
}

/* Returns as many bytes as its input says. */
XF_ENTRY(give)
{
    size_t count = *(const size_t *)xf_call_input(call, NULL);
    char *out = xf_call_output(call, count);

    if (!out)
        return XF_TASK_NO_MEMORY;
    memset(out, 0x5A, count);
    return 0;
}

static int built;

XF_TASK(build, const int *in, int *out)
{
    *out = 0;
    built = *in;
    switch (*in) {
    case -1:
        return xf_fail(call, 5, "will not build");
    case -3:
        abort();
    case -4:
        exit(3);
    }
    return 0;
}

/* ---- Shorthands ------------------------------------------------------------------------------ */

static inline xf_pool *open_pool(const xf_pool_options *options)
{
    xf_pool *pool = NULL;
    int rc = xf_pool_create(&pool, options);

    if (rc < 0)
        print_error("xf_pool_create: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    return pool;
}

static inline xf_pool *open_workers(int workers)
{
    xf_process_options process = {.grace_ms = 100};
    xf_pool_options options = {.workers = workers, .process = &process};

    return open_pool(&options);
}

static inline void expect_squares(xf_pool *pool, size_t count, const xf_map *options)
{
    double *in = calloc(count + 1, sizeof *in), *out = calloc(count + 1, sizeof *out);
    xf_map map = options ? *options : (xf_map){0};

    for (size_t i = 0; i < count; i++)
        in[i] = (double)i;
    map.task = &square;
    map.in = in;
    map.out = out;
    map.count = count;
    assert_int_equal(xf_pool_map(pool, &map), 0);
    for (size_t i = 0; i < count; i++)
        assert_true(out[i] == in[i] * in[i]);
    free(in);
    free(out);
}

static inline xf_pool_stats stats_of(xf_pool *pool)
{
    xf_pool_stats stats;

    xf_pool_stats_get(pool, &stats, NULL, 0);
    return stats;
}

/* Waits until the pool uses no more than that memory: memory comes back when no worker accesses it any more. */
static inline void await_memory(xf_pool *pool, size_t memory)
{
    while (stats_of(pool).memory > memory)
        continue;
    assert_int_equal(stats_of(pool).memory, memory);
}

static inline xf_future *order_many(xf_pool *pool, const order *orders, size_t count, const xf_map *options)
{
    xf_map map = options ? *options : (xf_map){0};
    xf_future *future = NULL;

    map.task = &obey;
    map.in = orders;
    map.count = count;
    assert_int_equal(xf_pool_map_async(&future, pool, &map), 0);
    return future;
}

static inline xf_future *order_one(xf_pool *pool, int what, const xf_map *options)
{
    order order = {what, 1};

    return order_many(pool, &order, 1, options);
}

/* Waits until the item has ended so, and frees its future. */
static inline void expect_kind(xf_future *future, xf_end kind, int code)
{
    xf_status status;

    assert_int_not_equal(xf_future_wait(future, 60000), XF_ETIMEDOUT);
    status = xf_future_status(future, 0);
    if (status.kind != kind && xf_future_report(future, 0))
        xf_report_print(xf_future_report(future, 0), stderr);
    assert_string_equal(xf_end_name(status.kind), xf_end_name(kind));
    assert_int_equal(status.code, code);
    xf_future_free(future);
}

typedef struct mapper {
    xf_pool *pool;
    uv_thread_t thread;
} mapper;

static inline void map_often(void *arg)
{
    mapper *mapper = arg;

    for (int i = 0; i < 50; i++)
        expect_squares(mapper->pool, 500 + (size_t)i, &(xf_map){.chunk = 1 + (size_t)i % 5});
}

#endif
