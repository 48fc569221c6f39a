/* Stops a process after so many instructions of the program, and kills it there (Linux). */
#ifndef SINGLE_STEP_H
#define SINGLE_STEP_H

#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

/* Waits until the process stops, or exits with 0; true when it has stopped. */
static inline bool await_stop(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSTOPPED(status);
}

/* The linker's names for the begin of this program, with the library in it, and for the end of its code. */
extern const char __executable_start[], etext[];

static inline bool is_in_program(pid_t pid)
{
#ifdef __x86_64__
    errno = 0;
    uintptr_t at = (uintptr_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), NULL);
    assert_int_equal(errno, 0);
    return at >= (uintptr_t)__executable_start && at < (uintptr_t)etext;
#else
    (void)pid;
    return true;
#endif
}

/* Lets the process run for so many instructions; false when it ended before. */
static inline bool step(pid_t pid, int steps)
{
    while (steps > 0) {
        assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        if (!await_stop(pid))
            return false;
        steps -= is_in_program(pid);
    }
    return true;
}

/* The same, and then kills the process. */
static inline bool step_and_kill(pid_t pid, int steps)
{
    if (!step(pid, steps))
        return false;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return true;
}

/* Returns how many steps to go on.  Each run repeats all steps before, so long runs leave some steps out.  A loop over
 * entries of a list leaves out other steps of each entry. */
static inline int stride(int steps)
{
    enum { EACH = 200, SOME = 7 };

    return steps < EACH ? 1 : SOME;
}

#endif
