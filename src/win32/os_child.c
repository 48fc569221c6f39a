/* Children: waiting for them, and finding out how they ended. */
#include "base/clock.h"
#include "os_private.h"

#include <stdlib.h>

os_channel *os_child_channel(os_child *child, int stream)
{
    return &child->stream[stream];
}

/* Lists what to wait for: the process, and the streams, unless one of these is ready already. */
static DWORD list_handles(os_child *child, HANDLE *handles, bool *ready)
{
    DWORD count = 0;

    *ready = false;
    for (int i = 0; i < OS_STREAMS; i++) {
        if (stream_ready(&child->stream[i]))
            *ready = true;
        else if (child->stream[i].pipe && !child->stream[i].ended)
            handles[count++] = child->stream[i].event;
    }
    if (!child->ended)
        handles[count++] = child->process;
    if (!child->ended && child->dump_asked)
        handles[count++] = child->dump_asked;
    return count;
}

/* Waits for an event, and then asks the stream, because the event of a stream is sometimes set a little early. */
int os_child_wait(os_child *child, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    HANDLE handles[OS_STREAMS + 2];
    DWORD count;
    bool ready;
    int signalled;

    for (;;) {
        count = list_handles(child, handles, &ready);
        if (ready || count == 0)
            return 0;
        signalled = handles_wait(handles, count, deadline);
        if (signalled < 0)
            return signalled;
        if (handles[signalled] == child->process || handles[signalled] == child->dump_asked)
            return 0;
    }
}

/* ---- Its end --------------------------------------------------------------------------------- */

enum { KILL_CODE = ERROR_PROCESS_ABORTED };

/* The xf_crash that an exit code stands for, or -1.  It is named after the signal that the same fault raises on
 * POSIX. */
static int crash_of_code(DWORD code)
{
    switch (code) {
    case EXCEPTION_ACCESS_VIOLATION:
    case EXCEPTION_IN_PAGE_ERROR:
    case EXCEPTION_DATATYPE_MISALIGNMENT:
    case EXCEPTION_GUARD_PAGE:
    case EXCEPTION_PRIV_INSTRUCTION:
        return XF_CRASH_ACCESS;
    case EXCEPTION_STACK_OVERFLOW:
        return XF_CRASH_STACK_OVERFLOW;
    case EXCEPTION_ILLEGAL_INSTRUCTION:
        return XF_CRASH_ILLEGAL;
    case EXCEPTION_INT_DIVIDE_BY_ZERO:
    case EXCEPTION_INT_OVERFLOW:
    case EXCEPTION_FLT_DENORMAL_OPERAND:
    case EXCEPTION_FLT_DIVIDE_BY_ZERO:
    case EXCEPTION_FLT_INEXACT_RESULT:
    case EXCEPTION_FLT_INVALID_OPERATION:
    case EXCEPTION_FLT_OVERFLOW:
    case EXCEPTION_FLT_STACK_CHECK:
    case EXCEPTION_FLT_UNDERFLOW:
        return XF_CRASH_DIVIDE;
    case EXCEPTION_BREAKPOINT:
    case EXCEPTION_SINGLE_STEP:
        return XF_CRASH_TRAP;
    case 0x40000015: /* STATUS_FATAL_APP_EXIT: abort() */
    case 0xC0000409: /* STATUS_STACK_BUFFER_OVERRUN: abort(), and every other __fastfail */
    case 0xC0000602: /* STATUS_FAIL_FAST_EXCEPTION */
    case 0xC0000374: /* STATUS_HEAP_CORRUPTION */
    case 0xE06D7363: /* a C++ exception that nothing caught */
        return XF_CRASH_ABORT;
    case STATUS_CONTROL_C_EXIT:
        return -1;
    default:
        return code >> 28 == 0xC ? (int)XF_CRASH_OTHER : -1;
    }
}

static os_end end_of(os_end_kind kind, int code, DWORD system)
{
    return (os_end){.kind = kind, .code = code, .system = system};
}

/* Judges by the status block and the exit code.  The exit code alone proves nothing: TerminateProcess sets any, and
 * closing a job sets 0.  If the child ended before the status block was armed, there is only the exit code. */
static os_end judge_code(const os_child *child, DWORD code)
{
    int noted = (int)((unsigned)atomic_load(&child->status->crash) - 1);
    int crash = noted >= 0 && noted <= XF_CRASH_TRAP ? noted : crash_of_code(code);

    if (crash >= 0)
        return end_of(OS_CRASHED, crash, code);
    if (atomic_load(&child->status->leaving) || (!atomic_load(&child->status->armed) && code != KILL_CODE))
        return end_of(OS_EXITED, (int)code, code);
    return end_of(OS_KILLED, 0, code);
}

static os_end judge_exit(const os_child *child, DWORD code)
{
    os_end end = judge_code(child, code);

    limit_judge(child, &end);
    return end;
}

int os_child_end(os_child *child, os_end *end)
{
    DWORD code = 0;

    if (!child->ended) {
        if (WaitForSingleObject(child->process, 0) != WAIT_OBJECT_0)
            return XF_EAGAIN;
        GetExitCodeProcess(child->process, &code);
        TerminateJobObject(child->job, KILL_CODE);
        child->end = judge_exit(child, code);
        child->ended = true;
        for (int i = 0; i < OS_STREAMS; i++)
            child->stream[i].writer_has_ended = true;
    }
    *end = child->end;
    return 0;
}

/* ---- Names ----------------------------------------------------------------------------------- */

const char *os_end_name(int64_t system, const char **cause)
{
    static const struct {
        DWORD code;
        const char *name, *cause;
    } exceptions[] = {
#define EXCEPTION(name, cause) {(DWORD)name, #name, cause}
        EXCEPTION(EXCEPTION_ACCESS_VIOLATION, ""),
        EXCEPTION(EXCEPTION_IN_PAGE_ERROR, ""),
        EXCEPTION(EXCEPTION_STACK_OVERFLOW, ""),
        EXCEPTION(EXCEPTION_ILLEGAL_INSTRUCTION, ""),
        EXCEPTION(EXCEPTION_INT_DIVIDE_BY_ZERO, ""),
        EXCEPTION(EXCEPTION_BREAKPOINT, ""),
        EXCEPTION(EXCEPTION_INVALID_HANDLE, "it used a handle that was none"),
        EXCEPTION(EXCEPTION_NONCONTINUABLE_EXCEPTION, "a handler continued after a fatal exception"),
#undef EXCEPTION
        {0xC0000374, "STATUS_HEAP_CORRUPTION", "its heap was damaged"},
        {0xC0000409, "STATUS_STACK_BUFFER_OVERRUN", "the C library, or a check that the compiler put in, ended it"},
        {0xC0000602, "STATUS_FAIL_FAST_EXCEPTION", "it ended itself by RaiseFailFastException"},
        {0xC0000135, "STATUS_DLL_NOT_FOUND", "a library that it needs was not found"},
        {0xC0000142, "STATUS_DLL_INIT_FAILED", "a library that it needs could not be initialized"},
        {0xE06D7363, "a C++ exception", "nothing caught an exception of C++"},
    };

    *cause = "";
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++) {
        if (exceptions[i].code != (uint64_t)system)
            continue;
        *cause = exceptions[i].cause;
        return exceptions[i].name;
    }
    return "";
}

void os_child_kill(os_child *child)
{
    TerminateJobObject(child->job, KILL_CODE);
}

int64_t os_child_pid(os_child *child)
{
    return child->pid;
}

intptr_t os_child_sentinel(const os_child *child)
{
    return (intptr_t)child->process;
}

void child_free(os_child *child)
{
    for (int i = 0; i < OS_STREAMS; i++)
        stream_release(&child->stream[i]);
    handle_close(&child->process);
    handle_close(&child->job);
    handle_close(&child->dump_asked);
    free(child);
}

void os_child_close(os_child *child)
{
    os_child_unwatch(child);
    child_free(child);
}

void os_child_let_go(os_child *child)
{
    os_child_close(child);
}
