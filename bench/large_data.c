/* w4: two workers run 64 tasks with 16 MiB in and 16 MiB out each, which use the same 8 buffers again and again. */
#include "bench.h"

#include <string.h>

enum { TASKS = 64, BLOCKS = 8, WINDOW = 4, WORDS = 1 << 22, CALLS = 3, MASK = 0x5A5A5A5A };

typedef struct block {
    uint32_t words[WORDS];
} block;

static block *in, *out; /* BLOCKS each, in private memory or in memory that the workers share */

static void fill(void)
{
    for (uint32_t i = 0; i < BLOCKS; i++)
        for (uint32_t k = 0; k < WORDS; k++)
            in[i].words[k] = i + k;
}

static void flip(block *restrict to, const block *restrict from)
{
    for (uint32_t k = 0; k < WORDS; k++)
        to->words[k] = from->words[k] ^ MASK;
}

/* Checks some words in about each page, and overwrites them, so that a later call cannot pass with old results. */
static void check_words(uint32_t mask)
{
    for (uint32_t i = 0; i < BLOCKS; i++)
        for (uint32_t k = 0; k < WORDS; k += 1021) {
            if (out[i].words[k] != ((i + k) ^ mask))
                bench_fail("w4", "a word is wrong");
            out[i].words[k] = 0;
        }
}

static void check(void)
{
    check_words(MASK);
}

static void check_copy(void)
{
    check_words(0);
}

/* ---- crossfork ------------------------------------------------------------------------------- */

static xf_pool *pool;

XF_TASK(flip_block, const block *in, block *out)
{
    (void)call;
    flip(out, in);
    return 0;
}

static void open_private(void)
{
    pool = bench_open_pool(&(xf_pool_options){.workers = 2});
    in = bench_allocate(BLOCKS * sizeof *in);
    out = bench_allocate(BLOCKS * sizeof *out);
    fill();
}

static void open_shared(void)
{
    pool = bench_open_pool(&(xf_pool_options){.workers = 2});
    in = xf_pool_buffer_alloc(pool, BLOCKS * sizeof *in);
    out = xf_pool_buffer_alloc(pool, BLOCKS * sizeof *out);
    if (!in || !out)
        bench_fail("xf_pool_buffer_alloc", xf_error_detail());
    fill();
}

/* Submits maps of `blocks` blocks, and has `window` maps under way before it waits for the first. */
static void run_maps(int blocks, int window)
{
    xf_future *futures[WINDOW];
    int maps = TASKS / blocks;

    for (int i = 0; i < maps + window; i++) {
        xf_future **future = &futures[i % window];
        size_t at = (size_t)(i * blocks % BLOCKS);
        if (i >= window) {
            bench_check("xf_future_wait", xf_future_wait(*future, XF_FOREVER));
            xf_future_free(*future);
        }
        if (i < maps)
            bench_check(
                "xf_pool_map_async",
                xf_pool_map_async(
                    future, pool,
                    &(xf_map){
                        .task = &flip_block, .in = in + at, .out = out + at, .count = (size_t)blocks, .chunk = 1}));
    }
}

static void run_private(void)
{
    run_maps(1, WINDOW);
}

/* Two maps that never have a block in common. */
static void run_shared(void)
{
    run_maps(BLOCKS / 2, 2);
}

static void close_pool(void)
{
    bench_close_pool(pool);
}

/* ---- Bare: two processes --------------------------------------------------------------------- */

static struct {
    struct {
        _Alignas(64) _Atomic uint32_t next;         /* the next task that no worker has taken */
        _Alignas(64) _Atomic uint32_t filled;       /* the number of tasks whose input is there */
        _Alignas(64) _Atomic uint32_t done[WINDOW]; /* the task whose output is in that slot, counted from 1 */
    } *shared;
    block *in, *out; /* slots, or the caller's blocks */
} bare;

static void flip_in_place(int me)
{
    uint32_t task;

    (void)me;
    while ((task = atomic_fetch_add(&bare.shared->next, 1)) < TASKS)
        flip(&bare.out[task % BLOCKS], &bare.in[task % BLOCKS]);
}

static void copy_in_place(int me)
{
    uint32_t task;

    (void)me;
    while ((task = atomic_fetch_add(&bare.shared->next, 1)) < TASKS)
        memcpy(&bare.out[task % BLOCKS], &bare.in[task % BLOCKS], sizeof(block));
}

static void flip_slots(int me)
{
    uint32_t task, filled;

    (void)me;
    while ((task = atomic_fetch_add(&bare.shared->next, 1)) < TASKS) {
        uint32_t slot = task % WINDOW;
        while ((filled = atomic_load(&bare.shared->filled)) <= task)
            bench_futex_wait(&bare.shared->filled, filled);
        flip(&bare.out[slot], &bare.in[slot]);
        atomic_store(&bare.shared->done[slot], task + 1);
        bench_futex_wake(&bare.shared->done[slot]);
    }
}

/* A worker's first access to a page costs a fault: each worker takes its faults here, before anything is timed. */
static void touch(int me)
{
    volatile uint32_t word;

    (void)me;
    for (int i = 0; i < (bare.in == in ? BLOCKS : WINDOW); i++)
        for (uint32_t k = 0; k < WORDS; k += 1024) {
            word = bare.in[i].words[k];
            bare.out[i].words[k] = 0;
            (void)word;
        }
}

static void (*work_of_team)(int me);

static void touch_or_work(int me)
{
    static bool touched;

    if (touched)
        work_of_team(me);
    else
        touch(me);
    touched = true;
}

static void run_team(void)
{
    memset(bare.shared, 0, sizeof *bare.shared);
    bench_begin_team();
    bench_await_team();
}

static void open_bare(void (*work)(int me), bool in_place)
{
    size_t size = (in_place ? BLOCKS : WINDOW) * sizeof(block);

    work_of_team = work;
    bare.shared = bench_share(sizeof *bare.shared);
    bare.in = bench_share(size);
    bare.out = bench_share(size);
    in = in_place ? bare.in : bench_allocate(BLOCKS * sizeof *in);
    out = in_place ? bare.out : bench_allocate(BLOCKS * sizeof *out);
    fill();
    bench_open_team(touch_or_work, 2);
    run_team();
}

static void open_in_place(void)
{
    open_bare(flip_in_place, true);
}

static void open_memcpy(void)
{
    open_bare(copy_in_place, true);
}

static void open_copied(void)
{
    open_bare(flip_slots, false);
}

static void run_copied(void)
{
    memset(bare.shared, 0, sizeof *bare.shared);
    bench_begin_team();
    for (uint32_t task = 0; task < TASKS + WINDOW; task++) {
        uint32_t slot = task % WINDOW, done;
        if (task >= WINDOW) {
            while ((done = atomic_load(&bare.shared->done[slot])) != task + 1 - WINDOW)
                bench_futex_wait(&bare.shared->done[slot], done);
            memcpy(&out[(task - WINDOW) % BLOCKS], &bare.out[slot], sizeof *out);
        }
        if (task < TASKS) {
            memcpy(&bare.in[slot], &in[task % BLOCKS], sizeof *in);
            atomic_fetch_add(&bare.shared->filled, 1);
            bench_futex_wake(&bare.shared->filled);
        }
    }
    bench_await_team();
}

/* ---- The workload ---------------------------------------------------------------------------- */

static const bench_variant variants[] = {
    {"bare:copied", open_copied, run_copied, bench_close_team, CALLS, false, check},
    {"crossfork:private", open_private, run_private, close_pool, CALLS, false, check},
    {"bare:in-place", open_in_place, run_team, bench_close_team, CALLS, false, check},
    {"bare:memcpy", open_memcpy, run_team, bench_close_team, CALLS, false, check_copy},
    {"crossfork:shared", open_shared, run_shared, close_pool, CALLS, false, check},
};

static const bench_ratio ratios[] = {
    {"crossfork:private", "bare:copied", 1.0},
    {"crossfork:shared", "bare:in-place", 1.15},
    {"crossfork:shared", "bare:memcpy", 1.15},
};

const bench_workload bench_w4 = {"w4", TASKS, 1, variants, BENCH_COUNT(variants), ratios, BENCH_COUNT(ratios), false};
