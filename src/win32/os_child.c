/* Children: reading from them, waiting for them, their end. */
#include "base/error.h"
#include "os_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- Talking to it --------------------------------------------------------------------------- */

int os_child_read(os_child *child, int stream, void *data, size_t size, size_t *count)
{
    return stream_read(&child->stream[stream], child->ended, data, size, count);
}

/* Whether the bytes written last are in the pipe, or never will be. */
static bool outbox_is_free(os_child *child)
{
    DWORD count;

    if (child->outbox.pending &&
        (GetOverlappedResult(child->stream[OS_CHANNEL].pipe, &child->outbox.io, &count, FALSE) ||
         GetLastError() != ERROR_IO_INCOMPLETE))
        child->outbox.pending = false;
    return !child->outbox.pending;
}

/* A full pipe takes the bytes later, from the outbox. */
int os_child_write(os_child *child, const void *data, size_t size)
{
    DWORD system;

    assert(size <= OUTBOX_SIZE);
    if (!outbox_is_free(child))
        return XF_EAGAIN;
    memcpy(child->outbox.data, data, size);
    child->outbox.io = overlapped(child->outbox.event);
    if (WriteFile(child->stream[OS_CHANNEL].pipe, child->outbox.data, (DWORD)size, NULL, &child->outbox.io))
        return 0;
    system = GetLastError();
    if (system != ERROR_IO_PENDING)
        return os_error(system, "WriteFile");
    child->outbox.pending = true;
    return 0;
}

static void put_token(uint8_t *at, uint64_t token)
{
    for (int i = 0; i < OS_TOKEN_SIZE; i++)
        at[i] = (uint8_t)(token >> (8 * i));
}

int os_child_give(os_child *child, uint8_t *data, size_t size, intptr_t handle)
{
    HANDLE given;
    int rc;

    if (!DuplicateHandle(GetCurrentProcess(), (HANDLE)handle, child->process, &given, 0, FALSE, DUPLICATE_SAME_ACCESS))
        return WaitForSingleObject(child->process, 0) == WAIT_OBJECT_0 ? XF_EEND
                                                                       : os_error(GetLastError(), "DuplicateHandle");
    put_token(data + OS_TOKEN_AT, (uintptr_t)given);
    rc = os_child_write(child, data, size);
    if (rc < 0)
        DuplicateHandle(child->process, given, NULL, NULL, 0, FALSE, DUPLICATE_CLOSE_SOURCE);
    return rc;
}

/* The child left its handle open for us to take; handles have 32 significant bits, and those that are negative stand
 * for the caller's own process and thread. */
int os_child_take(os_child *child, uint64_t token, intptr_t *handle)
{
    HANDLE taken;

    if (token == 0 || token > INT32_MAX ||
        !DuplicateHandle(child->process, (HANDLE)(uintptr_t)token, GetCurrentProcess(), &taken, 0, FALSE,
                         DUPLICATE_SAME_ACCESS | DUPLICATE_CLOSE_SOURCE))
        return GetLastError() == ERROR_NO_SYSTEM_RESOURCES ? os_error(GetLastError(), "DuplicateHandle")
                                                           : error_detail(XF_EPROTO, "no segment came with the frame");
    *handle = (intptr_t)taken;
    return 0;
}

/* What is waited for: the streams, unless one is ready already, and the process. */
static DWORD list_handles(os_child *child, HANDLE *handles, bool *ready)
{
    DWORD count = 0;

    *ready = false;
    for (int i = 0; i < OS_STREAMS; i++) {
        if (stream_ready(&child->stream[i]))
            *ready = true;
        else if (child->stream[i].pipe && !child->stream[i].told)
            handles[count++] = child->stream[i].event;
    }
    if (!child->ended)
        handles[count++] = child->process;
    if (!child->ended && child->dump_asked)
        handles[count++] = child->dump_asked;
    return count;
}

/* A stream's event is set a little early now and then; only what the stream says counts. */
int os_child_wait(os_child *child, int timeout_ms)
{
    uint64_t deadline = GetTickCount64() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
    HANDLE handles[OS_STREAMS + 2];
    DWORD count, left, signalled;
    bool ready;

    for (;;) {
        uint64_t now = GetTickCount64();
        count = list_handles(child, handles, &ready);
        if (ready || count == 0)
            return 0;
        left = timeout_ms < 0 ? INFINITE : now < deadline ? (DWORD)(deadline - now) : 0;
        signalled = WaitForMultipleObjects(count, handles, FALSE, left);
        if (signalled == WAIT_TIMEOUT)
            return XF_ETIMEDOUT;
        if (signalled == WAIT_FAILED)
            return os_error(GetLastError(), "WaitForMultipleObjects");
        if (handles[signalled - WAIT_OBJECT_0] == child->process ||
            handles[signalled - WAIT_OBJECT_0] == child->dump_asked)
            return 0;
    }
}

/* ---- Its end --------------------------------------------------------------------------------- */

enum { KILL_CODE = ERROR_PROCESS_ABORTED };

/* The xf_crash that an exit code stands for, or -1.  What ends by abort() or by SIGSEGV on POSIX is named so here. */
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
    case 0xE06D7363: /* a C++ exception that nobody caught */
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

/* Exit codes are no proof: TerminateProcess gives any, closing a job 0.  Of an end before the note was armed there is
 * nothing else. */
static os_end judge_code(const os_child *child, DWORD code)
{
    int noted = atomic_load(&child->note->crash) - 1;
    int crash = noted >= 0 && noted <= XF_CRASH_TRAP ? noted : crash_of_code(code);

    if (crash >= 0)
        return end_of(OS_CRASHED, crash, code);
    if (atomic_load(&child->note->leaving) || (!atomic_load(&child->note->armed) && code != KILL_CODE))
        return end_of(OS_EXITED, (int)code, code);
    return end_of(OS_KILLED, 0, code);
}

static os_end judge(const os_child *child, DWORD code)
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
        child->end = judge(child, code);
        child->ended = true;
    }
    *end = child->end;
    return 0;
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
    DWORD count;

    if (child->outbox.pending) {
        CancelIoEx(child->stream[OS_CHANNEL].pipe, &child->outbox.io);
        GetOverlappedResult(child->stream[OS_CHANNEL].pipe, &child->outbox.io, &count, TRUE);
    }
    for (int i = 0; i < OS_STREAMS; i++)
        stream_close(&child->stream[i]);
    handle_close(&child->outbox.event);
    handle_close(&child->process);
    handle_close(&child->job);
    handle_close(&child->dump_asked);
    handle_close(&child->news);
    free(child);
}

void os_child_close(os_child *child)
{
    os_child_unwatch(child);
    child_free(child);
}
