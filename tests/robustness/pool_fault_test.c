/* Goal: if any call fails in the program while a pool is created, used and freed, then the caller gets an error, every
 * item ends, nothing hangs, and nothing is left behind.
 *
 * The test is a sweep: the first call fails, then the second, and so on until a round passes with no failure. */
#include "base/error.h"
#include "faults.h"
#include "leak_check.h"
#include "tasks.h"

enum { MOST_ROUNDS = 500, WAIT_MS = 60000, COUNT = 50, LARGE = 100000 };

static bool is_initialized;

XF_TASK_BARE(initialize)
{
    is_initialized = true;
    return 0;
}

XF_TASK(square, const int *in, int *out)
{
    *out = *in * *in;
    if (!is_initialized)
        return xf_fail(call, 8, "without the initializer");
    if (*in == 20)
        return xf_fail(call, 7, "twenty");
    if (*in == 30)
        support_kill_self();
    return 0;
}

XF_ENTRY(echo)
{
    size_t size;
    const void *in = xf_call_input(call, &size);
    void *out = xf_call_output(call, size);

    if (!out)
        return XF_TASK_NO_MEMORY;
    memcpy(out, in, size);
    return 0;
}

/* The outcome of a round. */
typedef struct outcome {
    int rc; /* of the first call that failed in an unexpected way; 0: none did */
    char detail[512];
    const char *wrong; /* says what is wrong although no call failed */
    bool complete;     /* everything is done */
} outcome;

static bool is_good(outcome *outcome, int rc)
{
    if (rc < 0 && outcome->rc == 0) {
        outcome->rc = rc;
        snprintf(outcome->detail, sizeof outcome->detail, "%s", xf_error_detail());
    }
    return rc >= 0;
}

/* Returns whether an item may end so when a call failed.  None is done that is not. */
static bool is_excused(const outcome *outcome, xf_end kind)
{
    return kind == XF_END_START_FAILED || kind == XF_END_PROTOCOL_ERROR ||
           (outcome->rc == XF_ENOMEM && kind == XF_END_UNKNOWN);
}

static void check_items(outcome *outcome, xf_future *future)
{
    size_t failures = 0;

    for (int i = 0; i < COUNT; i++) {
        xf_end kind = xf_future_status(future, (size_t)i).kind;
        const int *out = xf_future_result(future, (size_t)i, NULL);
        xf_end due = i == 20 ? XF_END_FAILED : i == 30 ? XF_END_KILLED : XF_END_DONE;
        if (kind != due && !is_excused(outcome, kind))
            outcome->wrong = xf_end_name(kind);
        if (kind == XF_END_DONE ? !out || *out != i * i : out != NULL)
            outcome->wrong = "an output";
        if (kind != XF_END_DONE && xf_future_failure(future, failures++) != (size_t)i)
            outcome->wrong = "a failure";
        outcome->complete &= kind == due;
    }
    if (xf_future_failures(future) != failures)
        outcome->wrong = "the number of failures";
}

static void use_map(outcome *outcome, xf_pool *pool)
{
    int in[COUNT], out[COUNT], rc;
    xf_future *future;

    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    if (!is_good(outcome,
                 xf_pool_map_async(&future, pool, &(xf_map){.task = &square, .in = in, .out = out, .count = COUNT})))
        return;
    rc = xf_future_wait(future, WAIT_MS);
    if (rc == XF_ETIMEDOUT)
        outcome->wrong = "a map hangs";
    else if (rc != XF_EFAILED)
        is_good(outcome, rc);
    if (rc != XF_ETIMEDOUT)
        check_items(outcome, future);
    xf_future_free(future);
}

static void use_large(outcome *outcome, xf_pool *pool)
{
    static char text[LARGE] = "large";
    xf_future *future;
    const char *out;
    int rc;

    if (!is_good(outcome, xf_pool_submit(&future, pool, &(xf_map){.task = &echo, .in = text, .size = sizeof text})))
        return;
    rc = xf_future_wait(future, WAIT_MS);
    if (rc == XF_ETIMEDOUT)
        outcome->wrong = "a task hangs";
    out = xf_future_result(future, 0, NULL);
    if (rc == 0 && (!out || strcmp(out, text) != 0))
        outcome->wrong = "a large output";
    outcome->complete &= rc == 0;
    if (rc == XF_EFAILED && !is_excused(outcome, xf_future_status(future, 0).kind))
        outcome->wrong = "a task's end";
    xf_future_free(future);
}

static void use_memory(outcome *outcome, xf_pool *pool)
{
    void *memory = xf_pool_buffer_alloc(pool, LARGE);

    is_good(outcome, memory ? 0 : XF_ENOMEM);
    xf_pool_buffer_free(pool, memory);
}

static outcome run(void)
{
    xf_process_options process = {.stderr_to = XF_STDIO_NULL};
    xf_pool_options options = {.workers = 1, .memory_limit = 64 << 20, .process = &process, .initializer = &initialize};
    outcome outcome = {.complete = true};
    xf_pool *pool;

    faults_forget_detail();
    if (is_good(&outcome, xf_pool_create(&pool, &options))) {
        use_map(&outcome, pool);
        use_large(&outcome, pool);
        use_memory(&outcome, pool);
        xf_pool_close(pool);
        if (xf_pool_join(pool, WAIT_MS) < 0)
            outcome.wrong = "the pool hangs";
        xf_pool_free(pool);
    }
    if (xf_cleanup() != 0)
        outcome.wrong = "something is left";
    return outcome;
}

static void every_call_may_fail(void **state)
{
    const fault *fault;
    counts before;
    int n = 0;

    (void)state;
    for (int i = 0; i < 3; i++)
        run();
    before = count();
    do {
        outcome outcome;
        faults_arm(++n);
        outcome = run();
        fault = faults_disarm();
        if (outcome.wrong || (outcome.rc < 0 && !*outcome.detail) || (!fault && (outcome.rc < 0 || !outcome.complete)))
            fail_msg("call %d, %s: %s (%s), wrong: %s", n, fault ? fault->name : "none", xf_err_name(outcome.rc),
                     outcome.detail, outcome.wrong ? outcome.wrong : "nothing");
        expect_nothing_left(&before, n, fault ? fault->name : "none");
    } while (fault && n < MOST_ROUNDS);
    print_message("           %d calls\n", n - 1);
    assert_in_range(n, 20, MOST_ROUNDS - 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(every_call_may_fail)};

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
