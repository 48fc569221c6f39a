/* Estimates pi: throws points at a square and counts those that hit the circle in it.
 * Each item has a random sequence of its own, which begins at the item's number: so the result does not depend on how
 * many workers there are, and which of them does what. */
#include <crossfork.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ITEMS = 200, POINTS = 50000 };

typedef struct throws {
    uint64_t seed;
    uint64_t count;
} throws;

/* splitmix64, https://prng.di.unimi.it/splitmix64.c, as a number from 0 to 1. */
static double next_random(uint64_t *state)
{
    uint64_t value = *state += 0x9E3779B97F4A7C15U;

    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
    return (double)((value ^ (value >> 31)) >> 11) / 9007199254740992.0; /* 2^53 */
}

XF_TASK(count_hits, const throws *in, uint64_t *out)
{
    uint64_t state = in->seed << 40;

    for (uint64_t i = 0; i < in->count; i++) {
        double x = next_random(&state), y = next_random(&state);
        *out += x * x + y * y < 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    throws in[ITEMS];
    uint64_t out[ITEMS], hits = 0;
    xf_pool *pool = NULL;
    int rc;

    xf_main(argc, argv);
    for (int i = 0; i < ITEMS; i++)
        in[i] = (throws){.seed = (uint64_t)i, .count = POINTS};
    rc = xf_pool_create(&pool, &(xf_pool_options){.workers = argc > 1 ? atoi(argv[1]) : 0});
    if (rc == 0)
        rc = xf_pool_map(pool, &(xf_map){.task = &count_hits, .in = in, .out = out, .count = ITEMS});
    if (rc < 0)
        fprintf(stderr, "montecarlo: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    for (int i = 0; i < ITEMS && rc == 0; i++)
        hits += out[i];
    if (rc == 0)
        printf("%" PRIu64 " of %d points: pi is about %.4f\n", hits, ITEMS * POINTS,
               4.0 * (double)hits / ITEMS / POINTS);
    xf_pool_free(pool);
    return rc < 0;
}
