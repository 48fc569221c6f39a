/* What the workloads of xf_bench share.
 *
 * A workload is a table of variants that do the same work: crossfork's, and bare ones that show what the machine
 * allows.  Each round of a variant runs in a process of its own, forked from a small one: open, two calls to warm up,
 * the timed calls, close.  So no variant sees what another left behind, and CPU time and memory belong to one variant.
 * The variants take turns round by round, so that noise from outside hits all alike. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>

typedef struct bench_variant {
    const char *peer;
    void (*open)(void);  /* not timed; NULL: nothing */
    void (*once)(void);  /* timed */
    void (*close)(void); /* not timed, but its CPU time counts; NULL: nothing */
    int calls;           /* a round */
    bool hidden;         /* only there for a ratio: gets no line of its own */
} bench_variant;

/* Says that variant `peer` should take at most `target` times as long as `limit`. */
typedef struct bench_ratio {
    const char *peer;
    const char *limit;
    double target;
} bench_ratio;

typedef struct bench_workload {
    const char *name;
    long items; /* of work in a call */
    const bench_variant *variants;
    size_t variant_count;
    const bench_ratio *ratios;
    size_t ratio_count;
} bench_workload;

extern const bench_workload bench_w1, bench_w1big;

#define BENCH_COUNT(array) (sizeof(array) / sizeof *(array))

/* Ends the program: what failed, and why (NULL: as errno says). */
_Noreturn void bench_fail(const char *what, const char *why);

/* Takes a crossfork call's return value: ends the program when it is negative. */
void bench_check(const char *what, int rc);

/* As argv[1]: the program ends at once, before it asks whether it is a child of crossfork. */
#define BENCH_NOTHING "bare-child"

#endif
