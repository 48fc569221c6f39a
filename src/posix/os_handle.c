/* Descriptors. */
#include "base/clock.h"
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int fd_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    int ready;

    while ((ready = poll(fds, count, timeout_ms)) < 0 && errno == EINTR)
        timeout_ms = clock_left_ms(deadline);
    return ready > 0 ? 0 : ready < 0 ? os_error(errno, "poll") : XF_ETIMEDOUT;
}

/* Moves a descriptor to a higher number.  If the program has closed a standard stream, the next descriptor gets that
 * number, and setting up a child's standard streams would overwrite it. */
static int fd_at_least(int fd, int lowest)
{
    int moved, saved;

    if (fd < 0 || fd >= lowest)
        return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
    saved = errno;
    close(fd);
    errno = saved;
    return moved;
}

int fd_above_stdio(int fd)
{
    return fd_at_least(fd, 3);
}

static int pair_above_stdio(int pair[2])
{
    pair[0] = fd_above_stdio(pair[0]);
    pair[1] = fd_above_stdio(pair[1]);
    if (pair[0] >= 0 && pair[1] >= 0)
        return 0;
    fd_close(&pair[0]);
    fd_close(&pair[1]);
    return os_error(EMFILE, "fcntl F_DUPFD_CLOEXEC");
}

int fd_pipe(int ends[2])
{
    return pipe2(ends, O_CLOEXEC) < 0 ? os_error(errno, "pipe2") : pair_above_stdio(ends);
}

int fd_socketpair(int ends[2], int type)
{
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) < 0 ? os_error(errno, "socketpair")
                                                                 : pair_above_stdio(ends);
}

int fd_null(int *fd)
{
    *fd = fd_above_stdio(open("/dev/null", O_RDWR | O_CLOEXEC));
    return *fd < 0 ? os_error(errno, "/dev/null") : 0;
}

/* Profiles of containers that are older than a system call answer it with EPERM. */
int pidfd_of(pid_t pid)
{
    int fd = fd_above_stdio((int)syscall(SYS_pidfd_open, pid, 0));

    if (fd < 0 && errno == EPERM)
        errno = ENOSYS;
    return fd;
}

siginfo_t info_of_status(pid_t pid, int status)
{
    siginfo_t info = {0};

    info.si_pid = pid;
    info.si_code = WIFEXITED(status) ? CLD_EXITED : CLD_KILLED;
    info.si_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
    return info;
}

/* Does it with wait4 where a container's profile is older than waitid.  A process cannot be looked at with that before
 * it is reaped: asked to do so, this reaps it, and there is nothing to be reaped later. */
static int wait_by_pid(pid_t pid, siginfo_t *info, int options, struct rusage *usage)
{
    int status;
    pid_t ended;

    do
        ended = wait4(pid, &status, options & WNOHANG, usage);
    while (ended < 0 && errno == EINTR);
    if (ended > 0)
        *info = info_of_status(ended, status);
    return ended < 0 ? -1 : 0;
}

/* Calls the system directly, because the system call has one parameter more than the C library's function: usage. */
int wait_process(int pidfd, pid_t pid, siginfo_t *info, int options, struct rusage *usage)
{
    long rc;

    info->si_pid = 0;
    do
        rc = syscall(SYS_waitid, pidfd < 0 ? P_PID : P_PIDFD, pidfd < 0 ? pid : (pid_t)pidfd, info, options, usage);
    while (rc < 0 && errno == EINTR);
    return rc < 0 && errno == EPERM ? wait_by_pid(pid, info, options, usage) : (int)rc;
}

void signal_process(int pidfd, pid_t pid, int number)
{
    if (pidfd >= 0 && syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) == 0)
        return;
    if (pidfd < 0 || errno == ENOSYS || errno == EPERM)
        kill(pid, number);
}

/* ---- The seam -------------------------------------------------------------------------------- */

int os_handle_copy(intptr_t handle, intptr_t *copy)
{
    int fd = fcntl((int)handle, F_DUPFD_CLOEXEC, 3);

    if (fd < 0)
        return os_error(errno, "fcntl F_DUPFD_CLOEXEC");
    *copy = fd;
    return 0;
}

void os_handle_close(intptr_t handle)
{
    close((int)handle);
}
