/* w2: two workers square a million doubles.  w2c1: the same, in chunks of one. */
#include "bench.h"

#include <string.h>

enum { COUNT = 1000000, WORKERS = 2, CALLS = 9 };

static size_t count;     /* of numbers */
static double *in, *out; /* the caller's, in private memory or in memory that the workers share */

static void fill(void)
{
    for (size_t i = 0; i < count; i++)
        in[i] = (double)i * 0.5;
}

/* Overwrites the results too, so that a later call cannot pass with old ones. */
static void check(void)
{
    for (size_t i = 0; i < count; i++)
        if (out[i] != (double)i * 0.5 * ((double)i * 0.5))
            bench_fail("w2", "a square is wrong");
    memset(out, 0xFF, count * sizeof *out);
}

/* ---- crossfork ------------------------------------------------------------------------------- */

static xf_pool *pool;

XF_TASK(square, const double *in, double *out)
{
    (void)call;
    *out = *in * *in;
    return 0;
}

static void open_pool(const xf_process_options *process)
{
    count = bench_size(bench_asked.count, COUNT);
    pool = bench_open_pool(
        &(xf_pool_options){.workers = (int)bench_size(bench_asked.workers, WORKERS), .process = process});
}

static void allocate(void)
{
    in = bench_allocate(count * sizeof *in);
    out = bench_allocate(count * sizeof *out);
    fill();
}

static void open_private(void)
{
    open_pool(NULL);
    allocate();
}

/* The same as open_private, without crash records. */
static void open_unarmed(void)
{
    static const xf_process_options process = {.no_crash_record = true};

    open_pool(&process);
    allocate();
}

static void open_shared(void)
{
    open_pool(NULL);
    in = xf_pool_buffer_alloc(pool, count * sizeof *in);
    out = xf_pool_buffer_alloc(pool, count * sizeof *out);
    if (!in || !out)
        bench_fail("xf_pool_buffer_alloc", xf_error_detail());
    fill();
}

static void map(void)
{
    bench_check("xf_pool_map", xf_pool_map(pool, &(xf_map){.task = &square, .in = in, .out = out, .count = count}));
}

static void map_singly(void)
{
    bench_check("xf_pool_map",
                xf_pool_map(pool, &(xf_map){.task = &square, .in = in, .out = out, .count = count, .chunk = 1}));
}

static void close_pool(void)
{
    bench_close_pool(pool);
}

/* ---- Bare: two processes, or as many as there are workers ------------------------------------ */

/* The items from begin to end - 1 are not taken yet; both are in one word, begin in its lower half. */
typedef struct range {
    _Alignas(64) _Atomic uint64_t left;
} range;

static struct {
    double *in, *out; /* shared by the processes */
    size_t members, chunk;
    _Atomic size_t *next;
    range *ranges;
} bare;

static void square_chunks(int me)
{
    size_t begin;

    (void)me;
    while ((begin = atomic_fetch_add(bare.next, bare.chunk)) < count) {
        size_t end = begin + bare.chunk < count ? begin + bare.chunk : count;
        for (size_t i = begin; i < end; i++)
            bare.out[i] = bare.in[i] * bare.in[i];
    }
}

/* Takes the second half of the other process's items that are left; false when none are. */
static bool rob(range *mine, range *theirs)
{
    uint64_t left = atomic_load(&theirs->left);

    for (;;) {
        uint64_t begin = left & UINT32_MAX, end = left >> 32, middle = begin + (end - begin) / 2;
        if (begin >= end)
            return false;
        if (atomic_compare_exchange_weak(&theirs->left, &left, middle << 32 | begin)) {
            atomic_store(&mine->left, end << 32 | middle);
            return true;
        }
    }
}

static void square_singly(int me)
{
    range *mine = &bare.ranges[me];

    do {
        uint64_t left = atomic_load_explicit(&mine->left, memory_order_relaxed);
        while ((left & UINT32_MAX) < left >> 32)
            if (atomic_compare_exchange_weak(&mine->left, &left, left + 1)) {
                uint32_t i = (uint32_t)left++;
                bare.out[i] = bare.in[i] * bare.in[i];
            }
    } while (rob(mine, &bare.ranges[(size_t)(me + 1) % bare.members]));
}

static void open_bare(void (*work)(int me), bool in_place)
{
    count = bench_size(bench_asked.count, COUNT);
    bare.members = bench_size(bench_asked.workers, WORKERS);
    bare.chunk = (count + 4 * bare.members - 1) / (4 * bare.members);
    bare.in = bench_share(count * sizeof *bare.in);
    bare.out = bench_share(count * sizeof *bare.out);
    bare.next = bench_share(sizeof *bare.next);
    bare.ranges = bench_share(bare.members * sizeof *bare.ranges);
    in = in_place ? bare.in : bench_allocate(count * sizeof *in);
    out = in_place ? bare.out : bench_allocate(count * sizeof *out);
    fill();
    bench_open_team(work, bare.members);
}

static void open_copied(void)
{
    open_bare(square_chunks, false);
}

static void open_in_place(void)
{
    open_bare(square_chunks, true);
}

static void open_copied_singly(void)
{
    open_bare(square_singly, false);
}

static void open_in_place_singly(void)
{
    open_bare(square_singly, true);
}

static void run_bare(void)
{
    if (in != bare.in)
        memcpy(bare.in, in, count * sizeof *in);
    atomic_store(bare.next, 0);
    for (size_t i = 0; i < bare.members; i++)
        atomic_store(&bare.ranges[i].left, (count * (i + 1) / bare.members) << 32 | count * i / bare.members);
    bench_begin_team();
    bench_await_team();
    if (out != bare.out)
        memcpy(out, bare.out, count * sizeof *out);
}

/* ---- The workloads --------------------------------------------------------------------------- */

static const bench_variant w2_variants[] = {
    {"bare:copied", open_copied, run_bare, bench_close_team, CALLS, false, check},
    {"crossfork:private", open_private, map, close_pool, CALLS, false, check},
    {"crossfork:unarmed", open_unarmed, map, close_pool, CALLS, true, check},
    {"bare:in-place", open_in_place, run_bare, bench_close_team, CALLS, false, check},
    {"crossfork:shared", open_shared, map, close_pool, CALLS, false, check},
};

static const bench_ratio w2_ratios[] = {
    {"crossfork:private", "bare:copied", 1.3},
    {"crossfork:private", "crossfork:unarmed", 1.01},
    {"crossfork:shared", "bare:in-place", 1.3},
};

const bench_workload bench_w2 = {
    "w2", COUNT, 2, w2_variants, BENCH_COUNT(w2_variants), w2_ratios, BENCH_COUNT(w2_ratios), true};

static const bench_variant w2c1_variants[] = {
    {"bare:copied", open_copied_singly, run_bare, bench_close_team, CALLS, false, check},
    {"crossfork:private", open_private, map_singly, close_pool, CALLS, false, check},
    {"crossfork:unarmed", open_unarmed, map_singly, close_pool, CALLS, true, check},
    {"bare:in-place", open_in_place_singly, run_bare, bench_close_team, CALLS, false, check},
    {"crossfork:shared", open_shared, map_singly, close_pool, CALLS, false, check},
};

static const bench_ratio w2c1_ratios[] = {
    {"crossfork:private", "bare:copied", 2},
    {"crossfork:private", "crossfork:unarmed", 1.01},
    {"crossfork:shared", "bare:in-place", 2},
};

const bench_workload bench_w2c1 = {
    "w2c1", COUNT, 2, w2c1_variants, BENCH_COUNT(w2c1_variants), w2c1_ratios, BENCH_COUNT(w2c1_ratios), true};
