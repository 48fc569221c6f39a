/* Goal: a bounded semaphore has so many permits, and those of a killed owner come back; an unbounded one only counts.
 */
#include "sync_tasks.h"

XF_TASK(hold_permit, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_semaphore *semaphore;

    REQUIRE(xf_semaphore_open(&semaphore, &in->ref) == 0);
    *out = xf_semaphore_acquire(semaphore, XF_FOREVER);
    say_one_more(&board->said[0]);
    await(&board->said[1], 1);
    REQUIRE(xf_semaphore_release(semaphore) == 0);
    return 0;
}

/* Acquires as often as its input says, and counts. */
XF_TASK(take_off, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_semaphore *semaphore;

    REQUIRE(xf_semaphore_open(&semaphore, &in->ref) == 0);
    for (*out = 0; *out < in->number; ++*out) {
        REQUIRE(xf_semaphore_acquire(semaphore, XF_FOREVER) == 0);
        say_one_more(&board->said[0]);
    }
    return 0;
}

/* There are never more processes in here at a time than permits. */
XF_TASK(use_permits, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_semaphore *semaphore;

    REQUIRE(xf_semaphore_open(&semaphore, &in->ref) == 0);
    for (*out = 0; *out < in->number; ++*out) {
        REQUIRE(xf_semaphore_acquire(semaphore, XF_FOREVER) == 0);
        REQUIRE(atomic_fetch_add(&board->said[0], 1) < 2);
        atomic_fetch_sub(&board->said[0], 1);
        REQUIRE(xf_semaphore_release(semaphore) == 0);
    }
    return 0;
}

static xf_semaphore *create_semaphore(order *order, unsigned limit, unsigned value)
{
    xf_semaphore_options options = {.limit = limit, .value = value};
    xf_semaphore *semaphore = NULL;

    assert_int_equal(xf_semaphore_create(&semaphore, &options), 0);
    assert_int_equal(xf_semaphore_ref(semaphore, &order->ref), 0);
    return semaphore;
}

static void permits_are_bounded(void **state)
{
    enum { CHILDREN = 4, TIMES = 3000 };
    order order;
    xf_semaphore *semaphore;
    xf_process *processes[CHILDREN];

    (void)state;
    fresh_board(&order);
    semaphore = create_semaphore(&order, 2, 0);
    assert_int_equal(xf_semaphore_release(semaphore), XF_ESTATE);
    assert_int_equal(xf_semaphore_acquire(semaphore, 0), 0);
    assert_int_equal(xf_semaphore_acquire(semaphore, 0), 0);
    assert_int_equal(xf_semaphore_acquire(semaphore, WHILE_MS), XF_ETIMEDOUT);
    assert_int_equal(xf_semaphore_release(semaphore), 0);
    assert_int_equal(xf_semaphore_release(semaphore), 0);
    order.number = TIMES;
    for (int i = 0; i < CHILDREN; i++)
        processes[i] = begin(&use_permits, &order);
    for (int i = 0; i < CHILDREN; i++)
        expect_end(processes[i], XF_END_DONE, 0);
    xf_semaphore_free(semaphore);
    xf_shm_free(shared);
}

static void a_killed_holder_passes_its_permit_on(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_semaphore *semaphore = create_semaphore(&order, 2, 0);
    xf_process *holder = begin(&hold_permit, &order);

    (void)state;
    await(&board->said[0], 1);
    assert_int_equal(xf_semaphore_acquire(semaphore, 0), 0);
    assert_int_equal(xf_semaphore_acquire(semaphore, 0), XF_ETIMEDOUT);
    kill_it(holder);
    assert_int_equal(xf_semaphore_acquire(semaphore, PROMPT_MS), XF_EOWNERDEAD);
    assert_int_equal(xf_semaphore_acquire(semaphore, 0), XF_ETIMEDOUT);
    assert_int_equal(xf_semaphore_release(semaphore), 0);
    assert_int_equal(xf_semaphore_release(semaphore), 0);
    assert_int_equal(xf_semaphore_release(semaphore), XF_ESTATE);
    xf_semaphore_free(semaphore);
    xf_shm_free(shared);
}

static void a_number_is_raised_by_one_and_lowered_by_another(void **state)
{
    enum { TIMES = 2000 };
    order order;
    board *board = fresh_board(&order);
    xf_semaphore *semaphore = create_semaphore(&order, 0, 5);
    xf_process *first, *second;

    (void)state;
    order.number = TIMES;
    first = begin(&take_off, &order);
    second = begin(&take_off, &order);
    for (uint32_t i = 5; i < 2 * TIMES; i++) {
        assert_true(atomic_load(&board->said[0]) <= i);
        assert_int_equal(xf_semaphore_release(semaphore), 0);
    }
    expect_end(first, XF_END_DONE, 0);
    expect_end(second, XF_END_DONE, 0);
    assert_int_equal(xf_semaphore_acquire(semaphore, 0), XF_ETIMEDOUT);
    xf_semaphore_free(semaphore);
    xf_shm_free(shared);
}

static void wrong_semaphores_are_refused(void **state)
{
    xf_semaphore_options options = {.limit = XF_SEMAPHORE_PERMITS_MAX + 1}, both = {.limit = 1, .value = 1};
    xf_semaphore *semaphore;

    (void)state;
    assert_int_equal(xf_semaphore_create(&semaphore, &options), XF_EINVAL);
    assert_int_equal(xf_semaphore_create(&semaphore, &both), XF_EINVAL);
    options = (xf_semaphore_options){.value = INT32_MAX};
    assert_int_equal(xf_semaphore_create(&semaphore, &options), 0);
    assert_int_equal(xf_semaphore_release(semaphore), XF_ELIMIT);
    xf_semaphore_free(semaphore);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permits_are_bounded),
        cmocka_unit_test(a_killed_holder_passes_its_permit_on),
        cmocka_unit_test(a_number_is_raised_by_one_and_lowered_by_another),
        cmocka_unit_test(wrong_semaphores_are_refused),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, count_before, expect_nothing_left);
}
