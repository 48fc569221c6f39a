/* Ctrl-C with partial results: `interrupt [AFTER]` searches large numbers for primes, and prints what it has found
 * when it is interrupted.  Children do not get a Ctrl-C that is meant for the program, so the program decides: the
 * handler only sets a flag, and the program cancels what is left.  With AFTER it interrupts itself after so many
 * numbers. */
#include <crossfork.h>

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { NUMBERS = 100000, LOOK_MS = 20, GRACE_MS = 500 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    signal(number, SIG_DFL); /* a second Ctrl-C ends the program at once, and its children with it */
    interrupted = 1;
}

/* Obeys a request to stop, so that its worker need not be killed. */
XF_TASK(is_prime, const uint64_t *in, int *out)
{
    for (uint64_t divisor = 3; divisor <= *in / divisor; divisor += 2) {
        if (*in % divisor == 0)
            return 0;
        if (divisor % 65536 == 1 && xf_stop_requested(call, 0))
            return xf_fail(call, 1, "stopped");
    }
    *out = 1;
    return 0;
}

/* Waits until all is done or somebody interrupts; then cancels what has not ended, and waits for that. */
static int wait_or_interrupt(xf_pool *pool, xf_future *future, uint64_t after)
{
    int rc;

    while ((rc = xf_future_wait(future, LOOK_MS)) == XF_ETIMEDOUT) {
        xf_pool_stats stats;
        if (after > 0 && xf_pool_stats_get(pool, &stats, NULL, 0) >= 0 && stats.done >= after && !interrupted)
            raise(SIGINT);
        if (interrupted) {
            xf_future_cancel(future);
            return xf_future_wait(future, XF_FOREVER);
        }
    }
    return rc;
}

/* What is done is there, whether or not the rest is. */
static void print_found(xf_future *future)
{
    size_t done = 0, primes = 0;

    for (size_t i = 0; i < NUMBERS; i++) {
        const int *prime = xf_future_result(future, i, NULL);
        done += prime != NULL;
        primes += prime && *prime;
    }
    printf("%s: %s numbers looked at, %s primes found\n", interrupted ? "interrupted" : "complete",
           done == NUMBERS ? "all" : "some", primes > 0 ? "some" : "no");
    fprintf(stderr, "%zu of %d numbers, %zu primes\n", done, NUMBERS, primes);
}

static int search(xf_pool *pool, const uint64_t *numbers, uint64_t after)
{
    const xf_map map = {.task = &is_prime, .in = numbers, .count = NUMBERS, .chunk = 8};
    xf_future *future;
    int rc = xf_pool_map_async(&future, pool, &map);

    if (rc < 0)
        return rc;
    rc = wait_or_interrupt(pool, future, after);
    print_found(future);
    xf_future_free(future);
    return rc == XF_EFAILED && interrupted ? 0 : rc;
}

int main(int argc, char **argv)
{
    static uint64_t numbers[NUMBERS];
    const xf_process_options process = {.grace_ms = GRACE_MS};
    xf_pool *pool = NULL;
    int rc;

    xf_main(argc, argv);
    signal(SIGINT, on_interrupt);
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = UINT64_C(100000000000001) + 2 * (uint64_t)i;
    rc = xf_pool_create(&pool, &(xf_pool_options){.process = &process});
    if (rc == 0)
        rc = search(pool, numbers, argc > 1 ? strtoull(argv[1], NULL, 10) : 0);
    if (rc < 0)
        fprintf(stderr, "interrupt: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    xf_pool_free(pool);
    return rc < 0 ? 2 : interrupted ? 130 : 0;
}
