/* Helpers of the tests of locks and the other synchronisation objects.  A task gets references of an object and of some
 * shared memory, in which it counts. */
#ifndef SYNC_TASKS_H
#define SYNC_TASKS_H

#include "crossfork.h"
#include "shmem/shm.h"
#include "tasks.h"

#include <stdatomic.h>

enum { PROMPT_MS = 5000, WHILE_MS = 50, COUNTERS = 8 };

/* The shared memory: atomic words by which processes report, and plain words that an object protects. */
typedef struct board {
    _Atomic uint32_t said[COUNTERS];
    volatile int64_t plain[COUNTERS];
} board;

typedef struct order {
    xf_ref board;
    xf_ref ref;   /* of the object */
    xf_ref other; /* of the lock of a condition */
    int64_t number;
} order;

static inline void require(xf_call *call, bool condition, const char *file, int line)
{
    if (condition)
        return;
    xf_log(call, XF_LOG_ERROR, "line %d: %s", line, xf_error_detail());
    fprintf(stderr, "%s:%d: %s\n", file, line, xf_error_detail());
    exit(9);
}

#define REQUIRE(condition) require(call, condition, __FILE__, __LINE__)

static xf_shm *shared; /* the shared memory with the board, in this process */

static inline board *open_board(xf_call *call, const order *order)
{
    REQUIRE(xf_shm_open(&shared, &order->board, XF_SHM_WRITE) == 0);
    return xf_shm_data(shared);
}

/* Set a word of the board, or add 1 to it, and wake the processes that await it.  They use the seam, and none of the
 * objects under test. */
static inline void say(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store(word, value);
    os_shm_wake(&shared->object->shm, word, OS_ALL);
}

static inline void say_one_more(_Atomic uint32_t *word)
{
    atomic_fetch_add(word, 1);
    os_shm_wake(&shared->object->shm, word, OS_ALL);
}

/* Waits until another process has set the word to the value, or to a greater one. */
static inline void await(_Atomic uint32_t *word, uint32_t value)
{
    for (uint32_t seen; (seen = atomic_load(word)) < value;)
        os_shm_wait(&shared->object->shm, word, seen, -1);
}

static inline board *fresh_board(order *order)
{
    assert_int_equal(xf_shm_create(&shared, sizeof(board) + (1 << 20), NULL), 0);
    *order = (struct order){.number = 0};
    assert_int_equal(xf_shm_ref(shared, &order->board), 0);
    return xf_shm_data(shared);
}

static inline xf_process *begin(xf_task *task, const order *order)
{
    return start(task, order, sizeof *order, NULL);
}

static inline void kill_it(xf_process *process)
{
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
}

/* Holds the lock until it is killed, or returns without a release when said[1] is set. */
XF_TASK(hold_lock, const order *in, int *out)
{
    board *board = open_board(call, in);
    xf_lock *lock;

    REQUIRE(xf_lock_open(&lock, &in->ref) == 0);
    REQUIRE(xf_lock_acquire(lock, XF_FOREVER) == 0);
    say(&board->said[0], 1);
    await(&board->said[1], 1);
    *out = 1;
    return 0;
}

static inline int int_of(xf_process *process)
{
    int result;

    assert_int_equal(join(process).kind, XF_END_DONE);
    memcpy(&result, xf_process_result(process, NULL), sizeof result);
    xf_process_free(process);
    return result;
}

/* ---- Nothing is left ------------------------------------------------------------------------- */

static size_t mappings_before;

static inline int count_before(void **state)
{
    (void)state;
    mappings_before = support_mappings();
    return 0;
}

static inline int expect_nothing_left(void **state)
{
    (void)state;
    return xf_cleanup() == 0 && support_mappings() == mappings_before ? 0 : -1;
}

#endif
