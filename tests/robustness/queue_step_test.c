/* Goal: a process can be killed after any instruction of a put or a get: nobody is blocked, no message comes twice, at
 * most the message in flight is lost, which is reported, and no memory is lost (Linux).
 *
 * The test steps a forked process with the ring of a queue by ptrace for N instructions (a system call is one), and
 * kills it; then the test itself uses the ring for more than a lap.  N is 1, 2, 3, ... to the end; where that takes too
 * long, only every few, but all with XF_STEP_ALL=1 in the environment. */
#include "base/clock.h"
#include "messaging/ring_internal.h"
#include "tasks.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
enum { CAN_STEP = true };
#else
enum { CAN_STEP = false };
#endif

enum { PATIENCE_MS = 10000, ROUNDS_MAX = 400, STEPS_MAX = 200000, LARGE = 5000 };

/* What the process does while it is stepped, and the messages that are there before. */
typedef struct scene {
    const char *name;
    void (*act)(ring *ring, uint64_t size);
    ring_plan plan;
    uint64_t size;     /* of each message */
    uint64_t before;   /* messages */
    uint64_t taken;    /* how many of them are taken before the act, so that the ring has begun another lap */
    bool puts;         /* the act puts one message, numbered behind the others; else it gets one */
    bool acknowledged; /* when the act is complete, the message that it got is not in flight any more */
} scene;

/* What the victim writes down, in memory that is not the ring's. */
typedef struct note {
    _Atomic uint32_t complete;
} note;

static note *victims_note;

static uint64_t now_and(int ms)
{
    return clock_deadline(ms);
}

static void put(ring *ring, uint64_t number, uint64_t size)
{
    uint8_t data[LARGE];

    memset(data, (int)number + 1, sizeof data);
    memcpy(data, &number, sizeof number);
    if (ring_push(ring, data, size, now_and(PATIENCE_MS)) < 0)
        fail_msg("a put: %s", xf_error_detail());
}

/* Gets a message, and returns its number; UINT64_MAX when there is none. */
static uint64_t get(ring *ring, uint64_t size)
{
    uint8_t data[LARGE];
    ring_message hold;
    uint64_t number;
    int rc = ring_take(ring, &hold, UINT64_MAX, now_and(PATIENCE_MS));

    if (rc == XF_EEND)
        return UINT64_MAX;
    if (rc < 0)
        fail_msg("a get: %s", xf_error_detail());
    assert_int_equal(hold.size, size);
    ring_copy_out(ring, &hold, data);
    memcpy(&number, data, sizeof number);
    for (uint64_t i = sizeof number; i < size; i++)
        assert_int_equal(data[i], (uint8_t)(number + 1));
    return number;
}

/* ---- Acts ------------------------------------------------------------------------------------ */

enum { ACTORS_NUMBER = 900 };

static uint8_t actors_data[LARGE]; /* filled before, so that only the act itself is stepped */

static void prepare_data(void)
{
    uint64_t number = ACTORS_NUMBER;

    memset(actors_data, (uint8_t)(number + 1), sizeof actors_data);
    memcpy(actors_data, &number, sizeof number);
}

static void act_put(ring *ring, uint64_t size)
{
    if (ring_push(ring, actors_data, size, 0) < 0)
        _exit(3);
}

static void act_get(ring *ring, uint64_t size)
{
    ring_message hold;

    (void)size;
    if (ring_take(ring, &hold, UINT64_MAX, 0) < 0)
        _exit(3);
    ring_copy_out(ring, &hold, actors_data);
}

static void act_view(ring *ring, uint64_t size)
{
    ring_message hold;

    (void)size;
    if (ring_take(ring, &hold, UINT64_MAX, 0) < 0)
        _exit(3);
    ring_keep(ring, &hold);
    ring_release(ring, hold.block, hold.size);
}

/* ---- Stepping -------------------------------------------------------------------------------- */

static pid_t start_victim(const scene *scene, const ring *shared)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    ring ring;
    memcpy(&ring, shared, sizeof ring);
    ring.me = os_self_process();
    prepare_data();
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(2);
    raise(SIGSTOP);
    scene->act(&ring, scene->size);
    atomic_store(&victims_note->complete, 1);
    raise(SIGSTOP);
    _exit(0);
}

static bool await_stop(pid_t pid)
{
    int status;

    return waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
}

/* Lets the process run for so many instructions, or to the end of its act; returns how many there were. */
static long run(pid_t pid, long steps)
{
    for (long step = 0; step < steps; step++) {
        if (atomic_load(&victims_note->complete))
            return step;
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 || !await_stop(pid))
            fail_msg("not stepped");
    }
    return steps;
}

static void end_victim(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

/* ---- What has to be so afterwards ------------------------------------------------------------ */

static void count_block(void *arg, uint64_t block, uint64_t word)
{
    (void)block;
    (void)word;
    ++*(int *)arg;
}

static void expect_no_memory_taken(ring *ring)
{
    int blocks = 0;

    ring_blocks_walk(&ring->blocks, count_block, &blocks);
    assert_int_equal(blocks, 0);
}

/* Fills and empties the ring for a lap, so that each cell is needed, and checks the messages. */
static void check(const scene *scene, ring *ring, bool complete)
{
    uint64_t around = scene->plan.capacity ? 2 * scene->plan.capacity + 2 : 3, expected = scene->taken, number, next;
    uint64_t missing = 0, actors = 0;
    ring_head *head = ring->head;

    next = scene->before;
    for (uint64_t i = 0; i < around; i++) {
        bool room = scene->plan.capacity == 0 || ring_search_count(ring) < scene->plan.capacity;
        if (!room) {
            number = get(ring, scene->size);
            if (number == ACTORS_NUMBER) {
                actors++;
            } else {
                missing += number - expected;
                expected = number + 1;
            }
        }
        put(ring, next++, scene->size);
    }
    assert_int_equal(ring_shut_down(ring), 0);
    while ((number = get(ring, scene->size)) != UINT64_MAX) {
        if (number == ACTORS_NUMBER) {
            assert_int_equal(expected, scene->before); /* behind the earlier messages, before the later ones */
            actors++;
        } else {
            missing += number - expected;
            expected = number + 1;
        }
    }
    ring_recover_all(ring);
    assert_int_equal(expected, next);
    assert_in_range(actors, complete && scene->puts, scene->puts);
    assert_in_range(missing, complete && !scene->puts, !scene->puts);
    assert_in_range(atomic_load(&head->lost), 0, complete ? 0 : missing);
    assert_in_range(atomic_load(&head->unput), 0, scene->puts && actors == 0);
    expect_no_memory_taken(ring);
}

/* Plays one round, and returns how many instructions there were.
 *   lost, unput  Grow with each message that was lost, or not put. */
static long kill_after(const scene *scene, long steps, uint64_t *lost, uint64_t *unput)
{
    uint64_t size;
    os_shm shm;
    ring ring;
    pid_t pid;
    bool complete;

    assert_int_equal(ring_size(&scene->plan, &size), 0);
    assert_int_equal(os_shm_create(&shm, (size_t)size, OS_SHM_RESERVED | OS_SHM_WAITABLE), 0);
    assert_int_equal(ring_create(&ring, &shm, 0, &scene->plan), 0);
    for (uint64_t i = 0; i < scene->before; i++) {
        put(&ring, i, scene->size);
        if (i < scene->taken)
            assert_int_equal(get(&ring, scene->size), i);
    }
    atomic_store(&victims_note->complete, 0);
    pid = start_victim(scene, &ring);
    if (!await_stop(pid))
        skip();
    steps = run(pid, steps);
    complete = atomic_load(&victims_note->complete);
    end_victim(pid);
    check(scene, &ring, complete);
    *lost += atomic_load(&ring.head->lost);
    *unput += atomic_load(&ring.head->unput);
    os_shm_close(&shm);
    return steps;
}

/* How many instructions later to kill next.  Copying a long message is an instruction that is stepped thousands of
 * times; what matters is before and behind, so the places there are closer to each other. */
static long next_stride(long steps, long all, long stride)
{
    enum { ENDS = 400, DENSE = 7 };
    bool at_the_ends = steps < ENDS || steps > all - ENDS;

    return at_the_ends && stride > DENSE ? DENSE : stride;
}

static void play(const scene *scene)
{
    uint64_t lost = 0, unput = 0;
    long all, stride, kills = 0;

    if (!CAN_STEP)
        skip();
    victims_note = mmap(NULL, sizeof *victims_note, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(victims_note != MAP_FAILED);
    all = kill_after(scene, LONG_MAX, &lost, &unput);
    assert_int_equal(lost + unput, 0);
    stride = all / ROUNDS_MAX + 1;
    if (all * all / 2 / stride > STEPS_MAX)
        stride = all * all / 2 / STEPS_MAX + 1;
    if (getenv("XF_STEP_ALL"))
        stride = 1;
    for (long steps = 0; steps <= all; steps += next_stride(steps, all, stride), kills++)
        kill_after(scene, steps, &lost, &unput);
    print_message("%s: %ld instructions, %ld kills, %llu lost, %llu not put\n", scene->name, all, kills,
                  (unsigned long long)lost, (unsigned long long)unput);
    assert_true(scene->puts ? unput > 0 && lost == 0
                            : lost > 0 && unput == 0); /* otherwise the process was not killed where it matters */
    munmap(victims_note, sizeof *victims_note);
}

#define SMALL_PLAN .plan = {.capacity = 2, .room = 64, .memory = 65536}

static void a_put(void **state)
{
    (void)state;
    play(&(scene){.name = "put", .act = act_put, SMALL_PLAN, .size = 64, .before = 4, .taken = 3, .puts = true});
}

static void a_put_of_a_long_message(void **state)
{
    (void)state;
    play(
        &(scene){.name = "long put", .act = act_put, SMALL_PLAN, .size = LARGE, .before = 4, .taken = 3, .puts = true});
}

static void a_put_that_begins_a_ring(void **state)
{
    (void)state;
    play(&(scene){.name = "put into a new ring",
                  .act = act_put,
                  .plan = {.room = 64, .memory = 1 << 20},
                  .size = 64,
                  .before = RING_FIRST_CELLS + 1,
                  .taken = 1,
                  .puts = true});
}

static void a_get(void **state)
{
    (void)state;
    play(&(scene){.name = "get", .act = act_get, SMALL_PLAN, .size = 64, .before = 5, .taken = 3});
}

static void a_get_of_a_long_message(void **state)
{
    (void)state;
    play(&(scene){.name = "long get", .act = act_get, SMALL_PLAN, .size = LARGE, .before = 5, .taken = 3});
}

static void a_view_of_a_long_message(void **state)
{
    (void)state;
    play(&(scene){.name = "view", .act = act_view, SMALL_PLAN, .size = LARGE, .before = 5, .taken = 3});
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put), cmocka_unit_test(a_put_of_a_long_message), cmocka_unit_test(a_put_that_begins_a_ring),
        cmocka_unit_test(a_get), cmocka_unit_test(a_get_of_a_long_message), cmocka_unit_test(a_view_of_a_long_message),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
