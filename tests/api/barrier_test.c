/* Goal: a barrier lets all parties through together, and breaks when a party is killed or times out. */
#include "sync_tasks.h"

/* Passes the barrier as often as its input says, and returns how often it was the one that gets 1. */
XF_TASK(go_through, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_barrier *barrier;
    int rc;

    REQUIRE(xf_barrier_open(&barrier, &in->ref) == 0);
    for (int64_t i = 0; i < in->number; i++) {
        say_one_more(&board->said[0]);
        rc = xf_barrier_wait(barrier, XF_FOREVER);
        REQUIRE(rc == 0 || rc == 1);
        *out += rc;
        REQUIRE(atomic_load(&board->said[0]) >= (i + 1) * 4); /* all parties had arrived */
        rc = xf_barrier_wait(barrier, XF_FOREVER);
        REQUIRE(rc == 0 || rc == 1);
    }
    say_one_more(&board->said[1]);
    await(&board->said[1], 4); /* a party that ended now would break the barrier for those that still return */
    return 0;
}

/* Becomes a party, and waits to be killed before it arrives. */
XF_TASK(join_only, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_barrier *barrier;

    REQUIRE(xf_barrier_open(&barrier, &in->ref) == 0);
    REQUIRE(xf_barrier_register(barrier) == 0);
    say_one_more(&board->said[0]);
    await(&board->said[1], 1);
    *out = 0;
    return 0;
}

/* Returns the result of waiting. */
XF_TASK(wait_once, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_barrier *barrier;

    REQUIRE(xf_barrier_open(&barrier, &in->ref) == 0);
    say_one_more(&board->said[0]);
    *out = xf_barrier_wait(barrier, XF_FOREVER);
    return 0;
}

static xf_barrier *create_barrier(order *order, unsigned parties)
{
    xf_barrier *barrier = NULL;

    assert_int_equal(xf_barrier_create(&barrier, parties, NULL), 0);
    assert_int_equal(xf_barrier_ref(barrier, &order->ref), 0);
    return barrier;
}

static void a_barrier_lets_all_through_together(void **state)
{
    enum { CHILDREN = 4, TIMES = 100 };
    order order;
    xf_barrier *barrier;
    xf_process *processes[CHILDREN];
    int ones = 0;

    (void)state;
    fresh_board(&order);
    barrier = create_barrier(&order, CHILDREN);
    order.number = TIMES;
    for (int i = 0; i < CHILDREN; i++)
        processes[i] = begin(&go_through, &order);
    for (int i = 0; i < CHILDREN; i++)
        ones += int_of(processes[i]);
    assert_int_equal(ones, TIMES); /* one party in each round */
    xf_barrier_free(barrier);
    xf_shm_free(shared);
}

static void a_killed_party_breaks_the_barrier(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_barrier *barrier = create_barrier(&order, 3);
    xf_process *victim = begin(&join_only, &order), *waiter = begin(&wait_once, &order);

    (void)state;
    await(&board->said[0], 2);
    kill_it(victim);
    assert_int_equal(xf_barrier_wait(barrier, PROMPT_MS), XF_EOWNERDEAD);
    assert_int_equal(int_of(waiter), XF_EOWNERDEAD);
    assert_int_equal(xf_barrier_wait(barrier, 0), XF_EOWNERDEAD); /* the barrier stays broken */
    xf_barrier_reset(barrier);
    waiter = begin(&wait_once, &order);
    victim = begin(&wait_once, &order);
    assert_in_range(xf_barrier_wait(barrier, XF_FOREVER) + 1, 1, 2);
    assert_in_range(int_of(waiter) + 1, 1, 2);
    assert_in_range(int_of(victim) + 1, 1, 2);
    xf_barrier_free(barrier);
    xf_shm_free(shared);
}

static void a_party_that_times_out_breaks_the_barrier(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_barrier *barrier = create_barrier(&order, 3);
    xf_process *waiter = begin(&wait_once, &order), *parties[2];

    (void)state;
    await(&board->said[0], 1);
    assert_int_equal(xf_barrier_wait(barrier, WHILE_MS), XF_ETIMEDOUT);
    assert_int_equal(int_of(waiter), XF_ESTATE);
    assert_int_equal(xf_barrier_wait(barrier, 0), XF_ESTATE);
    xf_barrier_reset(barrier);
    parties[0] = begin(&join_only, &order);
    parties[1] = begin(&join_only, &order);
    await(&board->said[0], 3);
    assert_int_equal(xf_barrier_register(barrier), 0);
    waiter = begin(&wait_once, &order);
    assert_int_equal(int_of(waiter), XF_ELIMIT);
    kill_it(parties[0]);
    kill_it(parties[1]);
    xf_barrier_free(barrier);
    xf_shm_free(shared);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_barrier_lets_all_through_together),
        cmocka_unit_test(a_killed_party_breaks_the_barrier),
        cmocka_unit_test(a_party_that_times_out_breaks_the_barrier),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, count_before, expect_nothing_left);
}
