/* Goal: one process does the initialization; if it is killed meanwhile, another one does it. */
#include "sync_tasks.h"

/* Does the initialization if it has to, and returns the result of xf_once_begin. */
XF_TASK(do_once, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_once *once;

    REQUIRE(xf_once_open(&once, &in->ref) == 0);
    *out = xf_once_begin(once, XF_FOREVER);
    if (*out != 0) {
        board->plain[0]++;
        say_one_more(&board->said[0]);
        if (in->number) /* is killed in the middle of the initialization */
            await(&board->said[1], 1);
        REQUIRE(xf_once_begin(once, 0) == XF_EDEADLK);
        REQUIRE(xf_once_end(once) == 0);
    }
    REQUIRE(xf_once_end(once) == XF_ESTATE);
    REQUIRE(board->plain[0] > 0); /* the initialization is done */
    return 0;
}

static xf_once *create_once(order *order)
{
    xf_once *once = NULL;

    assert_int_equal(xf_once_create(&once, NULL), 0);
    assert_int_equal(xf_once_ref(once, &order->ref), 0);
    return once;
}

static void one_does_it(void **state)
{
    enum { CHILDREN = 4 };
    order order;
    board *board = fresh_board(&order);
    xf_once *once = create_once(&order);
    xf_process *processes[CHILDREN];
    int ones = 0;

    (void)state;
    for (int i = 0; i < CHILDREN; i++)
        processes[i] = begin(&do_once, &order);
    for (int i = 0; i < CHILDREN; i++)
        ones += int_of(processes[i]);
    assert_int_equal(ones, 1);
    assert_int_equal(board->plain[0], 1);
    assert_int_equal(xf_once_begin(once, 0), 0);
    xf_once_free(once);
    xf_shm_free(shared);
}

static void another_does_it_when_the_first_is_killed(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_once *once = create_once(&order);
    xf_process *first, *second;

    (void)state;
    order.number = 1;
    first = begin(&do_once, &order);
    await(&board->said[0], 1);
    assert_int_equal(xf_once_begin(once, 0), XF_ETIMEDOUT);
    order.number = 0;
    second = begin(&do_once, &order);
    kill_it(first);
    assert_int_equal(int_of(second), XF_EOWNERDEAD);
    assert_int_equal(xf_once_begin(once, 0), 0);
    xf_once_free(once);
    xf_shm_free(shared);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_does_it),
        cmocka_unit_test(another_does_it_when_the_first_is_killed),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, count_before, expect_nothing_left);
}
