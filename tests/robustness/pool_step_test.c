/* Goal: a worker can be killed after any instruction, and the pool loses only the items that this worker was running
 * (Linux).
 *
 * The test holds a waiting worker with ptrace, submits work, and lets the worker run for N instructions (a system call
 * is one) of its cycle: it wakes, claims, runs, publishes, searches for more work, and sleeps again.  There the test
 * kills the worker, and compares the statuses of the items with the counts that the task itself keeps in shared memory;
 * then the pool has to be as it was before.  N is 1, 2, 3, ... to the end of the cycle.
 *
 * A step costs up to 25 us if a debug trap leaves a virtual machine, and N steps are needed to reach N.  So gates in
 * the task divide the cycle into sections: a worker waits at a gate until it is held, and passes it at full speed in
 * the rounds of later sections.
 *
 * The cycle does not depend on the start method of the worker, so the runs by fork, spawn and server share the
 * instructions of a section: each run takes every third of them.
 *
 * The worker is killed after each instruction of the cycle of a map, and of the parts that differ in other cycles.
 * Some instructions are left out unless XF_STEP_ALL=1 is in the environment: most of those between the last search for
 * work and sleep; those of xf_fail; three of four while pages are taken; and in sections of more than STEPS_MAX steps
 * all but evenly spread ones (about every second one while a failure is stored, fewer without optimisation or with
 * sanitizers). */
#include "pool/pool_state.h"
#include "tasks.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* On other processors a load and its conditional store may never succeed between two steps. */
#ifdef __x86_64__
enum { CAN_STEP = true };
#else
enum { CAN_STEP = false };
#endif

enum {
    PATIENCE_MS = 10000,
    STEP_NS = 200000, /* longer than nearly any step that does not sleep */
    STEPS_MAX = 400000,
    ITEMS_MAX = 6,
    FOLLOWERS = 2,
    CODE = 5,
    TEXT_SIZE = 100, /* more than a job can embed */
    BULK_SIZE = 2 * OS_PAGE,
    MEMORY_LIMIT = 64 * 1024 * 1024 /* dead workers could lose all of it */
};

enum { GATE_BEGIN = 1, GATE_END = 2 };

/* An input, which is used in place, so that the task can count in it. */
typedef struct item {
    uint64_t number;
    uint32_t fails;
    _Atomic uint32_t closed;  /* gates */
    _Atomic uint32_t reached; /* gates */
    _Atomic uint32_t begun, ended;
} item;

static void pass(item *item, uint32_t gate)
{
    uint32_t closed;

    atomic_fetch_or(&item->reached, gate);
    while ((closed = atomic_load(&item->closed)) & gate)
        syscall(SYS_futex, &item->closed, FUTEX_WAIT, closed, NULL, NULL, 0);
}

static item *begin_item(const item *in)
{
    item *own = (item *)(uintptr_t)in;

    atomic_fetch_add(&own->begun, 1);
    pass(own, GATE_BEGIN);
    return own;
}

static int end_item(item *own, int code)
{
    pass(own, GATE_END);
    if (code == 0)
        atomic_fetch_add(&own->ended, 1);
    return code;
}

static uint64_t output_of(const item *item)
{
    return 7 * item->number + 1;
}

XF_TASK(compute, const item *in, uint64_t *out)
{
    item *own = begin_item(in);

    if (in->fails)
        return end_item(own, xf_fail(call, CODE, "on purpose"));
    *out = output_of(in);
    return end_item(own, 0);
}

/* Writes an output whose size is not known before. */
static int write_output(xf_call *call, size_t size)
{
    item *own = begin_item(xf_call_input(call, NULL));
    uint64_t *out = xf_call_output(call, size);

    if (!out)
        return XF_TASK_NO_MEMORY;
    *out = output_of(own);
    return end_item(own, 0);
}

XF_ENTRY(compute_text)
{
    return write_output(call, TEXT_SIZE);
}

XF_ENTRY(compute_bulk)
{
    return write_output(call, BULK_SIZE);
}

/* The work that is submitted while the worker is stepped. */
typedef struct work {
    xf_task *task;
    size_t count, chunk;
    size_t failing;  /* the item that fails; count: none */
    size_t from, to; /* the sections that are stepped, by the gates that they begin at */
    int attempts;
    bool stops;    /* with stop_at_failure */
    bool notifies; /* with on_done */
} work;

typedef struct stage stage;
typedef bool (*condition)(stage *stage);

/* A pool of two workers: the first one is the victim, and the other one, the follower, runs on with what it leaves. */
struct stage {
    const work *work;
    xf_pool *pool;
    item *items, *followers;
    size_t follower_count;
    pid_t victim, survivor;
    size_t memory; /* of the pool when there is no work */
    uint64_t lost, replaced;
    _Atomic int notified;
    size_t gate;            /* where the round begins: 0: waiting for work; 2 * i + 1 and + 2: at the gates of item i */
    long steps;             /* after which the victim is killed */
    condition until;        /* or earlier, when this holds; NULL: no such condition */
    bool asleep;            /* the victim slept before */
    bool was_busy, at_rest; /* it had work; it had no work any more */
    long rested, idle;      /* the steps until it had no work any more, and until it announced that it would sleep */
    long kills;
    pid_t tracer;
    int orders; /* the socket from which the tracer takes orders, and on which it answers */
};

/* Fails the test, and prints the position of the stage. */
static void expect(const stage *stage, bool holds, const char *what)
{
    if (!holds)
        fail_msg("not %s: killed after instruction %ld behind gate %zu", what, stage->steps, stage->gate);
}

/* ---- Holding a worker ------------------------------------------------------------------------ */

/* Returns whether the process sleeps in a system call. */
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

static bool await_stop(pid_t pid)
{
    int status = 0;

    return waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status);
}

static bool hold(pid_t pid)
{
    return ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 && ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 &&
           await_stop(pid);
}

/* Lets the process run one instruction; false when it sleeps in that instruction. */
static bool step(pid_t pid, bool *asleep)
{
    uint64_t soon;
    int status = 0;
    pid_t stopped = 0;

    *asleep = false;
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0)
        return false;
    soon = uv_hrtime() + STEP_NS;
    while (stopped == 0 && !*asleep) {
        bool slept =
            uv_hrtime() > soon && sleeps(pid); /* asked before waitpid, because the process may stop in between */
        stopped = waitpid(pid, &status, __WALL | WNOHANG);
        *asleep = stopped == 0 && slept;
        if (stopped == 0)
            sched_yield();
    }
    return *asleep || (stopped == pid && WIFSTOPPED(status));
}

/* ---- The tracer ---------------------------------------------------------------------------------------------------
 *
 * It is a process of its own.  A process that traces its own children is notified of their stops when it asks for their
 * ends, and the pool asks for the ends of its workers. */

static bool hold_victim(stage *stage)
{
    return hold(stage->victim);
}

static bool hold_survivor(stage *stage)
{
    return hold(stage->survivor);
}

static bool let_survivor_go(stage *stage)
{
    return ptrace(PTRACE_DETACH, stage->survivor, NULL, NULL) == 0;
}

static bool is_idle(const stage *stage, uint32_t slot)
{
    return atomic_load(&stage->pool->segment.shared->idle[0]) >> slot & 1;
}

static void note_rest(stage *stage, long steps)
{
    if (atomic_load(&stage->pool->segment.slots[0].busy)) {
        stage->was_busy = true;
    } else if (stage->was_busy && !stage->at_rest) {
        stage->at_rest = true;
        stage->rested = steps;
    }
    if (stage->at_rest && stage->idle == LONG_MAX && is_idle(stage, 0))
        stage->idle = steps;
}

/* Steps the victim to the instruction after which it has to be killed. */
static bool run_steps(stage *stage)
{
    stage->was_busy = stage->gate > 0;
    stage->asleep = stage->at_rest = false;
    stage->rested = stage->idle = LONG_MAX;
    for (long steps = 1; steps <= stage->steps; steps++) {
        if (!step(stage->victim, &stage->asleep))
            return false;
        note_rest(stage, steps);
        if (stage->asleep || (stage->until && stage->until(stage)))
            stage->steps = steps;
    }
    return true;
}

/* A tracee takes a signal only at the trap of a step; if the step sleeps in a system call, the trap comes once the call
 * is interrupted.  The parent of the victim then waits for its end. */
static bool kill_victim(stage *stage)
{
    if (stage->asleep && (ptrace(PTRACE_INTERRUPT, stage->victim, NULL, NULL) < 0 || !await_stop(stage->victim) ||
                          ptrace(PTRACE_SINGLESTEP, stage->victim, NULL, NULL) < 0 || !await_stop(stage->victim)))
        return false;
    return ptrace(PTRACE_DETACH, stage->victim, NULL, (void *)(intptr_t)SIGKILL) == 0;
}

static _Noreturn void follow_orders(stage *stage, int orders)
{
    condition order;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(orders, &order, sizeof order) == sizeof order) {
        bool done = order(stage);
        if (write(orders, &done, sizeof done) != sizeof done)
            break;
    }
    _exit(0);
}

static void start_tracer(stage *stage)
{
    const os_shm *shm = &stage->pool->segment.work; /* the tracer looks into it */
    int ends[2];
    pid_t pid;

    assert_int_equal(madvise(shm->address, shm->size, MADV_DOFORK), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        follow_orders(stage, ends[1]);
    }
    close(ends[1]);
    stage->orders = ends[0];
    stage->tracer = pid;
}

/* A forked worker has the other end too, so closing it would not end the tracer. */
static void end_tracer(stage *stage)
{
    close(stage->orders);
    kill(stage->tracer, SIGKILL);
    waitpid(stage->tracer, NULL, 0);
}

static bool was_done(stage *stage, condition order)
{
    bool done = false;

    assert_int_equal(write(stage->orders, &order, sizeof order), sizeof order);
    assert_int_equal(read(stage->orders, &done, sizeof done), sizeof done);
    return done;
}

static void command(stage *stage, condition order)
{
    expect(stage, was_done(stage, order), "traced");
}

/* ---- The pool -------------------------------------------------------------------------------- */

static xf_pool_stats look(stage *stage, xf_worker_stats *workers)
{
    xf_pool_stats stats;

    xf_pool_stats_get(stage->pool, &stats, workers, workers ? 2 : 0);
    return stats;
}

/* Returns whether the victim has a successor. */
static bool is_refilled(stage *stage)
{
    xf_worker_stats workers[2] = {{0}, {0}};
    xf_pool_stats stats = look(stage, workers);

    if (stats.started < 2 || workers[0].pid == stage->victim || !workers[0].pid || !workers[1].pid)
        return false;
    if (stage->survivor)
        expect(stage, workers[1].pid == stage->survivor, "alive beside the victim");
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

static void await(stage *stage, condition holds, const char *what)
{
    uint64_t deadline = uv_hrtime() + PATIENCE_MS * UINT64_C(1000000);

    while (!holds(stage)) {
        if (uv_hrtime() > deadline)
            expect(stage, false, what);
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

static void close_stage(stage *stage)
{
    if (stage->kills > 0)
        print_message("%ld kills, %llu items lost\n", stage->kills, (unsigned long long)stage->lost);
    end_tracer(stage);
    xf_pool_buffer_free(stage->pool, stage->items);
    xf_pool_free(stage->pool);
    munmap(stage, sizeof *stage);
}

/* Both processes share the stage.  Skips the test if a process may not trace another one of its user. */
static stage *open_stage(const work *work, size_t memory_limit)
{
    xf_pool_options options = {
        .workers = 2, .eager = true, .spin_us = -1, .max_attempts = work->attempts, .memory_limit = memory_limit};
    stage *stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(stage != MAP_FAILED);
    stage->work = work;
    stage->follower_count = FOLLOWERS;
    assert_int_equal(xf_pool_create(&stage->pool, &options), 0);
    stage->items = xf_pool_buffer_alloc(stage->pool, (ITEMS_MAX + FOLLOWERS) * sizeof(item));
    assert_non_null(stage->items);
    stage->followers = stage->items + ITEMS_MAX;
    await_refill(stage);
    await_peace(stage);
    stage->memory = look(stage, NULL).memory;
    start_tracer(stage);
    if (!CAN_STEP || !was_done(stage, hold_survivor)) {
        close_stage(stage);
        print_message("this system does not let processes be traced\n");
        skip();
    }
    command(stage, let_survivor_go);
    return stage;
}

/* ---- Handing work in, and what comes of it --------------------------------------------------- */

static void on_done(xf_future *future, void *arg)
{
    stage *stage = arg;

    (void)future;
    atomic_fetch_add(&stage->notified, 1);
}

static void fill_items(item *items, size_t count, uint64_t number, size_t failing)
{
    for (size_t i = 0; i < count; i++)
        items[i] = (item){.number = number + i, .fails = i == failing};
}

static uint32_t gate_bit(size_t gate)
{
    return gate % 2 ? GATE_BEGIN : GATE_END;
}

static void close_gate(stage *stage, size_t gate)
{
    if (gate > 0 && gate <= 2 * stage->work->count)
        atomic_fetch_or(&stage->items[(gate - 1) / 2].closed, gate_bit(gate));
}

static void open_gate(stage *stage, size_t gate)
{
    if (gate > 0 && gate <= 2 * stage->work->count)
        atomic_fetch_and(&stage->items[(gate - 1) / 2].closed, ~gate_bit(gate));
}

static bool victim_is_at_gate(stage *stage)
{
    return atomic_load(&stage->items[(stage->gate - 1) / 2].reached) & gate_bit(stage->gate) && sleeps(stage->victim);
}

static xf_future *hand_in(stage *stage)
{
    const work *work = stage->work;
    xf_map map = {.task = work->task,
                  .in = stage->items,
                  .size = sizeof *stage->items,
                  .count = work->count,
                  .chunk = work->chunk,
                  .stop_at_failure = work->stops,
                  .arg = stage};
    xf_future *future = NULL;
    int rc;

    if (work->notifies)
        map.on_done = on_done;
    fill_items(stage->items, work->count, (uint64_t)stage->kills, work->failing);
    close_gate(stage, stage->gate);
    close_gate(stage, stage->gate + 1);
    if (work->count == 1)
        rc = xf_pool_submit(&future, stage->pool, &map);
    else
        rc = xf_pool_map_async(&future, stage->pool, &map);
    assert_int_equal(rc, 0);
    return future;
}

static void check_output(const stage *stage, xf_future *future, const item *item, size_t index)
{
    const uint64_t *out = xf_future_result(future, index, NULL);

    expect(stage, out && *out == output_of(item), "done with the right output");
    expect(stage, atomic_load(&item->ended) > 0, "done by a task that ended");
}

/* Checks one item, and returns whether it was lost. */
static bool check_item(const stage *stage, xf_future *future, size_t index)
{
    const item *item = &stage->items[index];
    xf_status status = xf_future_status(future, index);
    uint32_t begun = atomic_load(&item->begun);

    expect(stage, begun <= (uint32_t)stage->work->attempts, "tried as often as allowed");
    if (status.kind == XF_END_DONE) {
        expect(stage, !item->fails, "failed as it should");
        check_output(stage, future, item, index);
    } else if (status.kind == XF_END_FAILED) {
        expect(stage, item->fails && begun > 0, "failed where it should");
        expect(stage, status.code == CODE, "failed with the right code");
        expect(stage, strcmp(xf_future_report(future, index)->message, "on purpose") == 0,
               "failed with the right text");
    } else if (status.kind == XF_END_CANCELLED) {
        expect(stage, stage->work->stops && begun == 0, "cancelled with reason");
    } else {
        expect(stage, status.kind == XF_END_KILLED, "lost by a kill");
        expect(stage, stage->work->attempts == 1, "tried again");
    }
    return status.kind == XF_END_KILLED;
}

static void check_future(stage *stage, xf_future *future)
{
    const work *work = stage->work;
    size_t lost = 0, again = 0, bad = 0, first = xf_future_failure(future, 0);

    for (size_t i = 0; i < work->count; i++) {
        lost += check_item(stage, future, i);
        again += atomic_load(&stage->items[i].begun) > 1;
        bad += xf_future_status(future, i).kind != XF_END_DONE;
    }
    expect(stage, lost + again <= 1, "just one item");
    expect(stage, xf_future_failures(future) == bad, "as many failures as there were");
    stage->lost += lost;
    if (work->stops) /* one worker at a time ran all items, in order */
        expect(stage, bad == work->count - first, "stopped at the first item that is not done");
    else if (lost == 0)
        expect(stage, bad == (work->failing < work->count), "all the rest done");
}

static bool was_notified(stage *stage)
{
    return atomic_load(&stage->notified) > 0;
}

/* A future that is freed while its callback returns stays for that moment. */
static bool has_no_future(stage *stage)
{
    return look(stage, NULL).futures == 0;
}

/* Nothing is left of a future. */
static void check_books(stage *stage)
{
    xf_pool_stats stats = look(stage, NULL);

    expect(stage, stats.started == 2 && stats.busy == 0, "two idle workers");
    expect(stage, stats.queued == 0 && stats.futures == 0, "without work");
    expect(stage, stats.lost == stage->lost, "as many losses as there were");
    expect(stage, stats.replaced == stage->replaced, "replaced once");
    expect(stage, stats.memory == stage->memory, "using as much memory as before");
}

static void wait_for(stage *stage, xf_future *future)
{
    int rc = xf_future_wait(future, PATIENCE_MS);

    expect(stage, rc == 0 || rc == XF_EFAILED, "complete");
}

static xf_future *hand_followers_in(stage *stage)
{
    item *items = stage->followers;
    const xf_map map = {
        .task = &compute, .in = items, .size = sizeof *items, .count = stage->follower_count, .chunk = 1};
    xf_future *future = NULL;
    int rc;

    fill_items(items, stage->follower_count, 1000, FOLLOWERS);
    if (stage->follower_count == 1)
        rc = xf_pool_submit(&future, stage->pool, &map);
    else
        rc = xf_pool_map_async(&future, stage->pool, &map);
    assert_int_equal(rc, 0);
    return future;
}

/* The victim's successor does other work alone; after that it has nothing to do for the first time. */
static void follow(stage *stage)
{
    xf_future *future = hand_followers_in(stage);

    wait_for(stage, future);
    expect(stage, xf_future_failures(future) == 0, "followed by a good map");
    for (size_t i = 0; i < stage->follower_count; i++) {
        check_output(stage, future, &stage->followers[i], i);
        expect(stage, atomic_load(&stage->followers[i].begun) == 1, "followed by a map that ran once");
    }
    await(stage, victim_waits, "idle after other work");
    xf_future_free(future);
    check_books(stage);
}

/* ---- Rounds ---------------------------------------------------------------------------------- */

/* Submits the work, and holds the victim at the gate where the round begins. */
static xf_future *begin_round(stage *stage)
{
    xf_future *future;

    command(stage, hold_survivor);
    follow(stage);
    if (stage->gate > 0) {
        future = hand_in(stage);
        await(stage, victim_is_at_gate, "at a gate");
        command(stage, hold_victim);
        open_gate(stage, stage->gate);
    } else {
        command(stage, hold_victim);
        future = hand_in(stage);
    }
    return future;
}

static void end_round(stage *stage, xf_future *future)
{
    wait_for(stage, future);
    await_refill(stage);
    if (stage->work->notifies)
        await(stage, was_notified, "notified");
    await_peace(stage);
    check_future(stage, future);
    xf_future_free(future);
    await(stage, has_no_future, "without a future");
    check_books(stage);
    expect(stage, atomic_exchange(&stage->notified, 0) == stage->work->notifies, "notified once");
}

/* Kills the victim after stage->steps instructions of the section, or at the end of the section; then stage->steps is
 * set to the number of its instructions. */
static void kill_once(stage *stage)
{
    xf_future *future = begin_round(stage);

    command(stage, run_steps);
    open_gate(stage, stage->gate + 1);
    command(stage, kill_victim);
    stage->replaced++;
    stage->kills++;
    if (stage->work->stops)
        wait_for(stage, future); /* so that the victim's successor alone runs the rest */
    command(stage, let_survivor_go);
    end_round(stage, future);
}

static bool steps_all(void)
{
    return getenv("XF_STEP_ALL") != NULL;
}

/* Returns how many instructions to go on from one kill to the next, for a section of so many. */
static long choose_stride(long steps)
{
    long turns = 2L * STEPS_MAX / steps;

    return steps_all() || turns >= steps ? 1 : (steps + turns - 1) / turns;
}

enum { SHARES = 3 };

/* Returns the rest of the numbers of the kills that this run has to do. */
static int own_share(void)
{
    static const char *const methods[SHARES] = {"fork", "spawn", "server"};
    const char *method = getenv("XF_START");
    int share = 0;

    for (int i = 0; method && i < SHARES; i++)
        if (strcmp(method, methods[i]) == 0)
            share = i;
    return share;
}

/* Kills the victim after each instruction between one gate and the next. */
static void kill_in_section(stage *stage, size_t gate)
{
    bool all = steps_all();
    long end, stride;

    stage->gate = gate;
    stage->steps = LONG_MAX;
    kill_once(stage);
    end = stage->steps;
    stride = choose_stride(end);
    for (long steps = 1 + (all ? 0 : own_share() * stride); steps < end; steps += all ? 1 : SHARES * stride) {
        stage->steps = steps;
        kill_once(stage);
    }
}

static bool is_at_rest(stage *stage)
{
    return stage->at_rest;
}

static void kill_everywhere(const work *work)
{
    stage *stage = open_stage(work, 0);

    stage->until = is_at_rest;
    for (size_t gate = steps_all() ? 0 : work->from; gate <= work->to; gate++)
        kill_in_section(stage, gate);
    close_stage(stage);
}

static void a_map_loses_one_item(void **state)
{
    (void)state;
    kill_everywhere(&(work){.task = &compute, .count = 3, .chunk = 2, .failing = 3, .to = 6, .attempts = 1});
}

/* Steps to the end of the last task. */
static void an_item_is_tried_again(void **state)
{
    (void)state;
    kill_everywhere(&(work){.task = &compute, .count = 2, .chunk = 2, .failing = 2, .to = 3, .attempts = 2});
}

/* Steps from the end of the task that fails to the next one; the rest is the same in any map. */
static void an_item_that_fails_is_lost_or_has_failed(void **state)
{
    (void)state;
    kill_everywhere(&(work){.task = &compute, .count = 2, .chunk = 1, .from = 2, .to = 2, .attempts = 1});
}

/* Steps from the end of the task that fails to the end of the cycle. */
static void a_failure_stops_the_rest(void **state)
{
    (void)state;
    kill_everywhere(
        &(work){.task = &compute, .count = 4, .chunk = 2, .from = 2, .to = 2, .attempts = 1, .stops = true});
}

/* Steps from the begin of the task to the end of the cycle. */
static void an_item_of_any_length_is_done_or_lost(void **state)
{
    (void)state;
    kill_everywhere(
        &(work){.task = &compute_text, .count = 1, .failing = 1, .from = 1, .to = 2, .attempts = 1, .notifies = true});
}

/* Steps from the last item to sleep. */
static void one_that_goes_to_sleep_leaves_nothing_behind(void **state)
{
    const work work = {.task = &compute, .count = 1, .failing = 1, .attempts = 1};
    stage *stage = open_stage(&work, 0);
    long end, rested, idle, stride;

    (void)state;
    stage->gate = 2;
    stage->steps = LONG_MAX;
    kill_once(stage);
    end = stage->steps;
    rested = stage->rested;
    idle = stage->idle;
    stride = steps_all() ? 1 : 1 + (end - idle) * end / STEPS_MAX;
    for (long steps = rested; steps < end; steps += steps < idle ? 1 : stride) {
        stage->steps = steps;
        kill_once(stage);
    }
    close_stage(stage);
}

/* Takes pages of those that workers take, for a job that there is not, until no page with memory is free. */
static void fill_slabs(stage *stage)
{
    pool_segment *segment = &stage->pool->segment;
    uint64_t at;

    while (pool_segment_slab_pages(segment) < page_arena_committed(&segment->slabs))
        assert_int_equal(pool_segment_take_slab(segment, 1, pool_segment_slab_word(SEGMENT_JOBS - 1, 1), &at), 0);
    stage->memory = look(stage, NULL).memory;
}

static bool takes_pages(stage *stage)
{
    const pool_segment *segment = &stage->pool->segment;

    return atomic_load(&segment->slabs.words[atomic_load(&segment->shared->slabs.committed)]) != 0;
}

/* Pages without memory that a dead worker took are free again. */
static void pages_without_memory_are_given_back(void **state)
{
    const work work = {.task = &compute_bulk, .count = 1, .failing = 1, .attempts = 1};
    stage *stage = open_stage(&work, MEMORY_LIMIT);
    size_t peak;

    (void)state;
    stage->follower_count = 1; /* which takes no pages */
    fill_slabs(stage);
    peak = look(stage, NULL).memory_peak;
    stage->gate = 1;
    stage->until = takes_pages;
    stage->steps = LONG_MAX;
    kill_once(stage);
    stage->until = NULL;
    for (long steps = stage->steps; look(stage, NULL).memory_peak == peak; steps += steps_all() ? 1 : 4) {
        expect(stage, !takes_pages(stage), "free of pages without memory");
        stage->steps = steps;
        kill_once(stage);
    }
    close_stage(stage);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_loses_one_item),
        cmocka_unit_test(an_item_is_tried_again),
        cmocka_unit_test(an_item_that_fails_is_lost_or_has_failed),
        cmocka_unit_test(a_failure_stops_the_rest),
        cmocka_unit_test(an_item_of_any_length_is_done_or_lost),
        cmocka_unit_test(one_that_goes_to_sleep_leaves_nothing_behind),
        cmocka_unit_test(pages_without_memory_are_given_back),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
