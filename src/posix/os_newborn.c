/* What a new child does to itself before it runs anything of the program's. */
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Its keeper ------------------------------------------------------------------------------ */

/* A new process forks once more: it stays as the keeper of the process that runs the program's code.  What that process
 * starts becomes the keeper's when its own parent ends (PR_SET_CHILD_SUBREAPER), whatever groups and sessions it makes,
 * so the keeper can kill all of it.  The keeper runs nothing of the program's, and has no descriptor but one. */

static void on_keeper_child(int number)
{
    (void)number; /* the signal only interrupts ppoll */
}

void keeper_tell(int socket, const keeper_news *news)
{
    send(socket, news, sizeof *news, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(socket);
}

_Noreturn void child_refuse(int news, int error)
{
    keeper_news refusal = {.error = error};

    keeper_tell(news, &refusal);
    _exit(1);
}

/* Waits for whatever has ended.  Returns whether the child has.  It is wait4, and not waitid, which tells no usage. */
static bool keeper_reap(keeper_news *news)
{
    struct rusage usage;
    int status;
    pid_t pid;

    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0 && pid != news->pid)
        continue;
    if (pid == news->pid) {
        news->status = status;
        news->usage = usage;
    }
    return pid == news->pid || (pid < 0 && errno == ECHILD);
}

/* Kills the processes whose ids are in that text, which ends with a space.  Returns how many it could kill. */
static int keeper_kill_listed(const char *text, size_t size)
{
    int count = 0;
    pid_t pid = 0;

    for (size_t i = 0; i < size; i++)
        if (text[i] >= '0' && text[i] <= '9') {
            pid = 10 * pid + (text[i] - '0');
        } else if (pid) {
            count += kill(pid, SIGKILL) == 0;
            pid = 0;
        }
    return count;
}

/* Kills the keeper's own children, as the kernel lists them: proc(5), children.  Returns how many it could kill. */
static int keeper_kill_children(void)
{
    static char list[65536];
    size_t size = 0;
    ssize_t got = 1;
    int fd = proc_is_own() ? open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return 0;
    while (size < sizeof list && (got = read(fd, list + size, sizeof list - size)) > 0)
        size += (size_t)got;
    close(fd);
    return keeper_kill_listed(list, size);
}

/* Kills and reaps what the child has left.  When one of these ends, its children become the keeper's in their turn.
 * The kernel's list may lack some while others end, so it has to be empty several times.  A process that cannot be
 * killed, or does not end for a while, is left. */
static void keeper_clear(const sigset_t *open)
{
    enum { ROUNDS = 1000, IDLE_ROUNDS = 20 };
    const struct timespec patience = {.tv_nsec = 1000000};
    pid_t pid = 1;

    for (int round = 0, idle = 0; round < ROUNDS && idle < IDLE_ROUNDS; round++) {
        while ((pid = wait4(-1, NULL, WNOHANG, NULL)) > 0)
            continue;
        if (pid < 0)
            return;
        idle = keeper_kill_children() > 0 ? 0 : idle + 1;
        ppoll(NULL, 0, &patience, open);
    }
}

static _Noreturn void keeper_run(int socket, keeper_news *news)
{
    struct pollfd asked = {.fd = socket, .events = POLLIN};
    sigset_t open;

    child_close_range(0, (unsigned)socket - 1);
    child_close_range((unsigned)socket + 1, ~0U);
    prctl(PR_SET_NAME, "crossfork-keep");
    sigfillset(&open);
    sigdelset(&open, SIGCHLD);
    while (!keeper_reap(news))
        if (ppoll(&asked, 1, NULL, &open) > 0) {
            kill(news->pid, SIGKILL);
            asked.fd = -1;
        }
    keeper_clear(&open);
    keeper_tell(socket, news);
    _exit(0);
}

/* The child that is killed with its keeper could change that, but only if its task means to. */
static void child_follow_keeper(pid_t keeper)
{
    setpgid(0, 0);
    child_reset_signal(SIGCHLD);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != keeper)
        _exit(1);
}

/* In a process that was forked, fork handlers have run.  They are not to run once more: libuv's would close descriptors
 * that the first run of it has made, of which some may be standard streams where the program has closed its own. */
static pid_t divide(bool was_forked)
{
#ifdef XF_BARE_FORK
    return was_forked ? _Fork() : fork();
#else
    (void)was_forked;
    return fork();
#endif
}

void child_divide(child_fds *fds, bool was_forked)
{
    struct sigaction action = {.sa_handler = on_keeper_child}; /* who ignores SIGCHLD, learns of no end */
    pid_t keeper = getpid();
    keeper_news news = {0};
    sigset_t all, before;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    sigaction(SIGCHLD, &action, NULL);
    setpgid(0, 0); /* what kills the server's group is not to kill the keeper */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    news.pid = divide(was_forked);
    if (news.pid > 0)
        keeper_run(fds->news, &news);
    if (news.pid < 0)
        child_refuse(fds->news, errno);
    child_follow_keeper(keeper);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* ---- Its streams and descriptors ------------------------------------------------------ */

/* When the pipe hangs up, Linux sends the signal of F_SETSIG to the whole group, also to processes that block every
 * signal or never make a system call: fcntl(2), F_SETOWN and F_SETSIG.  All that belongs to the open file, which lives
 * as long as any process has a descriptor of it: the parent's is enough. */
void child_arm_lifeline(int end, pid_t leader, int marks)
{
    fcntl(end, F_SETSIG, SIGKILL);
    fcntl(end, F_SETOWN, -leader);
    fcntl(end, F_SETFL, O_ASYNC | marks);
}

/* A child that had a descriptor of the open file could change what the parent's descriptor does, too. */
void child_tie_life(int lifeline, bool is_alone)
{
    struct pollfd hangup = {.fd = lifeline};

    child_arm_lifeline(lifeline, getpid(), is_alone ? LIFE_BEGUN | LIFE_ALONE : LIFE_BEGUN);
    if (poll(&hangup, 1, 0) > 0)
        kill(getpid(), SIGKILL);
    close(lifeline);
}

void child_settle(child_fds *fds)
{
    child_tie_life(fds->lifeline, false);
    fds->lifeline = -1;
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] != i)
            dup2(fds->stdio[i], i);
    if (fds->directory >= 0 && fchdir(fds->directory) < 0)
        child_refuse(fds->news, errno);
    fd_close(&fds->news);
}

void child_close_range(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
        return;
    for (unsigned fd = first; fd <= last && fd < (unsigned)sysconf(_SC_OPEN_MAX); fd++) /* Linux before 5.9 */
        close((int)fd);
}

static bool others_closed;

void child_close_others(const child_fds *fds)
{
    const int kept[] = {fds->stdio[0], fds->stdio[1], fds->stdio[2], fds->directory, fds->channel,
                        fds->lifeline, fds->box,      fds->news,     fds->inputs[0], fds->inputs[1]};
    int next = 3;

    others_closed = true;
    for (;;) {
        int lowest = -1;
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            if (kept[i] >= next && (lowest < 0 || kept[i] < lowest))
                lowest = kept[i];
        if (lowest < 0)
            break;
        child_close_range((unsigned)next, (unsigned)lowest - 1);
        next = lowest + 1;
    }
    child_close_range((unsigned)next, ~0U);
}

bool child_has_others(void)
{
    return !others_closed;
}

/* ---- Streams --------------------------------------------------------------------------------- */

#ifdef XF_STREAM_LIST
extern FILE *_IO_list_all; /* glibc's list of all open streams */

void child_drop_pending(void)
{
    for (FILE *stream = _IO_list_all; stream; stream = stream->_chain)
        if (fileno_unlocked(stream) >= 0)
            __fpurge(stream);
}
#else
void child_drop_pending(void)
{
    __fpurge(stdin);
    __fpurge(stdout);
    __fpurge(stderr);
}
#endif

/* ---- Signals --------------------------------------------------------------------------------- */

/* Makes the system call itself, which takes half as long as the C library's function; there are many signals.  A struct
 * of zeros means SIG_DFL without flags, whatever the order of the kernel's members. */
void child_reset_signal(int number)
{
    static const char standard[64];

    syscall(SYS_rt_sigaction, number, standard, NULL, _NSIG / 8);
}

/* The first real-time signals are the C library's, which cancels threads by them, and has each thread change the user:
 * it sets their handlers once, before the first thread starts, and a child that loses them would die of the signals. */
static bool is_of_threads(int number)
{
    enum { FIRST_REAL_TIME = 32 }; /* the kernel's */

    return number >= FIRST_REAL_TIME && number < SIGRTMIN;
}

void child_reset_signals(void)
{
    for (int number = 1; number < NSIG; number++)
        if (!crash_is_fault(number) && !is_of_threads(number))
            child_reset_signal(number);
    crash_reset_faults();
    signal(SIGTTIN, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
}

void child_list_terminal_stops(sigset_t *stops)
{
    sigemptyset(stops);
    sigaddset(stops, SIGTTIN);
    sigaddset(stops, SIGTTOU);
}

/* ---- Leaving a task by exit ------------------------------------------------------------------ */

static _Noreturn void newborn_leave(int code)
{
    crash_record_exit();
    fflush(stdout);
    fflush(stderr);
    _exit(code);
}

/* A handler that is registered here runs before those that were registered earlier, and does not return, so they do not
 * run. */
#ifdef XF_ON_EXIT
static void newborn_leave_by_exit(int code, void *arg)
{
    (void)arg;
    newborn_leave(code);
}

void child_catch_exit(void)
{
    on_exit(newborn_leave_by_exit, NULL);
}
#else
/* Handlers of atexit do not get the exit code.  So the linker leads calls of exit() here (its option --wrap).  It does
 * not lead calls from shared libraries here, nor the C library's own where the last thread ends: the code is 0 then. */
static _Atomic int exit_code;

_Noreturn void __real_exit(int code);
XF_API _Noreturn void __wrap_exit(int code);

_Noreturn void __wrap_exit(int code)
{
    exit_code = code;
    __real_exit(code);
}

static void newborn_leave_by_exit(void)
{
    newborn_leave(exit_code);
}

void child_catch_exit(void)
{
    atexit(newborn_leave_by_exit);
}
#endif
