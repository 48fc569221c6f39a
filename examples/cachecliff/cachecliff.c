/* Shows when processes lose their gain to caches and memory:
 * `cachecliff [--workers N] [--reads N] [--rounds N] [SIZE ...]`.
 * One worker, then two, four and so on up to N read an input of SIZE (4K, 16M, 1G; a power of 2) in random order: one
 * that they share, or each a copy of its own.  As long as all fits the caches, twice the workers read twice as much.
 * Each row is the best of some rounds: what else runs on the machine only ever makes them slower. */
#include "walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZES_MAX = 16, WORKERS_MAX = 1024 };

typedef struct settings {
    uint64_t workers; /* at most */
    uint64_t reads;   /* of each worker */
    uint64_t rounds;  /* of which the best counts */
    size_t sizes[SIZES_MAX];
    int count;
} settings;

/* ---- Arguments ------------------------------------------------------------------------------- */

static bool parse_size(const char *text, size_t *size)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;

    if (end == text || end[shift != 0] != 0 || number > SIZE_MAX >> shift)
        return false;
    *size = (size_t)number << shift;
    return *size >= 4096 && (*size & (*size - 1)) == 0;
}

/* Takes "--workers N" and the like. */
static bool parse_number(settings *settings, const char *name, const char *text)
{
    const struct {
        const char *name;
        uint64_t *number, most;
    } options[] = {{"--workers", &settings->workers, WORKERS_MAX},
                   {"--reads", &settings->reads, UINT64_C(1) << 48},
                   {"--rounds", &settings->rounds, 1000}};

    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(name, options[i].name) != 0)
            continue;
        *options[i].number = text ? strtoull(text, NULL, 10) : 0;
        return *options[i].number >= 1 && *options[i].number <= options[i].most;
    }
    return false;
}

static bool parse(settings *settings, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            if (!parse_number(settings, argv[i], argv[i + 1]))
                return false;
            i++;
        } else if (settings->count == SIZES_MAX || !parse_size(argv[i], &settings->sizes[settings->count++])) {
            return false;
        }
    }
    return true;
}

/* ---- Running --------------------------------------------------------------------------------- */

/* Fails as the first item that failed. */
static int explain(xf_future *future, int rc)
{
    if (rc == XF_EFAILED)
        xf_report_print(xf_future_report(future, xf_future_failure(future, 0)), stderr);
    else if (rc < 0)
        fprintf(stderr, "cachecliff: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    xf_future_free(future);
    return rc;
}

/* Lets so many workers walk, each on a core of its own. */
static int run(xf_pool *pool, walk *walks, walked *results, int workers)
{
    xf_future *future = NULL;
    xf_map map = {
        .task = &walk_through,
        .in = walks,
        .out = results,
        .count = (size_t)workers,
        .chunk = 1,
        .results = &future,
    };
    xf_barrier *barrier;
    int rc = xf_barrier_create(&barrier, (unsigned)workers, NULL);

    if (rc < 0)
        return explain(NULL, rc);
    rc = xf_barrier_ref(barrier, &walks[0].start);
    for (int i = 1; i < workers; i++)
        walks[i].start = walks[0].start;
    if (rc == 0)
        rc = xf_pool_map(pool, &map);
    rc = explain(future, rc);
    xf_barrier_free(barrier);
    return rc;
}

static int run_in_pool(walk *walks, walked *results, int workers)
{
    xf_pool_options options = {.workers = workers, .placement = XF_PLACEMENT_CORES};
    xf_pool *pool;
    int rc = xf_pool_create(&pool, &options);

    if (rc < 0)
        return explain(NULL, rc);
    rc = run(pool, walks, results, workers);
    xf_pool_free(pool);
    return rc;
}

/* ---- Telling --------------------------------------------------------------------------------- */

/* The mean of what the workers say in that member. */
static double mean(const walked *results, int workers, size_t member)
{
    double sum = 0;

    for (int i = 0; i < workers; i++)
        sum += (double)*(const uint64_t *)((const char *)&results[i] + member);
    return sum / workers;
}

/* From the first that begins to the last that ends: when there are fewer cores than workers, some come later. */
static double reads_per_second(const walked *results, int workers, uint64_t reads)
{
    uint64_t begin = results[0].begin, end = results[0].end;

    for (int i = 1; i < workers; i++) {
        begin = results[i].begin < begin ? results[i].begin : begin;
        end = results[i].end > end ? results[i].end : end;
    }
    return (double)reads * workers * 1e9 / (double)(end - begin);
}

/* Percent of the time that the workers had a processor. */
static double busy(const walked *results, int workers)
{
    double all = 0, computed = 0;

    for (int i = 0; i < workers; i++) {
        all += (double)(results[i].end - results[i].begin);
        computed += (double)results[i].computed;
    }
    return 100 * computed / all;
}

static void print_size(double size)
{
    if (size == 0)
        printf("  %13s", "not available");
    else
        printf("  %9.1f MiB", size / (1 << 20));
}

/* A row; gain is how many times as much as one worker reads. */
static void print_row(const walked *results, int workers, const settings *settings, double rate, double gain, bool more)
{
    bool has_misses = true;

    for (int i = 0; i < workers; i++)
        has_misses = has_misses && results[i].has_misses;
    printf("%7d  %9.1f  %5.2f  %4.0f%%", workers, rate / 1e6, gain, busy(results, workers));
    print_size(mean(results, workers, offsetof(walked, resident)));
    print_size(mean(results, workers, offsetof(walked, proportional)));
    if (has_misses)
        printf("  %13.1f", 1000 * mean(results, workers, offsetof(walked, misses)) / (double)settings->reads);
    else
        printf("  %13s", "not available");
    printf("%s\n", more ? "" : "  no gain");
    fflush(stdout);
}

static void print_head(size_t size, bool copies)
{
    printf("\n%zu KiB, %s\n", size >> 10, copies ? "a copy for each worker" : "shared by all workers");
    printf("workers  M reads/s   gain   busy       resident   proportional   misses/1000\n");
}

/* ---- All of it ------------------------------------------------------------------------------- */

/* Workers have read the same as before, whatever the input was.
 *   sums  What each worker is to read; 0: not known yet. */
static bool is_right(const walked *results, int workers, uint64_t *sums)
{
    for (int i = 0; i < workers; i++) {
        sums[i] = sums[i] ? sums[i] : results[i].sum;
        if (sums[i] == results[i].sum)
            continue;
        fprintf(stderr, "cachecliff: worker %d has read something else\n", i);
        return false;
    }
    return true;
}

/* The results of the best of some rounds; returns its reads per second, or a negative number. */
static double run_rounds(const settings *settings, walk *walks, walked *results, int workers, uint64_t *sums)
{
    static walked round_results[WORKERS_MAX];
    double best = 0;

    for (uint64_t round = 0; round < settings->rounds; round++) {
        double rate;
        if (run_in_pool(walks, round_results, workers) < 0 || !is_right(round_results, workers, sums))
            return -1;
        rate = reads_per_second(round_results, workers, settings->reads);
        if (rate <= best)
            continue;
        best = rate;
        memcpy(results, round_results, (size_t)workers * sizeof *results);
    }
    return best;
}

/* One table: more and more workers on one kind of input. */
static int compare_workers(const settings *settings, const xf_ref *input, size_t size, bool copies, uint64_t *sums)
{
    static walk walks[WORKERS_MAX];
    static walked results[WORKERS_MAX];
    double one = 0, before = 0;

    for (uint64_t i = 0; i < settings->workers; i++)
        walks[i] = (walk){.input = *input, .reads = settings->reads, .seed = i + 1, .copies = copies};
    print_head(size, copies);
    for (int workers = 1, most = (int)settings->workers;; workers = 2 * workers < most ? 2 * workers : most) {
        double rate = run_rounds(settings, walks, results, workers, sums);
        if (rate < 0)
            return -1;
        one = workers == 1 ? rate : one;
        print_row(results, workers, settings, rate, rate / one, workers == 1 || rate > 1.1 * before);
        if (workers == most)
            return 0;
        before = rate;
    }
}

static int compare_inputs(const settings *settings, size_t size)
{
    static uint64_t sums[WORKERS_MAX];
    xf_shm *input;
    xf_ref ref;
    int rc = xf_shm_create(&input, size, NULL);

    if (rc < 0)
        return explain(NULL, rc);
    memset(sums, 0, sizeof sums);
    for (size_t i = 0; i < size / WALK_LINE; i++)
        ((uint64_t *)xf_shm_data(input))[i * (WALK_LINE / sizeof(uint64_t))] = i + 1;
    rc = explain(NULL, xf_shm_ref(input, &ref));
    for (int copies = 0; copies < 2 && rc == 0; copies++)
        rc = compare_workers(settings, &ref, size, copies, sums);
    xf_shm_free(input);
    return rc;
}

/* What crossfork says to the largest size, copied. */
static void print_advice(size_t size)
{
    xf_advice advice;

    if (xf_advise(&advice, &(xf_workload){.own = size}) == 0)
        printf("\nxf_advise on copies of %zu KiB:\n%s", size >> 10, advice.why);
}

int main(int argc, char **argv)
{
    settings settings = {.reads = 20000000, .rounds = 3};
    xf_advice advice;

    xf_main(argc, argv);
    if (!parse(&settings, argc, argv)) {
        fprintf(stderr,
                "usage: cachecliff [--workers N] [--reads N] [--rounds N] [SIZE ...]    (SIZE: a power of 2)\n");
        return 2;
    }
    if (settings.count == 0) {
        static const size_t usual[] = {256 << 10, 4 << 20, 32 << 20, 256 << 20};
        memcpy(settings.sizes, usual, sizeof usual);
        settings.count = sizeof usual / sizeof *usual;
    }
    if (settings.workers == 0)
        settings.workers = xf_advise(&advice, NULL) == 0 ? (uint64_t)advice.workers : 1;
    for (int i = 0; i < settings.count; i++)
        if (compare_inputs(&settings, settings.sizes[i]) < 0)
            return 1;
    print_advice(settings.sizes[settings.count - 1]);
    return 0;
}
