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

/* ---- What its keeper reports ----------------------------------------------------------------- */

/* Returns the process that the lifeline kills with its group: the child, once it has armed it, before it runs any task;
 * before that the process that was executed, or 0.  Also 0 when nobody is left of the group.  The child has no
 * descriptor with which a task could change that. */
static pid_t owner_of_lifeline(const os_child *child)
{
    int owner = fcntl(child->hold, F_GETOWN);

    return owner < -1 ? -owner : 0;
}

/* What the child has marked its lifeline with, before it runs any task.  LIFE_BEGUN: it runs one, or may do so at once;
 * one that arms it later ends itself when the other end is closed already.  LIFE_ALONE: it has no keeper. */
static int marks_of(const os_child *child)
{
    int flags = fcntl(child->hold, F_GETFL);

    return flags < 0 ? 0 : flags & (LIFE_BEGUN | LIFE_ALONE);
}

/* Reads the keeper's report.  Returns XF_EAGAIN while there is none, and XF_EEND when there will be none. */
static int hear_keeper(os_child *child, keeper_news *news)
{
    ssize_t size;

    do
        size = recv(child->news, news, sizeof *news, MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size == sizeof *news)
        return 0;
    return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? XF_EAGAIN : XF_EEND;
}

static os_end judge_news(os_child *child, const keeper_news *news)
{
    siginfo_t info = info_of_status(news->pid, news->status);

    if (news->error)
        return end_of(OS_UNSTARTED, os_error(news->error, "the start of a child"), news->error);
    child->pid = news->pid;
    return judge_exit(child, &info, &news->usage);
}

/* ---- Collecting ------------------------------------------------------------------------------ */

/* Judges a child without a keeper: its main has not come to xf_main, or has threads of its own then.  A zombie still
 * holds its group's id, so this kills the descendants before it reaps the child. */
static int collect_alone(os_child *child)
{
    siginfo_t info;
    struct rusage usage;
    int rc = wait_process(child->pidfd, child->started, &info, WEXITED | WNOHANG | WNOWAIT, &usage);

    if (rc == 0 && !is_end_of_child(&info))
        return XF_EAGAIN;
    if (rc == 0) {
        siginfo_t again;
        kill(-child->started, SIGKILL);
        wait_process(child->pidfd, child->started, &again, WEXITED | WNOHANG, NULL);
    }
    if (!child->pid)
        child->pid = child->started;
    child->end = rc == 0 ? judge_exit(child, &info, &usage) : judge_stolen(child);
    return 0;
}

/* The keeper has nothing more to do, and is killed because it may have been stopped. */
static void reap_keeper(os_child *child)
{
    siginfo_t info;

    signal_process(child->pidfd, child->started, SIGKILL);
    wait_process(child->pidfd, child->started, &info, WEXITED, NULL);
}

/* The keeper reports before it ends, so its report is looked for again after it was seen to have ended. */
static int collect_own(os_child *child)
{
    keeper_news news;
    int rc = hear_keeper(child, &news);

    if (rc < 0) {
        int alone = collect_alone(child);
        return alone < 0 || hear_keeper(child, &news) < 0 ? alone : (child->end = judge_news(child, &news), 0);
    }
    reap_keeper(child);
    child->end = judge_news(child, &news);
    return 0;
}

/* A child whose keeper was killed is killed with it. */
static int collect_from_server(os_child *child)
{
    siginfo_t info;
    keeper_news news;
    int rc = hear_keeper(child, &news);

    if (rc == XF_EAGAIN)
        return rc;
    if (rc == 0) {
        child->end = judge_news(child, &news);
        return 0;
    }
    os_child_pid(child);
    if (marks_of(child) || child->killed)
        child->end = end_of(OS_KILLED, 0, SIGKILL);
    else if (server_has_reached(child->server, &info))
        child->end = end_of(OS_UNSTARTED, XF_ESYSTEM, 0);
    else
        child->end = judge_signal(child, &info); /* main has ended, or was killed, before it came to xf_main */
    return 0;
}

int os_child_end(os_child *child, os_end *end)
{
    int rc = child->ended ? 0 : child->started ? collect_own(child) : collect_from_server(child);

    if (rc < 0)
        return rc;
    child->ended = true;
    fd_close(&child->lifeline);
    *end = child->end;
    return 0;
}

/* ---- Names ----------------------------------------------------------------------------------- */

const char *os_end_name(int64_t system, const char **cause)
{
    static const char timer[] = "a timer of its own ran out, and it had no handler for the signal";
    static const struct {
        int number;
        const char *name, *cause;
    } signals[] = {
#define SIGNAL(name, cause) {name, #name, cause}
        SIGNAL(SIGHUP, ""),
        SIGNAL(SIGINT, ""),
        SIGNAL(SIGQUIT, ""),
        SIGNAL(SIGILL, ""),
        SIGNAL(SIGTRAP, ""),
        SIGNAL(SIGABRT, ""),
        SIGNAL(SIGBUS, ""),
        SIGNAL(SIGFPE, ""),
        SIGNAL(SIGKILL, ""),
        SIGNAL(SIGUSR1, ""),
        SIGNAL(SIGSEGV, ""),
        SIGNAL(SIGUSR2, ""),
        SIGNAL(SIGALRM, timer),
        SIGNAL(SIGTERM, ""),
        SIGNAL(SIGSTKFLT, ""),
        SIGNAL(SIGPROF, timer),
        SIGNAL(SIGPWR, ""),
        SIGNAL(SIGVTALRM, timer),
        SIGNAL(SIGPIPE, "it wrote to a pipe or socket that nobody reads any more"),
        SIGNAL(SIGXFSZ, "a file would have become larger than RLIMIT_FSIZE allows"),
        SIGNAL(SIGXCPU, "it computed for longer than RLIMIT_CPU allows"),
        SIGNAL(SIGSYS, "it made a system call that was forbidden to it"),
        SIGNAL(SIGIO, "a file or socket became ready, and it had no handler for the signal"),
#undef SIGNAL
    };

    *cause = "";
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (signals[i].number != system)
            continue;
        *cause = signals[i].cause;
        return signals[i].name;
    }
    return system >= SIGRTMIN && system <= SIGRTMAX ? "a real-time signal" : "";
}

/* Lets a keeper go on that somebody has stopped.  That of a child of the server is found as the child's parent. */
static void wake_keeper(const os_child *child)
{
    char path[40], line[512], *fields;
    int keeper;

    if (child->started) {
        signal_process(child->pidfd, child->started, SIGCONT);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/stat", (int)owner_of_lifeline(child));
    if (proc_is_own() && file_read_line(line, sizeof line, "%s", path) && (fields = strrchr(line, ')')) &&
        sscanf(fields, ") %*c %d", &keeper) == 1 && keeper > 1)
        kill(keeper, SIGCONT);
}

/* The kernel kills the child's group when the lifeline is closed, and its keeper whatever else there is.  A child that
 * has not begun yet ends itself when it does, so nothing has to be waited for.  The process that was started is killed
 * where it is no keeper yet, or never becomes one. */
void os_child_kill(os_child *child)
{
    int marks;

    if (child->ended)
        return;
    child->killed = true;
    fd_close(&child->lifeline);
    marks = marks_of(child);
    shutdown(child->news, marks ? SHUT_WR : SHUT_RDWR);
    if (marks == LIFE_BEGUN)
        wake_keeper(child);
    else if (child->started)
        signal_process(child->pidfd, child->started, SIGKILL);
    if (child->started && owner_of_lifeline(child) == child->started)
        kill(-child->started, SIGKILL);
}

int64_t os_child_pid(os_child *child)
{
    if (!child->pid && !child->ended && (!child->started || marks_of(child)))
        child->pid = owner_of_lifeline(child);
    return child->pid;
}

intptr_t os_child_sentinel(const os_child *child)
{
    return child->exit_fd;
}

void child_free(os_child *child)
{
    for (int i = 0; i < OS_STREAMS; i++)
        stream_release(&child->stream[i]);
    fd_close(&child->pidfd);
    fd_close(&child->news);
    fd_close(&child->lifeline);
    fd_close(&child->hold);
    server_let_go(child->server);
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
