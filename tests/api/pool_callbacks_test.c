/* Goal: each callback is called once, on the right thread, whatever became of the future. */
#include "pool_tasks.h"

typedef struct counts {
    uv_sem_t done;
    int success, failure;
} counts;

static void on_success(xf_future *future, void *arg)
{
    (void)future;
    ((counts *)arg)->success++;
}

static void on_failure(xf_future *future, void *arg)
{
    assert_int_equal(xf_future_failures(future), 1);
    ((counts *)arg)->failure++;
}

static void on_done(xf_future *future, void *arg)
{
    xf_future_free(future);
    uv_sem_post(&((counts *)arg)->done);
}

static void callbacks_are_called_once(void **state)
{
    const int whats[] = {FINE, FAIL, DIE};
    xf_pool *pool = open_workers(1);
    counts counts = {.success = 0};
    xf_map options = {.on_success = on_success, .on_failure = on_failure, .on_done = on_done, .arg = &counts};

    (void)state;
    assert_int_equal(uv_sem_init(&counts.done, 0), 0);
    for (int i = 0; i < 3; i++) {
        order_one(pool, whats[i], &options);
        uv_sem_wait(&counts.done);
    }
    assert_int_equal(counts.success, 1);
    assert_int_equal(counts.failure, 2);
    uv_sem_destroy(&counts.done);
    xf_pool_free(pool);
}

static void on_map(xf_future *future, void *arg)
{
    assert_int_equal(xf_future_count(future), 1);
    uv_sem_post(&((counts *)arg)->done);
}

/* Callbacks are called for a future that is freed before, or meanwhile. */
static void callbacks_of_what_is_freed_are_called(void **state)
{
    enum { MAPS = 300 };
    xf_pool *pool = open_workers(1);
    counts counts = {.success = 0};
    xf_map options = {.on_success = on_success, .on_done = on_map, .arg = &counts};

    (void)state;
    assert_int_equal(uv_sem_init(&counts.done, 0), 0);
    for (int i = 0; i < MAPS; i++)
        expect_squares(pool, 1, &options);
    for (int i = 0; i < MAPS; i++)
        uv_sem_wait(&counts.done);
    assert_int_equal(counts.success, MAPS);
    await_memory(pool, 0);
    uv_sem_destroy(&counts.done);
    xf_pool_free(pool);
}

/* No worker has run these items, so no worker reports them. */
static void callbacks_are_called_for_what_never_ran(void **state)
{
    xf_pool *pool = open_workers(1);
    xf_future *blocker = order_one(pool, PATIENT, NULL), *future;
    counts counts = {.success = 0};
    xf_map options = {.on_success = on_success, .on_failure = on_failure, .on_done = on_done, .arg = &counts};
    xf_map nothing = options;

    (void)state;
    assert_int_equal(uv_sem_init(&counts.done, 0), 0);
    nothing.task = &square;
    assert_int_equal(xf_pool_map_async(&future, pool, &nothing), 0);
    uv_sem_wait(&counts.done);
    assert_int_equal(counts.success, 1);
    xf_future_cancel(order_one(pool, FINE, &options));
    uv_sem_wait(&counts.done);
    order_one(pool, FINE, &options);
    xf_pool_cancel(pool);
    uv_sem_wait(&counts.done);
    assert_int_equal(counts.success, 1);
    assert_int_equal(counts.failure, 2);
    assert_int_equal(xf_future_wait(blocker, 60000), XF_EFAILED);
    xf_future_free(blocker);
    uv_sem_destroy(&counts.done);
    xf_pool_free(pool);
}

typedef struct on_loop {
    uv_thread_t thread;
    uv_loop_t loop;
    int calls;
} on_loop;

static void on_done_here(xf_future *future, void *arg)
{
    on_loop *here = arg;
    uv_thread_t self = uv_thread_self();

    assert_true(uv_thread_equal(&self, &here->thread));
    xf_future_free(future);
    if (++here->calls == 3)
        uv_stop(&here->loop);
}

static void on_late(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void callbacks_come_on_the_loop_that_was_given(void **state)
{
    on_loop here = {.thread = uv_thread_self()};
    xf_pool_options options = {.workers = 2, .loop = &here.loop};
    xf_map map = {.on_done = on_done_here, .arg = &here};
    uv_timer_t keep;
    xf_pool *pool;

    (void)state;
    assert_int_equal(uv_loop_init(&here.loop), 0);
    uv_timer_init(&here.loop, &keep);
    uv_timer_start(&keep, on_late, 60000, 0);
    pool = open_pool(&options);
    order_one(pool, FINE, &map);
    order_one(pool, DIE, &map);
    order_one(pool, FAIL, &map);
    uv_run(&here.loop, UV_RUN_DEFAULT);
    assert_int_equal(here.calls, 3);
    xf_pool_free(pool);
    uv_close((uv_handle_t *)&keep, NULL);
    uv_run(&here.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&here.loop), 0);
}

/* ---- What a callback may do ------------------------------------------------------------------ */

enum { WAITS = 11, NOT_CALLED = 12345 };

/* What a callback tries, and what came of it. */
typedef struct trial {
    xf_pool *pool;
    xf_future *running; /* does not end */
    xf_imap *imap;      /* its first item is running, too */
    int rc[WAITS];
    int poll, own, cleanup, submit;
    bool free_it; /* xf_pool_free, in the callback */
    uv_sem_t tried;
} trial;

static int map_one(xf_pool *pool)
{
    double in = 3, out = 0;
    int rc = xf_pool_map(pool, &(xf_map){.task = &square, .in = &in, .out = &out, .count = 1});

    if (rc == 0)
        assert_true(out == 9);
    return rc;
}

static void try_to_wait(trial *trial)
{
    xf_wait_item item = {.kind = XF_WAIT_FUTURE, .future = trial->running};
    xf_future *next;
    int *rc = trial->rc;

    *rc++ = xf_future_wait(trial->running, XF_FOREVER);
    *rc++ = xf_future_wait(trial->running, 1);
    *rc++ = xf_future_wait_any(&trial->running, 1, XF_FOREVER);
    *rc++ = xf_future_wait_all(&trial->running, 1, XF_FOREVER);
    *rc++ = map_one(trial->pool);
    *rc++ = xf_imap_next(trial->imap, &next, NULL, XF_FOREVER);
    *rc++ = xf_pool_join(trial->pool, XF_FOREVER);
    *rc++ = xf_pool_join(trial->pool, 1);
    *rc++ = xf_pool_terminate(trial->pool, XF_FOREVER);
    *rc++ = xf_pool_terminate(trial->pool, 1);
    *rc++ = xf_wait(&item, 1, XF_FOREVER);
    assert_ptr_equal(rc, trial->rc + WAITS);
    trial->poll = xf_future_wait(trial->running, 0);
    trial->cleanup = xf_cleanup();
}

static void try_in_callback(xf_future *future, void *arg)
{
    trial *trial = arg;

    try_to_wait(trial);
    trial->own = xf_future_wait(future, XF_FOREVER);
    uv_sem_post(&trial->tried);
}

static void try_in_log(xf_process *process, const xf_log_line *line, void *arg)
{
    (void)process, (void)line;
    try_to_wait(arg);
    uv_sem_post(&((trial *)arg)->tried);
}

static int one_patient_order(void *arg, xf_bytes *input)
{
    static const order patient = {PATIENT, 1};

    *input = (xf_bytes){&patient, sizeof patient};
    return (*(int *)arg)-- > 0;
}

static void begin_trial(trial *trial, const xf_process_options *process)
{
    int left = 1;
    xf_imap_options patient = {.task = &obey, .next = one_patient_order, .arg = &left};

    assert_int_equal(uv_sem_init(&trial->tried, 0), 0);
    trial->own = NOT_CALLED;
    trial->pool = open_pool(&(xf_pool_options){.workers = 3, .process = process});
    trial->running = order_one(trial->pool, PATIENT, NULL);
    assert_int_equal(xf_imap_create(&trial->imap, trial->pool, &patient), 0);
}

static void end_trial(trial *trial)
{
    for (int i = 0; i < WAITS; i++)
        if (trial->rc[i] != XF_EDEADLK)
            fail_msg("wait %d: %s", i, xf_err_name(trial->rc[i]));
    assert_int_equal(trial->poll, XF_ETIMEDOUT);
    assert_int_equal(trial->cleanup, XF_EBUSY);
    assert_int_equal(map_one(trial->pool), 0); /* nothing has happened to the pool */
    xf_imap_free(trial->imap);
    xf_future_free(trial->running);
    xf_pool_free(trial->pool);
    uv_sem_destroy(&trial->tried);
}

static void a_wait_in_a_callback_is_refused(void **state)
{
    static const int whats[] = {FINE, DIE};
    static const int owns[] = {0, XF_EFAILED};

    (void)state;
    for (int i = 0; i < 2; i++) {
        trial trial = {.free_it = false};
        begin_trial(&trial, NULL);
        xf_future_free(order_one(trial.pool, whats[i], &(xf_map){.on_done = try_in_callback, .arg = &trial}));
        uv_sem_wait(&trial.tried);
        assert_int_equal(trial.own, owns[i]); /* the callback's own future is complete */
        end_trial(&trial);
    }
}

XF_TASK(log_a_line, const int *in, int *out)
{
    *out = *in;
    return xf_log(call, XF_LOG_INFO, "a line");
}

static void a_wait_in_a_log_callback_of_a_worker_is_refused(void **state)
{
    trial trial = {.free_it = false};
    xf_process_options process = {.on_log = try_in_log, .on_log_arg = &trial};
    int in = 1;
    xf_future *future = NULL;

    (void)state;
    begin_trial(&trial, &process);
    assert_int_equal(xf_pool_map_async(&future, trial.pool, &(xf_map){.task = &log_a_line, .in = &in, .count = 1}), 0);
    uv_sem_wait(&trial.tried);
    assert_int_equal(xf_future_wait(future, 60000), 0);
    xf_future_free(future);
    end_trial(&trial);
}

/* ---- Slow callbacks -------------------------------------------------------------------------- */

typedef struct slow_callback {
    uv_sem_t begun, go_on;
    int submit;
    _Atomic bool returned;
    xf_pool *pool;
} slow_callback;

static void open_slow_callback(slow_callback *slow, xf_pool *pool)
{
    *slow = (slow_callback){.submit = NOT_CALLED, .pool = pool};
    assert_int_equal(uv_sem_init(&slow->begun, 0), 0);
    assert_int_equal(uv_sem_init(&slow->go_on, 0), 0);
}

static void close_slow_callback(slow_callback *slow)
{
    uv_sem_destroy(&slow->begun);
    uv_sem_destroy(&slow->go_on);
}

static void return_late(xf_future *future, void *arg)
{
    slow_callback *slow = arg;

    xf_future_free(future);
    uv_sem_post(&slow->begun);
    uv_sem_wait(&slow->go_on);
}

static void expect_timed_out(xf_future *future)
{
    expect_kind(future, XF_END_TIMED_OUT, 0);
}

/* Of a pool: the time of an item, of a whole map, and the replacement of a worker. */
static void expect_deadlines_are_kept(xf_pool *pool)
{
    expect_timed_out(order_one(pool, PATIENT, &(xf_map){.timeout_ms = 20}));
    expect_timed_out(order_one(pool, PATIENT, &(xf_map){.deadline_ms = 20}));
    expect_kind(order_one(pool, DIE, NULL), XF_END_KILLED, 0);
    assert_int_equal(map_one(pool), 0);
}

/* What nobody waits for is ended in time, too: the supervisor is free. */
static void a_slow_callback_holds_nothing_up(void **state)
{
    xf_pool *pool = open_workers(2), *other = open_workers(1);
    xf_process_options brief = {.limits.wall_ms = 20, .grace_ms = -1};
    slow_callback slow;
    xf_process *process;
    int64_t pid;

    (void)state;
    open_slow_callback(&slow, pool);
    order_one(pool, FINE, &(xf_map){.on_done = return_late, .arg = &slow});
    uv_sem_wait(&slow.begun);
    expect_deadlines_are_kept(pool);
    expect_deadlines_are_kept(other);
    assert_int_equal(xf_process_start(&process, &obey, &(order){HANG, 1}, sizeof(order), &brief), 0);
    pid = xf_process_pid(process);
    assert_true(support_has_ended(pid, 60000));
    assert_int_equal(xf_process_free(process), 0);
    uv_sem_post(&slow.go_on);
    xf_pool_free(other);
    xf_pool_free(pool);
    close_slow_callback(&slow);
}

static void submit_late(xf_future *future, void *arg)
{
    slow_callback *slow = arg;

    uv_sem_post(&slow->begun);
    uv_sem_wait(&slow->go_on);
    for (int refused = 0; refused < 20000; refused += slow->submit != 0) {
        xf_future_free(future);
        future = NULL;
        slow->submit = xf_pool_submit(&future, slow->pool,
                                      &(xf_map){.task = &obey, .in = &(order){FINE, 1}, .size = sizeof(order)});
    }
    slow->returned = true;
}

/* The callback uses the pool until the pool has refused it work very often. */
static void free_waits_for_a_callback(void **state)
{
    xf_pool *pool = open_workers(1);
    slow_callback slow;

    (void)state;
    open_slow_callback(&slow, pool);
    order_one(pool, FINE, &(xf_map){.on_done = submit_late, .arg = &slow});
    uv_sem_wait(&slow.begun);
    uv_sem_post(&slow.go_on);
    xf_pool_free(pool);
    assert_string_equal(xf_err_name(slow.submit), "XF_ESTATE");
    assert_true(slow.returned);
    close_slow_callback(&slow);
}

static void free_and_return_late(xf_future *future, void *arg)
{
    slow_callback *slow = arg;

    xf_future_free(future);
    xf_pool_free(slow->pool);
    uv_sem_post(&slow->begun);
    uv_sem_wait(&slow->go_on);
}

static void a_slow_callback_that_frees_its_pool_holds_nothing_up(void **state)
{
    xf_pool *other = open_workers(1);
    slow_callback slow;

    (void)state;
    open_slow_callback(&slow, open_workers(1));
    order_one(slow.pool, FINE, &(xf_map){.on_done = free_and_return_late, .arg = &slow});
    uv_sem_wait(&slow.begun);
    expect_deadlines_are_kept(other);
    uv_sem_post(&slow.go_on);
    xf_pool_free(other);
    while (xf_cleanup() == XF_EBUSY)
        continue;
    close_slow_callback(&slow);
}

/* ---- Freeing the pool in a callback ---------------------------------------------------------- */

static void free_the_pool(xf_future *future, void *arg)
{
    trial *trial = arg;

    xf_future_free(future);
    xf_pool_free(trial->pool);
    uv_sem_post(&trial->tried);
}

static void await_no_pool(void)
{
    while (xf_cleanup() == XF_EBUSY)
        continue;
    assert_int_equal(xf_cleanup(), 0);
}

/* Whatever the pool had at first has ended. */
static void expect_workers_gone(const int64_t *pids, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(pids[i] == 0 || support_has_ended(pids[i], 60000));
}

static int workers_of(xf_pool *pool, int64_t *pids, int room)
{
    xf_worker_stats workers[8] = {{0}};
    xf_pool_stats stats;
    int count = xf_pool_stats_get(pool, &stats, workers, room);

    for (int i = 0; i < count && i < room; i++)
        pids[i] = workers[i].pid;
    return count < room ? count : room;
}

static void a_pool_may_be_freed_in_its_callback(void **state)
{
    static const int whats[] = {FINE, DIE, FAIL};

    (void)state;
    for (int i = 0; i < 3; i++) {
        trial trial = {.free_it = true};
        xf_map map = {.on_done = free_the_pool, .arg = &trial};
        int64_t pids[8];
        int count;
        begin_trial(&trial, NULL);
        count = workers_of(trial.pool, pids, 8);
        order_one(trial.pool, whats[i], &map);
        uv_sem_wait(&trial.tried);
        await_no_pool();
        expect_workers_gone(pids, count);
        xf_future_free(trial.running); /* a future may outlive its pool */
        uv_sem_destroy(&trial.tried);
        xf_imap_free(trial.imap);
    }
}

/* There is no worker whose end would free it. */
static void an_idle_pool_may_be_freed_in_its_callback(void **state)
{
    trial trial = {.pool = open_workers(2)};
    xf_future *future;

    (void)state;
    assert_int_equal(uv_sem_init(&trial.tried, 0), 0);
    assert_int_equal(
        xf_pool_map_async(&future, trial.pool, &(xf_map){.task = &square, .on_done = free_the_pool, .arg = &trial}), 0);
    uv_sem_wait(&trial.tried);
    await_no_pool();
    uv_sem_destroy(&trial.tried);
}

static void another_pool_may_be_freed_in_a_callback(void **state)
{
    trial trial = {.free_it = true};
    xf_pool *pool = open_workers(1);

    (void)state;
    begin_trial(&trial, NULL);
    order_one(pool, DIE, &(xf_map){.on_done = free_the_pool, .arg = &trial});
    uv_sem_wait(&trial.tried);
    assert_int_equal(map_one(pool), 0);
    xf_pool_free(pool);
    await_no_pool();
    xf_future_free(trial.running);
    xf_imap_free(trial.imap);
    uv_sem_destroy(&trial.tried);
}

static void map_and_free_on_the_loop(xf_future *future, void *arg)
{
    trial *trial = arg;

    trial->submit = map_one(trial->pool); /* the supervisor is another thread */
    xf_future_free(future);
    xf_pool_free(trial->pool);
}

/* On a loop of the program's a callback may wait. */
static void a_callback_on_a_loop_may_wait_and_free(void **state)
{
    uv_loop_t loop;
    trial trial = {.submit = NOT_CALLED};
    uv_timer_t keep;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &keep);
    uv_timer_start(&keep, on_late, 60000, 0);
    trial.pool = open_pool(&(xf_pool_options){.workers = 2, .loop = &loop});
    order_one(trial.pool, DIE, &(xf_map){.on_done = map_and_free_on_the_loop, .arg = &trial});
    while (trial.submit == NOT_CALLED)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(trial.submit, 0);
    uv_close((uv_handle_t *)&keep, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    await_no_pool();
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(callbacks_are_called_once),
        cmocka_unit_test(callbacks_of_what_is_freed_are_called),
        cmocka_unit_test(callbacks_are_called_for_what_never_ran),
        cmocka_unit_test(callbacks_come_on_the_loop_that_was_given),
        cmocka_unit_test(a_wait_in_a_callback_is_refused),
        cmocka_unit_test(a_wait_in_a_log_callback_of_a_worker_is_refused),
        cmocka_unit_test(a_slow_callback_holds_nothing_up),
        cmocka_unit_test(free_waits_for_a_callback),
        cmocka_unit_test(a_slow_callback_that_frees_its_pool_holds_nothing_up),
        cmocka_unit_test(a_pool_may_be_freed_in_its_callback),
        cmocka_unit_test(an_idle_pool_may_be_freed_in_its_callback),
        cmocka_unit_test(another_pool_may_be_freed_in_a_callback),
        cmocka_unit_test(a_callback_on_a_loop_may_wait_and_free),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
