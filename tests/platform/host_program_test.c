/* Goal: crossfork leaves a program's own children, signal handlers and forks alone (POSIX). */
#include "program.h"
#include "tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

XF_ENTRY(wait_for_stop)
{
    send_number(call, 1);
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

XF_ENTRY(exit_9)
{
    (void)call;
    _exit(9);
    return 0;
}

XF_ENTRY(handlers_are_the_systems)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGUSR1};

    (void)call;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action;
        sigaction(numbers[i], NULL, &action);
        if (action.sa_handler != SIG_DFL)
            return numbers[i];
    }
    return 0;
}

XF_ENTRY(no_signal_is_blocked)
{
    sigset_t blocked;

    (void)call;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    for (int number = 1; number < NSIG; number++)
        if (sigismember(&blocked, number) == 1)
            return number;
    return 0;
}

/* ---- A handler that the program comes with, and which mends what it may ---------------------- */

static char *volatile guarded; /* a page that is read-only until the first write, whose handler makes it writable */

static void mend(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (!guarded || (char *)info->si_addr < guarded || (char *)info->si_addr >= guarded + 4096)
        signal(number, SIG_DFL);
    else
        mprotect(guarded, 4096, PROT_READ | PROT_WRITE);
}

static void come_with_a_handler(void)
{
    struct sigaction action = {.sa_sigaction = mend, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &action, NULL);
}

static void write_to_guarded_page(void)
{
    guarded = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    guarded[0] = 1;
}

XF_ENTRY(fault_and_go_on)
{
    (void)call;
    for (int i = 0; i < 3; i++)
        write_to_guarded_page();
    return 0;
}

static __attribute__((noinline)) void give_up(void)
{
    abort();
}

XF_ENTRY(fault_and_abort)
{
    (void)call;
    write_to_guarded_page();
    give_up();
    return 0;
}

XF_ENTRY(fault_and_wait)
{
    write_to_guarded_page();
    send_number(call, 1);
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

static void a_fault_that_the_program_mends_is_none(void **state)
{
    (void)state;
    expect_end(start(&fault_and_go_on, NULL, 0, NULL), XF_END_DONE, 0);
}

static void the_crash_after_it_is_the_one_that_is_reported(void **state)
{
    xf_process *process = start(&fault_and_abort, NULL, 0, NULL);
    const xf_report *report;
    bool found;

    (void)state;
    join(process);
    report = xf_process_report(process);
    found = !XF_TEST_SYMBOLS && report->stack_count > 0; /* functions have no names without libbacktrace */
    for (size_t i = 0; i < report->stack_count; i++)
        found |= strcmp(report->stack[i].function, "give_up") == 0;
    assert_true(found);
    expect_end(process, XF_END_CRASHED, XF_CRASH_ABORT);
}

static void a_kill_after_it_has_nothing_to_do_with_it(void **state)
{
    xf_process *process = start(&fault_and_wait, NULL, 0, NULL);

    (void)state;
    receive_number(process);
    support_kill(xf_process_pid(process));
    join(process);
    assert_int_equal(xf_process_report(process)->stack_count, 0);
    expect_end(process, XF_END_KILLED, 0);
}

/* ---- Children of the program's own ----------------------------------------------------------- */

static pid_t make_own_child(int code)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(code);
    return pid;
}

static void an_unreaped_child_of_the_programs_own_stays(void **state)
{
    siginfo_t info;
    int status;
    pid_t own = make_own_child(5);
    xf_process *process = start(&wait_for_stop, NULL, 0, NULL);

    (void)state;
    receive_number(process);
    assert_int_equal(waitid(P_PID, (id_t)own, &info, WEXITED | WNOWAIT), 0);
    xf_process_terminate(process);
    expect_end(process, XF_END_DONE, 0);
    assert_int_equal(waitpid(own, &status, 0), own);
    assert_int_equal(WEXITSTATUS(status), 5);
}

static void a_result_is_known_though_the_program_took_the_status(void **state)
{
    xf_process *process = start(&wait_for_stop, NULL, 0, NULL);
    pid_t pid = (pid_t)xf_process_pid(process);

    (void)state;
    receive_number(process);
    xf_process_terminate(process);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue; /* the supervisor may have waited first, and a child of the server is not a child of this process */
    expect_end(process, XF_END_DONE, 0);
}

/* Since Linux 6.15 a pidfd gives the status even after another wait took it; before that, the status is lost. */
static void a_status_that_was_taken_is_true_or_said_to_be_taken(void **state)
{
    xf_status status;
    xf_process *process;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;

    (void)state;
    sigaction(SIGCHLD, &ignore, &before);
    process = start(&exit_9, NULL, 0, NULL);
    status = join(process);
    sigaction(SIGCHLD, &before, NULL);
    if (status.kind == XF_END_UNKNOWN)
        assert_non_null(
            strstr(xf_process_report(process)->message, "another part of the program took its exit status"));
    else
        expect_end(process, XF_END_EXITED, 9);
}

static void on_signal(int number)
{
    (void)number;
}

static void a_child_has_the_systems_handlers(void **state)
{
    struct sigaction action = {.sa_handler = on_signal}, before[3], after;
    static const int numbers[] = {SIGTERM, SIGUSR1, SIGCHLD};

    (void)state;
    for (int i = 0; i < 3; i++)
        sigaction(numbers[i], &action, &before[i]);
    expect_end(start(&handlers_are_the_systems, NULL, 0, NULL), XF_END_DONE, 0);
    for (int i = 0; i < 3; i++) {
        sigaction(numbers[i], &before[i], &after);
        assert_true(after.sa_handler == on_signal); /* the program's own handlers are as before */
    }
}

static void a_child_blocks_no_signal(void **state)
{
    sigset_t all, before, after;

    (void)state;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    expect_end(start(&no_signal_is_blocked, NULL, 0, NULL), XF_END_DONE, 0);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    assert_int_equal(sigismember(&after, SIGTERM), 1);
}

/* gcc's thread sanitizer ends a process that starts a thread after a fork from several. */
#ifdef __SANITIZE_THREAD__
enum { CAN_FORK = 0 };
#else
enum { CAN_FORK = 1 };
#endif

/* The program forks while it has a supervisor; its child starts a process of its own. */
static void a_fork_of_the_programs_own_can_use_crossfork(void **state)
{
    int status;
    pid_t own;
    xf_process *process;

    (void)state;
    if (!CAN_FORK)
        skip();
    process = start(&wait_for_stop, NULL, 0, NULL);
    receive_number(process);
    own = fork();
    if (own == 0) {
        xf_status end = {XF_END_NONE, 0, 0};
        xf_process *other;
        if (xf_process_start(&other, &exit_9, NULL, 0, NULL) < 0)
            _exit(1);
        xf_process_join(other, &end, XF_FOREVER);
        _exit(end.kind == XF_END_EXITED && end.code == 9 ? 0 : 2);
    }
    assert_int_equal(waitpid(own, &status, 0), own);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    xf_process_terminate(process);
    expect_end(process, XF_END_DONE, 0);
}

/* Runs after crossfork's exit handler, which was registered later, has ended the supervisor. */
static void check_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            _exit(10 + fd);
}

/* The program in another role: it has a supervisor for a while, and exits. */
static int have_a_supervisor(void)
{
    xf_status status;
    xf_process *process;

    if (atexit(check_streams) || xf_process_start(&process, &exit_9, NULL, 0, NULL) < 0)
        return 1;
    if (xf_process_join(process, &status, XF_FOREVER) < 0 || status.code != 9)
        return 2;
    xf_process_free(process);
    return 0;
}

static void the_standard_streams_stay_open(void **state)
{
    (void)state;
    assert_int_equal(program_end(program_start(NULL, (const char *const[]){"streams", NULL}, NULL), NULL), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unreaped_child_of_the_programs_own_stays),
        cmocka_unit_test(a_result_is_known_though_the_program_took_the_status),
        cmocka_unit_test(a_status_that_was_taken_is_true_or_said_to_be_taken),
        cmocka_unit_test(a_child_has_the_systems_handlers),
        cmocka_unit_test(a_child_blocks_no_signal),
        cmocka_unit_test(a_fork_of_the_programs_own_can_use_crossfork),
        cmocka_unit_test(a_fault_that_the_program_mends_is_none),
        cmocka_unit_test(the_crash_after_it_is_the_one_that_is_reported),
        cmocka_unit_test(a_kill_after_it_has_nothing_to_do_with_it),
        cmocka_unit_test(the_standard_streams_stay_open),
    };

    come_with_a_handler();
    xf_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "streams") == 0)
        return have_a_supervisor();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
