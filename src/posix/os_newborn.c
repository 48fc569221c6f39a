/* What a new child does to itself before it runs anything of the program's. */
#include "os_private.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Its group, streams and descriptors ------------------------------------------------------ */

/* When the pipe hangs up, Linux sends the signal of F_SETSIG to the whole group, also to processes that block every
 * signal or never make a system call: fcntl(2), F_SETOWN and F_SETSIG.  All that belongs to the open file, which lives
 * as long as any process has a descriptor of it: the parent's is enough. */
void child_arm_lifeline(int end, pid_t leader)
{
    fcntl(end, F_SETSIG, SIGKILL);
    fcntl(end, F_SETOWN, -leader);
    fcntl(end, F_SETFL, O_ASYNC);
}

/* A child that had a descriptor of the open file could change what the parent's descriptor does, too. */
void child_tie_life(int lifeline, const os_status *status)
{
    struct pollfd hangup = {.fd = lifeline};

    child_arm_lifeline(lifeline, getpid());
    if (poll(&hangup, 1, 0) > 0)
        kill(getpid(), SIGKILL);
    if (status->held)
        close(lifeline);
}

void child_settle(child_fds *fds, const os_status *status)
{
    setpgid(0, 0);
    child_tie_life(fds->lifeline, status);
    fds->lifeline = -1;
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] != i)
            dup2(fds->stdio[i], i);
    if (fds->directory >= 0 && fchdir(fds->directory) < 0)
        _exit(1);
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
    const int kept[] = {fds->stdio[0], fds->stdio[1], fds->stdio[2],  fds->directory, fds->channel,
                        fds->lifeline, fds->box,      fds->inputs[0], fds->inputs[1]};
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

void child_reset_signals(void)
{
    for (int number = 1; number < NSIG; number++)
        if (!crash_is_fault(number))
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
