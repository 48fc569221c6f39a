/* What a new child does to itself before it runs anything of the program's. */
#include "os_private.h"

static struct {
    os_status *status; /* NULL: this process is not a child */
    DWORD exit_slot;
} newborn = {.exit_slot = FLS_OUT_OF_INDEXES};

/* ---- Its end by exit() ----------------------------------------------------------------------- */

void child_mark_leaving(void)
{
    if (newborn.status)
        atomic_store(&newborn.status->leaving, 1);
}

static bool process_is_ending(void)
{
    typedef BOOLEAN(WINAPI * question)(void);
    question shutting_down =
        (question)(void (*)(void))GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "RtlDllShutdownInProgress");

    return shutting_down && shutting_down();
}

static void on_exit_in_task(void)
{
    if (atomic_load(&newborn.status->leaving))
        return;
    crash_record_exit();
    child_mark_leaving();
}

static void CALLBACK on_thread_storage_end(void *value)
{
    (void)value;
    if (process_is_ending())
        on_exit_in_task();
}

/* The system calls this when a thread begins, and when the process ends by ExitProcess, which exit() calls; it does not
 * for TerminateProcess nor for a fault.  Wine does not call it at the end of a process, but frees the local storage of
 * the thread that calls ExitProcess; so each thread has such storage. */
static void WINAPI on_thread_or_exit(void *module, DWORD reason, void *reserved)
{
    (void)module, (void)reserved;
    if (!newborn.status)
        return;
    if (reason == DLL_PROCESS_DETACH)
        on_exit_in_task();
    if (reason == DLL_THREAD_ATTACH) {
        crash_guarantee_stack();
        FlsSetValue(newborn.exit_slot, newborn.status);
    }
}

#ifdef _MSC_VER
#pragma comment(linker, "/INCLUDE:_tls_used")
#pragma comment(linker, "/INCLUDE:on_thread_or_exit_hook")
#pragma const_seg(".CRT$XLD")
extern const PIMAGE_TLS_CALLBACK on_thread_or_exit_hook;
const PIMAGE_TLS_CALLBACK on_thread_or_exit_hook = on_thread_or_exit;
#pragma const_seg()
#else
static const PIMAGE_TLS_CALLBACK on_thread_or_exit_hook __attribute__((section(".CRT$XLD"), used)) = on_thread_or_exit;
#endif

os_status *child_status(void)
{
    return newborn.status;
}

void child_take_status(os_status *status, size_t size)
{
    newborn.status = status;
    crash_take_status(status, size);
    status->image = (uintptr_t)&__ImageBase;
    newborn.exit_slot = FlsAlloc(on_thread_storage_end);
    FlsSetValue(newborn.exit_slot, status);
    atomic_store(&status->armed, 1);
}

/* ---- Interrupts and dialogs ------------------------------------------------------------------ */

static BOOL WINAPI ignore_interrupts(DWORD event)
{
    return event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT;
}

/* Turns dialogs off, keeps Ctrl-C from ending the child, and makes ends readable from the status block. */
void child_get_ready(void)
{
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
    SetConsoleCtrlHandler(ignore_interrupts, TRUE);
    child_catch_faults();
}
