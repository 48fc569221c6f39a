/* Goal: if any call fails while objects are created, passed, opened and closed, in the parent or in the child, then the
 * caller gets an error that says why, nothing hangs, and nothing is left behind.
 *
 * Each test is a sweep: the first call fails, then the second, and so on until a round passes with no failure. */
#include "base/error.h"
#include "faults.h"
#include "leak_check.h"
#include "os/memory.h"
#include "tasks.h"

enum { MOST_ROUNDS = 300, HEAP_LIMIT = 64 << 20 };

/* ---- What is done ---------------------------------------------------------------------------- */

/* References to use, and an event that the child waits for first. */
typedef struct order {
    xf_ref go;
    xf_ref shm;
    xf_ref lock; /* placed in the shared memory */
    xf_ref heap;
} order;

/* Returns the first failure of several calls. */
static int first(int so_far, int rc)
{
    return so_far < 0 ? so_far : rc;
}

static int use_lock(xf_lock *lock)
{
    int rc = xf_lock_acquire(lock, XF_FOREVER);

    return first(rc, xf_lock_release(lock));
}

/* Creates shared memory with a lock in it, and takes references of both. */
static int make(xf_shm **shm, xf_lock **lock, order *order)
{
    xf_shm_options growing = {.limit = 100000};
    xf_lock_options placed = {0};
    int rc = xf_shm_create(shm, 5000, &growing);

    if (rc < 0)
        return rc;
    placed.place.shm = *shm;
    rc = xf_lock_create(lock, &placed);
    if (rc < 0) {
        xf_shm_free(*shm);
        return rc;
    }
    rc = first(xf_shm_ref(*shm, &order->shm), xf_lock_ref(*lock, &order->lock));
    rc = first(rc, xf_shm_grow(*shm, 50000));
    if (rc == 0)
        return 0;
    xf_lock_free(*lock);
    xf_shm_free(*shm);
    return rc;
}

/* Opens both objects, and uses them. */
static int use(const order *order)
{
    xf_shm *shm, *view;
    xf_lock *lock;
    int rc = xf_shm_open(&shm, &order->shm, XF_SHM_WRITE);

    if (rc < 0)
        return rc;
    rc = xf_shm_open(&view, &order->shm, XF_SHM_READ);
    if (rc == 0)
        xf_shm_free(view);
    if (rc == 0)
        rc = xf_lock_open(&lock, &order->lock);
    if (rc == 0) {
        rc = use_lock(lock);
        xf_lock_free(lock);
    }
    xf_shm_free(shm);
    return rc;
}

static int make_and_use(void)
{
    order order;
    xf_shm *shm;
    xf_lock *lock;
    int rc = make(&shm, &lock, &order);

    if (rc < 0)
        return rc;
    rc = use(&order);
    xf_lock_free(lock);
    xf_shm_free(shm);
    return rc;
}

static int alloc_all(xf_heap *heap, void **memory, int count)
{
    static const size_t sizes[] = {1, 5000, 64, 300000, 2048};
    int rc;

    for (int i = 0; i < count; i++) {
        size_t size = sizes[i % (int)(sizeof sizes / sizeof *sizes)];
        rc = xf_heap_alloc(heap, size, &memory[i]);
        if (rc < 0)
            return rc;
        memset(memory[i], i, size);
    }
    return 0;
}

/* Opens a heap, allocates from it, and checks that a call that failed has taken nothing. */
static int use_heap(const xf_ref *ref)
{
    enum { COUNT = 12 };
    void *memory[COUNT] = {NULL};
    xf_heap_stats stats;
    xf_heap *heap;
    int rc = xf_heap_open(&heap, ref);

    if (rc < 0)
        return rc;
    rc = alloc_all(heap, memory, COUNT);
    for (int i = 0; i < COUNT; i++)
        if (xf_heap_dealloc(heap, memory[i]) < 0)
            rc = XF_ESTATE;
    xf_heap_stats_get(heap, &stats);
    if (stats.allocations > 0 || stats.pages > 0)
        rc = XF_ESTATE;
    xf_heap_free(heap);
    return rc;
}

static int make_and_use_heap(void)
{
    xf_heap *heap;
    xf_ref ref;
    int rc = xf_heap_create(&heap, HEAP_LIMIT);

    if (rc < 0)
        return rc;
    rc = xf_heap_ref(heap, &ref);
    if (rc == 0)
        rc = use_heap(&ref);
    xf_heap_free(heap);
    return rc;
}

static os_shm something; /* its handle is passed to the child */

static int hand_over(void)
{
    xf_ref ref;
    intptr_t handle;
    int rc = xf_handle_ref(something.handle, &ref);

    if (rc == 0)
        rc = xf_handle_take(&ref, &handle);
    if (rc == 0)
        os_handle_close(handle);
    return rc;
}

/* In a child: uses all objects, after the event. */
XF_TASK(use_all, const order *in, int *out)
{
    xf_event *go;

    (void)call;
    *out = xf_event_open(&go, &in->go);
    if (*out < 0)
        return 0;
    *out = first(xf_event_wait(go, XF_FOREVER), first(use(in), make_and_use()));
    *out = first(*out, use_heap(&in->heap));
    xf_event_free(go);
    return 0;
}

/* ---- Sweeps ---------------------------------------------------------------------------------- */

/* Without the file that says when this process began, its id alone names it, and no call fails. */
static int expected(const fault *fault, int rc)
{
    return !fault || (rc == 0 && strcmp(fault->name, "open") == 0) ? 0 : fault->code;
}

static void sweep_own(int (*run)(void))
{
    counts before;
    const fault *fault;
    int n = 0;

    assert_int_equal(run(), 0); /* also makes all that is made once */
    faults_forget_detail();     /* the detail has memory of its own in each thread */
    before = count();
    do {
        int rc;
        faults_forget_detail();
        faults_arm(++n);
        rc = run();
        fault = faults_disarm();
        if (rc != expected(fault, rc) || (rc < 0 && !*xf_error_detail()))
            fail_msg("call %d, %s: %s (%s)", n, fault ? fault->name : "none", xf_err_name(rc), xf_error_detail());
        expect_nothing_left(&before, n, fault ? fault->name : "none");
    } while (fault && n < MOST_ROUNDS);
    assert_null(fault);
    printf("           %d calls\n", n - 1);
}

static void making_and_using(void **state)
{
    (void)state;
    sweep_own(make_and_use);
}

static void using_a_heap(void **state)
{
    (void)state;
    sweep_own(make_and_use_heap);
}

static void handing_over(void **state)
{
    (void)state;
    assert_int_equal(os_shm_create(&something, OS_PAGE, 0), 0);
    sweep_own(hand_over);
    os_shm_close(&something);
}

typedef struct round {
    order order;
    xf_event *go;
    xf_shm *shm;
    xf_lock *lock;
    xf_heap *heap;
} round;

static round begin_round(void)
{
    round round;

    assert_int_equal(xf_event_create(&round.go, NULL), 0);
    assert_int_equal(xf_event_ref(round.go, &round.order.go), 0);
    assert_int_equal(make(&round.shm, &round.lock, &round.order), 0);
    assert_int_equal(xf_heap_create(&round.heap, HEAP_LIMIT), 0);
    assert_int_equal(xf_heap_ref(round.heap, &round.order.heap), 0);
    return round;
}

/* The allocations of a child that was ended because of a failure come back. */
static void end_round(round *round)
{
    xf_heap_stats stats;

    xf_heap_reclaim(round->heap);
    xf_heap_stats_get(round->heap, &stats);
    assert_int_equal(stats.allocations, 0);
    xf_heap_free(round->heap);
    xf_lock_free(round->lock);
    xf_shm_free(round->shm);
    xf_event_free(round->go);
    assert_int_equal(xf_cleanup(), 0);
}

/* Returns the child's result, or XF_EFAILED when it ended in another way. */
static int outcome(xf_process *process)
{
    int result = XF_EFAILED;
    xf_status status = join(process);

    if (status.kind == XF_END_DONE)
        memcpy(&result, xf_process_result(process, NULL), sizeof result);
    return result;
}

/* A call of the parent fails while it serves a child: the child is refused or ended, and never gets a success. */
static int serve_with_failure(int n, const fault **fault)
{
    round round = begin_round();
    xf_process *process = start(&use_all, &round.order, sizeof round.order, NULL);
    int result;

    faults_arm(n);
    xf_event_set(round.go);
    result = outcome(process);
    *fault = faults_disarm();
    xf_process_free(process);
    end_round(&round);
    return result;
}

static void serving_a_child(void **state)
{
    const fault *fault = NULL;
    counts before;
    int n = 0, result;

    (void)state;
    assert_int_equal(serve_with_failure(0, &fault), 0);
    before = count();
    do {
        result = serve_with_failure(++n, &fault);
        if (!fault && result != 0)
            fail_msg("call %d: %s", n, xf_err_name(result));
        expect_nothing_left(&before, n, fault ? fault->name : "none");
    } while (fault && n < MOST_ROUNDS);
    assert_null(fault);
    printf("           %d calls\n", n - 1);
}

/* A call of the child fails. */
static int use_with_failure(int n, bool *failed)
{
    char setting[64];
    const char *const additions[] = {setting, NULL};
    xf_process_options options = {.environment = additions, .stderr_to = XF_STDIO_CAPTURE};
    round round = begin_round();
    xf_process *process;
    char *output;
    int result;

    snprintf(setting, sizeof setting, FAULTS_IN_CHILD "=%d", n);
    xf_event_set(round.go);
    process = start(&use_all, &round.order, sizeof round.order, &options);
    result = outcome(process);
    assert_int_equal(xf_process_output(process, 2, &output, NULL), 0);
    *failed = *output != 0;
    xf_memory_free(output);
    xf_process_free(process);
    end_round(&round);
    return result;
}

static void in_the_child(void **state)
{
    counts before;
    bool failed;
    int n = 0, result;

    (void)state;
    assert_int_equal(use_with_failure(MOST_ROUNDS, &failed), 0);
    before = count();
    do {
        result = use_with_failure(++n, &failed);
        if (!failed && result != 0)
            fail_msg("call %d: %s", n, xf_err_name(result));
        expect_nothing_left(&before, n, failed ? "some" : "none");
    } while (failed && n < MOST_ROUNDS);
    assert_false(failed);
    printf("           %d calls\n", n - 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(making_and_using), cmocka_unit_test(using_a_heap), cmocka_unit_test(handing_over),
        cmocka_unit_test(serving_a_child),  cmocka_unit_test(in_the_child),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
