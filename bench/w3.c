/* w3: hand in one task of 8 bytes, wait for its 8 bytes, free it; one worker. */
#include "bench.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

enum { CALLS_HOT = 20000, CALLS_ASLEEP = 4000, SPIN_US = 50, REST_MS = 100 };

static uint64_t question;

/* Two that spin for each other on one core meet only when one of them sleeps; and on a machine with other work the
 * scheduler puts them there.  So those that are to be hot have a core each.  Where there is only one, they have none.
 *   n  0: the one who asks; 1: the one who answers */
static void keep_to_core(int n)
{
    static cpu_set_t all; /* as this process found them; a worker may use all there are */
    cpu_set_t one;
    int core = -1;

    CPU_ZERO(&one);
    if (n == 0 && sched_getaffinity(0, sizeof all, &all))
        bench_fail("sched_getaffinity", NULL);
    if (n == 1 && CPU_COUNT(&all) == 0)
        for (int i = 0; i < CPU_SETSIZE; i++)
            CPU_SET(i, &all);
    for (; n >= 0; n--)
        do
            core++;
        while (core < CPU_SETSIZE && !CPU_ISSET(core, &all));
    if (core == CPU_SETSIZE)
        return;
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one); /* where that fails there is no second core */
}

/* ---- crossfork -------------------------------------------------------------------------------------------------- */

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
    keep_to_core(1);
    return 0;
}

static void open_hot(void)
{
    keep_to_core(0);
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
    bench_check("xf_pool_submit", xf_pool_submit(&future, pool, &triple, &question, sizeof question, NULL));
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
        bench_fail("clock_getcpuclockid", "the worker has gone");
    return (uint64_t)(own.tv_sec + its.tv_sec) * 1000000000 + (uint64_t)(own.tv_nsec + its.tv_nsec);
}

/* What a pool uses that has nothing to do. */
static void note_rest(void)
{
    xf_worker_stats worker;
    xf_pool_stats stats;
    uint64_t before;

    if (xf_pool_stats_get(pool, &stats, &worker, 1) != 1)
        bench_fail("w3", "there is no worker");
    nanosleep(&(struct timespec){0, 1000000}, NULL); /* more than a wait spins */
    before = cpu_ns(worker.pid);
    nanosleep(&(struct timespec){0, REST_MS * 1000000L}, NULL);
    bench_note("idle_cpu_share", (double)(cpu_ns(worker.pid) - before) / (REST_MS * 1e6));
}

static void close_pool(void)
{
    note_rest();
    bench_close_pool(pool);
}

/* ---- Bare: a child that waits on a word in shared memory -------------------------------------------------------- */

/* A number that only grows, and the value that came with it. */
typedef struct post {
    _Alignas(64) _Atomic uint32_t number;
    _Atomic uint32_t asleep; /* somebody waits in the kernel for the next one */
    uint64_t value;
} post;

static struct {
    post *posts; /* to the child, and from it */
    uint64_t spin_ns;
    pid_t pid;
} bare;

static uint64_t await(post *post, uint32_t number)
{
    uint64_t until = bare.spin_ns ? bench_now_ns() + bare.spin_ns : 0;

    while (until && bench_now_ns() < until)
        for (int i = 0; i < 20; i++)
            if (atomic_load_explicit(&post->number, memory_order_acquire) == number)
                return post->value;
    while (atomic_load(&post->number) != number) {
        atomic_store(&post->asleep, 1);
        if (atomic_load(&post->number) != number)
            bench_futex_wait(&post->number, number - 1);
    }
    return post->value;
}

/* Clears the sleeper's mark itself, so that each sleep costs one call. */
static void put(post *post, uint64_t value)
{
    post->value = value;
    atomic_fetch_add(&post->number, 1);
    if (atomic_load(&post->asleep) && atomic_exchange(&post->asleep, 0))
        bench_futex_wake(&post->number);
}

static _Noreturn void answer(void)
{
    for (uint32_t number = 1;; number++) {
        uint64_t value = await(&bare.posts[0], number);
        if (value == 0)
            _exit(0);
        put(&bare.posts[1], 3 * value);
    }
}

static void open_bare(uint64_t spin_us)
{
    bare.posts = bench_share(2 * sizeof *bare.posts);
    bare.spin_ns = 1000 * spin_us;
    bare.pid = fork();
    if (bare.pid < 0)
        bench_fail("fork", NULL);
    if (bare.pid == 0) {
        if (spin_us)
            keep_to_core(1);
        answer();
    }
}

static void open_bare_hot(void)
{
    keep_to_core(0);
    open_bare(SPIN_US);
}

static void open_bare_asleep(void)
{
    open_bare(0);
}

static void ask(void)
{
    question++;
    put(&bare.posts[0], question);
    if (await(&bare.posts[1], (uint32_t)question) != 3 * question)
        bench_fail("w3", "a bare answer is wrong");
}

static void close_bare(void)
{
    put(&bare.posts[0], 0);
    bench_reap(bare.pid);
}

/* ---- The workload ----------------------------------------------------------------------------------------------- */

static const bench_variant variants[] = {
    {"bare:hot", open_bare_hot, ask, close_bare, CALLS_HOT, false, NULL},
    {"crossfork:hot", open_hot, submit, close_pool, CALLS_HOT, false, NULL},
    {"bare:asleep", open_bare_asleep, ask, close_bare, CALLS_ASLEEP, false, NULL},
    {"crossfork:asleep", open_asleep, submit, close_pool, CALLS_ASLEEP, false, NULL},
};

static const bench_ratio ratios[] = {
    {"crossfork:hot", "bare:hot", 1.8},
    {"crossfork:asleep", "bare:asleep", 1.15},
};

const bench_workload bench_w3 = {"w3", 1, 2, variants, BENCH_COUNT(variants), ratios, BENCH_COUNT(ratios)};
