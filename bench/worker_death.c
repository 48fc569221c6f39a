/* w9: kills a worker that is busy in item 100 of 200, or idle.  Counts the items that are done and lost, and times how
 * soon the pool notices the death and how soon it has all of its workers again. */
#include "bench.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ITEMS = 200, VICTIM = 100, HARMLESS = -1, CALLS = 1, ITEM_US = 1000, LOOK_US = 20, DEADLINE_S = 20 };

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){0, us * 1000}, NULL);
}

/* ---- crossfork ------------------------------------------------------------------------------- */

static xf_pool *pool;
static int64_t victim; /* one of the first workers */

static struct {
    uint64_t done, lost, killed_ns, noticed_ns, strong_ns;
} found;

/* The victim logs the time of its death; the item's report has the log. */
XF_TASK(work_or_die, const int *in, int *out)
{
    sleep_us(ITEM_US);
    if (*in == VICTIM) {
        xf_log(call, XF_LOG_INFO, "%llu", (unsigned long long)bench_now_ns());
        kill(getpid(), SIGKILL);
    }
    *out = *in + 1;
    return 0;
}

/* Notes when the pool knows of the loss, and when two workers run something again. */
static void look(void)
{
    xf_pool_stats stats;
    int count = xf_pool_stats_get(pool, &stats, NULL, 0);

    if (!found.noticed_ns && (count < 2 || stats.lost > 0 || stats.replaced > 0))
        found.noticed_ns = bench_now_ns();
    if (!found.strong_ns && stats.replaced > 0 && stats.busy == 2)
        found.strong_ns = bench_now_ns();
    sleep_us(LOOK_US);
}

/* Leaves two idle workers that have worked before. */
static void open_pool(void)
{
    int in[ITEMS] = {0}, out[ITEMS];
    xf_worker_stats workers[2];
    xf_pool_stats stats;

    prctl(PR_SET_TIMERSLACK, 1L);
    pool = bench_open_pool(&(xf_pool_options){.workers = 2, .eager = true});
    bench_check("xf_pool_map", xf_pool_map(pool, &(xf_map){.task = &work_or_die, .in = in, .out = out, .count = 10}));
    do
        sleep_us(1000);
    while (xf_pool_stats_get(pool, &stats, workers, 2) != 2 || workers[0].busy || workers[1].busy);
    victim = workers[0].pid;
}

static void fill(int *in)
{
    for (int i = 0; i < ITEMS; i++)
        in[i] = i;
}

static void judge(xf_future *future, const int *in, const int *out)
{
    for (size_t i = 0; i < ITEMS; i++) {
        xf_end kind = xf_future_status(future, i).kind;
        found.done += kind == XF_END_DONE;
        found.lost += kind != XF_END_DONE;
        if (kind == XF_END_DONE && out[i] != in[i] + 1)
            bench_fail("w9", "a number is wrong");
        if (kind != XF_END_DONE && (i != VICTIM || kind != XF_END_KILLED))
            bench_fail("w9: an item other than the victim's", xf_end_name(kind));
    }
}

/* Submits all items, and polls until they have ended. */
static xf_future *run(const int *in, int *out)
{
    uint64_t deadline = bench_now_ns() + DEADLINE_S * UINT64_C(1000000000);
    xf_future *future;
    int rc;

    bench_check("xf_pool_map_async",
                xf_pool_map_async(&future, pool,
                                  &(xf_map){.task = &work_or_die, .in = in, .out = out, .count = ITEMS, .chunk = 1}));
    while ((rc = xf_future_wait(future, 0)) == XF_ETIMEDOUT && bench_now_ns() < deadline)
        look();
    if (rc == XF_ETIMEDOUT)
        bench_fail("w9", "the items do not end");
    judge(future, in, out);
    return future;
}

static void lose_busy(void)
{
    int in[ITEMS], out[ITEMS];
    const xf_report *report;
    xf_future *future;

    fill(in);
    future = run(in, out);
    report = xf_future_report(future, VICTIM);
    if (!report || report->log_count == 0)
        bench_fail("w9", "the loss has no report, or the report no log");
    found.killed_ns = strtoull(report->log[report->log_count - 1].text, NULL, 10);
    xf_future_free(future);
}

/* Submits the items once the pool knows of the loss. */
static void lose_idle(void)
{
    uint64_t deadline = bench_now_ns() + DEADLINE_S * UINT64_C(1000000000);
    int in[ITEMS], out[ITEMS];

    fill(in);
    in[VICTIM] = HARMLESS;
    found.killed_ns = bench_now_ns();
    kill((pid_t)victim, SIGKILL);
    while (!found.noticed_ns && bench_now_ns() < deadline)
        look();
    xf_future_free(run(in, out));
}

static void note_times(void)
{
    if (!found.noticed_ns || !found.strong_ns)
        bench_fail("w9", "the pool was not at full strength again");
    bench_note("notice_ns", (double)(found.noticed_ns - found.killed_ns));
    bench_note("full_strength_ns", (double)(found.strong_ns - found.killed_ns));
}

static void close_pool(void)
{
    bench_note("done", (double)found.done);
    bench_note("lost", (double)found.lost);
    note_times();
    bench_close_pool(pool);
}

/* ---- Bare: a pidfd, and a fork --------------------------------------------------------------- */

static struct {
    _Atomic uint64_t killed_ns, began_ns;
} *bare;

static void open_bare(void)
{
    bare = bench_share(sizeof *bare);
}

static void lose_bare(void)
{
    pid_t pid = fork();
    struct pollfd end;

    if (pid == 0) {
        sleep_us(ITEM_US);
        atomic_store(&bare->killed_ns, bench_now_ns());
        kill(getpid(), SIGKILL);
    }
    end = (struct pollfd){(int)syscall(SYS_pidfd_open, pid, 0), POLLIN, 0};
    if (pid < 0 || end.fd < 0 || poll(&end, 1, -1) != 1)
        bench_fail("pidfd_open", NULL);
    found.noticed_ns = bench_now_ns();
    waitpid(pid, NULL, 0);
    close(end.fd);
    pid = fork();
    if (pid == 0) {
        atomic_store(&bare->began_ns, bench_now_ns());
        _exit(0);
    }
    bench_reap(pid);
    found.killed_ns = atomic_load(&bare->killed_ns);
    found.strong_ns = atomic_load(&bare->began_ns);
}

/* ---- The workload ---------------------------------------------------------------------------- */

static const bench_variant variants[] = {
    {"bare:pidfd", open_bare, lose_bare, note_times, CALLS, false, NULL},
    {"crossfork:busy", open_pool, lose_busy, close_pool, CALLS, false, NULL},
    {"crossfork:idle", open_pool, lose_idle, close_pool, CALLS, false, NULL},
};

const bench_workload bench_w9 = {"w9", ITEMS, 0, variants, BENCH_COUNT(variants), NULL, 0, false};
