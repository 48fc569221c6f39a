/* Goal: what processes see of a queue that they use at the same time could have come of a queue that is used by one
 * after the other, also when one of them is killed at a random instruction (Linux).
 *
 * Processes do random puts and gets, and note when each began and ended, and what it gave.  Then all orders of these
 * that keep "ended before began" are tried, until one is found that a bounded queue would have answered in the same way
 * (Wing and Gong's search, with a memory of what was tried).  What was under way in a process that was killed may have
 * happened or not.  "Full" may be said for what others are at the very moment putting or getting, or died at, and for
 * the places of messages that overtook one; "empty" may not. */
#include "lane.h"
#include "tasks.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 3, OPERATIONS = 5, DRAINS = 8, ALL = WORKERS * OPERATIONS + DRAINS, TRIED = 1 << 16, LONG = 200 };

typedef enum kind { PUT, GET } kind;

typedef struct operation {
    kind kind;
    uint64_t value;         /* that is put, or was got */
    int rc;                 /* 0; XF_ETIMEDOUT: full, or empty */
    _Atomic uint64_t begin; /* 0: it did not begin */
    _Atomic uint64_t end;   /* 0: nor end */
} operation;

/* Shared with the workers. */
typedef struct stage {
    _Atomic uint64_t clock;
    _Atomic uint32_t go;
    _Atomic uint32_t ready;
    operation operations[ALL];
} stage;

static stage *shared;

#ifdef __x86_64__
enum { CAN_STEP = true };
#else
enum { CAN_STEP = false };
#endif

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *seed >> 33;
}

/* ---- Doing ------------------------------------------------------------------------------------------------------ */

/* Every other message is too long for a cell. */
static size_t size_of(uint64_t value)
{
    return value % 2 ? sizeof value : LONG;
}

static void operate(lane *lane, operation *operation)
{
    uint64_t data[LONG / sizeof(uint64_t)];
    lane_hold hold;

    for (size_t i = 0; i < LONG / sizeof *data; i++)
        data[i] = operation->value;
    atomic_store(&operation->begin, atomic_fetch_add(&shared->clock, 1) + 1);
    if (operation->kind == PUT) {
        operation->rc = lane_put(lane, data, size_of(operation->value), 0);
    } else {
        operation->rc = lane_take(lane, &hold, UINT64_MAX, 0);
        if (operation->rc == 0) {
            lane_copy_out(lane, &hold, data);
            operation->value =
                data[0] == data[hold.size / sizeof *data - 1] && hold.size == size_of(data[0]) ? data[0] : 0;
        }
    }
    atomic_store(&operation->end, atomic_fetch_add(&shared->clock, 1) + 1);
}

/* One that is stepped stops first, and does not wait for the others. */
static _Noreturn void work(const lane *parents, int number, uint64_t seed, bool stepped)
{
    lane lane;

    memcpy(&lane, parents, sizeof lane);
    lane.me = os_self_process();
    atomic_fetch_add(&shared->ready, 1);
    if (stepped) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(2);
        raise(SIGSTOP);
    } else {
        while (!atomic_load(&shared->go))
            sched_yield();
    }
    for (int i = 0; i < OPERATIONS; i++) {
        operation *operation = &shared->operations[number * OPERATIONS + i];
        operation->kind = next_random(&seed) % 2 ? PUT : GET;
        operation->value = (uint64_t)(number * OPERATIONS + i) + 1;
        operate(&lane, operation);
    }
    _exit(0);
}

/* ---- Judging ---------------------------------------------------------------------------------------------------- */

typedef struct search {
    int count;
    const operation *operations[ALL];
    uint64_t lengths; /* the bound */
    uint64_t tried[TRIED];
} search;

typedef struct state {
    uint32_t done; /* a bit for each operation */
    int size;
    uint8_t queue[ALL];
} state;

static bool overlaps(const operation *one, const operation *other)
{
    return (one->end == 0 || other->begin < one->end) && (other->end == 0 || one->begin < other->end);
}

/* Whether some other put or get has, or may have, changed the queue at the same time. */
static bool disturbs(const search *search, const operation *operation)
{
    for (int i = 0; i < search->count; i++)
        if (search->operations[i] != operation && search->operations[i]->rc == 0 &&
            overlaps(search->operations[i], operation))
            return true;
    return false;
}

/* Whether a message in the queue may have been overtaken by others, whose places are not free before it is got. */
static bool is_overtaken(const search *search, const state *state)
{
    for (int i = 0; i < search->count; i++) {
        const operation *put = search->operations[i];
        if (put->kind == PUT && memchr(state->queue, (int)put->value, (size_t)state->size) && disturbs(search, put))
            return true;
    }
    return false;
}

/* What a queue would do: false when it would not answer so. */
static bool apply(const search *search, const operation *operation, state *state)
{
    bool pending = operation->end == 0;

    if (operation->kind == PUT && (operation->rc == 0 || pending)) {
        state->queue[state->size++] = (uint8_t)operation->value;
        return state->size <= (int)search->lengths;
    }
    if (operation->kind == PUT)
        return state->size >= (int)search->lengths || disturbs(search, operation) || is_overtaken(search, state);
    if (operation->rc != 0 && !pending)
        return state->size == 0;
    if (state->size == 0 || (!pending && state->queue[0] != operation->value))
        return false;
    memmove(state->queue, state->queue + 1, (size_t)--state->size);
    return true;
}

/* Whether that state was met before; if there is no room to remember, it was not. */
static bool was_tried(search *search, const state *state)
{
    uint64_t key = (state->done + UINT64_C(1)) * UINT64_C(0x9E3779B97F4A7C15);
    size_t at;

    for (int i = 0; i < state->size; i++)
        key = (key ^ state->queue[i]) * UINT64_C(0x100000001B3) + (uint64_t)i;
    key ^= key >> 29;
    key += key == 0;
    at = key % TRIED;
    if (search->tried[at] == key)
        return true;
    search->tried[at] = key;
    return false;
}

/* Whether an order of what is not done yet is found. */
static bool find_order(search *search, const state *before)
{
    uint64_t first_end = UINT64_MAX;
    bool all = true;

    if (was_tried(search, before))
        return false;
    for (int i = 0; i < search->count; i++)
        if (!(before->done >> i & 1) && search->operations[i]->end) {
            all = false;
            if (search->operations[i]->end < first_end)
                first_end = search->operations[i]->end;
        }
    if (all)
        return true;
    for (int i = 0; i < search->count; i++) {
        state after = *before;
        if (before->done >> i & 1 || search->operations[i]->begin > first_end)
            continue;
        after.done |= UINT32_C(1) << i;
        if (apply(search, search->operations[i], &after) && find_order(search, &after))
            return true;
    }
    return false;
}

static void print_history(const search *search)
{
    for (int i = 0; i < search->count; i++) {
        const operation *operation = search->operations[i];
        print_message("%3llu to %3llu: %s %llu: %d\n", (unsigned long long)operation->begin,
                      (unsigned long long)operation->end, operation->kind == PUT ? "put" : "get",
                      (unsigned long long)operation->value, operation->rc);
    }
}

static bool is_in_order(uint64_t capacity)
{
    static search search;
    state empty = {0};
    bool found;

    memset(&search, 0, sizeof search);
    search.lengths = capacity;
    for (int i = 0; i < ALL; i++)
        if (shared->operations[i].begin)
            search.operations[search.count++] = &shared->operations[i];
    found = find_order(&search, &empty);
    if (!found)
        print_history(&search);
    return found;
}

/* The search finds what is wrong. */
static void the_judge_is_not_blind(void **state)
{
    static const struct {
        operation operations[4];
        int count;
        bool good;
    } cases[] = {
        {{{PUT, 1, 0, 1, 2}, {PUT, 2, 0, 3, 4}, {GET, 1, 0, 5, 6}, {GET, 2, 0, 7, 8}}, 4, true},
        {{{PUT, 1, 0, 1, 2}, {PUT, 2, 0, 3, 4}, {GET, 2, 0, 5, 6}, {GET, 1, 0, 7, 8}}, 4, false}, /* not in order */
        {{{PUT, 1, 0, 1, 4}, {PUT, 2, 0, 2, 3}, {GET, 2, 0, 5, 6}, {GET, 1, 0, 7, 8}}, 4, true},
        {{{PUT, 1, 0, 1, 2}, {GET, 1, 0, 3, 4}, {GET, 1, 0, 5, 6}}, 3, false}, /* twice */
        {{{PUT, 1, 0, 1, 2}, {GET, 0, XF_ETIMEDOUT, 3, 4}}, 2, false},         /* not empty */
        {{{PUT, 1, 0, 1, 4}, {GET, 0, XF_ETIMEDOUT, 2, 3}}, 2, true},
        {{{PUT, 1, XF_ETIMEDOUT, 1, 2}}, 1, false},                                      /* not full */
        {{{PUT, 1, 0, 1, 2}, {GET, 9, 0, 3, 0}, {GET, 0, XF_ETIMEDOUT, 5, 6}}, 3, true}, /* died with it */
        {{{PUT, 1, 0, 1, 0}, {GET, 1, 0, 3, 4}}, 2, true},                               /* died after it had put it */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(shared, 0, sizeof *shared);
        memcpy(shared->operations, cases[i].operations, sizeof cases[i].operations);
        assert_true(is_in_order(2) == cases[i].good);
    }
}

/* ---- Runs ------------------------------------------------------------------------------------------------------- */

/* What is left is got by this process, as if by one of them. */
static void drain(lane *lane)
{
    lane_settle_all(lane);
    for (int i = 0; i < DRAINS; i++) {
        operation *operation = &shared->operations[WORKERS * OPERATIONS + i];
        operation->kind = GET;
        operate(lane, operation);
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

/* Lets a process run so many instructions. */
static void step(pid_t pid, long steps)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (; steps > 0 && WIFSTOPPED(status); steps--) {
        assert_true(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
}

static void start_workers(const lane *lane, uint64_t seed, bool stepped, pid_t workers[WORKERS])
{
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = fork();
        assert_true(workers[i] >= 0);
        if (workers[i] == 0)
            work(lane, i, seed * WORKERS + (uint64_t)i, stepped && i == 0);
    }
    while (atomic_load(&shared->ready) < WORKERS)
        sched_yield();
}

/* Steps the first of them, and kills it before or after the others have done what they do. */
static void run_workers(const lane *lane, uint64_t seed, long steps)
{
    pid_t workers[WORKERS];

    start_workers(lane, seed, steps >= 0, workers);
    if (steps >= 0)
        step(workers[0], steps);
    if (steps >= 0 && seed % 2)
        kill(workers[0], SIGKILL);
    atomic_store(&shared->go, 1);
    for (int i = 1; i < WORKERS; i++)
        assert_int_equal(waitpid(workers[i], NULL, 0), workers[i]);
    kill(workers[0], steps >= 0 ? SIGKILL : 0);
    waitpid(workers[0], NULL, 0); /* it may have ended, and been waited for, already */
}

/* steps: instructions after which one is stopped and killed; -1: none is. */
static void run(uint64_t seed, long steps, uint64_t *settled)
{
    lane_plan plan = {.capacity = 1 + seed % 3, .room = 64, .memory = 64 * OS_PAGE};
    int blocks = 0;
    uint64_t size;
    os_shm shm;
    lane lane;

    assert_int_equal(lane_size(&plan, &size), 0);
    assert_int_equal(os_shm_create(&shm, (size_t)size, OS_SHM_RESERVED | OS_SHM_BELL), 0);
    assert_int_equal(lane_create(&lane, &shm, 0, &plan), 0);
    memset(shared, 0, sizeof *shared);
    run_workers(&lane, seed, steps);
    drain(&lane);
    if (!is_in_order(plan.capacity))
        fail_msg("no order for this, with room for %llu, seed %llu, %ld steps", (unsigned long long)plan.capacity,
                 (unsigned long long)seed, steps);
    assert_in_range(atomic_load(&lane.head->lost), 0, steps >= 0 ? 1 : 0);
    *settled += atomic_load(&lane.head->lost) + atomic_load(&lane.head->unput);
    store_walk(&lane.store, count_block, &blocks);
    assert_int_equal(blocks, 0);
    os_shm_close(&shm);
}

static long turns(const char *variable, long otherwise)
{
    const char *text = getenv(variable);

    return text ? atol(text) : otherwise;
}

static void processes_see_one_queue(void **state)
{
    uint64_t settled = 0;

    (void)state;
    for (long i = 0; i < turns("XF_HISTORIES", 300); i++)
        run((uint64_t)i, -1, &settled);
    assert_int_equal(settled, 0);
}

static void also_when_one_is_killed(void **state)
{
    enum { STEPS = 1500 }; /* about as many as a worker has */
    uint64_t settled = 0, seed = 7;
    long count = turns("XF_HISTORIES", 1000);

    (void)state;
    if (!CAN_STEP)
        skip();
    for (long i = 0; i < count; i++)
        run((uint64_t)i, (long)(next_random(&seed) % STEPS), &settled);
    print_message("%ld kills, %llu claims of the dead settled\n", count, (unsigned long long)settled);
    assert_true(settled > (uint64_t)count / 200);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_judge_is_not_blind),
        cmocka_unit_test(processes_see_one_queue),
        cmocka_unit_test(also_when_one_is_killed),
    };

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
