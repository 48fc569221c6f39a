/* Goal: a lock excludes all others, wherever its memory is; when its owner ends, in whatever way, the next owner gets
 * it with XF_EOWNERDEAD. */
#include "sync_tasks.h"

/* Returns a place in the shared memory for an object. */
static xf_sync_place place(size_t number)
{
    return (xf_sync_place){shared, (sizeof(board) / XF_SYNC_ALIGN + 1 + number) * XF_SYNC_ALIGN};
}

/* Counts in a plain word, which is right in the end only if the lock excludes the others. */
XF_TASK(count_locked, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_lock *lock;

    REQUIRE(xf_lock_open(&lock, &in->ref) == 0);
    for (int64_t i = 0; i < in->number; i++) {
        REQUIRE(xf_lock_acquire(lock, XF_FOREVER) == 0);
        board->plain[0]++;
        REQUIRE(xf_lock_release(lock) == 0);
    }
    xf_lock_free(lock);
    *out = 0;
    return 0;
}

/* Runs hold_lock in a grandchild. */
XF_TASK(hold_lock_below, const order *in, int *out)
{
    xf_process *child;
    xf_status status;

    REQUIRE(xf_process_start(&child, &hold_lock, in, sizeof *in, NULL) == 0);
    REQUIRE(xf_process_join(child, &status, XF_FOREVER) == 0);
    *out = xf_process_free(child);
    return 0;
}

/* Reports that it waits, and returns the result of acquiring. */
XF_TASK(acquire_once, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_lock *lock;

    REQUIRE(xf_lock_open(&lock, &in->ref) == 0);
    say_one_more(&board->said[2]);
    *out = xf_lock_acquire(lock, XF_FOREVER);
    if (*out == 0 || *out == XF_EOWNERDEAD)
        REQUIRE(xf_lock_release(lock) == 0);
    return 0;
}

/* Changes two words that are equal unless an owner is at work, and repairs them after a dead owner, for ever. */
XF_TASK(work_until_killed, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_lock *lock;
    int rc;

    REQUIRE(xf_lock_open(&lock, &in->ref) == 0);
    for (*out = 0;;) {
        rc = xf_lock_acquire(lock, XF_FOREVER);
        if (rc == XF_EOWNERDEAD)
            board->plain[1] = board->plain[0];
        else
            REQUIRE(rc == 0);
        REQUIRE(board->plain[0] == board->plain[1]);
        board->plain[0]++;
        board->plain[1]++;
        REQUIRE(xf_lock_release(lock) == 0);
    }
    return 0;
}

static xf_lock *create_lock(order *order, const xf_lock_options *options)
{
    xf_lock *lock = NULL;

    assert_int_equal(xf_lock_create(&lock, options), 0);
    assert_int_equal(xf_lock_ref(lock, &order->ref), 0);
    return lock;
}

static void a_lock_keeps_others_out(void **state)
{
    enum { CHILDREN = 3, TIMES = 20000 };
    order order;
    board *board = fresh_board(&order);
    xf_lock *lock = create_lock(&order, NULL);
    xf_process *processes[CHILDREN];

    (void)state;
    order.number = TIMES;
    for (int i = 0; i < CHILDREN; i++)
        processes[i] = begin(&count_locked, &order);
    for (int i = 0; i < CHILDREN; i++)
        expect_end(processes[i], XF_END_DONE, 0);
    assert_int_equal(board->plain[0], CHILDREN * TIMES);
    xf_lock_free(lock);
    xf_shm_free(shared);
}

static void a_lock_times_out(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_lock *lock = create_lock(&order, NULL);
    xf_process *holder = begin(&hold_lock, &order);
    uint64_t before;

    (void)state;
    await(&board->said[0], 1);
    assert_int_equal(xf_lock_acquire(lock, 0), XF_ETIMEDOUT);
    before = uv_hrtime();
    assert_int_equal(xf_lock_acquire(lock, WHILE_MS), XF_ETIMEDOUT);
    assert_true(uv_hrtime() - before >= WHILE_MS * UINT64_C(1000000));
    assert_int_equal(xf_lock_release(lock), XF_ESTATE);
    kill_it(holder);
    xf_lock_free(lock);
    xf_shm_free(shared);
}

static void a_lock_knows_its_owner(void **state)
{
    xf_lock_options recursive = {.recursive = true};
    order order;
    xf_lock *lock;

    (void)state;
    fresh_board(&order);
    lock = create_lock(&order, NULL);
    assert_int_equal(xf_lock_release(lock), XF_ESTATE);
    assert_int_equal(xf_lock_acquire(lock, 0), 0);
    assert_int_equal(xf_lock_acquire(lock, XF_FOREVER), XF_EDEADLK);
    assert_int_equal(xf_lock_release(lock), 0);
    assert_int_equal(xf_lock_release(lock), XF_ESTATE);
    xf_lock_free(lock);
    lock = create_lock(&order, &recursive);
    for (int i = 0; i < 3; i++)
        assert_int_equal(xf_lock_acquire(lock, 0), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(xf_lock_release(lock), 0);
    assert_int_equal(xf_lock_release(lock), XF_ESTATE);
    xf_lock_free(lock);
    xf_shm_free(shared);
}

/* The next owner gets the lock with XF_EOWNERDEAD, and after that all is as before. */
static void expect_inherited(xf_lock *lock)
{
    assert_int_equal(xf_lock_acquire(lock, PROMPT_MS), XF_EOWNERDEAD);
    assert_int_equal(xf_lock_release(lock), 0);
    assert_int_equal(xf_lock_acquire(lock, 0), 0);
    assert_int_equal(xf_lock_release(lock), 0);
}

static void a_killed_owner_passes_the_lock_on(void **state)
{
    xf_task *const holders[] = {&hold_lock, &hold_lock_below};

    (void)state;
    for (int i = 0; i < 2; i++) {
        order order;
        board *board = fresh_board(&order);
        xf_lock *lock = create_lock(&order, NULL);
        xf_process *holder = begin(holders[i], &order);
        await(&board->said[0], 1);
        kill_it(holder);
        expect_inherited(lock);
        xf_lock_free(lock);
        xf_shm_free(shared);
    }
}

static void an_owner_that_returns_passes_the_lock_on(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_lock *lock = create_lock(&order, NULL);
    xf_process *holder = begin(&hold_lock, &order);

    (void)state;
    await(&board->said[0], 1);
    say(&board->said[1], 1);
    expect_end(holder, XF_END_DONE, 0);
    expect_inherited(lock);
    xf_lock_free(lock);
    xf_shm_free(shared);
}

static void acquire_in_thread(void *lock)
{
    if (xf_lock_acquire(lock, XF_FOREVER) < 0)
        abort();
}

static void a_thread_that_ends_passes_the_lock_on(void **state)
{
    order order;
    xf_lock *lock;
    uv_thread_t thread;

    (void)state;
    fresh_board(&order);
    lock = create_lock(&order, NULL);
    uv_thread_create(&thread, acquire_in_thread, lock);
    uv_thread_join(&thread);
    expect_inherited(lock);
    xf_lock_free(lock);
    xf_shm_free(shared);
}

/* One of several siblings that sleep gets XF_EOWNERDEAD. */
static void one_waiter_learns_of_the_death(void **state)
{
    enum { CHILDREN = 3 };
    order order;
    board *board = fresh_board(&order);
    xf_lock *lock = create_lock(&order, NULL);
    xf_process *holder = begin(&hold_lock, &order), *waiters[CHILDREN];
    int reported = 0;

    (void)state;
    await(&board->said[0], 1);
    for (int i = 0; i < CHILDREN; i++)
        waiters[i] = begin(&acquire_once, &order);
    await(&board->said[2], CHILDREN);
    kill_it(holder);
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(join(waiters[i]).kind, XF_END_DONE);
        reported += *(const int *)xf_process_result(waiters[i], NULL) == XF_EOWNERDEAD;
        xf_process_free(waiters[i]);
    }
    assert_int_equal(reported, 1);
    xf_lock_free(lock);
    xf_shm_free(shared);
}

static void killing_at_random_loses_no_lock(void **state)
{
    enum { CHILDREN = 2, KILLS = 60 };
    order order;
    board *board = fresh_board(&order);
    xf_lock *lock = create_lock(&order, NULL);
    xf_process *workers[CHILDREN];
    uint64_t random = 88172645463325252;
    int rc;

    (void)state;
    for (int i = 0; i < CHILDREN; i++)
        workers[i] = begin(&work_until_killed, &order);
    for (int i = 0; i < KILLS; i++) {
        int64_t before = board->plain[0];
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        while (board->plain[0] < before + (int64_t)(random % 1000)) /* the others continue */
            if (xf_process_join(workers[0], NULL, 0) == 0)
                xf_report_print(xf_process_report(workers[0]), stderr), fail();
        kill_it(workers[i % CHILDREN]);
        workers[i % CHILDREN] = begin(&work_until_killed, &order);
    }
    for (int i = 0; i < CHILDREN; i++)
        kill_it(workers[i]);
    rc = xf_lock_acquire(lock, PROMPT_MS);
    if (rc == 0)
        assert_int_equal(board->plain[0], board->plain[1]);
    else
        assert_int_equal(rc, XF_EOWNERDEAD);
    xf_lock_release(lock);
    xf_lock_free(lock);
    xf_shm_free(shared);
}

static void locks_lie_in_shared_memory(void **state)
{
    enum { LOCKS = 100, TIMES = 100 };
    order order;
    board *board = fresh_board(&order);
    xf_lock *locks[LOCKS], *again;
    xf_process *process;

    (void)state;
    for (int i = 0; i < LOCKS; i++) {
        xf_lock_options options = {.place = place((size_t)i)};
        locks[i] = create_lock(&order, &options);
        assert_int_equal(xf_lock_acquire(locks[i], 0), 0);
    }
    for (int i = 0; i + 1 < LOCKS; i++)
        assert_int_equal(xf_lock_release(locks[i]), 0);
    assert_int_equal(xf_lock_open(&again, &order.ref), 0);
    assert_int_equal(xf_lock_acquire(again, 0), XF_EDEADLK); /* the last reference of the lock */
    xf_lock_free(again);
    order.number = TIMES;
    process = begin(&count_locked, &order);
    assert_int_equal(xf_process_join(process, NULL, WHILE_MS), XF_ETIMEDOUT);
    assert_int_equal(board->plain[0], 0);
    assert_int_equal(xf_lock_release(locks[LOCKS - 1]), 0);
    expect_end(process, XF_END_DONE, 0);
    assert_int_equal(board->plain[0], TIMES);
    for (int i = 0; i < LOCKS; i++)
        xf_lock_free(locks[i]);
    xf_shm_free(shared);
}

static void wrong_places_and_references_are_refused(void **state)
{
    order order;
    xf_lock_options askew = {.place = {NULL, 8}}, outside = {.place = {NULL, 4096 * 1024}};
    xf_lock *lock;
    xf_ref ref;

    (void)state;
    fresh_board(&order);
    askew.place.shm = outside.place.shm = shared;
    assert_int_equal(xf_lock_create(&lock, &askew), XF_EINVAL);
    assert_int_equal(xf_lock_create(&lock, &outside), XF_EINVAL);
    assert_int_equal(xf_lock_open(&lock, &order.board), XF_EINVAL);
    ref = order.board;
    ref.kind = XF_KIND_LOCK;
    ref.reserved = 64; /* a place without a lock */
    assert_int_equal(xf_lock_open(&lock, &ref), XF_EPROTO);
    ref.reserved = UINT32_MAX;
    assert_int_equal(xf_lock_open(&lock, &ref), XF_EPROTO);
    xf_lock_free(NULL);
    xf_shm_free(shared);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_keeps_others_out),
        cmocka_unit_test(a_lock_times_out),
        cmocka_unit_test(a_lock_knows_its_owner),
        cmocka_unit_test(a_killed_owner_passes_the_lock_on),
        cmocka_unit_test(an_owner_that_returns_passes_the_lock_on),
        cmocka_unit_test(a_thread_that_ends_passes_the_lock_on),
        cmocka_unit_test(one_waiter_learns_of_the_death),
        cmocka_unit_test(killing_at_random_loses_no_lock),
        cmocka_unit_test(locks_lie_in_shared_memory),
        cmocka_unit_test(wrong_places_and_references_are_refused),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, count_before, expect_nothing_left);
}
