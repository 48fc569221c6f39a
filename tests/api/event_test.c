/* Goal: an event that is set wakes all that wait for it. */
#include "sync_tasks.h"

XF_TASK(await_event, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_event *event;

    REQUIRE(xf_event_open(&event, &in->ref) == 0);
    say_one_more(&board->said[0]);
    *out = xf_event_wait(event, XF_FOREVER);
    return 0;
}

static void an_event_wakes_all_waiters(void **state)
{
    enum { CHILDREN = 3 };
    order order;
    board *board = fresh_board(&order);
    xf_process *processes[CHILDREN];
    xf_event *event;

    (void)state;
    assert_int_equal(xf_event_create(&event, NULL), 0);
    assert_int_equal(xf_event_ref(event, &order.ref), 0);
    assert_false(xf_event_is_set(event));
    assert_int_equal(xf_event_wait(event, 0), XF_ETIMEDOUT);
    assert_int_equal(xf_event_wait(event, WHILE_MS), XF_ETIMEDOUT);
    for (int i = 0; i < CHILDREN; i++)
        processes[i] = begin(&await_event, &order);
    await(&board->said[0], CHILDREN);
    xf_event_set(event);
    for (int i = 0; i < CHILDREN; i++)
        expect_end(processes[i], XF_END_DONE, 0);
    assert_true(xf_event_is_set(event));
    assert_int_equal(xf_event_wait(event, 0), 0);
    xf_event_clear(event);
    assert_int_equal(xf_event_wait(event, 0), XF_ETIMEDOUT);
    xf_event_free(event);
    xf_shm_free(shared);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_wakes_all_waiters),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, count_before, expect_nothing_left);
}
