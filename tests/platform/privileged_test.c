/* Goal: a program that has rights by its file (setuid, setgid) obeys nothing that the user who starts it says to
 * crossfork: no variable, no hidden argument.  The other program is a copy of this one, in another role. */
#include "base/error.h"
#include "os/identity.h"
#include "tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, NOT_PRIVILEGED = 77, OBEYED = 78, NOT_OBEYED = 42 };

static char copy[] = "/var/tmp/crossfork-privileged-XXXXXX"; /* /tmp is often mounted so that no file gives rights */

XF_ENTRY(obey)
{
    (void)call;
    return 0;
}

/* Runs in the copy, which a stranger has started: main had returned by now if crossfork had obeyed XF_REPLAY. */
static int role_copy(void)
{
    xf_process *process;
    xf_status status;

    if (!os_self_is_privileged())
        return NOT_PRIVILEGED;
    if (xf_process_start(&process, &obey, NULL, 0, &(xf_process_options){.start = XF_START_SPAWN}) != XF_ENOTSUP)
        return 3;
    if (xf_process_start(&process, &obey, NULL, 0, NULL) < 0) /* XF_START asks for nonsense */
        return OBEYED;
    if (xf_process_join(process, &status, LONGEST_MS) < 0 || status.kind != XF_END_DONE)
        return 4;
    xf_process_free(process);
    return NOT_OBEYED;
}

/* ---- Starting the copy as a stranger --------------------------------------------------------- */

static void copy_bytes(int from, int to)
{
    char part[65536];
    ssize_t count;

    while ((count = read(from, part, sizeof part)) > 0)
        assert_int_equal(write(to, part, (size_t)count), count);
    assert_int_equal(count, 0);
}

/* A group of this user's other than the first; (gid_t)-1: none. */
static gid_t other_group(void)
{
    gid_t groups[64];
    int count = getgroups(64, groups);

    for (int i = 0; i < count; i++)
        if (groups[i] != getegid())
            return groups[i];
    return (gid_t)-1;
}

/* As root, the copy is setuid to root and the stranger is nobody; else it is setgid to another group of this user. */
static void make_copy(void)
{
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = mkstemp(copy);
    bool is_root = geteuid() == 0;

    assert_true(from >= 0 && to >= 0);
    copy_bytes(from, to);
    if (!is_root)
        assert_int_equal(fchown(to, (uid_t)-1, other_group()), 0);
    assert_int_equal(fchmod(to, is_root ? 04755 : 02755), 0);
    close(from);
    close(to);
}

static void become_the_stranger(void)
{
    if (geteuid() == 0 &&
        (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0))
        _exit(1);
}

/* Returns the exit code, 128 + a signal.  Nobody reads a channel there, so a child that obeys waits for ever: the alarm
 * ends it. */
static int run_copy(const char *argument, const char *setting)
{
    char *const arguments[] = {copy, (char *)(uintptr_t)argument, NULL};
    char *const environment[] = {(char *)(uintptr_t)setting, NULL};
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        become_the_stranger();
        alarm(30);
        execve(copy, arguments, environment);
        _exit(errno == EACCES ? NOT_PRIVILEGED : 1);
    }
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void skip_unless_privileged(int code)
{
    if (code != NOT_PRIVILEGED)
        return;
    print_message("files in /var/tmp give no rights here\n");
    assert_int_not_equal(geteuid(), 0);
    skip();
}

static int remove_copy(void **state)
{
    (void)state;
    unlink(copy);
    return 0;
}

static int prepare(void **state)
{
    (void)state;
    strcpy(copy + sizeof copy - 7, "XXXXXX");
    if (geteuid() != 0 && other_group() == (gid_t)-1) {
        print_message("this user is not root, and has one group only\n");
        *copy = 0;
        return 0;
    }
    make_copy();
    return 0;
}

static void no_variable_is_obeyed(void **state)
{
    int code;

    (void)state;
    if (!*copy)
        skip();
    code = run_copy("copy", "XF_START=nonsense");
    skip_unless_privileged(code);
    assert_int_equal(code, NOT_OBEYED);
    assert_int_equal(run_copy("copy", "XF_REPLAY=/etc/shadow"), NOT_OBEYED);
}

static void no_hidden_argument_is_obeyed(void **state)
{
    (void)state;
    if (!*copy)
        skip();
    skip_unless_privileged(run_copy("copy", NULL));
    assert_int_equal(run_copy("--crossfork-server", NULL), 2);
    assert_int_equal(run_copy("--crossfork-child=0000000000000001,0", NULL), 2);
}

/* The same variables are obeyed where the program has no more rights. */
static void without_rights_they_are_obeyed(void **state)
{
    const xf_process_options options = {0};
    xf_process *process;

    (void)state;
    setenv("XF_START", "nonsense", 1);
    assert_int_equal(xf_process_start(&process, &obey, NULL, 0, &options), XF_EINVAL);
    unsetenv("XF_START");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_variable_is_obeyed, prepare, remove_copy),
        cmocka_unit_test_setup_teardown(no_hidden_argument_is_obeyed, prepare, remove_copy),
        cmocka_unit_test(without_rights_they_are_obeyed),
    };

    xf_main(argc, argv);
    return argc > 1 && strcmp(argv[1], "copy") == 0 ? role_copy() : cmocka_run_group_tests(tests, NULL, NULL);
}
