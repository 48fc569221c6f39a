/* xf_bench WORKLOAD: measures crossfork beside bare system calls, and prints one line of JSON for each variant. */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 10 };

static const bench_workload *const workloads[] = {&bench_w1, &bench_w1big, &bench_w2,  &bench_w2c1,  &bench_w3,
                                                  &bench_w4, &bench_w5,    &bench_w6,  &bench_w6big, &bench_w7,
                                                  &bench_w8, &bench_w9,    &bench_w10, &bench_w10c,  &bench_fault};

typedef struct note {
    char name[24];
    double value;
} note;

/* The result of one round of one variant, in memory shared with the process that ran the round. */
typedef struct round_result {
    uint64_t wall_ns;
    double cpu_s;
    long peak_rss_kb;
    uint64_t p50_ns;
    int note_count;
    note notes[BENCH_NOTES];
    uint64_t call_ns[];
} round_result;

/* In the process of a round: its result. */
static round_result *current;

static struct {
    int rounds;
    bool ratios;
    const char *only; /* variants with this in their name; NULL: all */
} options = {ROUNDS, false, NULL};

bench_sizes bench_asked;

_Noreturn void bench_fail(const char *what, const char *why)
{
    fprintf(stderr, "xf_bench: %s: %s\n", what, why ? why : strerror(errno));
    exit(1);
}

void bench_check(const char *what, int rc)
{
    if (rc < 0)
        bench_fail(what, xf_error_detail());
}

void bench_note(const char *name, double value)
{
    if (current->note_count == BENCH_NOTES)
        bench_fail("too many notes", name);
    snprintf(current->notes[current->note_count].name, sizeof current->notes[0].name, "%s", name);
    current->notes[current->note_count++].value = value;
}

xf_pool *bench_open_pool(const xf_pool_options *options)
{
    xf_pool *pool;

    bench_check("xf_pool_create", xf_pool_create(&pool, options));
    return pool;
}

void bench_close_pool(xf_pool *pool)
{
    xf_pool_close(pool);
    bench_check("xf_pool_join", xf_pool_join(pool, XF_FOREVER));
    xf_pool_free(pool);
    bench_check("xf_cleanup", xf_cleanup());
}

/* ---- Measuring ------------------------------------------------------------------------------- */

uint64_t bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static double cpu_of(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Reads this program's own peak: ru_maxrss includes the peak of the program that executed this one. */
static long peak_rss_kb(void)
{
    char line[128];
    long peak = 0;
    FILE *status = fopen("/proc/self/status", "r");

    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %ld", &peak) == 1)
            break;
    if (status)
        fclose(status);
    return peak;
}

static int compare(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

    return (a > b) - (a < b);
}

static uint64_t quantile(uint64_t *values, size_t count, double share)
{
    qsort(values, count, sizeof *values, compare);
    return values[(size_t)((double)count * share)];
}

static int compare_doubles(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;

    return (a > b) - (a < b);
}

/* Returns the number of calls of a round. */
static int calls_of(const bench_variant *variant)
{
    return bench_asked.calls && bench_asked.calls < variant->calls ? bench_asked.calls : variant->calls;
}

static double items_of(const bench_workload *workload)
{
    return (double)bench_size(workload->counted ? bench_asked.count : 0, (size_t)workload->items);
}

/* Runs in the process of a round. */
static void measure(const bench_workload *workload, const bench_variant *variant, round_result *result)
{
    int calls = calls_of(variant);
    uint64_t sorted[calls];
    double cpu;

    current = result;
    if (variant->open)
        variant->open();
    for (int i = 0; i < workload->warm_ups; i++)
        variant->once();
    cpu = cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN);
    for (int i = 0; i < calls; i++) {
        uint64_t before = bench_now_ns();
        variant->once();
        result->call_ns[i] = bench_now_ns() - before;
        result->wall_ns += result->call_ns[i];
        if (variant->check)
            variant->check();
    }
    if (variant->close)
        variant->close();
    result->cpu_s = cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN) - cpu;
    result->peak_rss_kb = peak_rss_kb();
    memcpy(sorted, result->call_ns, sizeof sorted);
    result->p50_ns = quantile(sorted, (size_t)calls, 0.5);
}

static size_t result_size(const bench_variant *variant)
{
    return sizeof(round_result) + (size_t)calls_of(variant) * sizeof(uint64_t);
}

static round_result *result_of(char *results, const bench_variant *variant, int round)
{
    return (round_result *)(results + (size_t)round * result_size(variant));
}

static char *open_results(const bench_variant *variant)
{
    char *results = mmap(NULL, (size_t)options.rounds * result_size(variant), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (results == MAP_FAILED)
        bench_fail("mmap", NULL);
    return results;
}

static void run_round(const bench_workload *workload, const bench_variant *variant, char *results, int round)
{
    int status;
    pid_t pid = fork();

    if (pid < 0)
        bench_fail("fork", NULL);
    if (pid == 0) {
        measure(workload, variant, result_of(results, variant, round));
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        bench_fail(variant->peer, "a round failed");
}

/* ---- Printing -------------------------------------------------------------------------------- */

static void print_notes(const bench_variant *variant, char *results)
{
    double values[options.rounds];

    for (int at = 0; at < result_of(results, variant, 0)->note_count; at++) {
        for (int i = 0; i < options.rounds; i++)
            values[i] = result_of(results, variant, i)->notes[at].value;
        qsort(values, (size_t)options.rounds, sizeof *values, compare_doubles);
        printf(",\"%s\":%.10g", result_of(results, variant, 0)->notes[at].name, values[options.rounds / 2]);
    }
}

static void print_variant(const bench_workload *workload, const bench_variant *variant, char *results)
{
    size_t calls = (size_t)calls_of(variant), count = (size_t)options.rounds * calls;
    uint64_t *all = malloc(count * sizeof *all), wall = 0, p50;
    double cpu = 0, n = (double)count * items_of(workload);
    long peak = 0;

    if (!all)
        bench_fail("malloc", NULL);
    for (int i = 0; i < options.rounds; i++) {
        const round_result *result = result_of(results, variant, i);
        memcpy(all + (size_t)i * calls, result->call_ns, calls * sizeof *all);
        wall += result->wall_ns;
        cpu += result->cpu_s;
        peak = result->peak_rss_kb > peak ? result->peak_rss_kb : peak;
    }
    p50 = quantile(all, count, 0.5);
    printf("{\"peer\":\"%s\",\"workload\":\"%s\",\"n\":%.0f,\"seconds\":%.9f,\"per_item_ns\":%.2f,"
           "\"cpu_seconds\":%.4f,\"peak_rss_kb\":%ld,\"p50_ns\":%llu,\"p99_ns\":%llu",
           variant->peer, workload->name, n, (double)wall / 1e9, (double)p50 / items_of(workload), cpu, peak,
           (unsigned long long)p50, (unsigned long long)quantile(all, count, 0.99));
    print_notes(variant, results);
    printf("}\n");
    fflush(stdout);
    free(all);
}

static size_t find(const bench_workload *workload, const char *peer)
{
    size_t at = 0;

    while (at < workload->variant_count && strcmp(workload->variants[at].peer, peer) != 0)
        at++;
    return at;
}

/* Prints the median of the rounds' ratios, and the quartiles. */
static void print_ratio(const bench_workload *workload, char **results, const bench_ratio *ratio)
{
    enum { SCALE = 1000000 };
    size_t one = find(workload, ratio->peer), other = find(workload, ratio->limit);
    size_t count = (size_t)options.rounds;
    uint64_t millionths[count];
    double median;

    if (!results[one] || !results[other])
        return;
    for (int i = 0; i < options.rounds; i++)
        millionths[i] = SCALE * result_of(results[one], &workload->variants[one], i)->p50_ns /
                        result_of(results[other], &workload->variants[other], i)->p50_ns;
    median = (double)quantile(millionths, count, 0.5) / SCALE;
    fprintf(stderr, "%-6s %-17s / %-17s %5.2f  (%.2f to %.2f)  target %.2f%s\n", workload->name, ratio->peer,
            ratio->limit, median, (double)quantile(millionths, count, 0.25) / SCALE,
            (double)quantile(millionths, count, 0.75) / SCALE, ratio->target, median > ratio->target ? "  MISSED" : "");
}

/* ---- The program ----------------------------------------------------------------------------- */

static bool is_wanted(const bench_variant *variant)
{
    return (options.ratios || !variant->hidden) && (!options.only || strstr(variant->peer, options.only));
}

static void run_workload(const bench_workload *workload)
{
    size_t count = workload->variant_count;
    char *results[count];

    for (size_t i = 0; i < count; i++)
        results[i] = is_wanted(&workload->variants[i]) ? open_results(&workload->variants[i]) : NULL;
    for (int round = 0; round < options.rounds; round++)
        for (size_t i = 0; i < count; i++) {
            size_t at = (i + (size_t)round) % count;
            if (results[at])
                run_round(workload, &workload->variants[at], results[at], round);
        }
    for (size_t i = 0; i < count; i++)
        if (results[i] && !workload->variants[i].hidden)
            print_variant(workload, &workload->variants[i], results[i]);
    for (size_t i = 0; i < workload->ratio_count && options.ratios; i++)
        print_ratio(workload, results, &workload->ratios[i]);
    for (size_t i = 0; i < count; i++)
        if (results[i])
            munmap(results[i], (size_t)options.rounds * result_size(&workload->variants[i]));
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: xf_bench [--rounds N] [--ratios] [--only TEXT] [--calls N] [--count N] [--steps N]\n"
                    "                [--bytes N] [--workers N] [--heap MIB] WORKLOAD...\nworkloads:");
    for (size_t i = 0; i < BENCH_COUNT(workloads); i++)
        fprintf(stderr, " %s", workloads[i]->name);
    fputc('\n', stderr);
    exit(2);
}

static size_t read_number(const char *text)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || number == 0 || number > SIZE_MAX >> 20)
        bench_fail(text, "is not a positive number");
    return (size_t)number;
}

static int read_int(const char *text)
{
    size_t number = read_number(text);

    if (number > INT_MAX)
        bench_fail(text, "is too large a number");
    return (int)number;
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"rounds", required_argument, NULL, 'n'}, {"ratios", no_argument, NULL, 'r'},
        {"only", required_argument, NULL, 'o'},   {"calls", required_argument, NULL, 'l'},
        {"count", required_argument, NULL, 'c'},  {"steps", required_argument, NULL, 's'},
        {"bytes", required_argument, NULL, 'b'},  {"workers", required_argument, NULL, 'w'},
        {"heap", required_argument, NULL, 'h'},   {NULL, 0, NULL, 0}};
    size_t *const sizes[] = {['c'] = &bench_asked.count,
                             ['s'] = &bench_asked.steps,
                             ['b'] = &bench_asked.bytes,
                             ['w'] = &bench_asked.workers,
                             ['h'] = &bench_asked.heap};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0)
        if (option == 'n')
            options.rounds = read_int(optarg);
        else if (option == 'r')
            options.ratios = true;
        else if (option == 'o')
            options.only = optarg;
        else if (option == 'l')
            bench_asked.calls = read_int(optarg);
        else if (option == '?')
            usage();
        else
            *sizes[option] = read_number(optarg);
    if (optind == argc)
        usage();
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], BENCH_NOTHING) == 0)
        _exit(0);
    if (argc == 3 && strcmp(argv[1], BENCH_WORKER) == 0) {
        bench_bare_worker(atoi(argv[2]));
        _exit(0);
    }
    xf_main(argc, argv);
    read_options(argc, argv);
    for (int i = optind; i < argc; i++) {
        size_t at = 0;
        while (at < BENCH_COUNT(workloads) && strcmp(workloads[at]->name, argv[i]) != 0)
            at++;
        if (at == BENCH_COUNT(workloads))
            usage();
        run_workload(workloads[at]);
    }
    return 0;
}
