/* A child leaves a record of where it is when an exception is not handled, at abort(), and when the task calls exit().
 *
 * This file and os_record.c run in an exception filter of a process whose heap and locks may be in any state.  So they
 * allocate nothing and take no lock of their own, and leave everything else to the parent. */
#include "os_private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { STACK_GUARANTEE = 16384, FATAL_APP_EXIT = 0x40000015 };

static struct {
    os_status *status; /* NULL: this process is not a child */
    os_record *record; /* NULL: nothing is recorded */
    LPTOP_LEVEL_EXCEPTION_FILTER previous;
    HANDLE main_thread;
} guard;

/* ---- The record ------------------------------------------------------------------------------ */

/* Whether this thread is to write the record.  A thread that crashes while another writes the record waits for that one
 * a little, so that it does not end the process in the middle.  A thread that crashes again while it writes is not
 * delayed. */
static bool begin_record(os_record *record)
{
    os_record_head *head = &record->head;
    enum { PATIENCE_MS = 500 };

    if (twins_claim_record(head)) {
        head->thread = GetCurrentThreadId();
        record->frame_count = 0;
        return true;
    }
    for (int i = 0; i < PATIENCE_MS && atomic_load(&head->state) == OS_RECORD_BEGUN &&
                    head->thread != (int64_t)GetCurrentThreadId();
         i++)
        Sleep(1);
    return false;
}

/* The errno of the thread's last failure; ENOMEM when the system's last error was a lack of memory. */
static int last_failure(void)
{
    DWORD system = GetLastError();

    return system == ERROR_NOT_ENOUGH_MEMORY || system == ERROR_OUTOFMEMORY || system == ERROR_COMMITMENT_LIMIT ? ENOMEM
                                                                                                                : errno;
}

static void fill_record(DWORD code, uint64_t address, const CONTEXT *context)
{
    os_record_head *head = &guard.record->head;

    head->error = last_failure();
    head->system = (int32_t)code;
    head->detail = 0;
    head->fault_address = address;
    record_registers(head, context);
    record_stack(guard.record, context);
    atomic_store(&head->state, OS_RECORD_WHOLE);
}

static void write_record(DWORD code, uint64_t address, const CONTEXT *context)
{
    if (begin_record(guard.record))
        fill_record(code, address, context);
}

/* The context is of the function that is to be the stack's first. */
static void record_context(DWORD code, const CONTEXT *context)
{
    limit_mark_refused(guard.status, last_failure());
    if (guard.record)
        write_record(code, 0, context);
}

static void record_exception(const EXCEPTION_POINTERS *exception)
{
    const EXCEPTION_RECORD *what = exception->ExceptionRecord;
    bool has_address = what->ExceptionCode == EXCEPTION_ACCESS_VIOLATION && what->NumberParameters >= 2;

    limit_mark_refused(guard.status, last_failure());
    if (guard.record)
        write_record(what->ExceptionCode, has_address ? what->ExceptionInformation[1] : 0, exception->ContextRecord);
}

void crash_record_exit(void)
{
    CONTEXT context;

    RtlCaptureContext(&context);
    record_context(0, &context);
}

/* Records the main thread from another thread.  The main thread may hold any lock, so while it is suspended, nothing is
 * called that takes one of the process's locks. */
DWORD WINAPI crash_record_main(void *unused)
{
    CONTEXT context = {.ContextFlags = CONTEXT_FULL};
    bool done = false;

    (void)unused;
    if (!guard.main_thread || SuspendThread(guard.main_thread) == (DWORD)-1)
        return 0;
    if (GetThreadContext(guard.main_thread, &context) && begin_record(guard.record)) {
        fill_record(0, 0, &context);
        done = true;
    }
    ResumeThread(guard.main_thread);
    return done;
}

void crash_take_status(os_status *status, size_t size)
{
    guard.status = status;
    if (status->record_at > 0 && size >= sizeof(os_record) && status->record_at <= size - sizeof(os_record))
        guard.record = (os_record *)((char *)status + status->record_at);
    if (guard.record)
        guard.main_thread = OpenThread(THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT, FALSE, GetCurrentThreadId());
}

/* ---- Crashes --------------------------------------------------------------------------------- */

static _Noreturn void end_by_crash(xf_crash crash, DWORD code)
{
    atomic_store(&guard.status->crash, (int32_t)crash + 1);
    TerminateProcess(GetCurrentProcess(), code);
    abort();
}

/* Lets the parent write a minidump of this process as it is now, if the parent wants one. */
static void await_dump(const EXCEPTION_POINTERS *exception)
{
    enum { PATIENCE_MS = 10000 };

    if (!guard.record || !guard.status->dump_event)
        return;
    guard.status->exception = (uintptr_t)exception;
    SetEvent((HANDLE)(uintptr_t)guard.status->dump_event);
    for (int i = 0; i < PATIENCE_MS && !atomic_load(&guard.status->dumped); i++)
        Sleep(1);
}

static _Noreturn void end_by_overflow(EXCEPTION_POINTERS *exception)
{
    record_exception(exception);
    await_dump(exception);
    end_by_crash(XF_CRASH_STACK_OVERFLOW, EXCEPTION_STACK_OVERFLOW);
}

/* Continues on a stack of our own, because Wine leaves only one page of the thread's stack, whatever
 * SetThreadStackGuarantee has asked for. */
static void leave_stack(EXCEPTION_POINTERS *exception)
{
#if defined(__x86_64__) || defined(_M_X64)
    static _Alignas(16) char stack[65536];
    static CONTEXT next;

    RtlCaptureContext(&next);
    next.Rip = (uintptr_t)end_by_overflow;
    next.Rcx = (uintptr_t)exception;
    next.Rsp = (uintptr_t)stack + sizeof stack - 64 - 8; /* as after a call: room for registers, and a return address */
    RtlRestoreContext(&next, NULL);
#endif
    end_by_overflow(exception);
}

/* Ends this process at a stack overflow, because some systems would end the thread only, or use exit code 0.  Handlers
 * that the program has installed run before this one. */
static LONG CALLBACK on_exception(EXCEPTION_POINTERS *exception)
{
    if (exception->ExceptionRecord->ExceptionCode == EXCEPTION_STACK_OVERFLOW)
        leave_stack(exception);
    return EXCEPTION_CONTINUE_SEARCH;
}

/* Called when no handler has taken the exception.  The filter that the program had set before still runs, and may
 * handle the exception. */
static LONG WINAPI on_unhandled(EXCEPTION_POINTERS *exception)
{
    LONG answer = EXCEPTION_CONTINUE_SEARCH;

    record_exception(exception);
    if (guard.previous)
        answer = guard.previous(exception);
    if (answer != EXCEPTION_CONTINUE_EXECUTION)
        await_dump(exception);
    else if (guard.record)
        atomic_store(&guard.record->head.state, OS_RECORD_STALE);
    return answer;
}

/* Recorded is the caller, in the C library: the stack shows nothing of this function. */
static void on_abort(int number)
{
    CONTEXT context;

    (void)number;
    RtlCaptureContext(&context);
    record_step(&context);
    record_context(FATAL_APP_EXIT, &context);
    await_dump(NULL);
    end_by_crash(XF_CRASH_ABORT, FATAL_APP_EXIT);
}

void crash_guarantee_stack(void)
{
    ULONG size = STACK_GUARANTEE;

    SetThreadStackGuarantee(&size);
}

void child_catch_faults(void)
{
    void (*before)(int);

    AddVectoredExceptionHandler(0, on_exception);
    guard.previous = SetUnhandledExceptionFilter(on_unhandled);
    crash_guarantee_stack();
    _set_error_mode(_OUT_TO_STDERR);
#if defined(_UCRT) || defined(_MSC_VER)
    _set_abort_behavior(0, _WRITE_ABORT_MSG | _CALL_REPORTFAULT);
#endif
    before = signal(SIGABRT, on_abort);
    if (before != SIG_DFL && before != SIG_ERR)
        signal(SIGABRT, before); /* a handler that the program set before it came here stays */
}
