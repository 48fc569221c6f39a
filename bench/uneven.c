/* w5: two workers run 2,000 tasks of very different length.  The efficiency says how well they share the work: the time
 * that one process takes, divided by twice the time of two workers. */
#include "bench.h"

#include <stdlib.h>

enum { TASKS = 2000, CALLS = 3, STEPS = 40000 };

/* The steps are in the input because a worker does not see the command line. */
typedef struct job {
    uint32_t k;
    uint32_t steps; /* of the shortest task */
} job;

static job in[TASKS];
static uint32_t expected[TASKS], *out;
static uint64_t serial_ns[2], parallel_ns[CALLS];
static int calls;

/* Long tasks are neighbours, as in a picture. */
static double weight(uint32_t k)
{
    if (k >= 1700 && k < 1800 && k % 25 == 0)
        return 300;
    if (k >= 1200 && k < 1260)
        return 30;
    return 1 + 3.0 * k / TASKS;
}

static uint32_t toil(job job)
{
    uint64_t x = (uint64_t)job.k + 1;

    for (long left = (long)(weight(job.k) * job.steps); left > 0; left--)
        x = x * 16807 % 2147483647;
    return (uint32_t)x;
}

static void check(void)
{
    for (int k = 0; k < TASKS; k++) {
        if (out[k] != expected[k])
            bench_fail("w5", "a number is wrong");
        out[k] = 0;
    }
}

static uint64_t run_serially(void)
{
    uint64_t begin = bench_now_ns();

    for (int k = 0; k < TASKS; k++)
        expected[k] = toil(in[k]);
    return bench_now_ns() - begin;
}

static void prepare(void)
{
    for (uint32_t k = 0; k < TASKS; k++)
        in[k] = (job){k, (uint32_t)bench_size(bench_asked.steps, STEPS)};
    serial_ns[0] = run_serially();
}

static int compare(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

    return (a > b) - (a < b);
}

/* Compares one process, timed before and after the workers' calls, with the median of those calls. */
static void note_efficiency(void)
{
    serial_ns[1] = run_serially();
    qsort(parallel_ns, (size_t)calls, sizeof *parallel_ns, compare);
    bench_note("efficiency", (double)(serial_ns[0] + serial_ns[1]) / 2 / (2 * (double)parallel_ns[calls / 2]));
    bench_note("serial_s", (double)(serial_ns[0] + serial_ns[1]) / 2e9);
}

/* ---- crossfork ------------------------------------------------------------------------------- */

static xf_pool *pool;

XF_TASK(toil_at, const job *in, uint32_t *out)
{
    (void)call;
    *out = toil(*in);
    return 0;
}

static void map(size_t chunk)
{
    uint64_t begin = bench_now_ns();

    bench_check("xf_pool_map",
                xf_pool_map(pool, &(xf_map){.task = &toil_at, .in = in, .out = out, .count = TASKS, .chunk = chunk}));
    parallel_ns[calls++] = bench_now_ns() - begin;
}

/* Starts the workers before the first timed call. */
static void open_pool(void)
{
    prepare();
    out = bench_allocate(sizeof expected);
    pool = bench_open_pool(&(xf_pool_options){.workers = 2});
    bench_check("xf_pool_map",
                xf_pool_map(pool, &(xf_map){.task = &toil_at, .in = in, .out = out, .count = TASKS / 10}));
}

static void map_default(void)
{
    map(0);
}

static void map_singly(void)
{
    map(1);
}

static void close_pool(void)
{
    bench_close_pool(pool);
    note_efficiency();
}

/* ---- Bare: two processes --------------------------------------------------------------------- */

static _Atomic int *next;

static void toil_singly(int me)
{
    int k;

    (void)me;
    while ((k = atomic_fetch_add(next, 1)) < TASKS)
        out[k] = toil(in[k]);
}

static void open_bare(void)
{
    prepare();
    out = bench_share(sizeof expected);
    next = bench_share(sizeof *next);
    atomic_store(next, TASKS - TASKS / 10);
    bench_open_team(toil_singly, 2);
    bench_begin_team();
    bench_await_team();
}

static void run_bare(void)
{
    uint64_t begin = bench_now_ns();

    atomic_store(next, 0);
    bench_begin_team();
    bench_await_team();
    parallel_ns[calls++] = bench_now_ns() - begin;
}

static void close_bare(void)
{
    bench_close_team();
    note_efficiency();
}

/* ---- The workload ---------------------------------------------------------------------------- */

static const bench_variant variants[] = {
    {"bare:chunk1", open_bare, run_bare, close_bare, CALLS, false, check},
    {"crossfork:default", open_pool, map_default, close_pool, CALLS, false, check},
    {"crossfork:chunk1", open_pool, map_singly, close_pool, CALLS, false, check},
};

/* The target is an efficiency of 0.975 where bare processes have 0.98. */
static const bench_ratio ratios[] = {
    {"crossfork:default", "bare:chunk1", 1.005},
    {"crossfork:chunk1", "bare:chunk1", 1.005},
};

const bench_workload bench_w5 = {"w5", TASKS, 0, variants, BENCH_COUNT(variants), ratios, BENCH_COUNT(ratios), false};
