/* Goal: the stack of an abort begins with the program's function, in whichever way the C library came to abort;
 * that of a fault in the C library begins there. */
#include "tasks.h"

#include <signal.h>

#define FAULTY __attribute__((noinline))

void __stack_chk_fail(void);
void *__memcpy_chk(void *to, const void *from, size_t size, size_t room);

static volatile size_t nothing;
static char room[16];
static void *(*volatile copy)(void *to, const void *from, size_t size) = memcpy;

FAULTY static int call_abort(void)
{
    abort();
}

FAULTY static int raise_abort(void)
{
    return raise(SIGABRT) + (int)nothing;
}

FAULTY static int free_a_part(void)
{
    char *volatile whole = malloc(64);

    free(whole + 16 + nothing);
    return (int)nothing;
}

FAULTY static int smash_a_canary(void)
{
    __stack_chk_fail();
    return (int)nothing;
}

FAULTY static int copy_too_much(void)
{
    return __memcpy_chk(room, "0123456789abcdef", 17 + nothing, sizeof room) == NULL;
}

FAULTY static int copy_from_nowhere(void)
{
    return copy(room, (char *)nothing, sizeof room + nothing) == NULL;
}

typedef struct abort_way {
    const char *function;
    int (*die)(void);
} abort_way;

static const abort_way ways[] = {
    {"call_abort", call_abort},         {"raise_abort", raise_abort},     {"free_a_part", free_a_part},
    {"smash_a_canary", smash_a_canary}, {"copy_too_much", copy_too_much},
};

enum { WAYS = sizeof ways / sizeof *ways };

XF_TASK(die, const int *in, int *out)
{
    (void)call;
    *out = 0;
    return *in < WAYS ? ways[*in].die() : copy_from_nowhere();
}

static void check_first(const xf_report *report, const char *function)
{
    assert_int_equal(report->status.kind, XF_END_CRASHED);
    assert_int_equal(report->status.code, XF_CRASH_ABORT);
    assert_true(report->stack_count > 0);
    assert_null(strstr(report->stack->module, "libc.so")); /* also when no function has a name */
    if (XF_TEST_SYMBOLS)
        assert_string_equal(report->stack->function, function);
}

static void an_abort_of_a_process_begins_with_its_caller(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        xf_process *process = start(&die, &i, sizeof i, &(xf_process_options){.stderr_to = XF_STDIO_CAPTURE});
        join(process);
        check_first(xf_process_report(process), ways[i].function);
        xf_process_free(process);
    }
}

static void an_abort_of_an_item_begins_with_its_caller(void **state)
{
    xf_process_options process = {.stderr_to = XF_STDIO_CAPTURE};
    int in[WAYS], out[WAYS];
    xf_future *future = NULL;
    xf_pool *pool;

    (void)state;
    for (int i = 0; i < WAYS; i++)
        in[i] = i;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 2, .process = &process}), 0);
    assert_int_equal(
        xf_pool_map(pool, &(xf_map){.task = &die, .in = in, .out = out, .count = WAYS, .chunk = 1, .results = &future}),
        XF_EFAILED);
    for (int i = 0; i < WAYS; i++)
        check_first(xf_future_report(future, (size_t)i), ways[i].function);
    xf_future_free(future);
    xf_pool_free(pool);
}

static void a_fault_in_the_c_library_begins_there(void **state)
{
    xf_process *process = start(&die, &(int){WAYS}, sizeof(int), NULL);
    const xf_report *report;

    (void)state;
    join(process);
    report = xf_process_report(process);
    assert_int_equal(report->status.code, XF_CRASH_ACCESS);
    assert_true(report->stack_count > 0);
    assert_string_not_equal(report->stack->function, "copy_from_nowhere");
    xf_process_free(process);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_abort_of_a_process_begins_with_its_caller),
        cmocka_unit_test(an_abort_of_an_item_begins_with_its_caller),
        cmocka_unit_test(a_fault_in_the_c_library_begins_there),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
