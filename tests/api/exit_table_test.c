/* Goal: the same end has the same status on every system: one table of (kind, code). */
#include "tasks.h"

#include <limits.h>

/* The faults below are meant: the undefined behaviour sanitizer must let them happen. */
#define FAULTY __attribute__((noinline, no_sanitize("undefined", "address")))

static volatile int zero;

FAULTY static void write_to_null(void)
{
    *(volatile int *)(intptr_t)zero = 1;
}

FAULTY static int divide(void)
{
    return 100 / zero;
}

FAULTY static int overflow_stack(int depth)
{
    volatile char frame[1024];

    frame[0] = (char)depth;
    return zero ? 0 : overflow_stack(depth + 1) + frame[0];
}

enum fault { FAULT_ABORT, FAULT_ACCESS, FAULT_DIVIDE, FAULT_STACK, FAULT_ILLEGAL, FAULT_KILL };

XF_ENTRY(do_fault)
{
    xf_log(call, XF_LOG_INFO, "about to end");
    switch (*(const enum fault *)xf_call_input(call, NULL)) {
    case FAULT_ABORT:
        abort();
    case FAULT_ACCESS:
        write_to_null();
        break;
    case FAULT_DIVIDE:
        return divide();
    case FAULT_STACK:
        return overflow_stack(0);
    case FAULT_ILLEGAL:
        __builtin_trap();
    case FAULT_KILL:
        support_kill_self();
    }
    return 0;
}

XF_ENTRY(do_exit)
{
    exit(*(const int *)xf_call_input(call, NULL));
    return 0;
}

XF_ENTRY(do_exit_at_once)
{
    _Exit(*(const int *)xf_call_input(call, NULL));
    return 0;
}

XF_ENTRY(do_return)
{
    return *(const int *)xf_call_input(call, NULL);
}

XF_ENTRY(wait_for_kill)
{
    send_number(call, 1);
    for (;;)
        xf_stop_requested(call, XF_FOREVER);
    return 0;
}

static void check_fault(enum fault fault, xf_end kind, int code)
{
    const xf_report *report;
    xf_process *process = start(&do_fault, &fault, sizeof fault, NULL);

    join(process);
    report = xf_process_report(process);
    assert_int_equal(report->log_count, 1);
    assert_int_equal(report->phase, XF_PHASE_RUNNING);
    expect_end(process, kind, code);
}

static void abort_is_a_crash(void **state)
{
    (void)state;
    check_fault(FAULT_ABORT, XF_END_CRASHED, XF_CRASH_ABORT);
}

static void access_violation_is_a_crash(void **state)
{
    (void)state;
    check_fault(FAULT_ACCESS, XF_END_CRASHED, XF_CRASH_ACCESS);
}

static void division_by_zero_is_a_crash(void **state)
{
    (void)state;
    check_fault(FAULT_DIVIDE, XF_END_CRASHED, XF_CRASH_DIVIDE);
}

static void stack_overflow_is_distinguished_from_other_faults(void **state)
{
    (void)state;
    check_fault(FAULT_STACK, XF_END_CRASHED, XF_CRASH_STACK_OVERFLOW);
}

static void illegal_instruction_is_a_crash(void **state)
{
    (void)state;
    check_fault(FAULT_ILLEGAL, XF_END_CRASHED, XF_CRASH_ILLEGAL);
}

static void a_kill_from_inside_is_somebody_elses(void **state)
{
    (void)state;
    check_fault(FAULT_KILL, XF_END_KILLED, 0);
}

static const int codes[] = {0, 1, 3, 127, 255};

static void exit_in_a_task_is_no_success(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        expect_end(start(&do_exit, &codes[i], sizeof *codes, NULL), XF_END_EXITED, codes[i]);
}

static void exit_without_handlers_is_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        expect_end(start(&do_exit_at_once, &codes[i], sizeof *codes, NULL), XF_END_EXITED, codes[i]);
}

static void a_returned_value_is_the_tasks_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        expect_end(start(&do_return, &codes[i], sizeof *codes, NULL), codes[i] ? XF_END_FAILED : XF_END_DONE, codes[i]);
}

/* Goal: a task's own codes have no name, wherever it ran, so that they never look like the library's. */
static void a_tasks_own_code_has_no_name_in_processes_and_pools(void **state)
{
    static const int codes[] = {
#define CODE(name, value, text) value,
        XF_ERRORS(CODE)
#undef CODE
                XF_EEXIST -
            1,
        -1000,
        INT_MIN,
        1,
    };
    enum { COUNT = sizeof codes / sizeof *codes };
    xf_bytes in[COUNT];
    xf_pool *pool;
    xf_future *future;

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        in[i] = (xf_bytes){&codes[i], sizeof codes[i]};
    for (int workers = XF_POOL_INLINE; workers <= 1; workers += 1 - XF_POOL_INLINE) {
        assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = workers}), 0);
        assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &do_return, .bytes = in, .count = COUNT}),
                         0);
        assert_int_equal(xf_future_wait(future, XF_FOREVER), XF_EFAILED);
        for (size_t i = 0; i < COUNT; i++)
            assert_string_equal(xf_future_report(future, i)->code_name, "");
        xf_future_free(future);
        xf_pool_free(pool);
    }
    for (size_t i = 0; i < COUNT; i++) {
        xf_process *process = start(&do_return, &codes[i], sizeof codes[i], NULL);
        join(process);
        assert_string_equal(xf_process_report(process)->code_name, "");
        expect_end(process, XF_END_FAILED, codes[i]);
    }
}

static int encode_a_byte(xf_writer *writer, const void *object)
{
    (void)object;
    return xf_writer_put(writer, "x", 1);
}

static int refuse_to_decode(const void *data, size_t size, void **object)
{
    (void)data, (void)size, (void)object;
    return -5;
}

static const xf_codec refusing = {encode_a_byte, refuse_to_decode, NULL};

XF_ENTRY_CODEC(never_decoded, &refusing, NULL)
{
    (void)call;
    return 0;
}

/* Declares an output and gives none. */
static int give_nothing(xf_call *call)
{
    (void)call;
    return 0;
}

static xf_task without_output = {
    .name = "without_output", .entry = give_nothing, .input_size = XF_ANY_SIZE, .output_size = 8};

XF_BEFORE_MAIN(register_without_output)
{
    (void)xf_task_register(&without_output);
}

static void what_the_library_has_found_has_the_name_of_its_code(void **state)
{
    static const struct {
        xf_task *task;
        int code;
        const char *name;
    } found[] = {{&without_output, XF_ESIZE, "XF_ESIZE"}, {&never_decoded, XF_ECODEC, "XF_ECODEC"}};
    int nothing = 0;

    (void)state;
    for (int i = 0; i < 2; i++) {
        xf_map map = {.task = found[i].task, .in = &nothing, .size = sizeof nothing};
        xf_process *process = start(found[i].task, &nothing, sizeof nothing, NULL);
        xf_pool *pool;
        xf_future *future;
        join(process);
        assert_string_equal(xf_process_report(process)->code_name, found[i].name);
        expect_end(process, XF_END_FAILED, found[i].code);
        assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 1}), 0);
        assert_int_equal(xf_pool_submit(&future, pool, &map), 0);
        assert_int_equal(xf_future_wait(future, XF_FOREVER), XF_EFAILED);
        assert_string_equal(xf_future_report(future, 0)->code_name, found[i].name);
        xf_future_free(future);
        xf_pool_free(pool);
    }
}

static void killed_by_us_is_terminated(void **state)
{
    xf_process *process = start(&wait_for_kill, NULL, 0, NULL);

    (void)state;
    receive_number(process);
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
}

static void killed_by_another_is_killed(void **state)
{
    xf_process *process = start(&wait_for_kill, NULL, 0, NULL);

    (void)state;
    receive_number(process);
    support_kill(xf_process_pid(process));
    expect_end(process, XF_END_KILLED, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(abort_is_a_crash),
        cmocka_unit_test(access_violation_is_a_crash),
        cmocka_unit_test(division_by_zero_is_a_crash),
        cmocka_unit_test(stack_overflow_is_distinguished_from_other_faults),
        cmocka_unit_test(illegal_instruction_is_a_crash),
        cmocka_unit_test(a_kill_from_inside_is_somebody_elses),
        cmocka_unit_test(exit_in_a_task_is_no_success),
        cmocka_unit_test(exit_without_handlers_is_the_same),
        cmocka_unit_test(a_returned_value_is_the_tasks_own),
        cmocka_unit_test(a_tasks_own_code_has_no_name_in_processes_and_pools),
        cmocka_unit_test(what_the_library_has_found_has_the_name_of_its_code),
        cmocka_unit_test(killed_by_us_is_terminated),
        cmocka_unit_test(killed_by_another_is_killed),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
