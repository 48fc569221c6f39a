/* A test runner that isolates each test: every test runs in a process of its own, and however it ends, it costs its own
 * line and nothing else.  Prints TAP (https://testanything.org); `isolate NAME...` runs some of the tests.
 * The tests below are there to be seen failing, in every way that tests fail. */
#include <crossfork.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIME_LIMIT_MS = 2000 };

/* ---- The tests ------------------------------------------------------------------------------- */

/* Fails the test with the place and the text of what does not hold. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return xf_fail(call, 1, "%s:%d: %s does not hold", "isolate.c", __LINE__, #condition);                     \
    } while (0)

static int shared_by_mistake;

static int addition(XF_MAYBE_UNUSED xf_call *call)
{
    shared_by_mistake = 1;
    CHECK(1 + 1 == 2);
    return 0;
}

/* Finds nothing of what the test before it has left behind. */
static int starts_clean(xf_call *call)
{
    CHECK(shared_by_mistake == 0);
    return 0;
}

static int wrong_sum(xf_call *call)
{
    CHECK(2 + 2 == 5);
    return 0;
}

/* Address 64, not 0: compilers know what a null pointer is, and have plans of their own for it. */
static int bad_pointer(xf_call *call)
{
    volatile size_t nowhere = 64;

    xf_log(call, XF_LOG_INFO, "about to write to address %zu", nowhere);
    *(volatile int *)nowhere = 1;
    return 0;
}

static int assertion(XF_MAYBE_UNUSED xf_call *call)
{
    abort();
}

static int leaves_early(XF_MAYBE_UNUSED xf_call *call)
{
    exit(0); /* a test that does not come to its end has not passed */
}

static int hangs(XF_MAYBE_UNUSED xf_call *call)
{
    volatile unsigned turns = 0;

    while (turns < 10)
        turns = 0;
    return 0;
}

static int still_fine(xf_call *call)
{
    CHECK(strlen("crossfork") == 9);
    return 0;
}

static const struct test {
    const char *name;
    int (*run)(xf_call *call);
} tests[] = {
    {"addition", addition},   {"starts_clean", starts_clean}, {"wrong_sum", wrong_sum}, {"bad_pointer", bad_pointer},
    {"assertion", assertion}, {"leaves_early", leaves_early}, {"hangs", hangs},         {"still_fine", still_fine},
};

enum { TESTS = sizeof tests / sizeof *tests };

/* ---- Running them ---------------------------------------------------------------------------- */

/* A test goes to its process by name: a pointer to its function means nothing there. */
typedef struct test_name {
    char text[64];
} test_name;

typedef struct nothing {
    char none;
} nothing;

XF_TASK(run_test, const test_name *in, XF_MAYBE_UNUSED nothing *out)
{
    for (int i = 0; i < TESTS; i++)
        if (strcmp(tests[i].name, in->text) == 0)
            return tests[i].run(call);
    return xf_fail(call, 1, "there is no such test");
}

/* Prints one line for a test: its end, in which function that was, and what is said about it. */
static void print_end(int number, const char *name, const xf_report *report)
{
    const xf_frame *frame = NULL;

    if (!report) {
        printf("ok %d - %s\n", number, name);
        return;
    }
    printf("not ok %d - %s # %s", number, name, report->kind_name);
    if (*report->code_name)
        printf(": %s", report->code_name);
    if (report->status.kind == XF_END_FAILED)
        printf(": %s", report->message);
    for (size_t i = 0; i < report->stack_count && !frame; i++)
        for (int test = 0; test < TESTS; test++)
            if (strcmp(report->stack[i].function, tests[test].name) == 0)
                frame = &report->stack[i];
    if (frame)
        printf(", in %s (line %d)", frame->function, frame->line);
    printf("\n");
    for (size_t i = 0; i < report->log_count; i++)
        printf("# %s\n", report->log[i].text);
}

/* Runs all of them, as many at a time as there are cores.  Returns how many have failed, or an error. */
static int run_tests(xf_pool *pool, const test_name *names, int count)
{
    const xf_map map = {.task = &run_test, .in = names, .count = (size_t)count, .timeout_ms = TIME_LIMIT_MS};
    xf_future *future;
    int failures, rc = xf_pool_map_async(&future, pool, &map);

    if (rc < 0)
        return rc;
    rc = xf_future_wait(future, XF_FOREVER);
    printf("1..%d\n", count);
    for (int i = 0; i < count; i++)
        print_end(i + 1, names[i].text, xf_future_report(future, (size_t)i));
    failures = (int)xf_future_failures(future);
    xf_future_free(future);
    return rc == 0 || rc == XF_EFAILED ? failures : rc;
}

int main(int argc, char **argv)
{
    const xf_process_options process = {.grace_ms = -1};
    const xf_pool_options options = {.tasks_per_worker = 1, .process = &process}; /* a new process for each test */
    test_name *names;
    xf_pool *pool = NULL;
    int count, rc;

    xf_main(argc, argv);
    count = argc > 1 ? argc - 1 : TESTS;
    names = calloc((size_t)count, sizeof *names);
    if (!names)
        return 2;
    for (int i = 0; i < count; i++)
        snprintf(names[i].text, sizeof names[i].text, "%s", argc > 1 ? argv[i + 1] : tests[i].name);
    rc = xf_pool_create(&pool, &options);
    if (rc == 0)
        rc = run_tests(pool, names, count);
    if (rc < 0)
        fprintf(stderr, "isolate: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    xf_pool_free(pool);
    free(names);
    return rc < 0 ? 2 : rc > 0;
}
