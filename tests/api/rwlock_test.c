/* Goal: readers share a reader-writer lock and a writer excludes all others; an owner that is killed blocks nobody, and
 * the death of a writer is reported until another one has written. */
#include "sync_tasks.h"

/* Holds the lock for reading or writing until it is killed, or until said[1] is set. */
XF_TASK(hold_rwlock, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_rwlock *rwlock;

    REQUIRE(xf_rwlock_open(&rwlock, &in->ref) == 0);
    *out = in->number ? xf_rwlock_write(rwlock, XF_FOREVER) : xf_rwlock_read(rwlock, XF_FOREVER);
    say_one_more(&board->said[0]);
    await(&board->said[1], 1);
    REQUIRE(xf_rwlock_release(rwlock) == 0);
    return 0;
}

/* Writers keep two words equal; readers check that. */
XF_TASK(read_and_write, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_rwlock *rwlock;

    REQUIRE(xf_rwlock_open(&rwlock, &in->ref) == 0);
    for (int64_t i = 0; i < in->number; i++) {
        if (i % 4 == 0) {
            REQUIRE(xf_rwlock_write(rwlock, XF_FOREVER) == 0);
            board->plain[0]++;
            board->plain[1]++;
        } else {
            REQUIRE(xf_rwlock_read(rwlock, XF_FOREVER) == 0);
            REQUIRE(board->plain[0] == board->plain[1]);
        }
        REQUIRE(xf_rwlock_release(rwlock) == 0);
    }
    *out = 0;
    return 0;
}

static xf_rwlock *create_rwlock(order *order)
{
    xf_rwlock *rwlock = NULL;

    assert_int_equal(xf_rwlock_create(&rwlock, NULL), 0);
    assert_int_equal(xf_rwlock_ref(rwlock, &order->ref), 0);
    return rwlock;
}

static void readers_share_and_writers_do_not(void **state)
{
    enum { CHILDREN = 3, TIMES = 4000 };
    order order;
    board *board = fresh_board(&order);
    xf_rwlock *rwlock = create_rwlock(&order);
    xf_process *processes[CHILDREN];

    (void)state;
    order.number = TIMES;
    for (int i = 0; i < CHILDREN; i++)
        processes[i] = begin(&read_and_write, &order);
    for (int i = 0; i < CHILDREN; i++)
        expect_end(processes[i], XF_END_DONE, 0);
    assert_int_equal(board->plain[0], CHILDREN * TIMES / 4);
    assert_int_equal(board->plain[1], CHILDREN * TIMES / 4);
    xf_rwlock_free(rwlock);
    xf_shm_free(shared);
}

static void many_read_at_a_time_and_none_while_one_writes(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_rwlock *rwlock = create_rwlock(&order);
    xf_process *first = begin(&hold_rwlock, &order), *second = begin(&hold_rwlock, &order);

    (void)state;
    await(&board->said[0], 2); /* both readers have it */
    assert_int_equal(xf_rwlock_write(rwlock, WHILE_MS), XF_ETIMEDOUT);
    assert_int_equal(xf_rwlock_read(rwlock, 0), 0);
    assert_int_equal(xf_rwlock_write(rwlock, 0), XF_EDEADLK);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    assert_int_equal(xf_rwlock_release(rwlock), XF_ESTATE);
    say(&board->said[1], 1);
    expect_end(first, XF_END_DONE, 0);
    expect_end(second, XF_END_DONE, 0);
    say(&board->said[1], 0);
    order.number = 1;
    first = begin(&hold_rwlock, &order);
    await(&board->said[0], 3);
    assert_int_equal(xf_rwlock_read(rwlock, WHILE_MS), XF_ETIMEDOUT);
    assert_int_equal(xf_rwlock_write(rwlock, 0), XF_ETIMEDOUT);
    say(&board->said[1], 1);
    assert_int_equal(xf_rwlock_write(rwlock, PROMPT_MS), 0);
    assert_int_equal(xf_rwlock_read(rwlock, 0), XF_EDEADLK);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    expect_end(first, XF_END_DONE, 0);
    xf_rwlock_free(rwlock);
    xf_shm_free(shared);
}

static void a_killed_writer_is_reported_until_another_has_written(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_rwlock *rwlock = create_rwlock(&order);
    xf_process *writer;

    (void)state;
    order.number = 1;
    writer = begin(&hold_rwlock, &order);
    await(&board->said[0], 1);
    kill_it(writer);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(xf_rwlock_read(rwlock, PROMPT_MS), XF_EOWNERDEAD);
        assert_int_equal(xf_rwlock_release(rwlock), 0);
    }
    assert_int_equal(xf_rwlock_write(rwlock, PROMPT_MS), XF_EOWNERDEAD);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    assert_int_equal(xf_rwlock_write(rwlock, 0), 0);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    assert_int_equal(xf_rwlock_read(rwlock, 0), 0);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    xf_rwlock_free(rwlock);
    xf_shm_free(shared);
}

/* Starts a writer that waits for a reader, and so blocks other readers.  A writer cannot report that it waits; only the
 * lock shows it, so this tries the lock until it refuses a reader. */
static xf_process *begin_waiting_writer(order *order, xf_rwlock *rwlock)
{
    xf_process *writer;
    int rc;

    order->number = 1;
    writer = begin(&hold_rwlock, order);
    while ((rc = xf_rwlock_read(rwlock, 0)) != XF_ETIMEDOUT) {
        assert_true(rc == 0 || rc == XF_EOWNERDEAD);
        assert_int_equal(xf_rwlock_release(rwlock), 0);
        uv_sleep(1);
    }
    return writer;
}

/* The writer has changed nothing; a death that was reported before is still reported. */
static void a_writer_that_is_killed_while_it_waits_is_not_reported(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_rwlock *rwlock = create_rwlock(&order);
    xf_process *reader = begin(&hold_rwlock, &order), *writer;

    (void)state;
    await(&board->said[0], 1);
    kill_it(begin_waiting_writer(&order, rwlock));
    assert_int_equal(xf_rwlock_read(rwlock, PROMPT_MS), 0);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    kill_it(begin_waiting_writer(&order, rwlock));
    kill_it(reader);
    assert_int_equal(xf_rwlock_write(rwlock, PROMPT_MS), 0);
    assert_int_equal(xf_rwlock_release(rwlock), 0);

    writer = begin(&hold_rwlock, &order);
    await(&board->said[0], 2);
    kill_it(writer);
    order.number = 0;
    reader = begin(&hold_rwlock, &order);
    await(&board->said[0], 3);
    kill_it(begin_waiting_writer(&order, rwlock));
    assert_int_equal(xf_rwlock_read(rwlock, PROMPT_MS), XF_EOWNERDEAD);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    kill_it(reader);
    xf_rwlock_free(rwlock);
    xf_shm_free(shared);
}

static void a_killed_reader_blocks_nobody(void **state)
{
    order order;
    board *board = fresh_board(&order);
    xf_rwlock *rwlock = create_rwlock(&order);
    xf_process *reader = begin(&hold_rwlock, &order);

    (void)state;
    await(&board->said[0], 1);
    assert_int_equal(xf_rwlock_write(rwlock, 0), XF_ETIMEDOUT);
    kill_it(reader);
    assert_int_equal(xf_rwlock_write(rwlock, PROMPT_MS), 0);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    xf_rwlock_free(rwlock);
    xf_shm_free(shared);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_share_and_writers_do_not),
        cmocka_unit_test(many_read_at_a_time_and_none_while_one_writes),
        cmocka_unit_test(a_killed_writer_is_reported_until_another_has_written),
        cmocka_unit_test(a_writer_that_is_killed_while_it_waits_is_not_reported),
        cmocka_unit_test(a_killed_reader_blocks_nobody),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, count_before, expect_nothing_left);
}
