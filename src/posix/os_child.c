/* Children: waiting for them, and finding out how they ended. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

os_channel *os_child_channel(os_child *child, int stream)
{
    return &child->stream[stream];
}

int os_child_wait(os_child *child, int timeout_ms)
{
    struct pollfd fds[OS_STREAMS + 1];

    for (int i = 0; i < OS_STREAMS; i++) /* poll passes over negative descriptors */
        fds[i] = (struct pollfd){.fd = child->stream[i].ended ? -1 : child->stream[i].fd, .events = POLLIN};
    fds[OS_STREAMS] = (struct pollfd){.fd = child->ended ? -1 : child->exit_fd, .events = POLLIN};
    return fd_poll(fds, OS_STREAMS + 1, timeout_ms);
}

/* ---- Its end --------------------------------------------------------------------------------- */

static int crash_of_signal(int number)
{
    switch (number) {
    case SIGABRT:
        return XF_CRASH_ABORT;
    case SIGSEGV:
    case SIGBUS:
        return XF_CRASH_ACCESS;
    case SIGFPE:
        return XF_CRASH_DIVIDE;
    case SIGILL:
        return XF_CRASH_ILLEGAL;
    case SIGTRAP:
        return XF_CRASH_TRAP;
    case SIGSYS:
    case SIGXCPU:
    case SIGXFSZ:
        return XF_CRASH_OTHER;
    default:
        return -1;
    }
}

static os_end end_of(os_end_kind kind, int code, int64_t system)
{
    return (os_end){.kind = kind, .code = code, .system = system};
}

static os_end judge_signal(const os_child *child, const siginfo_t *info)
{
    int noted = (int)((unsigned)atomic_load(&child->status->crash) - 1);
    int crash = crash_of_signal(info->si_status);

    if (info->si_code == CLD_EXITED)
        return end_of(OS_EXITED, info->si_status, info->si_status);
    if (crash < 0)
        return end_of(OS_KILLED, 0, info->si_status);
    return end_of(OS_CRASHED, noted >= 0 && noted <= XF_CRASH_TRAP ? noted : crash, info->si_status);
}

static os_end judge_exit(const os_child *child, const siginfo_t *info, const struct rusage *usage)
{
    os_end end = judge_signal(child, info);

    limit_judge(child, usage, &end);
    return end;
}

/* Since version 6.15 Linux keeps the status for the holder of a pidfd, even when another part of the program has reaped
 * the child: linux/pidfd.h, PIDFD_GET_INFO. */
struct kernel_pidfd_info {
    __u64 mask, cgroup;
    __u32 ids[11];
    __s32 exit_code;
};

static os_end judge_stolen(const os_child *child)
{
    enum { INFO_EXIT = 1 << 3 };
    struct kernel_pidfd_info kernel = {.mask = INFO_EXIT};
    siginfo_t info = {0};
    struct rusage nothing = {0};

    /* This is the system call itself, because C libraries differ in the type of the request. */
    if (syscall(SYS_ioctl, child->pidfd, _IOWR(0xFF, 11, struct kernel_pidfd_info), &kernel) < 0 ||
        !(kernel.mask & INFO_EXIT))
        return end_of(OS_LOST, 0, 0);
    info.si_code = WIFEXITED(kernel.exit_code) ? CLD_EXITED : CLD_KILLED;
    info.si_status = WIFEXITED(kernel.exit_code) ? WEXITSTATUS(kernel.exit_code) : WTERMSIG(kernel.exit_code);
    return judge_exit(child, &info, &nothing);
}

/* waitid reports stops to a program that traces its own child, whatever the program has asked for. */
static bool is_end_of_child(const siginfo_t *info)
{
    return info->si_pid != 0 &&
           (info->si_code == CLD_EXITED || info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED);
}

/* A zombie still holds its group's id, so this kills the descendants before it reaps the child. */
static int collect_own(os_child *child)
{
    siginfo_t info;
    struct rusage usage;
    int rc = wait_process(child->pidfd, child->pid, &info, WEXITED | WNOHANG | WNOWAIT, NULL);

    if (rc == 0 && !is_end_of_child(&info))
        return XF_EAGAIN;
    if (rc == 0) {
        kill(-child->pid, SIGKILL);
        rc = wait_process(child->pidfd, child->pid, &info, WEXITED | WNOHANG, &usage);
    }
    child->end = rc == 0 ? judge_exit(child, &info, &usage) : judge_stolen(child);
    return 0;
}

/* Returns the id of a child of the server; 0: it is not known yet, or nobody is left of its group.  The child makes
 * itself the owner of its lifeline's signals before it runs any task, and then has no descriptor with which a task
 * could make another process the owner. */
static pid_t pid_of_served(const os_child *child)
{
    int owner = fcntl(child->hold, F_GETOWN);

    return owner < -1 ? -owner : 0;
}

static int collect_from_server(os_child *child)
{
    server_news news;
    ssize_t size;

    do
        size = recv(child->exit_fd, &news, sizeof news, MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return XF_EAGAIN;
    child->pid = size == sizeof news ? news.info.si_pid : pid_of_served(child);
    fd_close(&child->lifeline);
    if (size != sizeof news) { /* the server has ended, and nobody waits for its child */
        bool was_started = child->pid || atomic_load(&child->status->armed);
        child->end = was_started ? end_of(OS_LOST, 0, 0) : end_of(OS_UNSTARTED, XF_ESYSTEM, 0);
    } else if (news.error) {
        child->end = end_of(OS_UNSTARTED, os_error(news.error, "fork in the server"), 0);
    } else {
        child->end = judge_exit(child, &news.info, &news.usage);
    }
    return 0;
}

int os_child_end(os_child *child, os_end *end)
{
    int rc = child->ended ? 0 : child->by_server ? collect_from_server(child) : collect_own(child);

    if (rc < 0)
        return rc;
    child->ended = true;
    *end = child->end;
    return 0;
}

void os_child_kill(os_child *child)
{
    if (child->ended)
        return;
    child->killed = true;
    if (!child->by_server) {
        kill(-child->pid, SIGKILL);
        kill(child->pid, SIGKILL); /* the child may not have made its group yet */
    }
    fd_close(&child->lifeline);
}

int64_t os_child_pid(os_child *child)
{
    return child->pid || child->ended ? child->pid : pid_of_served(child);
}

intptr_t os_child_sentinel(const os_child *child)
{
    return child->exit_fd;
}

void child_free(os_child *child)
{
    for (int i = 0; i < OS_STREAMS; i++)
        stream_release(&child->stream[i]);
    fd_close(&child->exit_fd);
    fd_close(&child->lifeline);
    fd_close(&child->hold);
    free(child->dumps);
    free(child);
}

void os_child_close(os_child *child)
{
    os_child_unwatch(child);
    child_free(child);
}

/* The watcher is the parent's, too, and stays as it is. */
void os_child_let_go(os_child *child)
{
    if (child_has_others())
        child_free(child);
}
