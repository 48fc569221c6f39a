/* Goal: a process can be killed after any instruction of allocating, freeing, keeping or reclaiming, and the heap is
 * intact: each allocation is whole or free, and nothing is lost (Linux).
 *
 * A forked process stops, runs for N instructions of this program, and is killed there; N is 1, 2, 3, ... until the
 * process ends by itself; after 200, only each seventh. */
#include "keep_in_copies.h"
#include "os/identity.h"
#include "shmem/heap.h"
#include "single_step.h"
#include "tasks.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PAGES = 8, PAGE = 4096, SMALL = 600, LARGE = 3 * PAGE, STEPS_MAX = 20000 };

/* What the process does while it is stepped. */
typedef struct scene {
    const char *name;
    void (*act)(xf_heap *heap, void *memory, size_t size);
    size_t size;   /* of allocations */
    size_t before; /* how many exist besides the one that the act concerns */
    bool fresh;    /* in a heap that has no memory yet */
} scene;

/* What the process writes down before it is killed. */
typedef struct note {
    _Atomic uint64_t offset; /* of its allocation */
} note;

static note *victims_note;

static void *alloc(xf_heap *heap, size_t size)
{
    void *memory = NULL;

    if (xf_heap_alloc(heap, size, &memory) < 0)
        fail_msg("no memory: %s", xf_error_detail());
    return memory;
}

static void act_alloc(xf_heap *heap, void *memory, size_t size)
{
    if (xf_heap_alloc(heap, size, &memory) < 0)
        _exit(3);
}

static void act_free(xf_heap *heap, void *memory, size_t size)
{
    (void)size;
    if (xf_heap_dealloc(heap, memory) < 0)
        _exit(3);
}

static void act_keep(xf_heap *heap, void *memory, size_t size)
{
    if (xf_heap_alloc(heap, size, &memory) < 0)
        _exit(3);
    atomic_store(&victims_note->offset, xf_heap_offset(heap, memory));
    if (xf_heap_keep(heap, memory) < 0)
        _exit(3);
}

static void act_own(xf_heap *heap, void *memory, size_t size)
{
    (void)size;
    if (xf_heap_own(heap, memory) < 0)
        _exit(3);
}

static void act_reclaim(xf_heap *heap, void *memory, size_t size)
{
    (void)memory, (void)size;
    (void)xf_heap_reclaim(heap);
}

/* Forks a process that allocates and exits, so that there is something to reclaim. */
static void leave_some(xf_heap *heap, size_t size)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        void *memory;
        heap->me = os_self_process();
        _exit(xf_heap_alloc(heap, size, &memory) < 0);
    }
    assert_false(await_stop(pid));
}

static pid_t start_victim(const scene *scene, xf_heap *heap, void *memory)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        heap->me = os_self_process();
        raise(SIGSTOP);
        scene->act(heap, memory, scene->size);
        _exit(0);
    }
    assert_true(await_stop(pid));
    return pid;
}

static void free_if_there(xf_heap *heap, void *memory)
{
    if (memory && xf_heap_size(heap, memory) > 0)
        assert_int_equal(xf_heap_dealloc(heap, memory), 0);
}

/* The whole heap can be allocated once more. */
static void expect_whole(xf_heap *heap)
{
    xf_heap_stats stats;
    void *all[PAGES];

    xf_heap_stats_get(heap, &stats);
    assert_int_equal(stats.allocations, 0);
    assert_int_equal(stats.pages, 0);
    for (int i = 0; i < PAGES; i++)
        all[i] = alloc(heap, PAGE);
    for (int i = 0; i < PAGES; i++)
        assert_int_equal(xf_heap_dealloc(heap, all[i]), 0);
}

/* Plays one round; false when the act ended before it was killed.
 *   effects  Grows when there was something to reclaim, or something had been freed. */
static bool play_to(const scene *scene, xf_heap *heap, int steps, uint64_t *effects)
{
    void *before[PAGES] = {NULL}, *memory = NULL;
    bool killed;

    for (size_t i = 0; i < scene->before; i++)
        before[i] = alloc(heap, scene->size);
    if (scene->act == act_reclaim)
        leave_some(heap, scene->size);
    else if (scene->act == act_free || scene->act == act_own)
        memory = alloc(heap, scene->size);
    atomic_store(&victims_note->offset, 0);
    killed = step_and_kill(start_victim(scene, heap, memory), steps);
    for (size_t i = 0; i < scene->before; i++) {
        assert_true(xf_heap_size(heap, before[i]) >= scene->size);
        assert_int_equal(xf_heap_dealloc(heap, before[i]), 0);
    }
    *effects += xf_heap_reclaim(heap);
    *effects += scene->act == act_free && xf_heap_size(heap, memory) == 0;
    free_if_there(heap, memory);
    free_if_there(heap, xf_heap_at(heap, atomic_load(&victims_note->offset)));
    expect_whole(heap);
    return killed;
}

static xf_heap *make(void)
{
    xf_heap *heap;

    assert_int_equal(xf_heap_create(&heap, PAGES * PAGE), 0);
    keep_in_copies(heap->object);
    return heap;
}

static void play(const scene *scene)
{
    uint64_t effects = 0;
    xf_heap *heap = make();
    bool killed = true;
    int steps = 1;

    for (; killed && steps < STEPS_MAX; steps += stride(steps)) {
        killed = play_to(scene, heap, steps, &effects);
        if (scene->fresh) {
            xf_heap_free(heap);
            heap = make();
        }
    }
    xf_heap_free(heap);
    assert_in_range(steps, 20, STEPS_MAX - 1);
    assert_in_range(effects, 1, steps - 1); /* otherwise the process was not killed where it matters */
    print_message("%s: %d steps, %d with effect\n", scene->name, steps, (int)effects);
}

static void a_first_small_one(void **state)
{
    (void)state;
    play(&(scene){"alloc", act_alloc, SMALL, 0, true});
}

static void one_more_small_one(void **state)
{
    (void)state;
    play(&(scene){"alloc beside others", act_alloc, SMALL, 2, false});
}

static void a_large_one(void **state)
{
    (void)state;
    play(&(scene){"alloc pages", act_alloc, LARGE, 0, true});
}

static void one_that_is_kept(void **state)
{
    (void)state;
    play(&(scene){"keep", act_keep, SMALL, 0, false});
}

static void one_that_is_made_ones_own(void **state)
{
    (void)state;
    play(&(scene){"own", act_own, LARGE, 0, false});
}

/* A small block is free at once, so only its page is left to reclaim. */
static void freeing_the_last_small_one(void **state)
{
    (void)state;
    play(&(scene){"free the last", act_free, SMALL, 0, false});
}

static void freeing_a_large_one(void **state)
{
    (void)state;
    play(&(scene){"free pages", act_free, LARGE, 1, false});
}

static void reclaiming(void **state)
{
    (void)state;
    play(&(scene){"reclaim", act_reclaim, SMALL, 0, false});
    play(&(scene){"reclaim pages", act_reclaim, LARGE, 0, false});
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_small_one),
        cmocka_unit_test(one_more_small_one),
        cmocka_unit_test(a_large_one),
        cmocka_unit_test(one_that_is_kept),
        cmocka_unit_test(one_that_is_made_ones_own),
        cmocka_unit_test(freeing_the_last_small_one),
        cmocka_unit_test(freeing_a_large_one),
        cmocka_unit_test(reclaiming),
    };

    xf_main(argc, argv);
    victims_note = mmap(NULL, sizeof *victims_note, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return victims_note == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
