/* Goal: the results of processes that use a queue at the same time are results that one process after the other could
 * have got, also when one of them is stopped or killed at a random instruction (Linux).
 *
 * A put may find the queue full because of puts and gets that are under way or whose process died, and because of the
 * cells of messages that overtook another one.  A get may not find it empty for such reasons. */
#include "linearizability.h"
#include "messaging/ring_internal.h"
#include "tasks.h"

enum { PUT = 1, GET };

static const char *const kinds[] = {"death", "put", "get"};

enum { DRAINS = 8, LONG = 200 };

/* ---- Doing ----------------------------------------------------------------------------------- */

/* Every second message is too long for a cell. */
static size_t size_of(uint64_t value)
{
    return value % 2 ? sizeof value : LONG;
}

static void operate(ring *ring, operation *operation)
{
    uint64_t data[LONG / sizeof(uint64_t)];
    ring_message hold;

    for (size_t i = 0; i < LONG / sizeof *data; i++)
        data[i] = operation->value;
    history_begin(operation);
    if (operation->kind == PUT) {
        operation->rc = ring_push(ring, data, size_of(operation->value), 0);
    } else {
        operation->rc = ring_take(ring, &hold, UINT64_MAX, 0);
        if (operation->rc == 0) {
            ring_copy_out(ring, &hold, data);
            operation->value =
                data[0] == data[hold.size / sizeof *data - 1] && hold.size == size_of(data[0]) ? data[0] : 0;
        }
    }
    history_end(operation);
}

static void enter(void *arg)
{
    ((ring *)arg)->me = os_self_process();
}

static void put_or_get(void *arg, operation *operation, uint64_t *seed)
{
    operation->kind = history_random(seed) % 2 ? PUT : GET;
    operation->value = (uint64_t)(operation - shared->operations) + 1;
    operate(arg, operation);
}

/* ---- Judging --------------------------------------------------------------------------------- */

typedef struct queue {
    uint8_t size;
    uint8_t values[HISTORY_STATE - 1];
} queue;

static bool has_changed_beside(const void *arg, const operation *other)
{
    return other != arg && other->rc == 0 && history_overlap(arg, other);
}

/* Returns whether another put or get has, or may have, changed the queue at the same time. */
static bool disturbs(const operation *operation)
{
    return history_any(has_changed_beside, operation);
}

static bool is_overtaken(const void *arg, const operation *put)
{
    const queue *queue = arg;

    return put->kind == PUT && memchr(queue->values, (int)put->value, queue->size) && disturbs(put);
}

/* Returns whether others may have overtaken a message in the queue; their cells are not free before that message is
 * got. */
static bool has_gaps(const queue *queue)
{
    return history_any(is_overtaken, queue);
}

/* The model of a queue: false when a queue would not give that result. */
static bool apply(const model *model, const operation *operation, uint8_t *state, int choice)
{
    queue *queue = (struct queue *)state;
    bool pending = operation->end == 0;

    (void)choice;
    if (operation->kind == PUT && (operation->rc == 0 || pending)) {
        queue->values[queue->size++] = (uint8_t)operation->value;
        return queue->size <= model->bound;
    }
    if (operation->kind == PUT)
        return queue->size >= model->bound || disturbs(operation) || has_gaps(queue);
    if (operation->rc != 0 && !pending)
        return queue->size == 0;
    if (queue->size == 0 || (!pending && queue->values[0] != operation->value))
        return false;
    memmove(queue->values, queue->values + 1, --queue->size);
    queue->values[queue->size] = 0;
    return true;
}

/* The search rejects histories that are wrong. */
static void the_judge_is_not_blind(void **state)
{
    static const model bounded = {.apply = apply, .kinds = kinds, .bound = 2};
    static const struct {
        operation operations[4];
        bool good;
    } cases[] = {
        {{{PUT, 3, 1, 0, 1, 2}, {PUT, 3, 2, 0, 3, 4}, {GET, 3, 1, 0, 5, 6}, {GET, 3, 2, 0, 7, 8}}, true},
        {{{PUT, 3, 1, 0, 1, 2}, {PUT, 3, 2, 0, 3, 4}, {GET, 3, 2, 0, 5, 6}, {GET, 3, 1, 0, 7, 8}},
         false}, /* wrong order */
        {{{PUT, 3, 1, 0, 1, 4}, {PUT, 3, 2, 0, 2, 3}, {GET, 3, 2, 0, 5, 6}, {GET, 3, 1, 0, 7, 8}}, true},
        {{{PUT, 3, 1, 0, 1, 2}, {GET, 3, 1, 0, 3, 4}, {GET, 3, 1, 0, 5, 6}}, false}, /* got twice */
        {{{PUT, 3, 1, 0, 1, 2}, {GET, 3, 0, XF_ETIMEDOUT, 3, 4}}, false},            /* the queue is not empty */
        {{{PUT, 3, 1, 0, 1, 4}, {GET, 3, 0, XF_ETIMEDOUT, 2, 3}}, true},
        {{{PUT, 3, 1, XF_ETIMEDOUT, 1, 2}}, false}, /* the queue is not full */
        {{{PUT, 3, 1, 0, 1, 2}, {GET, 3, 9, 0, 3, 0}, {GET, 3, 0, XF_ETIMEDOUT, 5, 6}},
         true},                                               /* a process died with the message */
        {{{PUT, 3, 1, 0, 1, 0}, {GET, 3, 1, 0, 3, 4}}, true}, /* a process died after its put */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(shared, 0, sizeof *shared);
        memcpy(shared->operations, cases[i].operations, sizeof cases[i].operations);
        assert_true(history_is_in_order(&bounded, cases[i].good) == cases[i].good);
    }
}

/* ---- Runs ------------------------------------------------------------------------------------ */

/* This process gets the remaining messages, as if it were one of the workers. */
static void drain(ring *ring)
{
    ring_recover_all(ring);
    for (int i = 0; i < DRAINS; i++) {
        operation *operation = history_own();
        operation->kind = GET;
        operate(ring, operation);
        if (operation->rc == XF_ETIMEDOUT)
            return;
    }
    fail_msg("more comes out than there can be");
}

static void count_block(void *arg, uint64_t block, uint64_t word)
{
    (void)block;
    (void)word;
    ++*(int *)arg;
}

static void run(uint64_t seed, long steps, fate fate, uint64_t *settled)
{
    ring_plan shape = {.capacity = 1 + seed % 3, .room = 64, .memory = 64 * OS_PAGE};
    model bounded = {.apply = apply, .kinds = kinds, .bound = shape.capacity};
    int blocks = 0;
    uint64_t size;
    os_shm shm;
    ring ring;

    assert_int_equal(ring_size(&shape, &size), 0);
    assert_int_equal(os_shm_create(&shm, (size_t)size, OS_SHM_RESERVED | OS_SHM_WAITABLE), 0);
    assert_int_equal(ring_create(&ring, &shm, 0, &shape), 0);
    history_run(&(plan){enter, put_or_get, &ring, seed, steps, fate});
    drain(&ring);
    if (!history_is_in_order(&bounded, true))
        fail_msg("no order for this, with room for %llu, seed %llu, %ld steps, fate %d",
                 (unsigned long long)shape.capacity, (unsigned long long)seed, steps, (int)fate);
    assert_in_range(atomic_load(&ring.head->lost), 0, fate == FATE_KILLED_BEFORE || fate == FATE_KILLED_AFTER);
    *settled += atomic_load(&ring.head->lost) + atomic_load(&ring.head->unput);
    ring_blocks_walk(&ring.blocks, count_block, &blocks);
    assert_int_equal(blocks, 0);
    os_shm_close(&shm);
}

static void processes_see_one_queue(void **state)
{
    uint64_t settled = 0;

    (void)state;
    for (long i = 0; i < history_turns(100); i++)
        run((uint64_t)i, 0, FATE_NONE, &settled);
    assert_int_equal(settled, 0);
}

static void also_when_one_is_stopped_or_killed(void **state)
{
    enum { STEPS = 1500 }; /* about as many instructions as a worker has */
    uint64_t settled = 0, seed = 7;
    long count = history_turns(400);

    (void)state;
    if (!history_can_step)
        skip();
    for (long i = 0; i < count; i++)
        run((uint64_t)i, (long)(history_random(&seed) % STEPS), (fate)(1 + i % (FATES - 1)), &settled);
    print_message("%ld stops, %llu claims of the dead settled\n", count, (unsigned long long)settled);
    assert_true(settled > (uint64_t)count / 200);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_judge_is_not_blind),
        cmocka_unit_test(processes_see_one_queue),
        cmocka_unit_test(also_when_one_is_stopped_or_killed),
    };

    history_open();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
