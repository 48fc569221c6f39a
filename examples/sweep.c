/* Sweeps a parameter, with a progress line: `sweep [VALUES]` looks for the growth rate at which the logistic map has
 * the longest period that is not chaos. Each value is an item of a pool.  The program waits a moment at a time, and
 * shows in between how far the pool is. */
#include <crossfork.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SETTLE = 20000, LONGEST = 64, SHOW_MS = 100 };

typedef struct result {
    double rate;
    int period; /* 0: longer than LONGEST, or none */
} result;

/* Follows the map until it has settled, and then looks for the first value that comes back. */
XF_TASK(find_period, const double *in, result *out)
{
    double x = 0.5, first;

    for (int i = 0; i < SETTLE; i++)
        x = *in * x * (1 - x);
    if (!(x >= 0 && x <= 1))
        return xf_fail(call, 1, "the rate %g leads out of the unit interval", *in);
    *out = (result){.rate = *in, .period = 0};
    first = x;
    for (int period = 1; period <= LONGEST && out->period == 0; period++) {
        x = *in * x * (1 - x);
        if (fabs(x - first) < 1e-6)
            out->period = period;
    }
    return 0;
}

/* Waits for all, and shows how many are done on a line that is written over. */
static int wait_with_progress(xf_pool *pool, xf_future *future)
{
    size_t count = xf_future_count(future);
    int rc;

    while ((rc = xf_future_wait(future, SHOW_MS)) == XF_ETIMEDOUT) {
        xf_pool_stats stats;
        if (xf_pool_stats_get(pool, &stats, NULL, 0) >= 0)
            fprintf(stderr, "\r%3d %%, %d workers", (int)(100 * (stats.done + stats.lost) / count), stats.busy);
    }
    fprintf(stderr, "\r100 %%           \n");
    return rc;
}

static void print_longest(const result *results, size_t count)
{
    const result *longest = &results[0];

    for (size_t i = 1; i < count; i++)
        if (results[i].period > longest->period)
            longest = &results[i];
    printf("%zu rates: the first with the period %d is %.3f\n", count, longest->period, longest->rate);
}

static int sweep(xf_pool *pool, const double *rates, result *results, size_t count)
{
    const xf_map map = {.task = &find_period, .in = rates, .out = results, .count = count};
    xf_future *future;
    int rc = xf_pool_map_async(&future, pool, &map);

    if (rc < 0)
        return rc;
    rc = wait_with_progress(pool, future);
    if (rc == 0)
        print_longest(results, count);
    else if (rc == XF_EFAILED)
        xf_report_print(xf_future_report(future, xf_future_failure(future, 0)), stderr);
    xf_future_free(future);
    return rc;
}

int main(int argc, char **argv)
{
    size_t count;
    double *rates;
    result *results;
    xf_pool *pool = NULL;
    int rc;

    xf_main(argc, argv);
    count = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 4000;
    rates = calloc(count + 1, sizeof *rates);
    results = calloc(count + 1, sizeof *results);
    if (!rates || !results || count == 0)
        return 2;
    for (size_t i = 0; i < count; i++)
        rates[i] = 2 + 2.0 * (double)i / (double)count;
    rc = xf_pool_create(&pool, NULL);
    if (rc == 0)
        rc = sweep(pool, rates, results, count);
    if (rc < 0)
        fprintf(stderr, "sweep: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    xf_pool_free(pool);
    free(rates);
    free(results);
    return rc < 0;
}
