/* Goal: a pool accounts for every item under everything at once: four threads submit work that dies, fails, hangs, is
 * cancelled, times out and writes beyond its output, while workers are killed from outside and their number changes,
 * and a timer interrupts system calls.  Beside it workers of another pool write wherever they can.  When the program
 * ends, all workers end.
 *
 * XF_SOAK_SECONDS in the environment is the duration; the default is 5. */
#include "program.h"
#include "scribbles.h"
#include "tasks.h"

#include <stdatomic.h>
#include <uv.h>

enum { FINE, DIE, EXIT, FAIL, HANG, OVERRUN, KINDS };

typedef struct order {
    int what;
    int value;
} order;

XF_TASK(obey, const order *in, int64_t *out)
{
    *out = (int64_t)in->value * in->value;
    if (in->what == DIE)
        support_kill_self();
    if (in->what == EXIT)
        exit(3);
    if (in->what == FAIL)
        return xf_fail(call, 7, "%d", in->value);
    if (in->what == HANG)
        hang();
    for (int i = 0; in->what == OVERRUN && i <= in->value % 100; i++)
        ((volatile char *)(out + 1))[i] = (char)in->value;
    return 0;
}

/* Reports its pid and never ends. */
XF_TASK(spin_on, const int64_t *in, int64_t *out)
{
    *out = *in;
    printf("%lld\n", (long long)uv_os_getpid());
    fflush(stdout);
    for (;;)
        ;
    return 0;
}

/* ---- Soaking --------------------------------------------------------------------------------- */

typedef struct soak {
    xf_pool *pool;
    uint64_t until;
    _Atomic uint64_t items, lost, jobs;
    _Atomic int seed;
    uv_sem_t done; /* posted for each job */
    uv_thread_t threads[4];
    uv_thread_t disturber, scribbler;
    int scribbles;
} soak;

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* Returns whether an item of that order may end so. */
static bool is_possible(const order *order, const xf_map *options, bool cancelled, xf_end kind)
{
    if (kind == XF_END_KILLED || (kind == XF_END_CANCELLED && cancelled) ||
        (kind == XF_END_TIMED_OUT && options->timeout_ms))
        return true; /* killed by the disturber, or as ordered */
    switch (order->what) {
    case EXIT:
        return kind == XF_END_EXITED;
    case FAIL:
        return kind == XF_END_FAILED;
    case FINE:
        return kind == XF_END_DONE;
    case OVERRUN:
        return kind == XF_END_CRASHED;
    default:
        return false;
    }
}

static void check_item(soak *soak, xf_future *future, size_t i, const order *order, const xf_map *options,
                       bool cancelled)
{
    xf_status status = xf_future_status(future, i);
    xf_end kind = status.kind;
    const int64_t *out = xf_future_result(future, i, NULL);

    if (!is_possible(order, options, cancelled, kind)) {
        print_error("item %u that should do %d is %s\n", (unsigned)i, order->what, xf_end_name(kind));
        xf_report_print(xf_future_report(future, i), stderr);
        fail();
    }
    assert_true((kind == XF_END_DONE) == (out != NULL));
    assert_true(!out || *out == (int64_t)order->value * order->value);
    soak->lost +=
        kind == XF_END_KILLED || kind == XF_END_EXITED || (kind == XF_END_CRASHED && status.code != XF_CRASH_OVERRUN);
}

/* Submits one job, perhaps cancels it, and checks how every item ends. */
static void do_one_job(soak *soak, uint32_t *random)
{
    enum { MOST = 400 };
    order orders[MOST];
    size_t count = draw(random) % 4 == 0 ? 1 : 1 + draw(random) % MOST;
    bool hangs = draw(random) % 8 == 0, cancel = hangs || draw(random) % 8 == 0;
    xf_map map = {.task = &obey,
                  .in = orders,
                  .count = count,
                  .chunk = draw(random) % 20,
                  .priority = (xf_priority)(draw(random) % 3)};
    xf_future *future;

    if (draw(random) % 8 == 0)
        map.timeout_ms = 30;
    for (size_t i = 0; i < count; i++) {
        uint32_t dice = draw(random) % 300;
        orders[i] = (order){dice < HANG ? (int)dice : FINE, (int)(draw(random) % 30000)};
        if (hangs && dice == HANG)
            orders[i].what = HANG;
    }
    if (count == 1 && draw(random) % 4 == 0) /* alone, it has no neighbour in its map that it could damage */
        orders[0].what = OVERRUN;
    assert_int_equal(xf_pool_map_async(&future, soak->pool, &map), 0);
    if (cancel) {
        xf_future_wait(future, (int)(draw(random) % 5));
        xf_future_cancel(future);
    }
    if (xf_future_wait(future, 60000) == XF_ETIMEDOUT)
        fail_msg("a job of %u items hangs", (unsigned)count);
    for (size_t i = 0; i < count; i++)
        check_item(soak, future, i, &orders[i], &map, cancel);
    soak->items += count;
    soak->jobs++;
    xf_future_free(future);
    uv_sem_post(&soak->done);
}

static void hand_work_in(void *arg)
{
    soak *soak = arg;
    uint32_t random = (uint32_t)atomic_fetch_add(&soak->seed, 1);

    while (uv_hrtime() < soak->until)
        do_one_job(soak, &random);
}

enum { JOBS_BETWEEN = 4 };

/* Kills workers, and changes their number, while work is running. */
static void disturb(void *arg)
{
    soak *soak = arg;
    uint32_t random = 99;

    while (uv_hrtime() < soak->until) {
        xf_worker_stats workers[8];
        xf_pool_stats stats;
        int count = xf_pool_stats_get(soak->pool, &stats, workers, 8);
        const xf_worker_stats *victim = &workers[draw(&random) % 8];
        if (victim < workers + count && victim->pid > 0)
            support_kill(victim->pid);
        else
            assert_int_equal(xf_pool_resize(soak->pool, 1 + (int)(draw(&random) % 6)), 0);
        for (int i = 0; i < JOBS_BETWEEN; i++)
            uv_sem_wait(&soak->done);
    }
}

/* Lets the workers of a pool of its own write anywhere, over and over; the pool is used on until then. */
static void scribble_on(void *arg)
{
    soak *soak = arg;
    xf_pool *pool = open_hostile_pool();
    char what[100];

    while (uv_hrtime() < soak->until) {
        scribble order = {.kind = SCRIBBLE_RANDOM, .seed = uv_hrtime() | 1};
        snprintf(what, sizeof what, "seed %llu", (unsigned long long)order.seed);
        run_order(pool, &order, what);
        soak->scribbles++;
    }
    xf_pool_free(pool);
}

static void expect_clean_books(soak *soak)
{
    xf_pool_stats stats;

    do
        xf_pool_stats_get(soak->pool, &stats, NULL, 0);
    while (stats.memory > 0);
    assert_int_equal(stats.futures, 0);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.lost, soak->lost);
    print_message("%llu jobs of %llu items, %llu lost, %llu workers replaced, %d times written anywhere\n",
                  (unsigned long long)soak->jobs, (unsigned long long)soak->items, (unsigned long long)soak->lost,
                  (unsigned long long)stats.replaced, soak->scribbles);
}

static void the_books_are_kept(void **state)
{
    const char *seconds = getenv("XF_SOAK_SECONDS");
    xf_process_options process = {.grace_ms = 20};
    xf_pool_options options = {.workers = 3, .process = &process};
    static soak soak;

    (void)state;
    soak.until = uv_hrtime() + (uint64_t)(seconds ? atoi(seconds) : 5) * 1000000000U;
    assert_int_equal(uv_sem_init(&soak.done, 0), 0);
    assert_int_equal(xf_pool_create(&soak.pool, &options), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(uv_thread_create(&soak.threads[i], hand_work_in, &soak), 0);
    assert_int_equal(uv_thread_create(&soak.disturber, disturb, &soak), 0);
    assert_int_equal(uv_thread_create(&soak.scribbler, scribble_on, &soak), 0);
    support_interrupt_calls(3);
    for (int i = 0; i < 4; i++)
        uv_thread_join(&soak.threads[i]);
    for (int i = 0; i < JOBS_BETWEEN; i++)
        uv_sem_post(&soak.done);
    uv_thread_join(&soak.disturber);
    uv_thread_join(&soak.scribbler);
    support_interrupt_calls(0);
    uv_sem_destroy(&soak.done);
    expect_clean_books(&soak);
    xf_pool_close(soak.pool);
    assert_int_equal(xf_pool_join(soak.pool, 60000), 0);
    xf_pool_free(soak.pool);
}

/* ---- The end of the program ------------------------------------------------------------------ */

enum { WORKERS = 3 };

/* Maps a task that never ends. */
static int role_mapper(void)
{
    xf_pool_options options = {.workers = WORKERS};
    int64_t in[WORKERS] = {0}, out[WORKERS];
    xf_pool *pool;

    if (xf_pool_create(&pool, &options) < 0)
        return 1;
    return xf_pool_map(pool, &(xf_map){.task = &spin_on, .in = in, .out = out, .count = WORKERS});
}

static void a_killed_program_leaves_no_worker(void **state)
{
    const char *const arguments[] = {"mapper", NULL};
    program *mapper = program_start(NULL, arguments, NULL);
    int64_t pids[WORKERS];

    (void)state;
    for (int i = 0; i < WORKERS; i++) {
        pids[i] = program_number(mapper);
        assert_true(pids[i] > 0);
    }
    support_kill(program_pid(mapper));
    for (int i = 0; i < WORKERS; i++)
        assert_true(support_has_ended(pids[i], 1000));
    program_end(mapper, NULL);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_books_are_kept),
        cmocka_unit_test(a_killed_program_leaves_no_worker),
    };

    xf_main(argc, argv);
    return argc > 1 ? role_mapper() : cmocka_run_group_tests(tests, NULL, NULL);
}
