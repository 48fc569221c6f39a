/* Goal: a condition wakes those that wait, returns with the lock held, and reports the death of an owner of the lock.
 */
#include "sync_tasks.h"

/* Takes numbers from plain[0], which the parent puts there one at a time, until it finds a negative one. */
XF_TASK(consume, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_condition *condition;
    xf_lock *lock;

    REQUIRE(xf_condition_open(&condition, &in->ref) == 0);
    REQUIRE(xf_lock_open(&lock, &in->other) == 0);
    REQUIRE(xf_lock_acquire(lock, XF_FOREVER) == 0);
    for (*out = 0;;) {
        say_one_more(&board->said[0]);
        while (board->plain[0] == 0)
            REQUIRE(xf_condition_wait(condition, lock, XF_FOREVER) == 0);
        if (board->plain[0] < 0)
            break;
        board->plain[1] += board->plain[0];
        board->plain[0] = 0;
        xf_condition_broadcast(condition);
    }
    REQUIRE(xf_lock_release(lock) == 0);
    return 0;
}

/* Waits for a signal that never comes, and returns the result. */
XF_TASK(wait_for_nothing, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_condition *condition;
    xf_lock *lock;

    REQUIRE(xf_condition_open(&condition, &in->ref) == 0);
    REQUIRE(xf_lock_open(&lock, &in->other) == 0);
    REQUIRE(xf_lock_acquire(lock, XF_FOREVER) == 0);
    say_one_more(&board->said[0]);
    do
        *out = xf_condition_wait(condition, lock, XF_FOREVER);
    while (*out == 0);
    REQUIRE(xf_lock_release(lock) == 0);
    return 0;
}

typedef struct pair {
    xf_condition *condition;
    xf_lock *lock;
} pair;

static pair create_pair(order *order)
{
    xf_lock_options recursive = {.recursive = true};
    pair pair;

    assert_int_equal(xf_condition_create(&pair.condition, NULL), 0);
    assert_int_equal(xf_condition_ref(pair.condition, &order->ref), 0);
    assert_int_equal(xf_lock_create(&pair.lock, &recursive), 0);
    assert_int_equal(xf_lock_ref(pair.lock, &order->other), 0);
    return pair;
}

static void close_pair(pair *pair)
{
    xf_condition_free(pair->condition);
    xf_lock_free(pair->lock);
    xf_shm_free(shared);
}

static void a_condition_is_waited_for(void **state)
{
    enum { CHILDREN = 3, NUMBERS = 500 };
    order order;
    board *board = fresh_board(&order);
    pair pair = create_pair(&order);
    xf_process *processes[CHILDREN];

    (void)state;
    for (int i = 0; i < CHILDREN; i++)
        processes[i] = begin(&consume, &order);
    assert_int_equal(xf_lock_acquire(pair.lock, XF_FOREVER), 0);
    assert_int_equal(xf_lock_acquire(pair.lock, XF_FOREVER), 0); /* acquired twice, and the wait restores that */
    for (int i = 1; i <= NUMBERS; i++) {
        board->plain[0] = i;
        xf_condition_signal(pair.condition);
        while (board->plain[0] != 0)
            assert_int_equal(xf_condition_wait(pair.condition, pair.lock, XF_FOREVER), 0);
    }
    board->plain[0] = -1;
    xf_condition_broadcast(pair.condition);
    assert_int_equal(xf_lock_release(pair.lock), 0);
    assert_int_equal(xf_lock_release(pair.lock), 0);
    for (int i = 0; i < CHILDREN; i++)
        expect_end(processes[i], XF_END_DONE, 0);
    assert_int_equal(board->plain[1], NUMBERS * (NUMBERS + 1) / 2);
    close_pair(&pair);
}

static void a_condition_times_out_with_the_lock(void **state)
{
    order order;
    pair pair;

    (void)state;
    fresh_board(&order);
    pair = create_pair(&order);
    assert_int_equal(xf_condition_wait(pair.condition, pair.lock, 0), XF_ESTATE);
    assert_int_equal(xf_lock_acquire(pair.lock, 0), 0);
    assert_int_equal(xf_condition_wait(pair.condition, pair.lock, WHILE_MS), XF_ETIMEDOUT);
    assert_int_equal(xf_lock_release(pair.lock), 0);
    close_pair(&pair);
}

/* A process that dies with the lock never signals, so a waiter has to be woken. */
static void a_death_with_the_lock_ends_the_waiting_of_one(void **state)
{
    order order, holders;
    board *board = fresh_board(&order);
    pair pair = create_pair(&order);
    xf_process *waiter = begin(&wait_for_nothing, &order), *holder;

    (void)state;
    await(&board->said[0], 1);
    holders = order;
    holders.ref = order.other;
    say(&board->said[0], 0);
    holder = begin(&hold_lock, &holders);
    await(&board->said[0], 1);
    kill_it(holder);
    assert_int_equal(join(waiter).kind, XF_END_DONE);
    assert_int_equal(*(const int *)xf_process_result(waiter, NULL), XF_EOWNERDEAD);
    xf_process_free(waiter);
    close_pair(&pair);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_condition_is_waited_for),
        cmocka_unit_test(a_condition_times_out_with_the_lock),
        cmocka_unit_test(a_death_with_the_lock_ends_the_waiting_of_one),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, count_before, expect_nothing_left);
}
