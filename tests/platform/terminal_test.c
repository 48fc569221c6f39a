/* Goal: a child, which is in the background of the program's terminal, never stops for it (POSIX). */
#include "tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* ---- What tasks do with the terminal --------------------------------------------------------- */

XF_ENTRY(print)
{
    (void)call;
    printf("printed\n");
    return fflush(stdout) == 0 ? 0 : errno;
}

/* Returns 0 if a read from the descriptor fails as it does in the background. */
static int read_in_vain(int fd)
{
    char byte;

    if (fd < 0)
        return 1;
    return read(fd, &byte, 1) < 0 && errno == EIO ? 0 : 2;
}

XF_ENTRY(read_input)
{
    (void)call;
    return read_in_vain(STDIN_FILENO);
}

XF_ENTRY(read_terminal)
{
    (void)call;
    return read_in_vain(open("/dev/tty", O_RDWR));
}

static int set_terminal(void)
{
    struct termios now;
    int fd = open("/dev/tty", O_RDWR);

    return fd < 0 || tcgetattr(fd, &now) < 0 || tcsetattr(fd, TCSADRAIN, &now) < 0;
}

XF_ENTRY(change_terminal)
{
    (void)call;
    return set_terminal();
}

/* A program that a task runs is in the background, too. */
XF_ENTRY(run_programs)
{
    (void)call;
    return system("echo echoed; stty -echo </dev/tty; cat </dev/tty; exit 3") == 3 << 8 ? 0 : 1;
}

/* ---- A program on a terminal ----------------------------------------------------------------- */

static int ends_well(xf_task *task, const xf_process_options *options)
{
    xf_process *process;
    xf_status status;
    int rc = xf_process_start(&process, task, NULL, 0, options);

    if (rc == 0)
        rc = xf_process_join(process, &status, 30000);
    if (rc == 0 && status.kind == XF_END_DONE)
        xf_process_free(process);
    else
        dprintf(STDERR_FILENO, "task %s: %s, kind %d, code %d\n", task->name, xf_err_name(rc), (int)status.kind,
                status.code);
    return rc == 0 && status.kind == XF_END_DONE;
}

static int processes_use_it(void)
{
    const xf_process_options reads = {.stdin_from = XF_STDIO_INHERIT};

    return ends_well(&print, NULL) && ends_well(&read_input, &reads) && ends_well(&read_terminal, NULL) &&
           ends_well(&change_terminal, NULL) && ends_well(&run_programs, NULL);
}

static int workers_use_it(void)
{
    xf_task *const tasks[] = {&print, &read_terminal, &change_terminal, &run_programs};
    xf_pool *pool;
    int rc = xf_pool_create(&pool, &(xf_pool_options){.workers = 2});

    for (int i = 0; i < 8 && rc == 0; i++) {
        xf_future *future;
        rc = xf_pool_submit(&future, pool, &(xf_map){.task = tasks[i % 4]});
        if (rc < 0)
            break;
        rc = xf_future_wait(future, 30000);
        if (rc < 0)
            dprintf(STDERR_FILENO, "task %s: %s\n", tasks[i % 4]->name, xf_err_name(rc));
        xf_future_free(future);
    }
    xf_pool_free(pool);
    return rc == 0;
}

/* Code that runs before xf_main in a child that is executed anew. */
static int early_code_uses_it(void)
{
    const char *const early[] = {"TERMINAL_TEST_EARLY=1", NULL};

    return ends_well(&print, &(xf_process_options){.environment = early});
}

static void be_early(void)
{
    if (getenv("TERMINAL_TEST_EARLY")) {
        dprintf(STDOUT_FILENO, "early\n");
        set_terminal();
    }
}

/* Runs it as the leader of a session, in the foreground of a terminal that stops who prints from the background. */
static void expect_on_terminal(int (*runs)(void))
{
    char printed[4096];
    int master, status;
    ssize_t size;
    pid_t leader = forkpty(&master, NULL, NULL, NULL);

    assert_true(leader >= 0);
    if (leader == 0) {
        struct termios now;
        tcgetattr(STDIN_FILENO, &now);
        now.c_lflag |= TOSTOP;
        tcsetattr(STDIN_FILENO, TCSANOW, &now);
        _exit(runs() && xf_cleanup() == 0 ? 0 : 1);
    }
    while ((size = read(master, printed, sizeof printed)) > 0)
        if (write(STDOUT_FILENO, printed, (size_t)size) < 0)
            break;
    assert_int_equal(waitpid(leader, &status, 0), leader);
    close(master);
    assert_int_equal(status, 0);
}

static void a_child_does_not_stop(void **state)
{
    (void)state;
    expect_on_terminal(processes_use_it);
}

static void a_worker_does_not_stop(void **state)
{
    (void)state;
    expect_on_terminal(workers_use_it);
}

static void a_child_on_its_way_to_xf_main_does_not_stop(void **state)
{
    (void)state;
    expect_on_terminal(early_code_uses_it);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_does_not_stop),
        cmocka_unit_test(a_worker_does_not_stop),
        cmocka_unit_test(a_child_on_its_way_to_xf_main_does_not_stop),
    };

    be_early();
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
