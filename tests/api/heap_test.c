/* Goal: processes allocate and free in one heap at the same time, and no two allocations overlap; allocations of dead
 * processes come back unless they were kept, and when all are freed the heap is as it was. */
#include "tasks.h"

enum { LIMIT = 64 << 20, PAGE = 4096 };

static xf_heap *make(size_t limit)
{
    xf_heap *heap;

    assert_int_equal(xf_heap_create(&heap, limit), 0);
    return heap;
}

static void *alloc(xf_heap *heap, size_t size)
{
    void *memory = NULL;

    assert_int_equal(xf_heap_alloc(heap, size, &memory), 0);
    assert_non_null(memory);
    return memory;
}

static void expect_empty(xf_heap *heap)
{
    xf_heap_stats stats;

    xf_heap_stats_get(heap, &stats);
    assert_int_equal(stats.allocations, 0);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.pages, 0);
}

static size_t allocations(const xf_heap *heap)
{
    xf_heap_stats stats;

    xf_heap_stats_get(heap, &stats);
    return stats.allocations;
}

/* ---- One process ----------------------------------------------------------------------------- */

static void sizes_are_rounded_up_and_aligned(void **state)
{
    static const struct {
        size_t size, rounded;
    } cases[] = {
        {0, 64},
        {1, 64},
        {64, 64},
        {65, 128},
        {1000, 1024},
        {2048, 2048},
        {2049, PAGE},
        {PAGE, PAGE},
        {PAGE + 1, 2 * PAGE},
        {1000000, 245 * PAGE},
    };
    xf_heap *heap = make(LIMIT);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t align = cases[i].rounded < PAGE ? cases[i].rounded : PAGE;
        void *memory = alloc(heap, cases[i].size);
        assert_int_equal(xf_heap_size(heap, memory), cases[i].rounded);
        assert_int_equal((uintptr_t)memory % align, 0);
        memset(memory, 'x', cases[i].rounded);
    }
    xf_heap_free(heap);
}

static void what_is_freed_is_free(void **state)
{
    enum { COUNT = 1000 };
    void *memory[COUNT];
    xf_heap *heap = make(LIMIT);

    (void)state;
    for (int i = 0; i < COUNT; i++)
        memory[i] = alloc(heap, (size_t)i * 7);
    assert_int_equal(allocations(heap), COUNT);
    for (int i = 0; i < COUNT; i += 2)
        assert_int_equal(xf_heap_dealloc(heap, memory[i]), 0);
    assert_int_equal(allocations(heap), COUNT / 2);
    for (int i = 1; i < COUNT; i += 2)
        assert_int_equal(xf_heap_dealloc(heap, memory[i]), 0);
    expect_empty(heap);
    assert_int_equal(xf_heap_dealloc(heap, NULL), 0);
    xf_heap_free(heap);
    xf_heap_free(NULL);
}

static void mistakes_are_reported(void **state)
{
    xf_heap *heap = make(LIMIT);
    char *small = alloc(heap, 100), *large = alloc(heap, 3 * PAGE), own[100];
    char *beside = (char *)((uintptr_t)small ^ 128); /* a free slot of the same page */

    (void)state;
    assert_int_equal(xf_heap_dealloc(heap, small + 1), XF_EINVAL);
    assert_int_equal(xf_heap_dealloc(heap, beside), XF_EINVAL);
    assert_int_equal(xf_heap_dealloc(heap, large + PAGE), XF_EINVAL);
    assert_int_equal(xf_heap_dealloc(heap, large + 64), XF_EINVAL);
    assert_int_equal(xf_heap_dealloc(heap, large + 1000 * PAGE), XF_EINVAL);
    assert_int_equal(xf_heap_dealloc(heap, own), XF_EINVAL);
    assert_int_equal(xf_heap_keep(heap, small + 1), XF_EINVAL);
    assert_int_equal(xf_heap_own(heap, own), XF_EINVAL);
    assert_int_equal(xf_heap_size(heap, small + 64), 0);
    assert_int_equal(xf_heap_dealloc(heap, small), 0);
    assert_int_equal(xf_heap_dealloc(heap, small), XF_EINVAL);
    assert_int_equal(xf_heap_dealloc(heap, large), 0);
    assert_int_equal(xf_heap_dealloc(heap, large), XF_EINVAL);
    assert_int_equal(xf_heap_create(&heap, 0), XF_EINVAL);
    expect_empty(heap);
    xf_heap_free(heap);
}

static void offsets_stand_for_addresses(void **state)
{
    xf_heap *heap = make(LIMIT);
    char *memory = alloc(heap, 100), own;
    uint64_t offset = xf_heap_offset(heap, memory);

    (void)state;
    assert_true(offset > 0);
    assert_ptr_equal(xf_heap_at(heap, offset), memory);
    assert_ptr_equal(xf_heap_at(heap, offset + 50), memory + 50);
    assert_int_equal(xf_heap_offset(heap, memory + 50), offset + 50);
    assert_int_equal(xf_heap_offset(heap, &own), 0);
    assert_int_equal(xf_heap_offset(heap, NULL), 0);
    assert_null(xf_heap_at(heap, 0));
    assert_null(xf_heap_at(heap, 8));
    assert_null(xf_heap_at(heap, UINT64_MAX));
    xf_heap_free(heap);
}

/* Fills the heap with allocations of a size, and frees them; returns how many there were. */
static size_t fill(xf_heap *heap, size_t size)
{
    uint64_t last = 0;
    size_t count = 0;
    void *memory;

    while (xf_heap_alloc(heap, size, &memory) == 0) {
        *(uint64_t *)memory = last; /* the allocations form a list */
        last = xf_heap_offset(heap, memory);
        count++;
    }
    assert_int_equal(xf_heap_alloc(heap, size, &memory), XF_ENOMEM);
    while ((memory = xf_heap_at(heap, last))) {
        last = *(uint64_t *)memory;
        assert_int_equal(xf_heap_dealloc(heap, memory), 0);
    }
    expect_empty(heap);
    return count;
}

static void all_of_it_can_be_had_in_any_size(void **state)
{
    enum { PAGES = 100 };
    xf_heap *heap = make(PAGES * PAGE);
    void *memory;

    (void)state;
    assert_int_equal(fill(heap, 64), PAGES * 64);
    assert_int_equal(fill(heap, 2048), PAGES * 2);
    assert_int_equal(fill(heap, PAGE), PAGES);
    assert_int_equal(fill(heap, PAGES * PAGE), 1);
    assert_int_equal(fill(heap, 200), PAGES * 16);
    assert_int_equal(xf_heap_alloc(heap, PAGES * PAGE + 1, &memory), XF_ELIMIT);
    assert_int_equal(xf_heap_alloc(heap, SIZE_MAX, &memory), XF_ELIMIT);
    xf_heap_free(heap);
}

static void a_reference_is_of_a_heap(void **state)
{
    xf_heap *heap = make(LIMIT), *again;
    xf_ref ref, wrong;

    (void)state;
    assert_int_equal(xf_heap_ref(heap, &ref), 0);
    wrong = ref;
    wrong.kind = XF_KIND_SHM;
    assert_int_equal(xf_heap_open(&again, &wrong), XF_EINVAL);
    assert_int_equal(xf_heap_open(&again, &ref), 0);
    xf_heap_free(heap);
    assert_int_equal(xf_heap_dealloc(again, alloc(again, 10)), 0);
    xf_heap_free(again);
    assert_int_equal(xf_heap_open(&again, &ref), XF_ENOENT);
}

/* ---- Several --------------------------------------------------------------------------------- */

typedef struct order {
    xf_ref heap, queue;
    uint64_t seed;
    uint64_t offset;
    int turns; /* 0: without end */
} order;

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *seed >> 33;
}

XF_ENTRY(read_and_free)
{
    const order *order = xf_call_input(call, NULL);
    xf_heap *heap;
    int rc = xf_heap_open(&heap, &order->heap);

    if (rc == 0 && strcmp(xf_heap_at(heap, order->offset), "from the parent") != 0)
        rc = 1;
    if (rc == 0)
        rc = xf_heap_dealloc(heap, xf_heap_at(heap, order->offset));
    xf_heap_free(heap);
    return rc;
}

static void another_process_reads_and_frees(void **state)
{
    xf_heap *heap = make(LIMIT);
    char *memory = alloc(heap, 5000);
    order order = {.offset = xf_heap_offset(heap, memory)};

    (void)state;
    strcpy(memory, "from the parent");
    assert_int_equal(xf_heap_ref(heap, &order.heap), 0);
    expect_end(start(&read_and_free, &order, sizeof order, NULL), XF_END_DONE, 0);
    expect_empty(heap);
    xf_heap_free(heap);
}

/* Allocates a block to keep, and small and large blocks that are not kept; sends the first block's offset, and waits.
 */
XF_ENTRY(allocate_and_wait)
{
    const order *order = xf_call_input(call, NULL);
    xf_heap *heap;
    void *memory;
    int rc = xf_heap_open(&heap, &order->heap);

    for (size_t size = 10; rc == 0 && size < 100000; size *= 3)
        rc = xf_heap_alloc(heap, size, &memory);
    if (rc == 0)
        rc = xf_heap_alloc(heap, 30, &memory);
    if (rc == 0)
        rc = xf_heap_keep(heap, memory);
    if (rc == 0)
        send_number(call, (int64_t)xf_heap_offset(heap, memory));
    hang();
    return rc;
}

static int64_t start_allocating(xf_heap *heap, xf_process **process)
{
    order order = {.seed = 0};

    assert_int_equal(xf_heap_ref(heap, &order.heap), 0);
    *process = start(&allocate_and_wait, &order, sizeof order, NULL);
    return receive_number(*process);
}

static void memory_that_dead_processes_had_not_kept_is_freed(void **state)
{
    xf_heap *heap = make(LIMIT);
    xf_process *process;
    void *kept = xf_heap_at(heap, (uint64_t)start_allocating(heap, &process));
    size_t count = allocations(heap);
    xf_heap_stats stats;

    (void)state;
    assert_int_equal(xf_heap_reclaim(heap), 0); /* the owner lives */
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
    assert_int_equal(xf_heap_reclaim(heap), count - 1);
    xf_heap_stats_get(heap, &stats);
    assert_int_equal(stats.allocations, 1);
    assert_int_equal(stats.kept, 1);
    assert_int_equal(stats.reclaimed, count - 1);
    assert_int_equal(xf_heap_own(heap, kept), 0);
    xf_heap_stats_get(heap, &stats);
    assert_int_equal(stats.kept, 0);
    assert_int_equal(xf_heap_dealloc(heap, kept), 0);
    expect_empty(heap);
    xf_heap_free(heap);
}

/* A kept block that a process makes its own is freed when that process ends. */
XF_ENTRY(own_and_end)
{
    const order *order = xf_call_input(call, NULL);
    xf_heap *heap;
    int rc = xf_heap_open(&heap, &order->heap);

    return rc < 0 ? rc : xf_heap_own(heap, xf_heap_at(heap, order->offset));
}

static void what_a_process_has_made_its_own_ends_with_it(void **state)
{
    xf_heap *heap = make(LIMIT);
    void *memory = alloc(heap, 100);
    order order = {.offset = xf_heap_offset(heap, memory)};

    (void)state;
    assert_int_equal(xf_heap_keep(heap, memory), 0);
    assert_int_equal(xf_heap_ref(heap, &order.heap), 0);
    expect_end(start(&own_and_end, &order, sizeof order, NULL), XF_END_DONE, 0);
    assert_int_equal(xf_heap_reclaim(heap), 1);
    expect_empty(heap);
    xf_heap_free(heap);
}

static void a_full_heap_looks_for_the_dead(void **state)
{
    xf_heap *heap = make(100 * PAGE);
    xf_process *process;
    uint64_t kept = (uint64_t)start_allocating(heap, &process);
    void *memory;

    (void)state;
    assert_int_equal(xf_heap_dealloc(heap, xf_heap_at(heap, kept)), 0);
    assert_int_equal(xf_heap_alloc(heap, 100 * PAGE, &memory), XF_ENOMEM);
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
    assert_int_equal(xf_heap_dealloc(heap, alloc(heap, 100 * PAGE)), 0);
    expect_empty(heap);
    xf_heap_free(heap);
}

/* ---- At random ------------------------------------------------------------------------------- */

/* The thread sanitizer does not see synchronisation that goes through another process.  So under it the test is one
 * process with several threads. */
#ifdef __SANITIZE_THREAD__
enum { PROCESSES = 1 };
#else
enum { PROCESSES = 3 };
#endif

enum { HAS = 40, THREADS = 2, KILLS = 6, SIZE_MAX_TRIED = 12000 };

typedef struct churner {
    uv_thread_t thread;
    xf_call *call;
    xf_heap *heap;
    xf_queue *queue;
    uint64_t seed;
    int turns;
    int rc;
    uint64_t *has[HAS];
    size_t size[HAS];
} churner;

/* Writes into every word which allocation it is. */
static void mark(uint64_t *memory, size_t size, uint64_t value)
{
    for (size_t i = 0; i < size / sizeof *memory; i++)
        memory[i] = value;
}

static bool is_marked(const uint64_t *memory, size_t size)
{
    for (size_t i = 1; i < size / sizeof *memory; i++)
        if (memory[i] != memory[0])
            return false;
    return true;
}

static int take_one(churner *self, int i)
{
    size_t size =
        next_random(&self->seed) % 4 ? next_random(&self->seed) % 500 : next_random(&self->seed) % SIZE_MAX_TRIED;
    void *memory;
    int rc = xf_heap_alloc(self->heap, size, &memory);

    if (rc < 0)
        return rc;
    self->has[i] = memory;
    self->size[i] = xf_heap_size(self->heap, memory);
    mark(memory, self->size[i], next_random(&self->seed) << 32 | next_random(&self->seed));
    return self->size[i] < size ? XF_EPROTO : 0;
}

static int drop_one(churner *self, int i)
{
    uint64_t *memory = self->has[i];

    self->has[i] = NULL;
    return is_marked(memory, self->size[i]) ? xf_heap_dealloc(self->heap, memory) : XF_EPROTO;
}

/* Passes an allocation to another process. */
static int pass_one(churner *self, int i)
{
    uint64_t offset = xf_heap_offset(self->heap, self->has[i]);
    int rc = xf_heap_keep(self->heap, self->has[i]);

    if (rc == 0)
        rc = xf_queue_put(self->queue, &offset, sizeof offset, XF_FOREVER);
    if (rc == 0)
        self->has[i] = NULL;
    return rc;
}

/* Frees an allocation of another process. */
static int drop_foreign(xf_heap *heap, xf_queue *queue)
{
    uint64_t offset, *memory;
    size_t size;
    int rc = xf_queue_get_into(queue, &offset, sizeof offset, &size, 0);

    if (rc < 0)
        return rc == XF_ETIMEDOUT ? 0 : rc;
    memory = xf_heap_at(heap, offset);
    rc = xf_heap_own(heap, memory);
    if (rc == 0 && !is_marked(memory, xf_heap_size(heap, memory)))
        rc = XF_EPROTO;
    return rc == 0 ? xf_heap_dealloc(heap, memory) : rc;
}

static void churn_in_thread(void *arg)
{
    churner *self = arg;

    for (int turn = 0; self->rc == 0 && (self->turns == 0 || turn < self->turns); turn++) {
        int i = (int)(next_random(&self->seed) % HAS);
        if (self->queue && turn % 3 == 0)
            self->rc = drop_foreign(self->heap, self->queue);
        if (self->rc == 0 && !self->has[i])
            self->rc = take_one(self, i);
        else if (self->rc == 0)
            self->rc = self->queue && turn % 2 ? pass_one(self, i) : drop_one(self, i);
        if (turn % 256 == 255)
            send_number(self->call, turn);
    }
    for (int i = 0; self->rc == 0 && i < HAS; i++)
        if (self->has[i])
            self->rc = drop_one(self, i);
}

XF_ENTRY(churn)
{
    static churner churners[THREADS];
    const order *order = xf_call_input(call, NULL);
    xf_queue *queue = NULL;
    xf_heap *heap;
    int rc = xf_heap_open(&heap, &order->heap);

    if (rc == 0 && order->queue.kind)
        rc = xf_queue_open(&queue, &order->queue);
    if (rc < 0)
        return rc;
    for (int i = 0; i < THREADS; i++) {
        churners[i] = (churner){
            .call = call, .heap = heap, .queue = queue, .seed = order->seed + (uint64_t)i, .turns = order->turns};
        uv_thread_create(&churners[i].thread, churn_in_thread, &churners[i]);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&churners[i].thread);
    for (int i = 0; i < THREADS && rc == 0; i++)
        rc = churners[i].rc;
    xf_queue_free(queue);
    xf_heap_free(heap);
    return rc;
}

/* Processes are killed and replaced, and the heap is reclaimed meanwhile. */
static void what_is_killed_leaves_nothing(void **state)
{
    xf_heap *heap = make(LIMIT);
    order order = {.seed = 1};
    xf_process *processes[PROCESSES];
    size_t reclaimed = 0;

    (void)state;
    assert_int_equal(xf_heap_ref(heap, &order.heap), 0);
    for (int i = 0; i < KILLS + PROCESSES; i++) {
        xf_process **process = &processes[i % PROCESSES];
        if (i >= PROCESSES) {
            for (uint64_t messages = next_random(&order.seed) % 8; messages > 0; messages--)
                receive_number(*process);
            xf_process_kill(*process);
            expect_end(*process, XF_END_TERMINATED, 0);
            reclaimed += xf_heap_reclaim(heap);
        }
        order.seed += 100;
        if (i < KILLS)
            *process = start(&churn, &order, sizeof order, NULL);
    }
    assert_true(reclaimed > 0);
    expect_empty(heap);
    xf_heap_free(heap);
}

static void what_is_handed_over_is_freed_by_others(void **state)
{
    xf_heap *heap = make(LIMIT);
    order order = {.seed = 7, .turns = 4000};
    xf_process *processes[PROCESSES];
    xf_queue *queue;

    (void)state;
    assert_int_equal(xf_queue_create(&queue, NULL), 0);
    assert_int_equal(xf_queue_ref(queue, &order.queue), 0);
    assert_int_equal(xf_heap_ref(heap, &order.heap), 0);
    for (int i = 0; i < PROCESSES; i++, order.seed += 100)
        processes[i] = start(&churn, &order, sizeof order, NULL);
    for (int i = 0; i < PROCESSES; i++)
        expect_end(processes[i], XF_END_DONE, 0);
    assert_int_equal(xf_heap_reclaim(heap), 0);
    for (size_t left = allocations(heap); left > 0; left--)
        assert_int_equal(drop_foreign(heap, queue), 0);
    expect_empty(heap);
    xf_queue_free(queue);
    xf_heap_free(heap);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_rounded_up_and_aligned),
        cmocka_unit_test(what_is_freed_is_free),
        cmocka_unit_test(mistakes_are_reported),
        cmocka_unit_test(offsets_stand_for_addresses),
        cmocka_unit_test(all_of_it_can_be_had_in_any_size),
        cmocka_unit_test(a_reference_is_of_a_heap),
        cmocka_unit_test(another_process_reads_and_frees),
        cmocka_unit_test(memory_that_dead_processes_had_not_kept_is_freed),
        cmocka_unit_test(what_a_process_has_made_its_own_ends_with_it),
        cmocka_unit_test(a_full_heap_looks_for_the_dead),
        cmocka_unit_test(what_is_killed_leaves_nothing),
        cmocka_unit_test(what_is_handed_over_is_freed_by_others),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
