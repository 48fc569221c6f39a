#include "walk.h"

#include "misses.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { PATIENCE_MS = 60000 }; /* nobody takes so long to come to the start */

/* "Pss: 1234 kB" in a file that Linux has. */
static uint64_t proportional_memory(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    unsigned long long kib = 0;
    char line[256];

    while (file && kib == 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %llu", &kib) != 1)
            kib = 0;
    if (file)
        fclose(file);
    return kib * 1024;
}

static uint64_t resident_memory(void)
{
    size_t size;

    return uv_resident_set_memory(&size) == 0 ? size : 0;
}

static uint64_t computing_time(void)
{
    uv_rusage_t usage;

    if (uv_getrusage(&usage) < 0)
        return 0;
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

/* Reads the whole input once, so that the walk finds in the caches what fits them. */
static uint64_t warm_up(const uint64_t *lines, uint64_t count)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < count; i++)
        sum += lines[i * (WALK_LINE / sizeof *lines)];
    return sum;
}

/* A generator modulo a power of 2; its high bits are the good ones.  The next place does not depend on what was read,
 * so several reads are under way at a time, as in most programs. */
static uint64_t read_lines(const uint64_t *lines, uint64_t count, uint64_t seed, uint64_t reads)
{
    uint64_t state = seed, sum = 0;

    for (uint64_t i = 0; i < reads; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        sum += lines[((state >> 24) & (count - 1)) * (WALK_LINE / sizeof *lines)];
    }
    return sum;
}

/* All workers are here, or one has given up. */
static int meet(xf_barrier *barrier)
{
    int rc = xf_barrier_wait(barrier, PATIENCE_MS);

    return rc < 0 ? rc : 0;
}

static int measure(xf_barrier *barrier, const walk *in, xf_shm *memory, walked *out)
{
    const uint64_t *lines = xf_shm_data(memory);
    uint64_t count = xf_shm_size(memory) / WALK_LINE;
    volatile uint64_t warm = warm_up(lines, count);
    int counter, rc = meet(barrier);

    (void)warm;
    if (rc < 0)
        return rc;
    counter = misses_begin();
    out->computed = computing_time();
    out->begin = uv_hrtime();
    out->sum = read_lines(lines, count, in->seed, in->reads);
    out->end = uv_hrtime();
    out->computed = computing_time() - out->computed;
    out->has_misses = misses_end(counter, &out->misses);
    rc = meet(barrier);
    out->resident = resident_memory();
    out->proportional = proportional_memory();
    return rc < 0 ? rc : meet(barrier); /* what is shared is shared by all until then */
}

/* The input, or a copy of it. */
static int take_input(const walk *in, xf_shm **memory)
{
    xf_shm *input;
    int rc = xf_shm_open(&input, &in->input, XF_SHM_READ);

    if (rc < 0 || !in->copies) {
        *memory = input;
        return rc;
    }
    rc = xf_shm_create(memory, xf_shm_size(input), NULL);
    if (rc == 0)
        memcpy(xf_shm_data(*memory), xf_shm_data(input), xf_shm_size(input));
    xf_shm_free(input);
    return rc;
}

XF_TASK(walk_through, const walk *in, walked *out)
{
    xf_barrier *barrier;
    xf_shm *memory;
    int rc = xf_barrier_open(&barrier, &in->start);

    if (rc < 0)
        return xf_fail(call, rc, "the barrier: %s", xf_error_detail());
    rc = take_input(in, &memory);
    if (rc < 0) {
        xf_fail(call, rc, "the input: %s", xf_error_detail());
        xf_barrier_wait(barrier, 0); /* gives up, and the others need not wait */
    } else {
        rc = measure(barrier, in, memory, out);
        if (rc < 0)
            xf_fail(call, rc, "another worker gave up");
        xf_shm_free(memory);
    }
    xf_barrier_free(barrier);
    return rc;
}
