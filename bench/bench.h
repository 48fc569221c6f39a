/* Shared by the workloads of xf_bench.
 *
 * A workload is a table of variants that do the same work: crossfork's variants, and bare ones that show what the
 * machine allows.  Each round of a variant runs in a process of its own, forked from a small one: open, some calls to
 * warm up, the timed calls, close.  So no variant is affected by what another one left behind, and CPU time and memory
 * belong to one variant.  The variants alternate round by round, so that noise from outside hits all alike. */
#ifndef BENCH_H
#define BENCH_H

#include <crossfork.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct bench_variant {
    const char *peer;
    void (*open)(void);  /* not timed; NULL: nothing */
    void (*once)(void);  /* timed */
    void (*close)(void); /* not timed, but its CPU time counts; NULL: nothing */
    int calls;           /* of a round */
    bool hidden;         /* used for a ratio only, and not printed */
    void (*check)(void); /* checks the results of each call.  Not timed; NULL: nothing */
} bench_variant;

/* Says that variant `peer` should take at most `target` times as long as `limit`. */
typedef struct bench_ratio {
    const char *peer;
    const char *limit;
    double target;
} bench_ratio;

typedef struct bench_workload {
    const char *name;
    long items;   /* of work in a call */
    int warm_ups; /* calls in a round before the timed ones */
    const bench_variant *variants;
    size_t variant_count;
    const bench_ratio *ratios;
    size_t ratio_count;
    bool counted; /* bench_asked.count, if it is set, replaces items */
} bench_workload;

extern const bench_workload bench_w1, bench_w1big, bench_w2, bench_w2c1, bench_w3, bench_w4, bench_w5, bench_w6,
    bench_w6big, bench_w7, bench_w8, bench_w9, bench_w10, bench_w10c, bench_fault;

#define BENCH_COUNT(array) (sizeof(array) / sizeof *(array))

/* The sizes that the command line asks for instead of a workload's own; 0: not asked for. */
typedef struct bench_sizes {
    size_t count;   /* items of a map, or messages of a call: w2, w2c1, w6, w6big */
    size_t steps;   /* of the shortest task: w5 */
    size_t bytes;   /* of a message: w6, w6big */
    size_t workers; /* of a pool and of its bare peers: w2, w2c1, w8 */
    size_t heap;    /* of the parent, in MiB: w1big */
    int calls;      /* of a round, at most */
} bench_sizes;

extern bench_sizes bench_asked;

/* Returns the size that was asked for, or else the usual one. */
static inline size_t bench_size(size_t asked, size_t usual)
{
    return asked ? asked : usual;
}

/* Prints what failed and why (NULL: the text of errno), and ends the program. */
_Noreturn void bench_fail(const char *what, const char *why);

/* Ends the program when rc, a crossfork call's return value, is negative. */
void bench_check(const char *what, int rc);

/* Returns nanoseconds of the monotonic clock. */
uint64_t bench_now_ns(void);

/* Adds a member to the variant's line: the median of the values that the rounds noted.  BENCH_NOTES at most.
 *   name  A literal. */
void bench_note(const char *name, double value);

enum { BENCH_NOTES = 4, BENCH_TEAM = 64 };

/* ---- Pools ----------------------------------------------------------------------------------- */

xf_pool *bench_open_pool(const xf_pool_options *options);

/* Closes, joins and frees the pool, and ends the helper process that starts workers. */
void bench_close_pool(xf_pool *pool);

/* ---- Bare calls ------------------------------------------------------------------------------ */

/* Returns memory shared with processes that are forked from now on; all of its pages are mapped already. */
void *bench_share(size_t size);

/* Returns private memory; all of its pages are mapped already. */
void *bench_allocate(size_t size);

void bench_futex_wait(_Atomic uint32_t *word, uint32_t seen);
void bench_futex_wake(_Atomic uint32_t *word);

/* Waits for a child, and fails unless it exits with 0. */
void bench_reap(pid_t pid);

/* A team is BENCH_TEAM forked processes at most, which run work(0), work(1) and so on in each turn. */
void bench_open_team(void (*work)(int me), size_t members);
void bench_begin_team(void);
void bench_await_team(void);
void bench_close_team(void);

/* Keeps this process to a core of its own: see bare_peers.c. */
void bench_keep_to_core(int n);

/* A child that answers a number with three times that number, through two words in shared memory.  While it waits, it
 * spins first (hot), or sleeps at once. */
void bench_open_post_hot(void);
void bench_open_post_asleep(void);
void bench_ask_post(void);
void bench_close_post(void);

/* As argv[1]: the program exits at once, before xf_main. */
#define BENCH_NOTHING "bare-child"

/* As argv[1]: the program runs bench_bare_worker with the descriptor argv[2], and exits. */
#define BENCH_WORKER "bare-worker"

void bench_bare_worker(int memory);

#endif
