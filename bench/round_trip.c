/* w3: submits one task of 8 bytes, waits for its 8 bytes, and frees it; one worker. */
#include "bench.h"

#include <time.h>
#include <unistd.h>

enum { CALLS_HOT = 20000, CALLS_ASLEEP = 4000, SPIN_US = 50, REST_MS = 100 };

static uint64_t question;

/* ---- crossfork ------------------------------------------------------------------------------- */

static xf_pool *pool;

XF_TASK(triple, const uint64_t *in, uint64_t *out)
{
    (void)call;
    *out = 3 * *in;
    return 0;
}

XF_ENTRY(answer_hot)
{
    (void)call;
    bench_keep_to_core(1);
    return 0;
}

static void open_hot(void)
{
    bench_keep_to_core(0);
    pool = bench_open_pool(&(xf_pool_options){.workers = 1, .spin_us = SPIN_US, .initializer = &answer_hot});
}

static void open_asleep(void)
{
    pool = bench_open_pool(&(xf_pool_options){.workers = 1, .spin_us = -1});
}

static void submit(void)
{
    xf_future *future;
    const uint64_t *answer;

    question++;
    bench_check("xf_pool_submit",
                xf_pool_submit(&future, pool, &(xf_map){.task = &triple, .in = &question, .size = sizeof question}));
    bench_check("xf_future_wait", xf_future_wait(future, XF_FOREVER));
    answer = xf_future_result(future, 0, NULL);
    if (!answer || *answer != 3 * question)
        bench_fail("w3", "an answer is wrong");
    xf_future_free(future);
}

/* CPU time of this process and of the worker. */
static uint64_t cpu_ns(int64_t worker)
{
    struct timespec own, its;
    clockid_t clock;

    if (clock_getcpuclockid((pid_t)worker, &clock) || clock_gettime(clock, &its) ||
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own))
        bench_fail("clock_getcpuclockid", "the worker does not exist any more");
    return (uint64_t)(own.tv_sec + its.tv_sec) * 1000000000 + (uint64_t)(own.tv_nsec + its.tv_nsec);
}

/* Notes the CPU time of a pool that has nothing to do. */
static void note_rest(void)
{
    xf_worker_stats worker;
    xf_pool_stats stats;
    uint64_t before;

    if (xf_pool_stats_get(pool, &stats, &worker, 1) != 1)
        bench_fail("w3", "there is no worker");
    nanosleep(&(struct timespec){0, 1000000}, NULL); /* longer than a wait spins */
    before = cpu_ns(worker.pid);
    nanosleep(&(struct timespec){0, REST_MS * 1000000L}, NULL);
    bench_note("idle_cpu_share", (double)(cpu_ns(worker.pid) - before) / (REST_MS * 1e6));
}

static void close_pool(void)
{
    note_rest();
    bench_close_pool(pool);
}

/* ---- The workload ---------------------------------------------------------------------------- */

static const bench_variant variants[] = {
    {"bare:hot", bench_open_post_hot, bench_ask_post, bench_close_post, CALLS_HOT, false, NULL},
    {"crossfork:hot", open_hot, submit, close_pool, CALLS_HOT, false, NULL},
    {"bare:asleep", bench_open_post_asleep, bench_ask_post, bench_close_post, CALLS_ASLEEP, false, NULL},
    {"crossfork:asleep", open_asleep, submit, close_pool, CALLS_ASLEEP, false, NULL},
};

static const bench_ratio ratios[] = {
    {"crossfork:hot", "bare:hot", 1.8},
    {"crossfork:asleep", "bare:asleep", 1.15},
};

const bench_workload bench_w3 = {"w3", 1, 2, variants, BENCH_COUNT(variants), ratios, BENCH_COUNT(ratios), false};
