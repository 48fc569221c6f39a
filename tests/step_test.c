/* Goal: a worker can be killed after any instruction, and the pool loses what that worker was at, and nothing else (Linux).
 *
 * A worker that sleeps is held with ptrace, work is handed in, and the worker is let go for N instructions (a system
 * call is one) of the cycle in which it wakes, claims, runs, publishes, looks for more, and sleeps again.  There it is
 * killed, and what the pool says of the items is compared with what the task itself has counted in shared memory; then
 * the pool has to be as it was before.  N is 1, 2, 3, ... to the end of the cycle.
 *
 * Each instruction has its turn as long as that takes no more than STEPS_MAX steps, for optimised code always; in longer
 * cycles (of sanitizers) the turns are spread evenly.  XF_STEP_ALL=1 in the environment lifts that limit. */
#include "tasks.h"
#include "pool.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* Other processors need not get through a load and its conditional store between two steps. */
#ifdef __x86_64__
enum { CAN_STEP = true };
#else
enum { CAN_STEP = false };
#endif

enum {
    PATIENCE_MS = 10000,
    STEPS_MAX = 12000000,
    ITEMS_MAX = 6,
    FOLLOWERS = 2,
    CODE = 5,
    TEXT_SIZE = 100 /* more than a job has room for */
};

/* An input, which is used in place: so the task can count in it. */
typedef struct item {
    uint64_t number;
    uint32_t fails;
    _Atomic uint32_t begun, ended;
} item;

static item *begin_item(const item *in)
{
    item *own = (item *)(uintptr_t)in;

    atomic_fetch_add(&own->begun, 1);
    return own;
}

static uint64_t output_of(const item *item)
{
    return 7 * item->number + 1;
}

XF_TASK(compute, const item *in, uint64_t *out)
{
    item *own = begin_item(in);

    if (in->fails)
        return xf_fail(call, CODE, "on purpose");
    *out = output_of(in);
    atomic_fetch_add(&own->ended, 1);
    return 0;
}

/* Output of a size that is not known before. */
static int write_text(xf_call *call, size_t size)
{
    item *own = begin_item(xf_call_input(call, NULL));
    char *out;

    if (own->fails)
        return xf_fail(call, CODE, "on purpose");
    out = xf_call_output(call, size);
    if (!out)
        return XF_TASK_NO_MEMORY;
    *(uint64_t *)(void *)out = output_of(own);
    atomic_fetch_add(&own->ended, 1);
    return 0;
}

XF_ENTRY(compute_text)
{
    return write_text(call, TEXT_SIZE);
}

/* What is handed in to be run while its worker is stepped. */
typedef struct work {
    xf_task *task;
    size_t count, chunk;
    size_t failing; /* that item fails; count: none */
    int attempts;
    bool stops;    /* with stop_at_failure */
    bool notifies; /* with on_done */
} work;

/* A pool of two workers, of which the first one is the victim and the other sees what that leaves. */
typedef struct stage {
    const work *work;
    xf_pool *pool;
    item *items, *followers;
    pid_t victim, survivor;
    size_t memory; /* that the pool uses when there is no work */
    uint64_t lost, replaced;
    _Atomic int notified;
    long steps; /* after which the victim is killed */
    long kills;
} stage;

/* ---- Holding a worker ------------------------------------------------------------------------------------------- */

/* Whether it sleeps in a system call. */
static bool sleeps(pid_t pid)
{
    char path[64], text[512], *end;
    FILE *file;
    size_t size;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (!file)
        return false;
    size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    end = strrchr(text, ')');
    return end && strncmp(end, ") S", 3) == 0;
}

static void await_stop(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, __WALL), pid);
    assert_true(WIFSTOPPED(status));
}

static void hold(pid_t pid)
{
    assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
    assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
    await_stop(pid);
}

static void let_go(pid_t pid)
{
    assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
}

/* Kills it where it is, after a step.  It is nobody's tracee any more then, so that whoever started it hears of it. */
static void kill_held(pid_t pid)
{
    assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, (void *)(intptr_t)SIGKILL), 0);
}

static bool is_idle(const stage *stage, uint32_t slot)
{
    return atomic_load(&stage->pool->plane.head->idle[0]) >> slot & 1;
}

/* Lets the victim run one instruction; false when that is the one that it sleeps in at the end of the cycle. */
static bool step(const stage *stage)
{
    bool ends = is_idle(stage, 0);
    int status = 0;
    pid_t pid = 0;

    assert_int_equal(ptrace(PTRACE_SINGLESTEP, stage->victim, NULL, NULL), 0);
    if (!ends) {
        await_stop(stage->victim);
        return true;
    }
    while (pid == 0) {
        bool asleep = sleeps(stage->victim); /* asked first: it may stop in between */
        pid = waitpid(stage->victim, &status, __WALL | WNOHANG);
        if (pid == 0 && asleep)
            return false;
    }
    assert_true(pid == stage->victim && WIFSTOPPED(status));
    return true;
}

/* ---- The pool ---------------------------------------------------------------------------------------------------- */

static xf_pool_stats look(stage *stage, xf_worker_stats *workers)
{
    xf_pool_stats stats;

    xf_pool_stats_get(stage->pool, &stats, workers, 2);
    return stats;
}

/* Looks for the victim's successor; survives when the pool is at full strength. */
static bool is_refilled(stage *stage)
{
    xf_worker_stats workers[2] = {{0}, {0}};
    xf_pool_stats stats = look(stage, workers);

    if (stats.started < 2 || workers[0].pid == stage->victim)
        return false;
    if (stage->survivor)
        assert_int_equal(workers[1].pid, stage->survivor);
    stage->victim = (pid_t)workers[0].pid;
    stage->survivor = (pid_t)workers[1].pid;
    return true;
}

static bool victim_waits(stage *stage)
{
    return is_idle(stage, 0) && sleeps(stage->victim);
}

static bool survivor_waits(stage *stage)
{
    return is_idle(stage, 1) && sleeps(stage->survivor);
}

static void await(stage *stage, bool (*holds)(stage *), const char *what)
{
    uint64_t deadline = uv_hrtime() + PATIENCE_MS * UINT64_C(1000000);

    while (!holds(stage)) {
        if (uv_hrtime() > deadline)
            fail_msg("%d ms after a kill at instruction %ld: not %s", PATIENCE_MS, stage->steps, what);
        sched_yield();
    }
}

static void await_refill(stage *stage)
{
    await(stage, is_refilled, "at full strength");
}

static void await_peace(stage *stage)
{
    await(stage, victim_waits, "idle in the first place");
    await(stage, survivor_waits, "idle in the second place");
}

static void open_stage(stage *stage, const work *work, size_t memory_limit)
{
    xf_pool_options options = {.workers = 2,
                               .eager = true,
                               .spin_us = -1,
                               .max_attempts = work->attempts,
                               .memory_limit = memory_limit,
                               .process = &(xf_process_options){.stderr_to = XF_STDERR_INHERIT}};

    memset(stage, 0, sizeof *stage);
    stage->work = work;
    options.process = NULL;
    assert_int_equal(xf_pool_open(&stage->pool, &options), 0);
    stage->items = xf_pool_alloc(stage->pool, (ITEMS_MAX + FOLLOWERS) * sizeof(item));
    assert_non_null(stage->items);
    stage->followers = stage->items + ITEMS_MAX;
    await_refill(stage);
    await_peace(stage);
    stage->memory = look(stage, NULL).memory;
}
