/* Goal: both twins keep every sentence of src/os/crash.h, and of src/os/child.h about crashes. */
#include "seam.h"

#include <signal.h>
#include <stdlib.h>

/* ---- Roles ----------------------------------------------------------------------------------- */

/* The faults are meant: sanitizers must let them happen. */
#define FAULTY __attribute__((noinline, no_sanitize("undefined", "address")))

static volatile int zero, hundred = 100;

FAULTY static int overflow_stack(volatile char *below)
{
    volatile char block[4096];

    block[0] = below[0];
    return hundred == 0 ? 0 : overflow_stack(block) + block[0];
}

FAULTY static void crash(void *how)
{
    if (strcmp(how, "access") == 0)
        *(volatile int *)(intptr_t)zero = 1;
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "stack") == 0)
        overflow_stack((volatile char[]){0});
#if defined(__x86_64__) || defined(__i386__)
    if (strcmp(how, "divide") == 0)
        hundred /= zero;
    if (strcmp(how, "illegal") == 0)
        __asm__ volatile("ud2");
    if (strcmp(how, "trap") == 0)
        __asm__ volatile("int3");
#endif
}

static void be_crash(const char *argument)
{
    crash((void *)argument);
}

static void be_thread_crash(const char *argument)
{
    in_thread(crash, (void *)argument);
}

static const seam_role roles[] = {
    {"crash", be_crash},
    {"thread_crash", be_thread_crash},
    {0},
};

/* A forked child keeps what its parent does about faults, and cmocka's handlers go on with the next test. */
static void let_faults_end_the_process(void)
{
    signal(SIGSEGV, SIG_DFL);
    signal(SIGFPE, SIG_DFL);
    signal(SIGILL, SIG_DFL);
}

static void crashes_are_distinguished(void **state)
{
    (void)state;
    let_faults_end_the_process();
    expect_end("crash access", OS_CRASHED, XF_CRASH_ACCESS);
    expect_end("crash abort", OS_CRASHED, XF_CRASH_ABORT);
    expect_end("crash stack", OS_CRASHED, XF_CRASH_STACK_OVERFLOW);
#if defined(__x86_64__) || defined(__i386__)
    expect_end("crash divide", OS_CRASHED, XF_CRASH_DIVIDE);
    expect_end("crash illegal", OS_CRASHED, XF_CRASH_ILLEGAL);
    expect_end("crash trap", OS_CRASHED, XF_CRASH_TRAP);
#endif
    expect_end("thread_crash access", OS_CRASHED, XF_CRASH_ACCESS);
    expect_end("thread_crash abort", OS_CRASHED, XF_CRASH_ABORT);
}

/* ---- Records --------------------------------------------------------------------------------- */

static int switch_records_on(void **state)
{
    (void)state;
    records = true;
    return 0;
}

static int switch_records_off(void **state)
{
    (void)state;
    records = false;
    return 0;
}

static const os_record_head *record_of(const kid *kid)
{
    return (const os_record_head *)(const void *)box_of(kid)->record;
}

/* Whether there are frames, the first of which is in a module. */
static void expect_frames(const kid *kid)
{
    os_frame *frames = malloc(OS_FRAMES_MAX * sizeof *frames);

    assert_int_equal(atomic_load(&record_of(kid)->state), OS_RECORD_WHOLE);
    assert_true(record_of(kid)->register_count > 0 && record_of(kid)->register_count <= OS_REGISTERS_MAX);
    assert_non_null(os.register_names[record_of(kid)->register_count - 1]);
    assert_true(os_record_frames((const os_record *)(const void *)record_of(kid), frames, OS_FRAMES_MAX, true) > 1);
    assert_true(*frames[0].module);
    assert_true(*frames[0].build_id);
    assert_true(os_record_frames((const os_record *)(const void *)record_of(kid), frames, OS_FRAMES_MAX, false) > 0);
    assert_true(*frames[0].module);
    assert_string_equal(frames[0].build_id, ""); /* that would have to be read from the file */
    free(frames);
}

static void a_crash_is_recorded(void **state)
{
    kid kid = start_role("crash access");
    os_end end;

    (void)state;
    end = wait_end(&kid);
    assert_int_equal(end.kind, OS_CRASHED);
    assert_int_equal((int32_t)end.system, record_of(&kid)->system);
    assert_int_equal(record_of(&kid)->fault_address, 0);
    expect_frames(&kid);
    close_kid(&kid);
}

static void a_running_child_can_be_recorded(void **state)
{
    static const char *const roles[] = {"spin", "wait"}, *const said[] = {"spinning", "waiting"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        kid kid = start_role(roles[i]);
        expect_line(&kid, said[i]);
        assert_int_equal(os_child_snapshot(kid.child), 0);
        expect_frames(&kid);
        assert_int_equal(os_child_snapshot(kid.child), XF_ESTATE); /* the record is in use */
        kill_and_finish(&kid);
    }
}

static void a_child_that_has_ended_is_not_recorded(void **state)
{
    kid kid = start_role("exit 0");

    (void)state;
    (void)wait_end(&kid);
    assert_int_equal(os_child_snapshot(kid.child), XF_EEND);
    close_kid(&kid);
}

static void without_room_for_it_nothing_is_recorded(void **state)
{
    kid kid = start_role("wait");

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(os_child_snapshot(kid.child), XF_ESTATE);
    assert_int_equal(atomic_load(&record_of(&kid)->state), OS_RECORD_NONE);
    kill_and_finish(&kid);
}

static void without_a_crash_there_is_no_dump(void **state)
{
    char path[64];
    kid kid = start_role("exit 0");

    (void)state;
    (void)wait_end(&kid);
    assert_int_equal(os_child_dump(kid.child, "name", path, sizeof path), XF_EAGAIN);
    close_kid(&kid);
}

static void a_threads_stack_overflow_ends_the_child(void **state)
{
    kid kid;

    (void)state;
    let_faults_end_the_process();
    kid = start_role("thread_crash stack");
    assert_int_equal(finish(&kid).kind, OS_CRASHED);
}

/* ---- The program ----------------------------------------------------------------------------- */

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(crashes_are_distinguished),
    cmocka_unit_test_setup_teardown(a_crash_is_recorded, switch_records_on, switch_records_off),
    cmocka_unit_test_setup_teardown(a_running_child_can_be_recorded, switch_records_on, switch_records_off),
    cmocka_unit_test_setup_teardown(a_child_that_has_ended_is_not_recorded, switch_records_on, switch_records_off),
    cmocka_unit_test(without_room_for_it_nothing_is_recorded),
    cmocka_unit_test(without_a_crash_there_is_no_dump),
    cmocka_unit_test(a_threads_stack_overflow_ends_the_child),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
