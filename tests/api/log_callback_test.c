/* Goal: however long a log callback takes, children end when they have to, and every line comes, in order. */
#include "pool_tasks.h"

#include <stdatomic.h>

/* Logs so many lines with numbers, and then does what the order says. */
XF_TASK(log_and_obey, const order *in, int *out)
{
    for (int i = 0; i < in->value; i++)
        xf_log(call, XF_LOG_INFO, "%d %100s", i, "");
    *out = in->value;
    if (in->what == DIE)
        support_kill_self();
    if (in->what == HANG)
        hang();
    return 0;
}

/* A log callback that waits, at its first line, until it may go on. */
typedef struct listener {
    uv_sem_t begun, go_on;
    _Atomic int lines;
    bool disordered;
    xf_process *other;
    int joined;
} listener;

static void open_listener(listener *self)
{
    memset(self, 0, sizeof *self);
    assert_int_equal(uv_sem_init(&self->begun, 0), 0);
    assert_int_equal(uv_sem_init(&self->go_on, 0), 0);
}

static void close_listener(listener *self)
{
    uv_sem_destroy(&self->begun);
    uv_sem_destroy(&self->go_on);
}

static void listen_late(xf_process *process, const xf_log_line *line, void *arg)
{
    listener *self = arg;

    (void)process;
    if (atomic_load(&self->lines) == 0) {
        uv_sem_post(&self->begun);
        uv_sem_wait(&self->go_on);
    }
    self->disordered |= atoi(line->text) != atomic_fetch_add(&self->lines, 1);
}

static void expect_lines(const listener *self, int count)
{
    assert_int_equal(atomic_load(&self->lines), count);
    assert_false(self->disordered);
}

static xf_process_options options_of(listener *listener)
{
    return (xf_process_options){.on_log = listen_late, .on_log_arg = listener, .grace_ms = 20};
}

static xf_process *start_logging(int what, int lines, const xf_process_options *options)
{
    return start(&log_and_obey, &(order){what, lines}, sizeof(order), options);
}

static void await_end(xf_process *process)
{
    xf_wait_item item = {.kind = XF_WAIT_PROCESS, .process = process};

    assert_int_equal(xf_wait(&item, 1, 60000), 1);
    assert_int_equal(xf_process_join(process, NULL, 0), 0);
}

static void a_slow_one_holds_no_deadline_up(void **state)
{
    xf_pool *pool = open_workers(1);
    listener slow;
    xf_process_options options = options_of(&slow);
    xf_process *process, *brief;

    (void)state;
    open_listener(&slow);
    process = start_logging(HANG, 1, &options);
    uv_sem_wait(&slow.begun);
    xf_process_terminate(process);
    brief = start_logging(HANG, 0, &(xf_process_options){.limits.wall_ms = 20, .grace_ms = -1});
    assert_true(support_has_ended(xf_process_pid(brief), 60000));
    expect_kind(order_one(pool, PATIENT, &(xf_map){.timeout_ms = 20}), XF_END_TIMED_OUT, 0);
    await_end(process);
    expect_lines(&slow, 0);
    uv_sem_post(&slow.go_on);
    expect_end(process, XF_END_TERMINATED, 0);
    expect_lines(&slow, 1);
    expect_end(brief, XF_END_TIMED_OUT, 0);
    xf_pool_free(pool);
    close_listener(&slow);
}

/* The child waits meanwhile: so the program needs no memory for what it logs. */
static void a_flood_waits_for_a_slow_one(void **state)
{
    enum { FLOOD = 30000 };
    listener slow;
    xf_process_options options = options_of(&slow);
    xf_process *process;

    (void)state;
    open_listener(&slow);
    process = start_logging(FINE, FLOOD, &options);
    uv_sem_wait(&slow.begun);
    assert_int_equal(xf_process_join(process, NULL, 300), XF_ETIMEDOUT);
    assert_true(xf_process_alive(process));
    uv_sem_post(&slow.go_on);
    expect_end(process, XF_END_DONE, 0);
    expect_lines(&slow, FLOOD);
    close_listener(&slow);
}

/* Whether a thread waits for it, or none does. */
static void a_flood_is_ended_in_time(void **state)
{
    (void)state;
    for (int joined = 0; joined < 2; joined++) {
        listener slow;
        xf_process_options options = options_of(&slow);
        xf_process *process;
        open_listener(&slow);
        process = start_logging(HANG, 1000000, &options);
        uv_sem_wait(&slow.begun);
        xf_process_terminate(process);
        if (joined)
            assert_int_equal(xf_process_join(process, NULL, 1), XF_ETIMEDOUT);
        await_end(process);
        expect_lines(&slow, 0);
        uv_sem_post(&slow.go_on);
        expect_end(process, XF_END_TERMINATED, 0);
        assert_false(slow.disordered);
        close_listener(&slow);
    }
}

static void a_detached_process_logs_to_its_end(void **state)
{
    listener slow;
    xf_process_options options = options_of(&slow);
    xf_process *process;

    (void)state;
    open_listener(&slow);
    process = start_logging(FINE, 10, &options);
    uv_sem_wait(&slow.begun);
    await_end(process);
    xf_process_detach(process);
    uv_sem_post(&slow.go_on);
    while (xf_cleanup() == XF_EBUSY)
        continue;
    expect_lines(&slow, 10);
    close_listener(&slow);
}

static void join_the_other(xf_process *process, const xf_log_line *line, void *arg)
{
    listener *self = arg;

    (void)process, (void)line;
    self->joined = xf_process_join(self->other, NULL, XF_FOREVER);
    self->joined += xf_process_free(self->other);
}

/* Though both callbacks are called on the same thread. */
static void a_callback_may_wait_for_another_process(void **state)
{
    listener other, self;
    xf_process_options options = options_of(&other);
    xf_process *process;

    (void)state;
    open_listener(&other);
    open_listener(&self);
    uv_sem_post(&other.go_on);
    self.joined = 1;
    self.other = start_logging(FINE, 100, &options);
    process = start_logging(FINE, 1, &(xf_process_options){.on_log = join_the_other, .on_log_arg = &self});
    expect_end(process, XF_END_DONE, 0);
    assert_int_equal(self.joined, 0);
    expect_lines(&other, 100);
    close_listener(&other);
    close_listener(&self);
}

/* ---- Of a pool's workers --------------------------------------------------------------------- */

static xf_future *order_logging(xf_pool *pool, int what, int lines)
{
    xf_future *future = NULL;
    order order = {what, lines};

    assert_int_equal(
        xf_pool_submit(&future, pool, &(xf_map){.task = &log_and_obey, .in = &order, .size = sizeof order}), 0);
    return future;
}

/* The worker has died, and its item has ended, before its lines have come; the pool stays until they have. */
static void a_worker_that_dies_is_replaced_before_its_lines_have_come(void **state)
{
    listener slow;
    xf_process_options process = options_of(&slow);
    xf_pool *pool;

    (void)state;
    open_listener(&slow);
    pool = open_pool(&(xf_pool_options){.workers = 1, .process = &process});
    expect_kind(order_logging(pool, DIE, 20), XF_END_KILLED, 0);
    expect_kind(order_one(pool, FINE, NULL), XF_END_DONE, 0);
    expect_kind(order_one(pool, PATIENT, &(xf_map){.timeout_ms = 20}), XF_END_TIMED_OUT, 0);
    expect_lines(&slow, 0);
    uv_sem_post(&slow.go_on);
    xf_pool_free(pool);
    expect_lines(&slow, 20);
    close_listener(&slow);
}

/* There is a bound on how many workers that have ended the program keeps for their lines. */
static void many_workers_die_before_their_lines_have_come(void **state)
{
    enum { DEATHS = 100 };
    listener slow;
    xf_process_options process = options_of(&slow);
    xf_future *futures[DEATHS];
    xf_pool *pool;

    (void)state;
    open_listener(&slow);
    pool = open_pool(&(xf_pool_options){.workers = 2, .process = &process});
    for (int i = 0; i < DEATHS; i++)
        futures[i] = order_logging(pool, DIE, 1);
    expect_kind(futures[0], XF_END_KILLED, 0);
    assert_int_equal(xf_future_wait(futures[DEATHS - 1], 1000), XF_ETIMEDOUT);
    uv_sem_post(&slow.go_on);
    for (int i = 1; i < DEATHS; i++)
        expect_kind(futures[i], XF_END_KILLED, 0);
    xf_pool_free(pool);
    assert_int_equal(atomic_load(&slow.lines), DEATHS);
    close_listener(&slow);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_one_holds_no_deadline_up),
        cmocka_unit_test(a_flood_waits_for_a_slow_one),
        cmocka_unit_test(a_flood_is_ended_in_time),
        cmocka_unit_test(a_detached_process_logs_to_its_end),
        cmocka_unit_test(a_callback_may_wait_for_another_process),
        cmocka_unit_test(a_worker_that_dies_is_replaced_before_its_lines_have_come),
        cmocka_unit_test(many_workers_die_before_their_lines_have_come),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
