/* Goal: a pool does all of its work once, whatever becomes of its workers, and says what became of each item. */
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

XF_TASK(fill_chunk, const int *in, chunk *out)
{
    out->at[0] = (char)*in;
    return 0;
}

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

/* Writes to its input. */
XF_TASK(overwrite, const double *in, int *out)
{
    *(double *)(uintptr_t)in = -*in;
    *out = 0;
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

/* Turns as many bytes around as its name says, from where they are aligned to where they are to be. */
#define TURN(size)                                                                                                     \
    typedef struct bytes##size {                                                                                       \
        unsigned char at[size];                                                                                        \
    } bytes##size;                                                                                                     \
    XF_TASK(turn##size, const bytes##size *in, bytes##size *out)                                                       \
    {                                                                                                                  \
        if ((uintptr_t)in % 16 != 0 || (uintptr_t)out % 16 != 0)                                                       \
            return 1;                                                                                                  \
        for (size_t i = 0; i < size; i++)                                                                              \
            out->at[i] = in->at[size - 1 - i];                                                                         \
        return 0;                                                                                                      \
    }

TURN(1)
TURN(16)
TURN(17)
TURN(32)
TURN(64)
TURN(65)
TURN(5000)

/* Gives as many bytes as its input says. */
XF_ENTRY(give)
{
    size_t count = *(const size_t *)xf_call_input(call, NULL);
    char *out = xf_call_output(call, count);

    if (!out)
        return XF_TASK_NO_MEMORY;
    memset(out, 0x5A, count);
    return 0;
}

/* Dies while its result is being written. */
XF_ENTRY(die_giving)
{
    char *out = xf_call_output(call, 8 << 20);

    if (out)
        memset(out, 1, 4 << 20);
    support_kill_self();
}

XF_ENTRY(long_reason)
{
    static char text[1 << 20];

    memset(text, 'x', sizeof text - 1);
    return xf_fail(call, 3, "%s", text);
}

static int built;

XF_TASK(build, const int *in, int *out)
{
    *out = 0;
    built = *in;
    return *in == -1 ? xf_fail(call, 5, "will not build") : *in == -2 ? (support_kill_self(), 0) : 0;
}

XF_TASK(what_was_built, const int *in, int *out)
{
    *out = *in + built;
    return 0;
}

/* What a worker that ends says, and what it waits for then. */
typedef struct farewell {
    xf_ref leaving, go;
} farewell;

static xf_event *leaving, *go;

XF_TASK(prepare_farewell, const farewell *in, int *out)
{
    *out = 0;
    return xf_event_open(&leaving, &in->leaving) < 0 || xf_event_open(&go, &in->go) < 0;
}

XF_ENTRY(say_farewell)
{
    (void)call;
    xf_event_set(leaving);
    return xf_event_wait(go, XF_FOREVER) < 0;
}

/* An object is a text.  What it says is done to it on its way: "decode fails", "encode dies" and so on. */
static int suffer(const char *text, const char *stage)
{
    size_t length = strlen(stage);

    if (strncmp(text, stage, length) != 0)
        return 0;
    if (strcmp(text + length, " dies") == 0)
        support_kill_self();
    if (strcmp(text + length, " exits") == 0)
        exit(0);
    return strcmp(text + length, " fails") == 0 ? -9 : 0;
}

static int encode_text(xf_writer *writer, const void *object)
{
    return xf_writer_put(writer, object, strlen(object));
}

static int decode_as(const char *stage, const void *data, size_t size, void **object)
{
    char *text = calloc(1, size + 1);

    if (!text)
        return -1;
    memcpy(text, data, size);
    if (suffer(text, stage) < 0) {
        free(text);
        return -9;
    }
    *object = text;
    return 0;
}

static int decode_input(const void *data, size_t size, void **object)
{
    return decode_as("decode", data, size, object);
}

static int encode_output(xf_writer *writer, const void *object)
{
    int rc = suffer(object, "encode");

    return rc < 0 ? rc : encode_text(writer, object);
}

static int decode_output(const void *data, size_t size, void **object)
{
    return decode_as("result", data, size, object);
}

static const xf_codec input_codec = {encode_text, decode_input, free};
static const xf_codec output_codec = {encode_output, decode_output, free};

XF_ENTRY_CODEC(pass_on, &input_codec, &output_codec)
{
    int rc = suffer(xf_call_object(call), "run");

    if (rc == 0)
        rc = xf_call_return(call, xf_call_object(call));
    return rc < 0 ? xf_fail(call, rc, "%s", xf_error_detail()) : 0;
}

XF_TASK(nest, const int *in, int *out)
{
    xf_pool_options options = {.workers = 1};
    xf_pool *pool;
    int less = *in - 1, rc = xf_pool_create(&pool, &options);

    *out = 0;
    if (rc < 0)
        return xf_fail(call, rc, "%s", xf_error_detail());
    if (less > 0)
        rc = xf_pool_map(pool, &nest, &less, out, 1, NULL);
    xf_pool_free(pool);
    *out += 1;
    return rc < 0 ? xf_fail(call, rc, "below") : 0;
}

/* ---- Shorthands ------------------------------------------------------------------------------ */

static xf_pool *open_pool(const xf_pool_options *options)
{
    xf_pool *pool = NULL;
    int rc = xf_pool_create(&pool, options);

    if (rc < 0)
        print_error("xf_pool_create: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    return pool;
}

static xf_pool *open_workers(int workers)
{
    xf_process_options process = {.grace_ms = 100};
    xf_pool_options options = {.workers = workers, .process = &process};

    return open_pool(&options);
}

static void expect_squares(xf_pool *pool, size_t count, const xf_map_options *options)
{
    double *in = calloc(count + 1, sizeof *in), *out = calloc(count + 1, sizeof *out);

    for (size_t i = 0; i < count; i++)
        in[i] = (double)i;
    assert_int_equal(xf_pool_map(pool, &square, in, out, count, options), 0);
    for (size_t i = 0; i < count; i++)
        assert_true(out[i] == in[i] * in[i]);
    free(in);
    free(out);
}

static xf_pool_stats stats_of(xf_pool *pool)
{
    xf_pool_stats stats;

    xf_pool_stats_get(pool, &stats, NULL, 0);
    return stats;
}

/* Memory comes back as soon as no worker looks at it any more. */
static void await_memory(xf_pool *pool, size_t memory)
{
    while (stats_of(pool).memory > memory)
        continue;
    assert_int_equal(stats_of(pool).memory, memory);
}

static xf_future *order_many(xf_pool *pool, const order *orders, size_t count, const xf_map_options *options)
{
    xf_future *future = NULL;

    assert_int_equal(xf_pool_map_async(&future, pool, &obey, orders, NULL, count, options), 0);
    return future;
}

static xf_future *order_one(xf_pool *pool, int what, const xf_map_options *options)
{
    order order = {what, 1};

    return order_many(pool, &order, 1, options);
}

/* Waits until the item ended like that, and frees its future. */
static void expect_kind(xf_future *future, xf_end kind, int code)
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

/* ---- Doing work ------------------------------------------------------------------------------ */

static void a_map_gives_every_output(void **state)
{
    xf_pool *pool = open_workers(2);

    (void)state;
    for (size_t count = 0; count < 70; count++)
        expect_squares(pool, count, NULL);
    expect_squares(pool, 100000, NULL);
    xf_pool_free(pool);
}

static void every_chunk_size_gives_every_output(void **state)
{
    xf_pool *pool = open_workers(3);

    (void)state;
    for (size_t chunk = 1; chunk < 40; chunk += 3)
        expect_squares(pool, 1000, &(xf_map_options){.chunk = chunk});
    expect_squares(pool, 1000, &(xf_map_options){.chunk = 1000000});
    xf_pool_free(pool);
}

static void large_inputs_give_every_output(void **state)
{
    const size_t chunks[] = {0, 1, 1000, 99999, 400000, 1000002};

    (void)state;
    for (int workers = 1; workers <= 3; workers++) {
        xf_pool *pool = open_workers(workers);
        for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++)
            expect_squares(pool, 1000003, &(xf_map_options){.chunk = chunks[i]});
        await_memory(pool, 0);
        xf_pool_free(pool);
    }
}

static void pool_memory_is_used_in_place(void **state)
{
    enum { COUNT = 5000 };
    xf_pool *pool = open_workers(2);
    double *in = xf_pool_buffer_alloc(pool, COUNT * sizeof *in), *out = xf_pool_buffer_alloc(pool, COUNT * sizeof *out);
    size_t before = stats_of(pool).memory;
    xf_future *future;

    (void)state;
    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    assert_int_equal(xf_pool_map_async(&future, pool, &square, in, out, COUNT, NULL), 0);
    assert_true(stats_of(pool).memory - before < COUNT * sizeof *in + 100000);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    assert_ptr_equal(xf_future_result(future, 7, NULL), out + 7);
    assert_true(out[7] == 49);
    xf_future_free(future);
    assert_int_equal(xf_pool_submit(&future, pool, &overwrite, in + 7, sizeof *in, NULL), 0);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    assert_true(in[7] == -7);
    xf_future_free(future);
    await_memory(pool, before);
    xf_pool_buffer_free(pool, in);
    xf_pool_buffer_free(pool, out);
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void inputs_of_any_length_come_back(void **state)
{
    static char text[300000];
    const xf_bytes in[] = {{"abc", 3}, {"", 0}, {text, sizeof text}, {"0123456789", 10}};
    xf_pool *pool = open_workers(2);
    xf_future *future;
    const char *out;
    size_t size;

    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)i;
    assert_int_equal(xf_pool_map_bytes(&future, pool, &reverse, in, 4, NULL), 0);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    for (size_t i = 0; i < 4; i++) {
        out = xf_future_result(future, i, &size);
        assert_int_equal(size, in[i].size);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(out[k], ((const char *)in[i].data)[size - 1 - k]);
    }
    xf_future_free(future);
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void single_tasks_give_small_and_large_outputs(void **state)
{
    const size_t sizes[] = {0, 1, 64, 65, 4000, 5000, 70000, 3 << 20};
    xf_pool *pool = open_workers(1);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        xf_future *future;
        const unsigned char *out;
        size_t size;
        assert_int_equal(xf_pool_submit(&future, pool, &give, &sizes[i], sizeof *sizes, NULL), 0);
        assert_int_equal(xf_future_wait(future, 60000), 0);
        out = xf_future_result(future, 0, &size);
        assert_int_equal(size, sizes[i]);
        assert_true(size == 0 || (out[0] == 0x5A && out[size - 1] == 0x5A));
        xf_future_free(future);
    }
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void single_tasks_take_small_and_large_inputs(void **state)
{
    unsigned char in[200];
    xf_pool *pool = open_workers(1);

    (void)state;
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)i;
    for (size_t length = 0; length <= sizeof in; length++) {
        xf_future *future;
        const unsigned char *out;
        size_t size;
        assert_int_equal(xf_pool_submit(&future, pool, &reverse, in, length, NULL), 0);
        assert_int_equal(xf_future_wait(future, 60000), 0);
        out = xf_future_result(future, 0, &size);
        assert_int_equal(size, length);
        for (size_t i = 0; i < length; i++)
            assert_int_equal(out[i], in[length - 1 - i]);
        xf_future_free(future);
    }
    await_memory(pool, 0);
    xf_pool_free(pool);
}

/* Each with more of them open, whose results stay what they are. */
static void single_tasks_of_every_declared_size_give_their_output(void **state)
{
    xf_task *const tasks[] = {&turn1, &turn16, &turn17, &turn32, &turn64, &turn65, &turn5000};
    enum { TASKS = sizeof tasks / sizeof *tasks, EACH = 30 };
    static unsigned char in[5000 + EACH];
    xf_pool *pool = open_workers(2);
    xf_future *futures[TASKS * EACH];

    (void)state;
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i * 7);
    for (size_t i = 0; i < TASKS * EACH; i++) {
        xf_task *task = tasks[i % TASKS];
        assert_int_equal(xf_pool_submit(&futures[i], pool, task, in + i / TASKS, task->input_size, NULL), 0);
    }
    assert_int_equal(xf_future_wait_all(futures, TASKS * EACH, 60000), 0);
    for (size_t i = 0; i < TASKS * EACH; i++) {
        size_t size;
        const unsigned char *out = xf_future_result(futures[i], 0, &size);
        assert_int_equal(size, tasks[i % TASKS]->output_size);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(out[k], in[i / TASKS + size - 1 - k]);
    }
    for (size_t i = 0; i < TASKS * EACH; i++)
        xf_future_free(futures[i]);
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void two_hundred_workers_sum_rightly(void **state)
{
    xf_pool *pool = open_workers(200);

    (void)state;
    expect_squares(pool, 20000, &(xf_map_options){.chunk = 1});
    assert_int_equal(stats_of(pool).started, 200);
    xf_pool_free(pool);
}

typedef struct mapper {
    xf_pool *pool;
    uv_thread_t thread;
} mapper;

static void map_often(void *arg)
{
    mapper *mapper = arg;

    for (int i = 0; i < 50; i++)
        expect_squares(mapper->pool, 500 + (size_t)i, &(xf_map_options){.chunk = 1 + (size_t)i % 5});
}

static void two_threads_map_at_the_same_time(void **state)
{
    mapper mappers[2] = {{open_workers(2), 0}, {NULL, 0}};

    (void)state;
    mappers[1].pool = mappers[0].pool;
    for (int i = 0; i < 2; i++)
        assert_int_equal(uv_thread_create(&mappers[i].thread, map_often, &mappers[i]), 0);
    for (int i = 0; i < 2; i++)
        uv_thread_join(&mappers[i].thread);
    xf_pool_free(mappers[0].pool);
}

static void submit_and_wait(void *arg)
{
    for (int i = 0; i < 40; i++)
        expect_kind(order_one(((mapper *)arg)->pool, i % 10 == 7 ? FAIL : FINE, NULL),
                    i % 10 == 7 ? XF_END_FAILED : XF_END_DONE, i % 10 == 7 ? 7 : 0);
}

static void threads_that_wait_for_their_own_all_return(void **state)
{
    enum { THREADS = 8 };
    xf_pool *pool = open_workers(2);
    mapper waiters[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        waiters[i].pool = pool;
        assert_int_equal(uv_thread_create(&waiters[i].thread, submit_and_wait, &waiters[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&waiters[i].thread);
    xf_pool_free(pool);
}

static void a_huge_map_needs_eight_bytes_an_item_beside_its_data(void **state)
{
    enum { COUNT = 10000000 };
    xf_pool *pool = open_workers(2);
    double *in = calloc(COUNT, sizeof *in);
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_map_async(&future, pool, &square, in, NULL, COUNT, &(xf_map_options){.chunk = 1}), 0);
    assert_true(stats_of(pool).memory < (size_t)COUNT * (2 * sizeof *in + 8) + 200000);
    assert_int_equal(xf_future_wait(future, 120000), 0);
    xf_future_free(future);
    free(in);
    xf_pool_free(pool);
}

/* ---- Ends that are not good
 * ------------------------------------------------------------------------------------------ */

static void a_failing_item_tells_why_and_the_others_are_done(void **state)
{
    order orders[100] = {{FINE, 0}};
    xf_pool *pool = open_workers(2);
    xf_future *future;

    (void)state;
    orders[30] = (order){FAIL, 300};
    orders[60] = (order){FAIL, 600};
    future = order_many(pool, orders, 100, NULL);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 2);
    assert_int_equal(xf_future_failure(future, 0), 30);
    assert_int_equal(xf_future_failure(future, 1), 60);
    assert_int_equal(xf_future_failure(future, 2), 100);
    assert_int_equal(xf_future_status(future, 60).code, 7);
    assert_string_equal(xf_future_report(future, 60)->message, "item with value 600");
    assert_int_equal(xf_future_report(future, 60)->item, 60);
    assert_null(xf_future_report(future, 61));
    assert_null(xf_future_result(future, 60, NULL));
    assert_int_equal(*(const int *)xf_future_result(future, 61, NULL), 1);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void expect_one_lost(int what, xf_end kind, int code)
{
    order orders[200];
    xf_pool *pool = open_workers(2);
    xf_future *future;
    int out[200] = {0};

    for (int i = 0; i < 200; i++)
        orders[i] = (order){i == 100 ? what : FINE, i};
    assert_int_equal(xf_pool_map_async(&future, pool, &obey, orders, out, 200, &(xf_map_options){.chunk = 16}), 0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 1);
    assert_int_equal(xf_future_failure(future, 0), 100);
    assert_string_equal(xf_end_name(xf_future_status(future, 100).kind), xf_end_name(kind));
    assert_int_equal(xf_future_status(future, 100).code, code);
    assert_string_equal(xf_future_report(future, 100)->task, "obey");
    assert_int_equal(xf_future_report(future, 100)->attempt, 1);
    assert_true(xf_future_report(future, 100)->pid > 0);
    for (int i = 0; i < 200; i++)
        assert_true(i == 100 || out[i] == i + 1);
    xf_future_free(future);
    assert_int_equal(stats_of(pool).lost, 1);
    expect_squares(pool, 1000, NULL);
    assert_int_equal(stats_of(pool).started, 2);
    xf_pool_free(pool);
}

static void a_killed_worker_costs_one_item(void **state)
{
    (void)state;
    expect_one_lost(DIE, XF_END_KILLED, 0);
}

static void workers_killed_in_a_large_map_cost_one_item_each(void **state)
{
    enum { COUNT = 700000, APART = 100000, LOST = COUNT / APART };
    order *orders = calloc(COUNT, sizeof *orders);
    int *out = calloc(COUNT, sizeof *out);
    xf_pool *pool = open_workers(2);
    xf_map_options options = {0};
    xf_future *future;

    (void)state;
    for (int i = 0; i < COUNT; i++)
        orders[i] = (order){i % APART == 0 ? DIE : FINE, i};
    options.results = &future;
    assert_int_equal(xf_pool_map(pool, &obey, orders, out, COUNT, &options), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), LOST);
    for (int i = 0; i < COUNT; i++) {
        xf_end kind = xf_future_status(future, (size_t)i).kind;
        if (i % APART == 0 ? kind != XF_END_KILLED : out[i] != i + 1)
            fail_msg("item %d: %s, output %d", i, xf_end_name(kind), out[i]);
    }
    xf_future_free(future);
    assert_int_equal(stats_of(pool).lost, LOST);
    await_memory(pool, 0);
    xf_pool_free(pool);
    free(orders);
    free(out);
}

static void an_exit_inside_a_task_costs_one_item(void **state)
{
    (void)state;
    expect_one_lost(EXIT, XF_END_EXITED, 0);
}

static void an_abort_costs_one_item(void **state)
{
    (void)state;
    expect_one_lost(ABORT, XF_END_CRASHED, XF_CRASH_ABORT);
}

static void an_idle_worker_that_is_killed_is_replaced(void **state)
{
    xf_pool_options options = {.workers = 2, .eager = true};
    xf_pool *pool = open_pool(&options);
    xf_worker_stats before[2], after[2];
    xf_pool_stats stats;

    (void)state;
    do
        assert_int_equal(xf_pool_stats_get(pool, &stats, before, 2), 2);
    while (!before[0].ready || !before[1].ready);
    support_kill(before[0].pid);
    assert_true(support_gone(before[0].pid, 60000));
    do
        expect_squares(pool, 1000, NULL);
    while (stats_of(pool).replaced == 0);
    do
        assert_int_equal(xf_pool_stats_get(pool, &stats, after, 2), 2);
    while (!after[0].ready);
    assert_int_equal(stats.lost, 0);
    assert_int_not_equal(after[0].pid, before[0].pid);
    assert_int_equal(after[1].pid, before[1].pid);
    xf_pool_free(pool);
}

static void a_bad_item_is_tried_as_often_as_asked(void **state)
{
    xf_pool_options options = {.workers = 2, .max_attempts = 3};
    xf_pool *pool = open_pool(&options);
    order orders[20];
    xf_future *future;

    (void)state;
    for (int i = 0; i < 20; i++)
        orders[i] = (order){i == 9 ? DIE : FINE, i};
    future = order_many(pool, orders, 20, NULL);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 1);
    assert_int_equal(xf_future_report(future, 9)->attempt, 3);
    xf_future_free(future);
    while (stats_of(pool).replaced < 3)
        continue;
    xf_pool_free(pool);
}

static void workers_that_all_die_lose_each_its_item(void **state)
{
    const int counts[] = {1, 2, 5, 13};

    (void)state;
    for (int k = 0; k < 4; k++) {
        xf_pool *pool = open_workers(counts[k]);
        order orders[60];
        xf_future *future;
        for (int i = 0; i < 60; i++)
            orders[i] = (order){i % 3 == 1 ? DIE : FINE, i};
        future = order_many(pool, orders, 60, &(xf_map_options){.chunk = 4});
        assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
        assert_int_equal(xf_future_failures(future), 20);
        for (int i = 0; i < 60; i++)
            assert_int_equal(xf_future_status(future, (size_t)i).kind, i % 3 == 1 ? XF_END_KILLED : XF_END_DONE);
        xf_future_free(future);
        xf_pool_free(pool);
    }
}

static void a_crash_while_giving_a_large_result_is_one_lost_item(void **state)
{
    xf_pool *pool = open_workers(2);
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_submit(&future, pool, &die_giving, NULL, 0, NULL), 0);
    expect_kind(future, XF_END_KILLED, 0);
    await_memory(pool, 0);
    expect_squares(pool, 100, NULL);
    xf_pool_free(pool);
}

static void a_large_reason_arrives_whole(void **state)
{
    xf_pool *pool = open_workers(2);
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_submit(&future, pool, &long_reason, NULL, 0, NULL), 0);
    expect_squares(pool, 100, NULL);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(strlen(xf_future_report(future, 0)->message), (1 << 20) - 1);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void each_stage_has_its_own_end(void **state)
{
    static const struct {
        const char *text;
        xf_end kind;
        int code;
        xf_phase phase;
    } cases[] = {
        {"fine", XF_END_DONE, 0, XF_PHASE_RUNNING},
        {"decode fails", XF_END_FAILED, XF_ECODEC, XF_PHASE_RUNNING},
        {"decode dies", XF_END_KILLED, 0, XF_PHASE_LOADING},
        {"decode exits", XF_END_EXITED, 0, XF_PHASE_LOADING},
        {"run fails", XF_END_FAILED, -9, XF_PHASE_RUNNING},
        {"run dies", XF_END_KILLED, 0, XF_PHASE_RUNNING},
        {"run exits", XF_END_EXITED, 0, XF_PHASE_RUNNING},
        {"encode fails", XF_END_FAILED, XF_ECODEC, XF_PHASE_RUNNING},
        {"encode dies", XF_END_KILLED, 0, XF_PHASE_RUNNING},
        {"result fails", XF_END_DONE, 0, XF_PHASE_RUNNING},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    xf_pool *pool = open_workers(2);
    xf_bytes in[COUNT];
    xf_future *future;
    void *object;

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        in[i] = (xf_bytes){cases[i].text, 0};
    assert_int_equal(xf_pool_map_bytes(&future, pool, &pass_on, in, COUNT, NULL), 0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < COUNT; i++) {
        const xf_report *report = xf_future_report(future, i);
        assert_string_equal(xf_end_name(xf_future_status(future, i).kind), xf_end_name(cases[i].kind));
        assert_int_equal(xf_future_status(future, i).code, cases[i].code);
        assert_true(!report || report->phase == cases[i].phase);
    }
    assert_int_equal(xf_future_result_object(future, 0, &object), 0);
    assert_string_equal(object, "fine");
    free(object);
    assert_int_equal(xf_future_result_object(future, 1, &object), XF_EFAILED);
    assert_int_equal(xf_future_result_object(future, COUNT - 1, &object), XF_ECODEC);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void cancelling_with_much_in_flight_costs_nothing_else(void **state)
{
    enum { SIZE = 100 << 20 };
    xf_pool *pool = open_workers(2);
    char *text = calloc(1, SIZE);
    xf_future *futures[3];

    (void)state;
    assert_non_null(text);
    for (int i = 0; i < 3; i++)
        assert_int_equal(xf_pool_submit(&futures[i], pool, &reverse, text, SIZE, NULL), 0);
    xf_future_cancel(futures[0]);
    xf_future_cancel(futures[2]);
    assert_int_equal(xf_future_wait(futures[1], 60000), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(xf_future_wait(futures[i], 60000), XF_ETIMEDOUT);
        xf_future_free(futures[i]);
    }
    expect_squares(pool, 100, NULL);
    await_memory(pool, 0);
    free(text);
    xf_pool_free(pool);
}

static void the_first_failure_ends_the_rest_when_asked(void **state)
{
    enum { COUNT = 3000 };
    xf_pool *pool = open_workers(2);
    static order orders[COUNT];
    xf_future *future;
    size_t cancelled = 0;

    (void)state;
    orders[3].what = FAIL;
    for (int i = COUNT / 2; i < COUNT; i++)
        orders[i].what = PATIENT;
    future = order_many(pool, orders, COUNT, &(xf_map_options){.chunk = 1, .stop_at_failure = true});
    xf_pool_cancel(pool); /* for the patient ones that were claimed */
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < COUNT; i++)
        cancelled += xf_future_status(future, i).kind == XF_END_CANCELLED;
    assert_true(cancelled >= COUNT / 2 - 4);
    xf_future_free(future);
    xf_pool_free(pool);
}

/* ---- Time
 * ------------------------------------------------------------------------------------------------------------ */

static void an_item_that_takes_too_long_is_ended(void **state)
{
    xf_pool *pool = open_workers(2);
    xf_map_options options = {.timeout_ms = 50};
    order orders[8] = {{FINE, 0}, {HANG, 1}, {FINE, 2}, {PATIENT, 3}, {FINE, 4}, {FINE, 5}, {HANG, 6}, {FINE, 7}};
    xf_future *future = order_many(pool, orders, 8, &options);

    (void)state;
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < 8; i++)
        assert_string_equal(xf_end_name(xf_future_status(future, i).kind),
                            xf_end_name(orders[i].what == FINE ? XF_END_DONE : XF_END_TIMED_OUT));
    assert_string_equal(xf_future_report(future, 1)->kind_name, "timed out");
    xf_future_free(future);
    expect_squares(pool, 100, NULL);
    xf_pool_free(pool);
}

static void a_cancelled_item_ends_whether_it_likes_or_not(void **state)
{
    const int whats[] = {PATIENT, STUBBORN};
    xf_pool *pool = open_workers(1);

    (void)state;
    for (int i = 0; i < 2; i++) {
        xf_future *running = order_one(pool, whats[i], NULL), *waiting = order_one(pool, FINE, NULL);
        xf_worker_stats worker;
        xf_pool_stats stats;
        do
            xf_pool_stats_get(pool, &stats, &worker, 1);
        while (stats.queued != 1);
        xf_future_cancel(waiting);
        expect_kind(waiting, XF_END_CANCELLED, 0);
        xf_future_cancel(running);
        expect_kind(running, XF_END_CANCELLED, 0);
        expect_squares(pool, 100, NULL);
    }
    assert_int_equal(stats_of(pool).lost, 0);
    xf_pool_free(pool);
}

static void terminating_with_much_queued_is_prompt(void **state)
{
    enum { COUNT = 10000 };
    xf_pool *pool = open_workers(2);
    static order orders[COUNT];
    xf_future *future, *single[50];

    (void)state;
    for (int i = 0; i < COUNT; i++)
        orders[i].what = HANG;
    future = order_many(pool, orders, COUNT, NULL);
    for (int i = 0; i < 50; i++)
        single[i] = order_one(pool, HANG, NULL);
    assert_int_equal(xf_pool_terminate(pool, 60000), 0);
    assert_int_equal(xf_future_wait(future, 0), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), COUNT);
    assert_int_equal(xf_future_status(future, 0).kind, XF_END_CANCELLED);
    assert_int_equal(xf_future_status(future, COUNT - 1).kind, XF_END_CANCELLED);
    for (int i = 0; i < 50; i++)
        expect_kind(single[i], XF_END_CANCELLED, 0);
    xf_future_free(future);
    xf_pool_free(pool);
}

/* ---- The life of a pool
 * ---------------------------------------------------------------------------------------------- */

static void closing_completes_what_was_handed_in(void **state)
{
    enum { COUNT = 2000 };
    xf_pool *pool = open_workers(2);
    static order orders[COUNT];
    xf_future *future = order_many(pool, orders, COUNT, NULL), *late;

    (void)state;
    assert_int_equal(xf_pool_join(pool, 0), XF_ESTATE);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_submit(&late, pool, &reverse, "a", 1, NULL), XF_ESTATE);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    assert_int_equal(xf_future_wait(future, 0), 0);
    assert_int_equal(stats_of(pool).started, 0);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void recycled_workers_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t most = 1; most <= 3; most += 2) {
        xf_pool_options options = {.workers = 2, .tasks_per_worker = most};
        xf_pool *pool = open_pool(&options);
        int64_t pids[12] = {0};
        int in[12] = {0};
        assert_int_equal(xf_pool_map(pool, &own_pid, in, pids, 12, NULL), 0);
        for (int i = 0; i < 12; i++) {
            uint64_t same = 0;
            for (int k = 0; k < 12; k++)
                same += pids[k] == pids[i];
            assert_true(same <= most);
        }
        expect_squares(pool, 30, NULL);
        xf_pool_close(pool);
        assert_int_equal(xf_pool_join(pool, 60000), 0);
        assert_int_equal(stats_of(pool).lost, 0);
        xf_pool_free(pool);
    }
}

static void closing_early_still_recycles(void **state)
{
    xf_pool_options options = {.workers = 2, .tasks_per_worker = 3};
    xf_pool *pool = open_pool(&options);
    double in[40] = {0};
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_map_async(&future, pool, &square, in, NULL, 40, NULL), 0);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    assert_int_equal(xf_future_wait(future, 0), 0);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void the_number_of_workers_can_change_under_load(void **state)
{
    const int sizes[] = {12, 2, 1, 12, 3, 1, 8};
    xf_pool *pool = open_workers(2);
    mapper mapper = {pool, 0};

    (void)state;
    assert_int_equal(uv_thread_create(&mapper.thread, map_often, &mapper), 0);
    for (int i = 0; i < 28; i++)
        assert_int_equal(xf_pool_resize(pool, sizes[i % 7]), 0);
    uv_thread_join(&mapper.thread);
    assert_int_equal(xf_pool_resize(pool, 0), XF_EINVAL);
    assert_int_equal(stats_of(pool).lost, 0);
    xf_pool_free(pool);
}

static void workers_start_when_there_is_work(void **state)
{
    xf_pool *pool = open_workers(4);

    (void)state;
    assert_int_equal(stats_of(pool).started, 0);
    expect_kind(order_one(pool, FINE, NULL), XF_END_DONE, 0);
    assert_int_equal(stats_of(pool).started, 1);
    xf_pool_free(pool);
}

static void workers_without_work_end_when_asked(void **state)
{
    xf_pool_options options = {.workers = 3, .eager = true, .idle_ms = 20};
    xf_pool *pool = open_pool(&options);

    (void)state;
    expect_squares(pool, 1000, NULL);
    while (stats_of(pool).started > 0)
        continue;
    assert_int_equal(stats_of(pool).replaced, 0);
    expect_squares(pool, 1000, NULL);
    assert_int_equal(stats_of(pool).lost, 0);
    xf_pool_free(pool);
}

/* One that has been idle for long enough does not look for work again. */
static void work_that_comes_when_a_worker_leaves_is_done(void **state)
{
    farewell farewell;
    xf_pool_options options = {.workers = 1,
                               .idle_ms = 5,
                               .initializer = &prepare_farewell,
                               .initializer_input = &farewell,
                               .initializer_size = sizeof farewell,
                               .finalizer = &say_farewell};
    double in = 3;
    xf_future *future;
    xf_pool *pool;

    (void)state;
    assert_int_equal(xf_event_create(&leaving, NULL), 0);
    assert_int_equal(xf_event_create(&go, NULL), 0);
    assert_int_equal(xf_event_ref(leaving, &farewell.leaving), 0);
    assert_int_equal(xf_event_ref(go, &farewell.go), 0);
    pool = open_pool(&options);
    expect_squares(pool, 1, NULL);
    assert_int_equal(xf_event_wait(leaving, 60000), 0);
    assert_int_equal(xf_pool_submit(&future, pool, &square, &in, sizeof in, NULL), 0);
    xf_event_set(go);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    assert_true(*(const double *)xf_future_result(future, 0, NULL) == 9);
    xf_future_free(future);
    xf_pool_free(pool);
    xf_event_free(leaving);
    xf_event_free(go);
}

static void initializers_build_what_tasks_see(void **state)
{
    int value = 1000, in[10], out[10];
    xf_pool_options options = {
        .workers = 2, .initializer = &build, .initializer_input = &value, .initializer_size = sizeof value};
    xf_pool *pool = open_pool(&options);

    (void)state;
    for (int i = 0; i < 10; i++)
        in[i] = i;
    assert_int_equal(xf_pool_map(pool, &what_was_built, in, out, 10, NULL), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(out[i], 1000 + i);
    xf_pool_free(pool);
}

static void an_initializer_that_does_not_work_breaks_the_pool(void **state)
{
    (void)state;
    for (int value = -1; value >= -2; value--) {
        xf_pool_options options = {
            .workers = 2, .initializer = &build, .initializer_input = &value, .initializer_size = sizeof value};
        xf_pool *pool = open_pool(&options);
        xf_future *future = order_one(pool, FINE, NULL), *late;
        assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
        assert_int_equal(xf_future_status(future, 0).kind, XF_END_START_FAILED);
        assert_string_equal(xf_future_report(future, 0)->message,
                            value == -1 ? "will not build" : "somebody else killed it");
        xf_future_free(future);
        assert_true(xf_pool_submit(&late, pool, &reverse, "a", 1, NULL) < 0);
        xf_pool_free(pool);
    }
}

static void pools_nest_to_the_limit(void **state)
{
    xf_pool *pool = open_workers(1);
    int depth = 3, out = 0;

    (void)state;
    assert_int_equal(xf_pool_map(pool, &nest, &depth, &out, 1, NULL), 0);
    assert_int_equal(out, 3);
    depth = XF_DEPTH_MAX + 1;
    assert_int_equal(xf_pool_map(pool, &nest, &depth, &out, 1, NULL), XF_EFAILED);
    xf_pool_free(pool);
}

static void nesting_is_limited_as_asked(void **state)
{
    (void)state;
    for (int nesting = -1; nesting <= 2; nesting++) {
        xf_pool_options options = {.workers = 1, .nesting = nesting};
        xf_pool *pool = open_pool(&options);
        for (int depth = 1; depth <= 3; depth++) {
            int out, allowed = nesting == 0 ? 3 : nesting < 0 ? 0 : nesting;
            assert_int_equal(xf_pool_map(pool, &nest, &depth, &out, 1, NULL), depth <= allowed ? 0 : XF_EFAILED);
        }
        xf_pool_free(pool);
    }
}

static void a_high_priority_goes_first(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *blocker = order_one(pool, PATIENT, NULL), *low, *high;
    double in[100] = {0};

    (void)state;
    assert_int_equal(xf_pool_map_async(&low, pool, &square, in, NULL, 100, &(xf_map_options){.chunk = 1}), 0);
    high = order_one(pool, PATIENT, &(xf_map_options){.priority = XF_PRIORITY_HIGH});
    while (stats_of(pool).queued != 101)
        continue;
    xf_future_cancel(blocker);
    assert_int_equal(xf_future_wait(blocker, 60000), XF_EFAILED);
    while (stats_of(pool).queued != 100)
        continue;
    assert_int_equal(xf_future_wait(low, 0), XF_ETIMEDOUT);
    xf_future_cancel(high);
    assert_int_equal(xf_future_wait(low, 60000), 0);
    xf_future_free(blocker);
    xf_future_free(low);
    xf_future_free(high);
    xf_pool_free(pool);
}

/* ---- Callbacks, futures, generators
 * ---------------------------------------------------------------------------------- */

typedef struct told {
    uv_sem_t done;
    int success, failure;
} told;

static void on_success(xf_future *future, void *arg)
{
    (void)future;
    ((told *)arg)->success++;
}

static void on_failure(xf_future *future, void *arg)
{
    assert_int_equal(xf_future_failures(future), 1);
    ((told *)arg)->failure++;
}

static void on_done(xf_future *future, void *arg)
{
    xf_future_free(future);
    uv_sem_post(&((told *)arg)->done);
}

static void callbacks_are_called_once(void **state)
{
    const int whats[] = {FINE, FAIL, DIE};
    xf_pool *pool = open_workers(1);
    told told = {.success = 0};
    xf_map_options options = {.on_success = on_success, .on_failure = on_failure, .on_done = on_done, .arg = &told};

    (void)state;
    assert_int_equal(uv_sem_init(&told.done, 0), 0);
    for (int i = 0; i < 3; i++) {
        order_one(pool, whats[i], &options);
        uv_sem_wait(&told.done);
    }
    assert_int_equal(told.success, 1);
    assert_int_equal(told.failure, 2);
    uv_sem_destroy(&told.done);
    xf_pool_free(pool);
}

static void on_map(xf_future *future, void *arg)
{
    assert_int_equal(xf_future_count(future), 1);
    uv_sem_post(&((told *)arg)->done);
}

/* Also of a map that has freed its future, and while it does. */
static void callbacks_of_what_is_freed_are_called(void **state)
{
    enum { MAPS = 300 };
    xf_pool *pool = open_workers(1);
    told told = {.success = 0};
    xf_map_options options = {.on_success = on_success, .on_done = on_map, .arg = &told};

    (void)state;
    assert_int_equal(uv_sem_init(&told.done, 0), 0);
    for (int i = 0; i < MAPS; i++)
        expect_squares(pool, 1, &options);
    for (int i = 0; i < MAPS; i++)
        uv_sem_wait(&told.done);
    assert_int_equal(told.success, MAPS);
    await_memory(pool, 0);
    uv_sem_destroy(&told.done);
    xf_pool_free(pool);
}

/* No worker tells of what none has run. */
static void callbacks_are_called_for_what_never_ran(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *blocker = order_one(pool, PATIENT, NULL), *future;
    told told = {.success = 0};
    xf_map_options options = {.on_success = on_success, .on_failure = on_failure, .on_done = on_done, .arg = &told};

    (void)state;
    assert_int_equal(uv_sem_init(&told.done, 0), 0);
    assert_int_equal(xf_pool_map_async(&future, pool, &square, NULL, NULL, 0, &options), 0);
    uv_sem_wait(&told.done);
    assert_int_equal(told.success, 1);
    xf_future_cancel(order_one(pool, FINE, &options));
    uv_sem_wait(&told.done);
    order_one(pool, FINE, &options);
    xf_pool_cancel(pool);
    uv_sem_wait(&told.done);
    assert_int_equal(told.success, 1);
    assert_int_equal(told.failure, 2);
    assert_int_equal(xf_future_wait(blocker, 60000), XF_EFAILED);
    xf_future_free(blocker);
    uv_sem_destroy(&told.done);
    xf_pool_free(pool);
}

typedef struct on_loop {
    uv_thread_t thread;
    uv_loop_t loop;
    int calls;
} on_loop;

static void on_done_here(xf_future *future, void *arg)
{
    on_loop *here = arg;
    uv_thread_t self = uv_thread_self();

    assert_true(uv_thread_equal(&self, &here->thread));
    xf_future_free(future);
    if (++here->calls == 3)
        uv_stop(&here->loop);
}

static void on_late(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void callbacks_come_on_the_loop_that_was_given(void **state)
{
    on_loop here = {.thread = uv_thread_self()};
    xf_pool_options options = {.workers = 2, .loop = &here.loop};
    xf_map_options map = {.on_done = on_done_here, .arg = &here};
    uv_timer_t keep;
    xf_pool *pool;

    (void)state;
    assert_int_equal(uv_loop_init(&here.loop), 0);
    uv_timer_init(&here.loop, &keep);
    uv_timer_start(&keep, on_late, 60000, 0);
    pool = open_pool(&options);
    order_one(pool, FINE, &map);
    order_one(pool, DIE, &map);
    order_one(pool, FAIL, &map);
    uv_run(&here.loop, UV_RUN_DEFAULT);
    assert_int_equal(here.calls, 3);
    xf_pool_free(pool);
    uv_close((uv_handle_t *)&keep, NULL);
    uv_run(&here.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&here.loop), 0);
}

static void exactly_the_complete_future_is_found(void **state)
{
    xf_pool *pool = open_workers(2);
    xf_future *futures[2] = {order_one(pool, PATIENT, NULL), NULL};

    (void)state;
    assert_int_equal(xf_future_wait_any(futures, 1, 10), XF_ETIMEDOUT);
    futures[1] = order_one(pool, FINE, NULL);
    assert_int_equal(xf_future_wait_any(futures, 2, 60000), 1);
    assert_int_equal(xf_future_wait_all(futures, 2, 10), XF_ETIMEDOUT);
    xf_future_cancel(futures[0]);
    assert_int_equal(xf_future_wait_all(futures, 2, 60000), XF_EFAILED);
    xf_future_free(futures[0]);
    xf_future_free(futures[1]);
    xf_pool_free(pool);
}

typedef struct source {
    size_t next, end;
    int error;
    size_t given; /* results that were taken */
    size_t window;
} source;

static int next_number(void *arg, xf_bytes *input)
{
    source *source = arg;

    assert_true(source->next - source->given <= source->window);
    if (source->next == source->end)
        return source->error;
    source->next++;
    *input = (xf_bytes){&source->next, sizeof source->next};
    return 1;
}

static void a_generator_is_pulled_through_a_window(void **state)
{
    xf_pool *pool = open_workers(2);

    (void)state;
    for (int unordered = 0; unordered < 2; unordered++) {
        source source = {.end = 300, .error = -77, .window = 5};
        xf_imap *imap;
        xf_future *future;
        size_t index, sum = 0;
        int rc;
        assert_int_equal(xf_imap_create(&imap, pool, &give, next_number, &source,
                                        &(xf_imap_options){.window = 5, .unordered = unordered}),
                         0);
        while ((rc = xf_imap_next(imap, &future, &index, 60000)) == 1) {
            size_t size = 0;
            assert_non_null(xf_future_result(future, 0, &size));
            assert_int_equal(size, index + 1);
            assert_true(unordered || index == source.given);
            source.given++;
            sum += index;
            xf_future_free(future);
        }
        assert_int_equal(rc, -77);
        assert_int_equal(source.given, 300);
        assert_int_equal(sum, 299 * 300 / 2);
        assert_int_equal(xf_imap_next(imap, &future, &index, 0), 0);
        xf_imap_free(imap);
    }
    assert_int_equal(stats_of(pool).futures, 0);
    xf_pool_free(pool);
}

static void an_abandoned_generator_leaves_nothing(void **state)
{
    xf_pool *pool = open_workers(2);
    source source = {.end = 1000, .window = 8};
    xf_imap *imap;

    (void)state;
    assert_int_equal(xf_imap_create(&imap, pool, &give, next_number, &source, NULL), 0);
    xf_imap_free(imap);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    xf_pool_free(pool);
}

static void futures_may_outlive_their_pool(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *done = order_one(pool, FINE, NULL), *hanging = order_one(pool, HANG, NULL);

    (void)state;
    assert_int_equal(xf_future_wait(done, 60000), 0);
    xf_pool_free(pool);
    xf_future_free(done);
    xf_future_free(hanging);
}

static void a_future_that_was_given_up_is_completed_all_the_same(void **state)
{
    xf_pool *pool = open_workers(2);

    (void)state;
    for (int i = 0; i < 500; i++)
        xf_future_free(order_one(pool, i % 100 == 7 ? DIE : FINE, NULL));
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 60000), 0);
    assert_int_equal(stats_of(pool).done + stats_of(pool).lost, 500);
    assert_int_equal(stats_of(pool).lost, 5);
    xf_pool_free(pool);
}

/* ---- Mistakes and limits
 * --------------------------------------------------------------------------------------------- */

static void wrong_use_is_told(void **state)
{
    xf_task unknown = {.name = "unknown"};
    xf_pool *pool;
    xf_future *future;

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = -2}), XF_EINVAL);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = XF_POOL_WORKERS_MAX + 1}), XF_EINVAL);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.initializer = &unknown}), XF_ENOTASK);
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.initializer = &build}), XF_ESIZE);
    pool = open_workers(1);
    assert_int_equal(xf_pool_map(pool, &reverse, NULL, NULL, 0, NULL), XF_ESIZE);
    assert_int_equal(xf_pool_map(pool, &unknown, NULL, NULL, 0, NULL), XF_ENOTASK);
    assert_int_equal(xf_pool_submit(&future, pool, &square, "abc", 3, NULL), XF_ESIZE);
    assert_int_equal(xf_pool_submit(&future, pool, &reverse, "a", 1, &(xf_map_options){.timeout_ms = -1}), XF_EINVAL);
    xf_pool_free(pool);
    xf_pool_free(NULL);
    xf_future_free(NULL);
}

static void memory_beyond_the_limit_is_refused_and_comes_back(void **state)
{
    xf_pool_options options = {.workers = 1, .memory_limit = 8 << 20};
    xf_pool *pool = open_pool(&options);
    size_t huge = 64 << 20;
    xf_future *future;
    void *most;

    (void)state;
    assert_null(xf_pool_buffer_alloc(pool, 9 << 20));
    most = xf_pool_buffer_alloc(pool, 8 << 20);
    assert_non_null(most);
    assert_null(xf_pool_buffer_alloc(pool, 1));
    xf_pool_buffer_free(pool, most);
    assert_int_equal(xf_pool_submit(&future, pool, &give, &huge, sizeof huge, NULL), 0);
    expect_kind(future, XF_END_FAILED, XF_TASK_NO_MEMORY);
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

/* The memory of a future that was freed is there for the next, whoever still looks at it. */
static void memory_that_was_just_freed_can_be_had(void **state)
{
    enum { ROUNDS = 300, COUNT = 8 };
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 2, .memory_limit = COUNT * sizeof(chunk) * 3 / 2});
    int in[COUNT] = {0};
    xf_future *future;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        assert_int_equal(xf_pool_map_async(&future, pool, &fill_chunk, in, NULL, COUNT, NULL), 0);
        assert_int_equal(xf_future_wait(future, 60000), 0);
        xf_future_free(future);
        if (round % 2 == 0)
            expect_squares(pool, 1, NULL); /* whose job is used again later */
    }
    await_memory(pool, 0);
    xf_pool_free(pool);
}

static void an_inline_pool_does_the_same_here(void **state)
{
    xf_pool_options options = {.workers = XF_POOL_INLINE};
    xf_pool *pool = open_pool(&options);
    int in[1] = {0};
    int64_t pid = 0;
    xf_future *future;

    (void)state;
    expect_squares(pool, 1000, NULL);
    assert_int_equal(xf_pool_map(pool, &own_pid, in, &pid, 1, NULL), 0);
    assert_int_equal(pid, uv_os_getpid());
    future = order_one(pool, FAIL, NULL);
    assert_int_equal(xf_future_wait(future, 0), XF_EFAILED);
    expect_kind(future, XF_END_FAILED, 7);
    assert_int_equal(xf_pool_resize(pool, 2), XF_ESTATE);
    assert_int_equal(stats_of(pool).started, 0);
    xf_pool_close(pool);
    assert_int_equal(xf_pool_join(pool, 0), 0);
    xf_pool_free(pool);
}

static void use_a_pool(void)
{
    xf_pool *pool = open_workers(2);
    xf_future *future;

    expect_squares(pool, 1000, NULL);
    expect_kind(order_one(pool, DIE, NULL), XF_END_KILLED, 0);
    assert_int_equal(xf_pool_submit(&future, pool, &reverse, "abc", 3, NULL), 0);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    xf_future_free(future);
    xf_pool_free(pool);
    assert_int_equal(xf_cleanup(), 0);
}

static void square_a_hundred_times(void *pool)
{
    for (int i = 0; i < 100; i++)
        expect_squares(pool, 3, NULL);
}

static void threads_share_an_inline_pool(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = XF_POOL_INLINE});
    uv_thread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(uv_thread_create(&threads[i], square_a_hundred_times, pool), 0);
    for (int i = 0; i < 4; i++)
        uv_thread_join(&threads[i]);
    xf_pool_free(pool);
}

static void an_inline_pool_recycles_nobody(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = XF_POOL_INLINE, .tasks_per_worker = 2});

    (void)state;
    expect_squares(pool, 10, NULL);
    xf_pool_free(pool);
}

static void nothing_is_left_behind(void **state)
{
    enum { TURNS = 6 };
    size_t handles, mappings;

    (void)state;
    use_a_pool();
    handles = support_handles();
    mappings = support_mappings();
    for (int turn = 0; turn < TURNS; turn++)
        use_a_pool();
    assert_true(support_handles() < handles + TURNS);
    assert_int_equal(support_mappings(), mappings);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_gives_every_output),
        cmocka_unit_test(every_chunk_size_gives_every_output),
        cmocka_unit_test(large_inputs_give_every_output),
        cmocka_unit_test(pool_memory_is_used_in_place),
        cmocka_unit_test(inputs_of_any_length_come_back),
        cmocka_unit_test(single_tasks_give_small_and_large_outputs),
        cmocka_unit_test(single_tasks_take_small_and_large_inputs),
        cmocka_unit_test(single_tasks_of_every_declared_size_give_their_output),
        cmocka_unit_test(two_hundred_workers_sum_rightly),
        cmocka_unit_test(two_threads_map_at_the_same_time),
        cmocka_unit_test(threads_that_wait_for_their_own_all_return),
        cmocka_unit_test(a_huge_map_needs_eight_bytes_an_item_beside_its_data),
        cmocka_unit_test(a_failing_item_tells_why_and_the_others_are_done),
        cmocka_unit_test(a_killed_worker_costs_one_item),
        cmocka_unit_test(workers_killed_in_a_large_map_cost_one_item_each),
        cmocka_unit_test(an_exit_inside_a_task_costs_one_item),
        cmocka_unit_test(an_abort_costs_one_item),
        cmocka_unit_test(an_idle_worker_that_is_killed_is_replaced),
        cmocka_unit_test(a_bad_item_is_tried_as_often_as_asked),
        cmocka_unit_test(workers_that_all_die_lose_each_its_item),
        cmocka_unit_test(a_crash_while_giving_a_large_result_is_one_lost_item),
        cmocka_unit_test(a_large_reason_arrives_whole),
        cmocka_unit_test(each_stage_has_its_own_end),
        cmocka_unit_test(cancelling_with_much_in_flight_costs_nothing_else),
        cmocka_unit_test(the_first_failure_ends_the_rest_when_asked),
        cmocka_unit_test(an_item_that_takes_too_long_is_ended),
        cmocka_unit_test(a_cancelled_item_ends_whether_it_likes_or_not),
        cmocka_unit_test(terminating_with_much_queued_is_prompt),
        cmocka_unit_test(closing_completes_what_was_handed_in),
        cmocka_unit_test(recycled_workers_lose_nothing),
        cmocka_unit_test(closing_early_still_recycles),
        cmocka_unit_test(the_number_of_workers_can_change_under_load),
        cmocka_unit_test(workers_start_when_there_is_work),
        cmocka_unit_test(workers_without_work_end_when_asked),
        cmocka_unit_test(work_that_comes_when_a_worker_leaves_is_done),
        cmocka_unit_test(initializers_build_what_tasks_see),
        cmocka_unit_test(an_initializer_that_does_not_work_breaks_the_pool),
        cmocka_unit_test(pools_nest_to_the_limit),
        cmocka_unit_test(nesting_is_limited_as_asked),
        cmocka_unit_test(a_high_priority_goes_first),
        cmocka_unit_test(callbacks_are_called_once),
        cmocka_unit_test(callbacks_of_what_is_freed_are_called),
        cmocka_unit_test(callbacks_are_called_for_what_never_ran),
        cmocka_unit_test(callbacks_come_on_the_loop_that_was_given),
        cmocka_unit_test(exactly_the_complete_future_is_found),
        cmocka_unit_test(a_generator_is_pulled_through_a_window),
        cmocka_unit_test(an_abandoned_generator_leaves_nothing),
        cmocka_unit_test(futures_may_outlive_their_pool),
        cmocka_unit_test(a_future_that_was_given_up_is_completed_all_the_same),
        cmocka_unit_test(wrong_use_is_told),
        cmocka_unit_test(memory_beyond_the_limit_is_refused_and_comes_back),
        cmocka_unit_test(memory_that_was_just_freed_can_be_had),
        cmocka_unit_test(an_inline_pool_does_the_same_here),
        cmocka_unit_test(threads_share_an_inline_pool),
        cmocka_unit_test(an_inline_pool_recycles_nobody),
        cmocka_unit_test(nothing_is_left_behind),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
