/* Goal: if any call fails while queues and pipes are created, opened and used, then the caller gets an error that says
 * why, the queue still works, and nothing is left behind.
 *
 * Each test is a sweep: the first call fails, then the second, and so on until a round passes with no failure. */
#include "faults.h"
#include "leak_check.h"
#include "tasks.h"

enum { MOST_ROUNDS = 300, LONG_SIZE = 20000 };

static char long_one[LONG_SIZE];

/* The messages of all puts that succeeded come out. */
static int use_queue(xf_queue *queue)
{
    xf_message message;
    xf_queue_message_view view;
    xf_queue_slot slot;
    int rc = xf_queue_put(queue, "short", 5, 0);

    if (rc == 0)
        rc = xf_queue_put(queue, long_one, LONG_SIZE, 0);
    if (rc == 0 && (rc = xf_queue_reserve(queue, LONG_SIZE, &slot, 0)) == 0) {
        rc = xf_queue_commit(queue, &slot, 0);
        if (rc < 0)
            xf_queue_cancel(queue, &slot);
    }
    if (rc == 0 && (rc = xf_queue_get(queue, &message, 0)) == 0)
        xf_message_free(&message);
    for (int i = 0; i < 2 && rc == 0; i++)
        if ((rc = xf_queue_view(queue, &view, 0)) == 0)
            xf_queue_release(queue, &view);
    return rc < 0 ? rc : xf_queue_close(queue);
}

static int run_queue(void)
{
    xf_queue_options options = {.counts_tasks = true};
    xf_queue *queue, *again;
    xf_ref ref;
    int rc = xf_queue_create(&queue, &options);

    if (rc < 0)
        return rc;
    rc = xf_queue_ref(queue, &ref);
    if (rc == 0)
        rc = xf_queue_open(&again, &ref);
    if (rc == 0) {
        rc = use_queue(again);
        xf_queue_free(again);
    }
    xf_queue_free(queue);
    return rc;
}

static int use_pipe(xf_pipe *one, xf_pipe *other)
{
    xf_message message;
    int rc = xf_pipe_send(one, "short", 5, 0);

    if (rc == 0)
        rc = xf_pipe_send(one, long_one, LONG_SIZE, 0);
    for (int i = 0; i < 2 && rc == 0; i++)
        if ((rc = xf_pipe_receive(other, &message, 0)) == 0)
            xf_message_free(&message);
    return rc;
}

static int run_pipe(void)
{
    xf_pipe *one, *other, *third;
    xf_ref ref;
    int rc = xf_pipe_create(&one, &other, NULL);

    if (rc < 0)
        return rc;
    rc = xf_pipe_ref(other, &ref);
    if (rc == 0)
        rc = xf_pipe_open(&third, &ref);
    if (rc == 0) {
        rc = use_pipe(one, third);
        xf_pipe_free(third);
    }
    xf_pipe_free(other);
    xf_pipe_free(one);
    return rc;
}

/* A process that cannot read its start time is named by its id alone, and no call fails. */
static int due(const fault *fault, int rc)
{
    return !fault || (rc == 0 && strcmp(fault->name, "open") == 0) ? 0 : fault->code;
}

static void sweep(int (*run)(void))
{
    counts before;
    const fault *fault;
    int n = 0;

    for (int i = 0; i < 3; i++) { /* also makes all that is made once, such as the thread's detail */
        faults_forget_detail();
        assert_int_equal(run(), 0);
    }
    before = count();
    do {
        int rc;
        faults_forget_detail();
        faults_arm(++n);
        rc = run();
        fault = faults_disarm();
        if (rc != due(fault, rc) || (rc < 0 && !*xf_error_detail()))
            fail_msg("call %d, %s: %s (%s)", n, fault ? fault->name : "none", xf_err_name(rc), xf_error_detail());
        expect_nothing_left(&before, n, fault ? fault->name : "none");
    } while (fault && n < MOST_ROUNDS);
    assert_null(fault);
    print_message("           %d calls\n", n - 1);
    assert_true(n > 5);
}

static void a_queue(void **state)
{
    (void)state;
    sweep(run_queue);
}

static void a_pipe(void **state)
{
    (void)state;
    sweep(run_pipe);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(a_queue), cmocka_unit_test(a_pipe)};

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
