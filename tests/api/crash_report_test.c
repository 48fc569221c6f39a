/* Goal: the report of a child that dies says how it died, and names the function and the line of this file.
 *
 * Usage: crash_report_test [DEATH], where * and ? stand for any characters.
 * With XF_DEATHS=FILE in the environment each death writes a row of a table and its report to that file, from which
 * ci/deaths makes docs/deaths.md. */
#include "tasks.h"

#undef NDEBUG
#include <assert.h>

/* The faults below are meant: the undefined behaviour sanitizer must let them happen. */
#define FAULTY __attribute__((noinline, no_sanitize("undefined", "address", "thread")))

/* Logs the line where the task will die, so many lines below this one. */
#define DIES_BELOW(lines) xf_log(call, XF_LOG_INFO, "line %d", __LINE__ + (lines))
#define DIES_IN_NEXT_LINE() DIES_BELOW(1)

static volatile int zero;
static volatile intptr_t nowhere;
static const char constant[4096] = "text";

/* ---- Ways to die ----------------------------------------------------------------------------- */

FAULTY static int return_a_code(xf_call *call)
{
    (void)call;
    return 7;
}

FAULTY static int fail_with_text(xf_call *call)
{
    return xf_fail(call, 8, "width %d is negative", -1);
}

FAULTY static int exit_with_0(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    exit(zero);
}

FAULTY static int exit_with_3(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    exit(3 + zero);
}

FAULTY static int exit_at_once(xf_call *call)
{
    (void)call;
    _Exit(127 + zero);
}

FAULTY static int call_abort(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    abort();
}

FAULTY static int read_nowhere(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    return *(volatile int *)nowhere;
}

FAULTY static int write_nowhere(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    *(volatile int *)nowhere = 1;
    return 0;
}

FAULTY static int write_to_a_constant(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    ((volatile char *)(uintptr_t)constant)[zero] = 'T';
    return 0;
}

FAULTY static int call_nowhere(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    int code = ((int (*)(void))nowhere)();
    return code + 1;
}

FAULTY static int run_data(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    int code = ((int (*)(void))(uintptr_t)&nowhere)();
    return code + 1;
}

FAULTY static int divide_by_zero(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    return 100 / zero;
}

FAULTY static int overflow_the_stack(xf_call *call)
{
    volatile char frame[1024];

    frame[0] = (char)zero;
    return zero ? 0 : overflow_the_stack(call) + frame[0];
}

FAULTY static int trap(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    __builtin_trap();
}

FAULTY static int fail_an_assertion(xf_call *call)
{
    DIES_IN_NEXT_LINE();
    assert(zero);
    return 0;
}

/* The stack is so deep that a wrong walk does not get back here. */
FAULTY static int crash_deep_down(xf_call *call)
{
    static int depth;
    int code;

    if (depth++ < 20)
        code = crash_deep_down(call) + 1;
    else
        code = write_nowhere(call) + 1;
    return code + zero;
}

FAULTY static void crash_in_a_callback_of_qsort(void *call)
{
    DIES_IN_NEXT_LINE();
    *(volatile int *)nowhere = 1;
}

static xf_call *sorting;

FAULTY static int compare(const void *one, const void *other)
{
    (void)one, (void)other;
    crash_in_a_callback_of_qsort(sorting);
    return zero;
}

FAULTY static int crash_below_the_c_library(xf_call *call)
{
    int numbers[2] = {2, 1};

    sorting = call;
    qsort(numbers, 2, sizeof *numbers, compare);
    return numbers[0] + zero;
}

FAULTY static void crash_on_a_thread(void *arg)
{
    xf_call *call = arg;
    DIES_IN_NEXT_LINE();
    *(volatile int *)nowhere = 1;
}

FAULTY static int crash_on_another_thread(xf_call *call)
{
    uv_thread_t thread;

    uv_thread_create(&thread, crash_on_a_thread, call);
    uv_thread_join(&thread);
    return zero;
}

/* The return address is overwritten, and the stack pointer is wrong. */
FAULTY static int smash_the_stack(xf_call *call)
{
    volatile uintptr_t small[2];

    (void)call;
    for (int i = 0; i < 64; i++)
        small[i + zero] = (uintptr_t)0x5A5A5A5A5A5A5A5A;
    return (int)small[zero];
}

FAULTY static int kill_itself(xf_call *call)
{
    (void)call;
    support_kill_self();
}

FAULTY static int wait_for_the_parent(xf_call *call)
{
    DIES_BELOW(2);
    xf_send(call, NULL, 0);
    hang();
    return zero;
}

FAULTY static int compute_for_ever(xf_call *call)
{
    xf_send(call, NULL, 0);
    for (volatile int turns = 0; !zero;)
        turns++;
    return zero;
}

static void kill_it(xf_process *process)
{
    xf_process_kill(process);
}

static void kill_it_from_outside(xf_process *process)
{
    support_kill(xf_process_pid(process));
}

/* The task never calls xf_stop_requested. */
static void ask_it_to_stop(xf_process *process)
{
    xf_process_terminate(process);
}

/* ---- What becomes of it ---------------------------------------------------------------------- */

typedef struct death {
    const char *name;
    int (*die)(xf_call *call);
    void (*kill)(
        xf_process
            *process); /* called in the parent once the task has reported that it runs; NULL: the task dies by itself */
    xf_end kind;
    int code;
    const char *function; /* the innermost function of this file on the stack; NULL: no stack */
    bool any_line;
    bool may_have_none; /* some systems record no stack */
} death;

static const death deaths[] = {
    {"a value is returned", return_a_code, NULL, XF_END_FAILED, 7, NULL, false, false},
    {"xf_fail", fail_with_text, NULL, XF_END_FAILED, 8, NULL, false, false},
    {"exit(0)", exit_with_0, NULL, XF_END_EXITED, 0, "exit_with_0", false, false},
    {"exit(3)", exit_with_3, NULL, XF_END_EXITED, 3, "exit_with_3", false, false},
    {"_Exit(127)", exit_at_once, NULL, XF_END_EXITED, 127, "exit_at_once", true, true},
    {"abort()", call_abort, NULL, XF_END_CRASHED, XF_CRASH_ABORT, "call_abort", false, false},
    {"a failing assert()", fail_an_assertion, NULL, XF_END_CRASHED, XF_CRASH_ABORT, "fail_an_assertion", false, false},
    {"a null pointer is read", read_nowhere, NULL, XF_END_CRASHED, XF_CRASH_ACCESS, "read_nowhere", false, false},
    {"a null pointer is written to", write_nowhere, NULL, XF_END_CRASHED, XF_CRASH_ACCESS, "write_nowhere", false,
     false},
    {"a constant is written to", write_to_a_constant, NULL, XF_END_CRASHED, XF_CRASH_ACCESS, "write_to_a_constant",
     false, false},
    {"a null pointer is called", call_nowhere, NULL, XF_END_CRASHED, XF_CRASH_ACCESS, "call_nowhere", false, false},
    {"data is called", run_data, NULL, XF_END_CRASHED, XF_CRASH_ACCESS, "run_data", false, false},
    {"division by zero", divide_by_zero, NULL, XF_END_CRASHED, XF_CRASH_DIVIDE, "divide_by_zero", false, false},
    {"stack overflow", overflow_the_stack, NULL, XF_END_CRASHED, XF_CRASH_STACK_OVERFLOW, "overflow_the_stack", true,
     false},
    {"an illegal instruction", trap, NULL, XF_END_CRASHED, XF_CRASH_ILLEGAL, "trap", false, false},
    {"a crash 20 calls deep", crash_deep_down, NULL, XF_END_CRASHED, XF_CRASH_ACCESS, "write_nowhere", false, false},
    {"a crash in a callback of qsort", crash_below_the_c_library, NULL, XF_END_CRASHED, XF_CRASH_ACCESS,
     "crash_in_a_callback_of_qsort", false, false},
    {"a crash on another thread", crash_on_another_thread, NULL, XF_END_CRASHED, XF_CRASH_ACCESS, "crash_on_a_thread",
     false, false},
    {"a smashed stack", smash_the_stack, NULL, XF_END_CRASHED, XF_CRASH_ACCESS, "smash_the_stack", true, false},
    {"it kills itself", kill_itself, NULL, XF_END_KILLED, 0, NULL, false, false},
    {"killed from outside", wait_for_the_parent, kill_it_from_outside, XF_END_KILLED, 0, NULL, false, false},
    {"xf_process_kill", wait_for_the_parent, kill_it, XF_END_TERMINATED, 0, NULL, false, false},
    {"it waits, and does not stop when asked", wait_for_the_parent, ask_it_to_stop, XF_END_TERMINATED, 0,
     "wait_for_the_parent", false, false},
    {"it computes, and does not stop when asked", compute_for_ever, ask_it_to_stop, XF_END_TERMINATED, 0,
     "compute_for_ever", true, false},
};

enum { DEATHS = sizeof deaths / sizeof *deaths };

XF_TASK(die, const int *in, int *out)
{
    *out = 0;
    return deaths[*in].die(call);
}

static void start_and_end(xf_process **process, const death *death)
{
    const int number = (int)(death - deaths);
    xf_message message;

    *process = start(&die, &number, sizeof number,
                     &(xf_process_options){.grace_ms = 200, .stderr_to = XF_STDIO_CAPTURE, .name = death->name});
    if (death->kill) {
        assert_int_equal(xf_process_receive(*process, &message, XF_FOREVER), 0);
        xf_message_free(&message);
        death->kill(*process);
    }
    join(*process);
}

static bool is_ours(const xf_frame *frame)
{
    size_t length = strlen(frame->file), own = strlen("crash_report_test.c");

    return length >= own && strcmp(frame->file + length - own, "crash_report_test.c") == 0;
}

/* Returns the innermost frame of this file; NULL if there is none. */
static const xf_frame *find_own_frame(const xf_report *report)
{
    for (size_t i = 0; i < report->stack_count; i++)
        if (is_ours(&report->stack[i]))
            return &report->stack[i];
    return NULL;
}

/* Returns the line that the task has logged. */
static int logged_line(const xf_report *report)
{
    int line = 0;

    for (size_t i = 0; i < report->log_count; i++)
        sscanf(report->log[i].text, "line %d", &line);
    return line;
}

static void leave_row(const xf_report *report, const xf_frame *frame)
{
    const char *path = getenv("XF_DEATHS");
    FILE *file = path ? fopen(path, "ab") : NULL;

    if (!file)
        return;
    fprintf(file, "row\t%s\t%s\t%s\t%d\t%s\n", report->name, report->kind_name, report->code_name, report->status.code,
            frame ? frame->function : "");
    xf_report_print(report, file);
    fclose(file);
}

static bool is_as_expected(const death *death, const xf_report *report, const xf_frame *frame)
{
    if (report->status.kind != death->kind || report->status.code != death->code)
        return false;
    if (!death->function || (death->may_have_none && report->stack_count == 0))
        return report->stack_count == 0;
    if (!XF_TEST_SYMBOLS)
        return report->stack_count > 0;
    if ((death->kind == XF_END_EXITED || (death->kind == XF_END_CRASHED && death->code == XF_CRASH_ABORT)) &&
        frame != report->stack)
        return false; /* the frames of exit and abort themselves are left out */
    return frame && strcmp(frame->function, death->function) == 0 &&
           (death->any_line || frame->line == logged_line(report));
}

static void the_report_tells(void **state)
{
    const death *death = *state;
    const xf_report *report;
    const xf_frame *frame;
    xf_process *process;

    start_and_end(&process, death);
    report = xf_process_report(process);
    frame = find_own_frame(report);
    leave_row(report, frame);
    if (!is_as_expected(death, report, frame)) {
        xf_report_print(report, stderr);
        fail_msg("expected: %s, code %d, in %s", xf_end_name(death->kind), death->code,
                 death->function ? death->function : "no function");
    }
    xf_process_free(process);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[DEATHS];

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    if (!XF_TEST_SYMBOLS)
        print_message("no libbacktrace: that there is a stack is looked at, and not what is on it\n");
    for (int i = 0; i < DEATHS; i++)
        tests[i] = (struct CMUnitTest){deaths[i].name, the_report_tells, NULL, NULL, (void *)(uintptr_t)&deaths[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
