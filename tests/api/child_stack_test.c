/* Goal: the stack of a child can be read while it runs, when it exceeds its time, and when it crashes, whatever
 * handlers the program has; and a crash leaves a dump if the program wants one. */
#include "program.h"
#include "tasks.h"

#include <signal.h>

#define FAULTY __attribute__((noinline, no_sanitize("undefined", "address", "thread")))

static volatile intptr_t nowhere;

FAULTY static int write_nowhere(void)
{
    *(volatile int *)nowhere = 1;
    return (int)nowhere;
}

FAULTY static int compute_until_asked(xf_call *call)
{
    send_number(call, 1);
    while (!xf_stop_requested(call, 0)) {
    }
    return (int)nowhere;
}

FAULTY static int wait_until_asked(xf_call *call)
{
    send_number(call, 1);
    return xf_stop_requested(call, XF_FOREVER) ? (int)nowhere : 1;
}

XF_ENTRY(compute)
{
    return compute_until_asked(call);
}

XF_ENTRY(wait_for_it)
{
    return wait_until_asked(call);
}

XF_ENTRY(crash)
{
    return write_nowhere();
}

/* A program's own functions, called as functions of crossfork's are or were that call a task.  Tests are compiled
 * with the defines that give crossfork's functions their prefix. */
#undef task_boundary
FAULTY static int task_boundary(void)
{
    return write_nowhere() + (int)nowhere;
}

FAULTY static int run_once(void)
{
    return task_boundary() + (int)nowhere;
}

FAULTY static int run_item(void)
{
    return run_once() + (int)nowhere;
}

FAULTY static int run_items(void)
{
    return run_item() + (int)nowhere;
}

FAULTY static int run_task(void)
{
    return run_items() + (int)nowhere;
}

XF_TASK(crash_deep, const int *in, int *out)
{
    *out = *in;
    return run_task() + (int)nowhere;
}

XF_ENTRY(crash_deep_in_bytes)
{
    (void)call;
    return run_task() + (int)nowhere;
}

/* At the end of a function the registers have the caller's values again, but the debug data still says that they are
 * saved on the stack, below its current end. */
#if defined(__x86_64__)
void restore_and_trap(void);
__asm__(".text\n"
        ".globl restore_and_trap\n"
        "restore_and_trap:\n"
        ".cfi_startproc\n"
        "push %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset %rbp, -16\n"
        "pop %rbp\n"
        ".cfi_def_cfa_offset 8\n"
        "ud2\n"
        ".cfi_endproc\n");
#else
#define restore_and_trap __builtin_trap
#endif

/* The frame has no fixed size, so the unwinder finds it by the register that was restored. */
FAULTY static int crash_where_a_function_ends(void)
{
    volatile char room[(size_t)nowhere + 16];

    room[0] = 0;
    restore_and_trap();
    return room[0];
}

XF_ENTRY(crash_below_an_end)
{
    return crash_where_a_function_ends() + (int)nowhere;
}

FAULTY static void compute_for_ever(void)
{
    for (volatile int turns = 0; !nowhere;)
        turns++;
}

FAULTY static void wait_for_ever(void)
{
    hang();
}

/* 0: crashes; 1: computes for ever; 2: waits for ever. */
XF_TASK(misbehave, const int *in, int *out)
{
    *out = 0;
    if (*in == 0)
        return write_nowhere();
    if (*in == 1)
        compute_for_ever();
    wait_for_ever();
    return 0;
}

/* Without libbacktrace no function has a name; then any stack is accepted. */
static bool has_function(const xf_frame *frames, size_t count, const char *function)
{
    if (!XF_TEST_SYMBOLS)
        return count > 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(frames[i].function, function) == 0)
            return true;
    return false;
}

/* ---- While it runs --------------------------------------------------------------------------- */

static void check_running(xf_task *task, const char *function)
{
    xf_process *process = start(task, NULL, 0, NULL);
    xf_stack stack;

    receive_number(process);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(xf_process_stack(process, &stack), 0);
        assert_true(has_function(stack.frames, stack.count, function));
        xf_stack_free(&stack);
        xf_stack_free(&stack);
    }
    xf_process_terminate(process);
    expect_end(process, XF_END_DONE, 0); /* it ran on, and was asked to stop */
}

static void a_computing_childs_stack_can_be_taken(void **state)
{
    (void)state;
    check_running(&compute, "compute_until_asked");
}

static void a_waiting_childs_stack_can_be_taken(void **state)
{
    (void)state;
    check_running(&wait_for_it, "wait_until_asked");
}

static void one_that_has_ended_has_none(void **state)
{
    xf_process *process = start(&crash, NULL, 0, NULL);
    xf_stack stack;

    (void)state;
    join(process);
    assert_int_equal(xf_process_stack(process, &stack), XF_ESTATE);
    xf_process_free(process);
}

static void a_stack_is_whole_where_a_function_ends(void **state)
{
    xf_process *process = start(&crash_below_an_end, NULL, 0, NULL);
    const xf_report *report;

    (void)state;
    join(process);
    report = xf_process_report(process);
    assert_true(has_function(report->stack, report->stack_count, "crash_where_a_function_ends"));
    assert_true(has_function(report->stack, report->stack_count, "crash_below_an_end_entry"));
    xf_process_free(process);
}

static void recording_can_be_switched_off(void **state)
{
    xf_process_options options = {.no_crash_record = true};
    xf_process *process = start(&wait_for_it, NULL, 0, &options);
    xf_stack stack;

    (void)state;
    receive_number(process);
    assert_int_equal(xf_process_stack(process, &stack), XF_ESTATE);
    xf_process_kill(process);
    expect_end(process, XF_END_TERMINATED, 0);
    process = start(&crash, NULL, 0, &options);
    join(process);
    assert_int_equal(xf_process_report(process)->stack_count, 0);
    expect_end(process, XF_END_CRASHED, XF_CRASH_ACCESS);
}

/* ---- In a pool ------------------------------------------------------------------------------- */

static void items_that_end_badly_tell_where_they_were(void **state)
{
    static const char *const functions[] = {"write_nowhere", "compute_for_ever", "wait_for_ever"};
    static const xf_end kinds[] = {XF_END_CRASHED, XF_END_TIMED_OUT, XF_END_TIMED_OUT};
    const int in[] = {0, 1, 2};
    int out[3];
    xf_process_options process = {.grace_ms = 100};
    xf_pool *pool;
    xf_future *future = NULL;

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 2, .process = &process}), 0);
    assert_int_equal(
        xf_pool_map(
            pool,
            &(xf_map){.task = &misbehave, .in = in, .out = out, .count = 3, .timeout_ms = 300, .results = &future}),
        XF_EFAILED);
    for (size_t i = 0; i < 3; i++) {
        const xf_report *report = xf_future_report(future, i);
        assert_string_equal(xf_end_name(report->status.kind), xf_end_name(kinds[i]));
        assert_true(has_function(report->stack, report->stack_count, functions[i]));
    }
    xf_future_free(future);
    xf_pool_free(pool);
}

/* ---- What is printed ----------------------------------------------------------------------------- */

static void check_printed(const xf_report *report, const char *entry)
{
    const char *const own[] = {"write_nowhere", "task_boundary", "run_once", "run_item",
                               "run_items",     "run_task",      entry};
    static char text[20000];
    FILE *file = tmpfile();
    const char *at = text;

    assert_non_null(file);
    assert_int_equal(xf_report_print(report, file), 0);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    assert_true(report->stack_count > sizeof own / sizeof *own + 1); /* crossfork's own frames are in the report */
    if (!XF_TEST_SYMBOLS)
        return;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        char frame[64];
        snprintf(frame, sizeof frame, " %s at ", own[i]);
        at = strstr(at, frame);
        assert_non_null(at);
    }
    assert_null(strstr(text, "xf_main"));
}

/* Goal: whatever a program calls its functions, all of them are printed, and crossfork's own are not. */
static void a_processs_printed_stack_has_all_functions_of_the_program(void **state)
{
    const int in = 1;
    xf_process *process = start(&crash_deep, &in, sizeof in, NULL);

    (void)state;
    join(process);
    check_printed(xf_process_report(process), "crash_deep_run");
    expect_end(process, XF_END_CRASHED, XF_CRASH_ACCESS);
}

/* As XF_TASK, which a pool calls for many items at once, and as XF_ENTRY. */
static void a_pools_printed_stack_has_all_functions_of_the_program(void **state)
{
    static const char *const entries[] = {"crash_deep_run", "crash_deep_in_bytes_entry"};
    xf_task *const tasks[] = {&crash_deep, &crash_deep_in_bytes};
    const int in = 1;
    xf_pool *pool;

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.workers = 1}), 0);
    for (int i = 0; i < 2; i++) {
        xf_future *future;
        assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = tasks[i], .in = &in, .size = sizeof in}), 0);
        assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
        check_printed(xf_future_report(future, 0), entries[i]);
        xf_future_free(future);
    }
    xf_pool_free(pool);
}

/* ---- Handlers of the program's own ----------------------------------------------------------- */

static void look_on(int number)
{
    signal(number, SIG_DFL);
    fputs("the program's own handler\n", stderr);
    fflush(stderr);
}

static void crash_again(int number)
{
    (void)number;
    write_nowhere();
}

/* The program in another role: it starts a child that crashes. */
static int run_role(void)
{
    xf_process *process;
    const xf_report *report;

    if (xf_process_start(&process, &crash, NULL, 0, &(xf_process_options){.stderr_to = XF_STDIO_CAPTURE}) < 0)
        return 1;
    xf_process_join(process, NULL, XF_FOREVER);
    report = xf_process_report(process);
    printf("%s %s\n%s\n%.*s\n", report->kind_name, report->code_name,
           has_function(report->stack, report->stack_count, "write_nowhere") ? "with its stack" : "without a stack",
           (int)report->stderr_tail_size, report->stderr_tail);
    xf_process_free(process);
    return 0;
}

static void check_handler(const char *role, const char *said)
{
    char setting[64];
    program *other;

    snprintf(setting, sizeof setting, "STACK_TEST_HANDLER=%s", role);
    other = program_start(NULL, (const char *const[]){"handler", NULL}, setting);
    assert_string_equal(program_line(other), "crashed access violation");
    assert_string_equal(program_line(other), "with its stack");
    assert_string_equal(program_line(other), said);
    assert_int_equal(program_end(other, NULL), 0);
}

static void a_handler_of_the_programs_own_runs_too(void **state)
{
    (void)state;
    check_handler("look", "the program's own handler");
}

static void a_crash_in_the_programs_handler_ends_with_a_report(void **state)
{
    (void)state;
    check_handler("crash", "");
}

/* Every process of the role installs the handler before xf_main. */
static void install_handler(void)
{
    const char *role = getenv("STACK_TEST_HANDLER");

    if (role)
        signal(SIGSEGV, strcmp(role, "look") == 0 ? look_on : crash_again);
}

/* ---- Dumps ----------------------------------------------------------------------------------- */

/* Goal: a dump is there, and does not hold what a pool may come to use. */
static void a_crash_leaves_a_dump_or_says_why_not(void **state)
{
    enum { POOL_GIB = 4 };
    char directory[512], own[256];
    size_t size = sizeof own;
    uv_fs_t request;
    const xf_report *report;
    xf_process *process;
    xf_pool *pool;

    (void)state;
    assert_int_equal(xf_pool_create(&pool, &(xf_pool_options){.memory_limit = (size_t)POOL_GIB << 30}), 0);
    assert_int_equal(uv_os_tmpdir(own, &size), 0);
    snprintf(directory, sizeof directory, "%s/child_stack_test.XXXXXX", own);
    assert_int_equal(uv_fs_mkdtemp(NULL, &request, directory, NULL), 0);
    strcpy(directory, request.path);
    uv_fs_req_cleanup(&request);
    process = start(&crash, NULL, 0, &(xf_process_options){.dumps = directory});
    join(process);
    report = xf_process_report(process);
    if (support_can_dump()) {
        assert_int_equal(uv_fs_stat(NULL, &request, report->dump, NULL), 0);
        assert_true(request.statbuf.st_size > 1000);
        assert_true(request.statbuf.st_size < (uint64_t)POOL_GIB << 29);
        uv_fs_req_cleanup(&request);
        assert_int_equal(uv_fs_unlink(NULL, &request, report->dump, NULL), 0);
        uv_fs_req_cleanup(&request);
    } else {
        assert_string_equal(report->dump, "");
        assert_non_null(strstr(report->message, "no dump: "));
    }
    expect_end(process, XF_END_CRASHED, XF_CRASH_ACCESS);
    assert_int_equal(uv_fs_rmdir(NULL, &request, directory, NULL), 0); /* nothing else is left */
    uv_fs_req_cleanup(&request);
    xf_pool_free(pool);
}

static void a_directory_for_dumps_has_to_be_there(void **state)
{
    xf_process *process;

    (void)state;
    assert_int_equal(xf_process_start(&process, &crash, NULL, 0, &(xf_process_options){.dumps = "no/such/directory"}),
                     XF_ENOENT);
    assert_non_null(strstr(xf_error_detail(), "no/such/directory"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_computing_childs_stack_can_be_taken),
        cmocka_unit_test(a_waiting_childs_stack_can_be_taken),
        cmocka_unit_test(one_that_has_ended_has_none),
        cmocka_unit_test(a_stack_is_whole_where_a_function_ends),
        cmocka_unit_test(recording_can_be_switched_off),
        cmocka_unit_test(items_that_end_badly_tell_where_they_were),
        cmocka_unit_test(a_processs_printed_stack_has_all_functions_of_the_program),
        cmocka_unit_test(a_pools_printed_stack_has_all_functions_of_the_program),
        cmocka_unit_test(a_handler_of_the_programs_own_runs_too),
        cmocka_unit_test(a_crash_in_the_programs_handler_ends_with_a_report),
        cmocka_unit_test(a_crash_leaves_a_dump_or_says_why_not),
        cmocka_unit_test(a_directory_for_dumps_has_to_be_there),
    };

    install_handler();
    xf_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "handler") == 0)
        return run_role();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
