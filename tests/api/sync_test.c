/* Goal: locks and their kin keep what they promise between processes, and whoever ends while it holds one, in whatever
 * way, is told of with XF_EOWNERDEAD and blocks nobody.
 *
 * A task is given references of an object, and of some shared memory that it counts in. */
#include "crossfork.h"
#include "tasks.h"

#include <stdatomic.h>

enum { PROMPT_MS = 5000, WHILE_MS = 50, COUNTERS = 8 };

/* The shared memory: atomic words to talk by, and plain ones that an object protects. */
typedef struct board {
    _Atomic int64_t said[COUNTERS];
    volatile int64_t plain[COUNTERS];
} board;

typedef struct order {
    xf_ref board;
    xf_ref ref;   /* of what is tested */
    xf_ref other; /* of the lock of a condition */
    int64_t number;
} order;

/* ---- Helpers --------------------------------------------------------------------------------- */

static void require(xf_call *call, bool condition, int line)
{
    if (condition)
        return;
    xf_log(call, XF_LOG_ERROR, "line %d: %s", line, xf_error_detail());
    fprintf(stderr, "sync_test.c:%d: %s\n", line, xf_error_detail());
    exit(9);
}

#define REQUIRE(condition) require(call, condition, __LINE__)

static board *open_board(xf_call *call, const order *order)
{
    xf_shm *shm;

    REQUIRE(xf_shm_open(&shm, &order->board, XF_SHM_WRITE) == 0);
    return xf_shm_data(shm);
}

/* Waits for a word that another process says, without leaning on what is tested. */
static void await(_Atomic int64_t *word, int64_t value)
{
    while (atomic_load(word) < value)
        uv_sleep(1);
}

static xf_shm *shared;

static board *fresh_board(order *order)
{
    assert_int_equal(xf_shm_create(&shared, sizeof(board) + (1 << 20), NULL), 0);
    *order = (struct order){.number = 0};
    assert_int_equal(xf_shm_ref(shared, &order->board), 0);
    return xf_shm_data(shared);
}

static xf_process *begin(xf_task *task, const order *order)
{
    return start(task, order, sizeof *order, NULL);
}

static void kill_it(xf_process *process)
{
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
}

/* In which part of the shared memory a placed object lies. */
static xf_sync_place place(size_t number)
{
    return (xf_sync_place){shared, (sizeof(board) / XF_SYNC_ALIGN + 1 + number) * XF_SYNC_ALIGN};
}

/* ---- Tasks: lock ----------------------------------------------------------------------------- */

/* Counts in a plain word, so that none is lost only if the lock keeps the others out. */
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

/* Holds the lock until it is killed, or until it is told, and ends without giving it back. */
XF_TASK(hold_lock, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_lock *lock;

    REQUIRE(xf_lock_open(&lock, &in->ref) == 0);
    REQUIRE(xf_lock_acquire(lock, XF_FOREVER) == 0);
    atomic_store(&board->said[0], 1);
    await(&board->said[1], 1);
    *out = 1;
    return 0;
}

/* The same in a grandchild. */
XF_TASK(hold_lock_below, const order *in, int *out)
{
    xf_process *child;
    xf_status status;

    REQUIRE(xf_process_start(&child, &hold_lock, in, sizeof *in, NULL) == 0);
    REQUIRE(xf_process_join(child, &status, XF_FOREVER) == 0);
    *out = xf_process_free(child);
    return 0;
}

/* Says that it waits, and gives what acquiring says. */
XF_TASK(acquire_once, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_lock *lock;

    REQUIRE(xf_lock_open(&lock, &in->ref) == 0);
    atomic_fetch_add(&board->said[2], 1);
    *out = xf_lock_acquire(lock, XF_FOREVER);
    if (*out == 0 || *out == XF_EOWNERDEAD)
        REQUIRE(xf_lock_release(lock) == 0);
    return 0;
}

/* Writes two words that have to be equal whenever nobody is at it, and repairs them after the dead, for ever. */
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

/* ---- Lock ------------------------------------------------------------------------------------ */

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

/* The next one gets it with word of the death, and after that all is as before. */
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
    atomic_store(&board->said[1], 1);
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

/* Of several siblings that sleep, one is told. */
static void one_of_those_who_wait_is_told_of_the_death(void **state)
{
    enum { CHILDREN = 3 };
    order order;
    board *board = fresh_board(&order);
    xf_lock *lock = create_lock(&order, NULL);
    xf_process *holder = begin(&hold_lock, &order), *waiters[CHILDREN];
    int told = 0;

    (void)state;
    await(&board->said[0], 1);
    for (int i = 0; i < CHILDREN; i++)
        waiters[i] = begin(&acquire_once, &order);
    await(&board->said[2], CHILDREN);
    kill_it(holder);
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(join(waiters[i]).kind, XF_END_DONE);
        told += *(const int *)xf_process_result(waiters[i], NULL) == XF_EOWNERDEAD;
        xf_process_free(waiters[i]);
    }
    assert_int_equal(told, 1);
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
        while (board->plain[0] < before + (int64_t)(random % 1000)) /* they go on */
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
    assert_int_equal(xf_lock_acquire(again, 0), XF_EDEADLK); /* it is the last one */
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
    ref.reserved = 64; /* where no lock is */
    assert_int_equal(xf_lock_open(&lock, &ref), XF_EPROTO);
    ref.reserved = UINT32_MAX;
    assert_int_equal(xf_lock_open(&lock, &ref), XF_EPROTO);
    xf_lock_free(NULL);
    xf_shm_free(shared);
}

/* ---- Reader-writer lock ---------------------------------------------------------------------- */

/* Holds it for reading or writing until it is killed or told. */
XF_TASK(hold_rwlock, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_rwlock *rwlock;

    REQUIRE(xf_rwlock_open(&rwlock, &in->ref) == 0);
    *out = in->number ? xf_rwlock_write(rwlock, XF_FOREVER) : xf_rwlock_read(rwlock, XF_FOREVER);
    atomic_fetch_add(&board->said[0], 1);
    await(&board->said[1], 1);
    REQUIRE(xf_rwlock_release(rwlock) == 0);
    return 0;
}

/* Writers keep two words equal; readers look whether they are. */
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
    await(&board->said[0], 2); /* both have it */
    assert_int_equal(xf_rwlock_write(rwlock, WHILE_MS), XF_ETIMEDOUT);
    assert_int_equal(xf_rwlock_read(rwlock, 0), 0);
    assert_int_equal(xf_rwlock_write(rwlock, 0), XF_EDEADLK);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    assert_int_equal(xf_rwlock_release(rwlock), XF_ESTATE);
    atomic_store(&board->said[1], 1);
    expect_end(first, XF_END_DONE, 0);
    expect_end(second, XF_END_DONE, 0);
    atomic_store(&board->said[1], 0);
    order.number = 1;
    first = begin(&hold_rwlock, &order);
    await(&board->said[0], 3);
    assert_int_equal(xf_rwlock_read(rwlock, WHILE_MS), XF_ETIMEDOUT);
    assert_int_equal(xf_rwlock_write(rwlock, 0), XF_ETIMEDOUT);
    atomic_store(&board->said[1], 1);
    assert_int_equal(xf_rwlock_write(rwlock, PROMPT_MS), 0);
    assert_int_equal(xf_rwlock_read(rwlock, 0), XF_EDEADLK);
    assert_int_equal(xf_rwlock_release(rwlock), 0);
    expect_end(first, XF_END_DONE, 0);
    xf_rwlock_free(rwlock);
    xf_shm_free(shared);
}

static void a_killed_writer_is_told_of_until_another_has_written(void **state)
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

/* A writer that waits for a reader, and so keeps others out. */
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

/* It has changed nothing; what was to be told before is told still. */
static void a_writer_that_is_killed_while_it_waits_is_not_told_of(void **state)
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

static void a_killed_reader_is_in_nobodys_way(void **state)
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

/* ---- Semaphore ------------------------------------------------------------------------------- */

XF_TASK(hold_permit, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_semaphore *semaphore;

    REQUIRE(xf_semaphore_open(&semaphore, &in->ref) == 0);
    *out = xf_semaphore_acquire(semaphore, XF_FOREVER);
    atomic_fetch_add(&board->said[0], 1);
    await(&board->said[1], 1);
    REQUIRE(xf_semaphore_release(semaphore) == 0);
    return 0;
}

/* Takes as many as it is told to off one, and counts them. */
XF_TASK(take_off, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_semaphore *semaphore;

    REQUIRE(xf_semaphore_open(&semaphore, &in->ref) == 0);
    for (*out = 0; *out < in->number; ++*out) {
        REQUIRE(xf_semaphore_acquire(semaphore, XF_FOREVER) == 0);
        atomic_fetch_add(&board->said[0], 1);
    }
    return 0;
}

/* Never more of them at a time than there are permits. */
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
    for (int i = 5; i < 2 * TIMES; i++) {
        assert_int_equal(atomic_load(&board->said[0]) <= i, true);
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

/* ---- Condition ------------------------------------------------------------------------------- */

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
        atomic_fetch_add(&board->said[0], 1);
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

/* Waits for what will not come, and gives what ends that. */
XF_TASK(wait_for_nothing, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_condition *condition;
    xf_lock *lock;

    REQUIRE(xf_condition_open(&condition, &in->ref) == 0);
    REQUIRE(xf_lock_open(&lock, &in->other) == 0);
    REQUIRE(xf_lock_acquire(lock, XF_FOREVER) == 0);
    atomic_fetch_add(&board->said[0], 1);
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
    assert_int_equal(xf_lock_acquire(pair.lock, XF_FOREVER), 0); /* again, and that is kept */
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

/* Whoever has the lock and dies would never signal. */
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
    atomic_store(&board->said[0], 0);
    holder = begin(&hold_lock, &holders);
    await(&board->said[0], 1);
    kill_it(holder);
    assert_int_equal(join(waiter).kind, XF_END_DONE);
    assert_int_equal(*(const int *)xf_process_result(waiter, NULL), XF_EOWNERDEAD);
    xf_process_free(waiter);
    close_pair(&pair);
}

/* ---- Event ----------------------------------------------------------------------------------- */

XF_TASK(await_event, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_event *event;

    REQUIRE(xf_event_open(&event, &in->ref) == 0);
    atomic_fetch_add(&board->said[0], 1);
    *out = xf_event_wait(event, XF_FOREVER);
    return 0;
}

static void an_event_wakes_all_who_wait(void **state)
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

/* ---- Barrier --------------------------------------------------------------------------------- */

/* Goes through the barrier as often as it is told to, and gives how often it was the one. */
XF_TASK(go_through, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_barrier *barrier;
    int rc;

    REQUIRE(xf_barrier_open(&barrier, &in->ref) == 0);
    for (int64_t i = 0; i < in->number; i++) {
        atomic_fetch_add(&board->said[0], 1);
        rc = xf_barrier_wait(barrier, XF_FOREVER);
        REQUIRE(rc == 0 || rc == 1);
        *out += rc;
        REQUIRE(atomic_load(&board->said[0]) >= (i + 1) * 4); /* all had come */
        rc = xf_barrier_wait(barrier, XF_FOREVER);
        REQUIRE(rc == 0 || rc == 1);
    }
    atomic_fetch_add(&board->said[1], 1);
    await(&board->said[1], 4); /* whoever ends sooner would break it for those who still return */
    return 0;
}

/* Becomes a party, and waits to be killed before it comes. */
XF_TASK(join_only, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_barrier *barrier;

    REQUIRE(xf_barrier_open(&barrier, &in->ref) == 0);
    REQUIRE(xf_barrier_register(barrier) == 0);
    atomic_fetch_add(&board->said[0], 1);
    await(&board->said[1], 1);
    *out = 0;
    return 0;
}

/* Gives what waiting says. */
XF_TASK(wait_once, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_barrier *barrier;

    REQUIRE(xf_barrier_open(&barrier, &in->ref) == 0);
    atomic_fetch_add(&board->said[0], 1);
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

static int int_of(xf_process *process)
{
    int result;

    assert_int_equal(join(process).kind, XF_END_DONE);
    memcpy(&result, xf_process_result(process, NULL), sizeof result);
    xf_process_free(process);
    return result;
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
    assert_int_equal(ones, TIMES); /* one in each */
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
    assert_int_equal(xf_barrier_wait(barrier, 0), XF_EOWNERDEAD); /* it stays so */
    xf_barrier_reset(barrier);
    waiter = begin(&wait_once, &order);
    victim = begin(&wait_once, &order);
    assert_in_range(xf_barrier_wait(barrier, XF_FOREVER) + 1, 1, 2);
    assert_in_range(int_of(waiter) + 1, 1, 2);
    assert_in_range(int_of(victim) + 1, 1, 2);
    xf_barrier_free(barrier);
    xf_shm_free(shared);
}

static void who_gives_up_breaks_the_barrier(void **state)
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

/* ---- Once ------------------------------------------------------------------------------------ */

/* Does it if it has to, and gives what it was told. */
XF_TASK(do_once, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_once *once;

    REQUIRE(xf_once_open(&once, &in->ref) == 0);
    *out = xf_once_begin(once, XF_FOREVER);
    if (*out != 0) {
        board->plain[0]++;
        atomic_fetch_add(&board->said[0], 1);
        if (in->number) /* is killed in the middle of it */
            await(&board->said[1], 1);
        REQUIRE(xf_once_begin(once, 0) == XF_EDEADLK);
        REQUIRE(xf_once_end(once) == 0);
    }
    REQUIRE(xf_once_end(once) == XF_ESTATE);
    REQUIRE(board->plain[0] > 0); /* it has been done */
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

/* ---- All ------------------------------------------------------------------------------------- */

static size_t mappings_before;

static int count_before(void **state)
{
    (void)state;
    mappings_before = support_mappings();
    return 0;
}

static int expect_nothing_left(void **state)
{
    (void)state;
    return xf_cleanup() == 0 && support_mappings() == mappings_before ? 0 : -1;
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
        cmocka_unit_test(one_of_those_who_wait_is_told_of_the_death),
        cmocka_unit_test(killing_at_random_loses_no_lock),
        cmocka_unit_test(locks_lie_in_shared_memory),
        cmocka_unit_test(wrong_places_and_references_are_refused),
        cmocka_unit_test(readers_share_and_writers_do_not),
        cmocka_unit_test(many_read_at_a_time_and_none_while_one_writes),
        cmocka_unit_test(a_killed_writer_is_told_of_until_another_has_written),
        cmocka_unit_test(a_writer_that_is_killed_while_it_waits_is_not_told_of),
        cmocka_unit_test(a_killed_reader_is_in_nobodys_way),
        cmocka_unit_test(permits_are_bounded),
        cmocka_unit_test(a_killed_holder_passes_its_permit_on),
        cmocka_unit_test(a_number_is_raised_by_one_and_lowered_by_another),
        cmocka_unit_test(wrong_semaphores_are_refused),
        cmocka_unit_test(a_condition_is_waited_for),
        cmocka_unit_test(a_condition_times_out_with_the_lock),
        cmocka_unit_test(a_death_with_the_lock_ends_the_waiting_of_one),
        cmocka_unit_test(an_event_wakes_all_who_wait),
        cmocka_unit_test(a_barrier_lets_all_through_together),
        cmocka_unit_test(a_killed_party_breaks_the_barrier),
        cmocka_unit_test(who_gives_up_breaks_the_barrier),
        cmocka_unit_test(one_does_it),
        cmocka_unit_test(another_does_it_when_the_first_is_killed),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, count_before, expect_nothing_left);
}
