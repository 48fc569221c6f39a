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

/* ---- The descriptors of a child -------------------------------------------------------------- */

static void close_child_fds(child_fds *fds)
{
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] > 2)
            fd_close(&fds->stdio[i]);
    fd_close(&fds->directory);
    fd_close(&fds->channel);
    fd_close(&fds->lifeline);
    fd_close(&fds->news);
}

/* Why open() failed.  ENXIO is its answer where it would wait for who reads a named pipe. */
static int open_error(const char *path, int error)
{
    struct stat facts;

    return error == ENXIO && stat(path, &facts) == 0 && S_ISFIFO(facts.st_mode)
               ? error_detail(XF_EINVAL, "%s is a named pipe that nobody reads", path)
               : os_error(error, path);
}

/* Opens a file to read from for standard input, or to append to for the other streams.  O_NONBLOCK keeps open() from
 * waiting where the path is a named pipe, or a line without a carrier; the child's stream does not have it.  Whether
 * anybody writes to a named pipe cannot be seen, and the child could take its silence for the end. */
static int open_file(const char *path, int number, int *fd)
{
    int flags = number == 0 ? O_RDONLY : O_WRONLY | O_APPEND | O_CREAT;
    struct stat facts;

    *fd = fd_above_stdio(open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666));
    if (*fd < 0 || fstat(*fd, &facts) < 0)
        return open_error(path, errno);
    if (S_ISDIR(facts.st_mode))
        return os_error(EISDIR, path);
    if (number == 0 && S_ISFIFO(facts.st_mode))
        return error_detail(XF_EINVAL, "%s is a named pipe, which is not read from", path);
    fcntl(*fd, F_SETFL, flags & O_APPEND);
    return 0;
}

/* Opens the file of a standard stream.  If output and error go to the same file, it is opened once for both. */
static int open_file_once(const os_start *start, int number, int fds[3])
{
    if (number != 2 || !twins_share_output(start))
        return open_file(start->stdio_path[number], number, &fds[number]);
    fds[2] = fcntl(fds[1], F_DUPFD_CLOEXEC, 3);
    return fds[2] < 0 ? os_error(errno, "fcntl F_DUPFD_CLOEXEC") : 0;
}

/* Opens one standard stream: *fd is set to the child's end, and the parent's end, if any, goes to the child's
 * stream. */
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
    child->stream[number] = CHANNEL_OF(ends[0]);
    child->stream[number].is_pipe = true;
    *fd = ends[1];
    return 0;
}

static int open_directory(const os_start *start, int *fd)
{
    const char *path = start->directory;

    if (!path && start->method != OS_SERVER) /* the server's own directory is the one in which it was started */
        return 0;
    *fd = fd_above_stdio(open(path ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    return *fd < 0 ? os_error(errno, path ? path : "the working directory") : 0;
}

/* Opens what ties a child to this process: its channel, its lifeline, and the socket of its keeper. */
static int open_ties(os_child *child, child_fds *fds)
{
    int channel[2], lifeline[2], news[2], rc = fd_socketpair(channel, SOCK_STREAM);

    if (rc < 0)
        return rc;
    child->stream[OS_CHANNEL] = CHANNEL_OF(channel[0]);
    fds->channel = channel[1];
    rc = fd_pipe(lifeline);
    if (rc < 0)
        return rc;
    fds->lifeline = lifeline[0];
    child->lifeline = lifeline[1];
    rc = fd_socketpair(news, SOCK_SEQPACKET);
    if (rc < 0)
        return rc;
    child->news = news[0];
    fds->news = news[1];
    return 0;
}

static int open_child_fds(os_child *child, const os_start *start, child_fds *fds)
{
    int rc;

    *fds = NO_CHILD_FDS;
    fds->box = (int)start->box->handle;
    for (int i = 0; i < OS_INPUTS; i++)
        if (start->inputs[i])
            fds->inputs[i] = (int)start->inputs[i]->handle;
    rc = open_directory(start, &fds->directory);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = start->stdio[i] == XF_STDIO_FILE ? open_file_once(start, i, fds->stdio)
                                              : open_stdio(child, start->stdio[i], i, &fds->stdio[i]);
    return rc < 0 ? rc : open_ties(child, fds);
}

/* ---- The three methods ----------------------------------------------------------------------- */

/* Set while this thread forks a child for os_child_start. */
static _Thread_local const child_fds *forking;

static void flush_stream(FILE *stream)
{
    if (ftrylockfile(stream) != 0)
        return;
    fflush_unlocked(stream);
    funlockfile(stream);
}

/* Writes out what this process has printed so far, so that it is printed once: a forked child or copy does not print it
 * again. */
static void flush_before_fork(void)
{
    flush_stream(stdout);
    flush_stream(stderr);
}

/* These three also run when the program, or a task, forks by itself. */
static void before_fork(void)
{
    if (forking)
        return;
    if (crash_guards_child())
        flush_before_fork();
    shm_lock_forks();
}

static void after_fork_in_parent(void)
{
    if (!forking)
        shm_unlock_forks();
}

/* Closes the parent's descriptors in a forked child.  libuv registers a fork handler that gives the child new
 * descriptors of its own for signals.  The parent's must be closed before that, so they are closed in a handler too,
 * which is registered before main. */
static void after_fork_in_child(void)
{
    shm_own_copied();
    if (forking)
        child_close_others(forking);
    forking = NULL; /* the child may itself fork */
    shm_unlock_forks();
}

static void __attribute__((constructor)) register_fork_handler(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Lets a child have its private box when it is forked: no other child has it mapped, which could write this one's
 * result.  Private inputs are mapped in the child later. */
static pid_t fork_with(const os_shm *box, int *error)
{
    pid_t pid;

    shm_let_fork(box, true);
    pid = fork();
    *error = errno;
    if (pid != 0)
        shm_let_fork(box, false);
    return pid;
}

/* A forked child has its inputs mapped already, but for those that are kept out of the program's own forks. */
static bool is_mapped_by_fork(const os_shm *input)
{
    return !(input->flags & (OS_SHM_OWNED | OS_SHM_PRIVATE));
}

static void inherit_inputs(const os_start *start, os_inherited *inherited, child_fds *kept)
{
    for (int i = 0; i < OS_INPUTS; i++) {
        inherited->inputs[i] = OS_SHM_NONE;
        if (!start->inputs[i] || !is_mapped_by_fork(start->inputs[i]))
            continue;
        inherited->inputs[i] = *start->inputs[i];
        kept->inputs[i] = -1;
    }
}

static void map_other_inputs(const os_start *start, os_inherited *inherited, child_fds *fds)
{
    for (int i = 0; i < OS_INPUTS; i++) {
        if (fds->inputs[i] < 0)
            continue;
        inherited->inputs[i] =
            shm_map_inherited(fds->inputs[i], start->inputs[i]->size, shm_access_of_child(start->inputs[i]));
        if (!inherited->inputs[i].address)
            child_refuse(fds->news, errno);
    }
}

static _Noreturn void run_forked(const os_start *start, os_inherited *inherited, child_fds *fds)
{
    child_divide(fds, true);
    child_drop_pending();
    map_other_inputs(start, inherited, fds);
    shm_copy_box(start->box);
    child_settle(fds);
    limit_self(start->box->address);
    child_reset_signals();
    child_catch_exit();
    child_catch_faults(start->box->address);
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] > 2)
            fd_close(&fds->stdio[i]);
    fd_close(&fds->directory);
    for (const char *const *change = start->environment; change && *change; change++)
        putenv((char *)*change); /* removes a variable whose name it gets alone */
    start->entry(inherited);
    abort();
}

static int start_fork(os_child *child, const os_start *start, child_fds *fds)
{
    newborn self = {.channel = CHANNEL_OF(fds->channel), .inherited = {.channel = &self.channel, .box = *start->box}};
    child_fds kept = *fds;
    sigset_t all, before;
    int error;
    pid_t pid; /* child->started is set later: each page of its parent's that the child writes to is copied */

    flush_before_fork();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* so that no handler of the program's runs in the child */
    kept.box = -1;                               /* the child has it mapped */
    inherit_inputs(start, &self.inherited, &kept);
    shm_lock_forks();
    forking = &kept;
    pid = fork_with(start->box, &error);
    if (pid == 0)
        run_forked(start, &self.inherited, &kept);
    forking = NULL;
    shm_unlock_forks();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return os_error(error, "fork");
    setpgid(pid, pid); /* parent and child both do it, as either may run first */
    child->started = pid;
    return 0;
}

static int start_spawn(os_child *child, const os_start *start, child_fds *fds)
{
    char argument[64];
    int rc;
    char **environment = merge_environment(start->environment);

    if (!environment)
        return os_error(ENOMEM, "malloc");
    snprintf(argument, sizeof argument, CHILD_ARGUMENT "%016llx,%d,%d", (unsigned long long)child->status->nonce,
             (int)shm_access_of_child(start->inputs[0]), (int)shm_access_of_child(start->inputs[1]));
    rc = exec_again(&child->started, argument, environment, fds);
    free(environment);
    if (rc == 0)
        child_arm_lifeline(fds->lifeline, child->started, 0); /* until the child does it, when it comes to xf_main */
    return rc;
}

/* Opens the descriptor that shows the child's end.  Without pidfds (Linux before 5.3, valgrind), and for a process that
 * was reaped already because the program ignores SIGCHLD, this is the keeper's socket, which is closed then. */
static int open_exit(os_child *child)
{
    if (child->started)
        child->pidfd = pidfd_of(child->started);
    if (child->started && child->pidfd < 0 && errno != ENOSYS && errno != ESRCH)
        return os_error(errno, "pidfd_open");
    child->exit_fd = child->pidfd >= 0 ? child->pidfd : child->news;
    return 0;
}

/* The child runs nothing of a task before it has read this, and by now it cannot outlive this process any more.  A
 * child that has ended already is judged as any other. */
static int send_first(os_child *child, const os_start *start)
{
    ssize_t sent = 0;

    if (start->first_size > 0)
        sent = send(child->stream[OS_CHANNEL].fd, start->first, start->first_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == (ssize_t)start->first_size || errno == EPIPE || errno == ECONNRESET)
        return 0;
    return os_error(errno, "send");
}

static void undo_start(os_child *child)
{
    os_child_kill(child);
    if (child->started)
        waitpid(child->started, NULL, 0);
}

/* The child does not keep its end of the lifeline, so that it cannot change what this process has of it. */
static int start_by_method(os_child *child, const os_start *start, child_fds *fds)
{
    int rc;

    if (start->method == OS_SERVER)
        child->server = server_hold(start->server);
    rc = start->method == OS_SERVER ? server_start(start->server, start, fds)
         : start->method == OS_FORK ? start_fork(child, start, fds)
                                    : start_spawn(child, start, fds);

    if (rc < 0)
        return rc;
    child->hold = fds->lifeline;
    fds->lifeline = -1;
    fd_close(&fds->news); /* so that its end is the keeper's */
    rc = open_exit(child);
    if (rc == 0)
        rc = send_first(child, start);
    if (rc < 0)
        undo_start(child);
    return rc;
}

static uint64_t make_nonce(void)
{
    static _Atomic uint64_t counter;

    return uv_hrtime() * 0x9E3779B97F4A7C15U + ((uint64_t)getpid() << 32) + atomic_fetch_add(&counter, 1);
}

/* Fills in the status block, and keeps what the child may change in it later and this process relies on. */
static int prepare_status(os_child *child, const os_start *start, os_status *status)
{
    status->nonce = make_nonce();
    child->status = status;
    child->record = status->record_at ? (os_record *)((char *)status + status->record_at) : NULL;
    child->dumps = status->dump_at ? strdup((char *)status + status->dump_at) : NULL;
    child->limits = status->limits = start->limits ? *start->limits : (xf_limits){0};
    child->kills_before = limit_kills();
    return status->dump_at && !child->dumps ? os_error(ENOMEM, "strdup") : 0;
}

int os_child_start(os_child **out, const os_start *start)
{
    child_fds fds = NO_CHILD_FDS;
    os_child *child = calloc(1, sizeof *child);
    int rc;

    if (!child)
        return os_error(ENOMEM, "calloc");
    for (int i = 0; i < OS_STREAMS; i++)
        child->stream[i] = CHANNEL_OF(-1);
    child->pidfd = child->exit_fd = child->news = child->lifeline = child->hold = child->watched_by = -1;
    rc = prepare_status(child, start, start->box->address);
    if (rc == 0)
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
