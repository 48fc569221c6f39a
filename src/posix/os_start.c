/* Starting children: fork, posix_spawn of the running image, or a request to the server. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

extern char **environ;

/* ---- What a child is made with --------------------------------------------------------------- */

static void close_child_fds(child_fds *fds)
{
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] > 2)
            fd_close(&fds->stdio[i]);
    fd_close(&fds->directory);
    fd_close(&fds->channel);
    fd_close(&fds->lifeline);
}

/* A file for standard input, or to append to. */
static int open_file(const char *path, int number, int *fd)
{
    int flags = number == 0 ? O_RDONLY : O_WRONLY | O_APPEND | O_CREAT;
    struct stat facts;

    *fd = fd_above_stdio(open(path, flags | O_CLOEXEC, 0666));
    if (*fd < 0)
        return os_error(errno, path);
    return fstat(*fd, &facts) == 0 && S_ISDIR(facts.st_mode) ? os_error(EISDIR, path) : 0;
}

/* The child's end goes to *fd; what the parent keeps of it goes to the child's stream. */
static int open_stdio(os_child *child, xf_stdio kind, int number, int *fd)
{
    int ends[2], rc;

    if (kind == XF_STDIO_INHERIT && fcntl(number, F_GETFD) >= 0) {
        *fd = number;
        return 0;
    }
    if (kind != XF_STDIO_CAPTURE)
        return fd_null(fd);
    rc = fd_pipe(ends);
    if (rc < 0)
        return rc;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    child->stream[number] = ends[0];
    *fd = ends[1];
    return 0;
}

/* Output and error may go to the same file. */
static int open_file_once(const os_start *start, int number, int fds[3])
{
    if (number != 2 || start->stdio[1] != XF_STDIO_FILE || strcmp(start->stdio_path[1], start->stdio_path[2]) != 0)
        return open_file(start->stdio_path[number], number, &fds[number]);
    fds[2] = fcntl(fds[1], F_DUPFD_CLOEXEC, 3);
    return fds[2] < 0 ? os_error(errno, "fcntl F_DUPFD_CLOEXEC") : 0;
}

static int open_directory(const os_start *start, int *fd)
{
    const char *path = start->directory;

    if (!path && start->method != OS_SERVER) /* the server's own directory is that of the time it was started */
        return 0;
    *fd = fd_above_stdio(open(path ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    return *fd < 0 ? os_error(errno, path ? path : "the working directory") : 0;
}

static int open_child_fds(os_child *child, const os_start *start, child_fds *fds)
{
    int channel[2], lifeline[2], rc;

    *fds =
        (child_fds){{-1, -1, -1}, -1, -1, -1, (int)start->box->handle, start->input ? (int)start->input->handle : -1};
    rc = open_directory(start, &fds->directory);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = start->stdio[i] == XF_STDIO_FILE ? open_file_once(start, i, fds->stdio)
                                              : open_stdio(child, start->stdio[i], i, &fds->stdio[i]);
    if (rc < 0)
        return rc;
    rc = fd_socketpair(channel, SOCK_STREAM);
    if (rc < 0)
        return rc;
    child->stream[OS_CHANNEL] = channel[0];
    fds->channel = channel[1];
    rc = fd_pipe(lifeline);
    if (rc < 0)
        return rc;
    fds->lifeline = lifeline[0];
    child->lifeline = lifeline[1];
    if (start->greeting_size && send(channel[0], start->greeting, start->greeting_size, MSG_NOSIGNAL | MSG_DONTWAIT) !=
                                    (ssize_t)start->greeting_size)
        return os_error(errno, "send");
    return 0;
}

/* ---- In the new child ------------------------------------------------------------------------ */

/* Linux sends the signal of F_SETSIG to the whole group when the pipe hangs up, also to processes that block every
 * signal or never make a system call: fcntl(2), F_SETOWN and F_SETSIG. */
void child_arm_lifeline(int lifeline, pid_t leader)
{
    struct pollfd hangup = {.fd = lifeline};

    fcntl(lifeline, F_SETSIG, SIGKILL);
    fcntl(lifeline, F_SETOWN, -leader);
    fcntl(lifeline, F_SETFL, O_ASYNC);
    if (leader == getpid() && poll(&hangup, 1, 0) > 0)
        kill(leader, SIGKILL);
}

void child_settle(const child_fds *fds)
{
    setpgid(0, 0);
    child_arm_lifeline(fds->lifeline, getpid());
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] != i)
            dup2(fds->stdio[i], i);
    if (fds->directory >= 0 && fchdir(fds->directory) < 0)
        _exit(1);
}

static void close_range_of(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
        return;
    for (unsigned fd = first; fd <= last && fd < (unsigned)sysconf(_SC_OPEN_MAX); fd++) /* Linux before 5.9 */
        close((int)fd);
}

void child_close_others(const child_fds *fds)
{
    const int kept[] = {fds->stdio[0], fds->stdio[1], fds->stdio[2], fds->directory,
                        fds->channel,  fds->lifeline, fds->box,      fds->input};
    int next = 3;

    for (;;) {
        int lowest = -1;
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            if (kept[i] >= next && (lowest < 0 || kept[i] < lowest))
                lowest = kept[i];
        if (lowest < 0)
            break;
        close_range_of((unsigned)next, (unsigned)lowest - 1);
        next = lowest + 1;
    }
    close_range_of((unsigned)next, ~0U);
}

/* Set while this thread forks a child of ours. */
static _Thread_local const child_fds *forking;

/* libuv registers a handler that gives a forked child new descriptors of its own for signals.  Closing the parent's
 * descriptors has to come before that, so it happens in a handler too, registered before main. */
static void after_fork_in_child(void)
{
    if (forking)
        child_close_others(forking);
    forking = NULL; /* the child may fork by itself */
}

static void __attribute__((constructor)) register_fork_handler(void)
{
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

/* ---- Executing the image anew ---------------------------------------------------------------- */

#define IMAGE "/proc/self/exe"

#ifdef XF_CLOSEFROM
static int add_file_actions(posix_spawn_file_actions_t *actions, const child_fds *fds)
{
    const int targets[][2] = {
        {fds->channel, EXEC_CHANNEL}, {fds->lifeline, EXEC_LIFELINE}, {fds->box, EXEC_BOX}, {fds->input, EXEC_INPUT}};
    int error = 0;

    for (int i = 0; i < 3 && !error; i++)
        error = posix_spawn_file_actions_adddup2(actions, fds->stdio[i], i);
    if (fds->directory >= 0 && !error)
        error = posix_spawn_file_actions_addfchdir_np(actions, fds->directory);
    for (int i = 0; i < 4 && !error; i++)
        if (targets[i][0] >= 0)
            error = posix_spawn_file_actions_adddup2(actions, targets[i][0], targets[i][1]);
        else
            error = posix_spawn_file_actions_addclose(actions, targets[i][1]);
    return error ? error : posix_spawn_file_actions_addclosefrom_np(actions, EXEC_END);
}

static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t all, none;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setsigmask(attributes, &none);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

static int execute(pid_t *pid, char *const *arguments, char *const *environment, const child_fds *fds)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error;

    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    error = add_file_actions(&actions, fds);
    if (!error)
        error = set_attributes(&attributes);
    if (!error)
        error = posix_spawn(pid, IMAGE, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}
#else
/* In the child of vfork, which has its parent's memory until it executes: all signals are blocked, and what it calls is
 * the system's.  Descriptors that are not for the image are closed here, and not marked as such in the parent, whose
 * other threads may start programs meanwhile. */
static int prepare_image(const child_fds *fds)
{
    const int targets[][2] = {
        {fds->channel, EXEC_CHANNEL}, {fds->lifeline, EXEC_LIFELINE}, {fds->box, EXEC_BOX}, {fds->input, EXEC_INPUT}};

    setpgid(0, 0);
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] == i ? fcntl(i, F_SETFD, 0) < 0 : dup2(fds->stdio[i], i) < 0)
            return -1;
    if (fds->directory >= 0 && fchdir(fds->directory) < 0)
        return -1;
    for (int i = 0; i < 4; i++)
        if (targets[i][0] < 0)
            close(targets[i][1]);
        else if (dup2(targets[i][0], targets[i][1]) < 0)
            return -1;
    close_range_of(EXEC_END, ~0U);
    for (int number = 1; number < NSIG; number++)
        child_reset_signal(number);
    return 0;
}

static _Noreturn void become_image(char *const *arguments, char *const *environment, const child_fds *fds,
                                   volatile int *error)
{
    sigset_t none;

    sigemptyset(&none);
    if (prepare_image(fds) == 0 && pthread_sigmask(SIG_SETMASK, &none, NULL) == 0)
        execve(IMAGE, arguments, environment);
    *error = errno;
    _exit(127);
}

/* As posix_spawn does it, which cannot close what it does not know of everywhere. */
static int execute(pid_t *pid, char *const *arguments, char *const *environment, const child_fds *fds)
{
    volatile int error = 0; /* the child sets it */
    int cancelling;
    sigset_t all, before;
    pid_t child;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    child = vfork();
    if (child == 0)
        become_image(arguments, environment, fds, &error);
    if (child < 0)
        error = errno;
    else if (error)
        waitpid(child, NULL, 0);
    *pid = child;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setcancelstate(cancelling, NULL);
    return error;
}
#endif

/* Copies of the descriptors that are out of the way of their targets; -1 stays. */
static int lift_for_exec(const child_fds *fds, child_fds *lifted)
{
    const int *from[] = {&fds->channel, &fds->lifeline, &fds->box, &fds->input};
    int *to[] = {&lifted->channel, &lifted->lifeline, &lifted->box, &lifted->input};

    *lifted = *fds;
    for (int i = 0; i < 4; i++)
        *to[i] = -1;
    for (int i = 0; i < 4; i++)
        if (*from[i] >= 0 && (*to[i] = fcntl(*from[i], F_DUPFD_CLOEXEC, EXEC_END)) < 0)
            return os_error(errno, "fcntl F_DUPFD_CLOEXEC");
    return 0;
}

int exec_again(pid_t *pid, const char *argument, char *const *environment, const child_fds *fds)
{
    char *arguments[] = {program_invocation_name, (char *)argument, NULL};
    child_fds lifted;
    int error, rc = lift_for_exec(fds, &lifted);

    if (rc < 0)
        goto close_lifted;
    error = execute(pid, arguments, environment, &lifted);
    if (error)
        rc = os_error(error, "executing " IMAGE);

close_lifted:
    fd_close(&lifted.channel);
    fd_close(&lifted.lifeline);
    fd_close(&lifted.box);
    fd_close(&lifted.input);
    return rc;
}

/* ---- The three methods ----------------------------------------------------------------------- */

/* What the program printed before is printed once, by the program, and not again by a forked child. */
static void flush_before_fork(FILE *stream)
{
    if (ftrylockfile(stream) != 0)
        return;
    fflush_unlocked(stream);
    funlockfile(stream);
}

static _Noreturn void run_forked(const os_start *start, os_parent *parent, child_fds *fds)
{
    child_settle(fds);
    limit_self(start->box->address);
    child_reset_signals();
    child_catch_exit();
    child_catch_faults(start->box->address);
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] > 2)
            fd_close(&fds->stdio[i]);
    fd_close(&fds->directory);
    for (const char *const *addition = start->environment; addition && *addition; addition++)
        putenv((char *)*addition);
    start->entry(parent);
    abort();
}

static int start_fork(os_child *child, const os_start *start, child_fds *fds)
{
    os_parent parent = {fds->channel, {-1, false}, {*start->box, start->input ? *start->input : OS_SHM_NONE}};
    child_fds kept = *fds;
    sigset_t all, before;
    int error;
    pid_t pid; /* the child writes to as few pages of its parent's as it can, for each is copied */

    flush_before_fork(stdout);
    flush_before_fork(stderr);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of the program runs in the child */
    kept.box = kept.input = -1;                  /* they are mapped */
    forking = &kept;
    pid = fork();
    error = errno;
    if (pid == 0)
        run_forked(start, &parent, &kept);
    forking = NULL;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return os_error(error, "fork");
    setpgid(pid, pid); /* by whichever of the two comes first */
    child->pid = pid;
    return 0;
}

static int start_spawn(os_child *child, const os_start *start, child_fds *fds)
{
    char argument[64];
    int rc;
    char **environment = merge_environment(start->environment);

    if (!environment)
        return os_error(ENOMEM, "malloc");
    snprintf(argument, sizeof argument, CHILD_ARGUMENT "%016llx,%d", (unsigned long long)child->note->nonce,
             start->input != NULL);
    rc = exec_again(&child->pid, argument, environment, fds);
    free(environment);
    if (rc == 0)
        child_arm_lifeline(fds->lifeline, child->pid); /* the child does it too, but only in xf_main */
    return rc;
}

static int start_server(os_child *child, const os_start *start, child_fds *fds)
{
    int news[2];
    int rc = fd_socketpair(news, SOCK_SEQPACKET);

    if (rc < 0)
        return rc;
    child->by_server = true;
    child->exit_fd = news[0];
    rc = server_start(start->server, start, fds, news[1]);
    close(news[1]);
    return rc;
}

/* Without pidfds (Linux before 5.3, valgrind), and for a child that was reaped already because the program ignores
 * SIGCHLD, the lifeline tells: it has an error when nobody is left to read it. */
static int open_exit(os_child *child)
{
    child->pidfd = pidfd_of(child->pid);
    if (child->pidfd >= 0) {
        child->exit_fd = child->pidfd;
        return 0;
    }
    if (errno != ENOSYS && errno != ESRCH)
        return os_error(errno, "pidfd_open");
    child->exit_fd = fcntl(child->lifeline, F_DUPFD_CLOEXEC, 3);
    return child->exit_fd < 0 ? os_error(errno, "fcntl F_DUPFD_CLOEXEC") : 0;
}

static int start_by_method(os_child *child, const os_start *start, child_fds *fds)
{
    int rc;

    if (start->method == OS_SERVER)
        return start_server(child, start, fds);
    rc = start->method == OS_FORK ? start_fork(child, start, fds) : start_spawn(child, start, fds);
    if (rc < 0)
        return rc;
    rc = open_exit(child);
    if (rc < 0) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
    }
    return rc;
}

static uint64_t make_nonce(void)
{
    static _Atomic uint64_t counter;

    return uv_hrtime() * 0x9E3779B97F4A7C15U + ((uint64_t)getpid() << 32) + atomic_fetch_add(&counter, 1);
}

int os_child_start(os_child **out, const os_start *start)
{
    child_fds fds;
    os_note *note = start->box->address;
    os_child *child = calloc(1, sizeof *child);
    int rc;

    if (!child)
        return os_error(ENOMEM, "calloc");
    for (int i = 0; i < OS_STREAMS; i++)
        child->stream[i] = -1;
    child->pidfd = child->exit_fd = child->lifeline = child->attached.fd = child->watched_by = -1;
    note->nonce = make_nonce();
    child->note = note;
    child->limits = note->limits = start->limits ? *start->limits : (xf_limits){0};
    child->kills_before = limit_kills();
    rc = open_child_fds(child, start, &fds);
    if (rc == 0)
        rc = start_by_method(child, start, &fds);
    close_child_fds(&fds);
    if (rc < 0)
        child_free(child);
    else
        *out = child;
    return rc;
}
