/* Stops a child for a moment, to record where it is. */
#include "base/error.h"
#include "os_private.h"

/* The address that a function of this process has in the child.  The child runs the same program or DLL, so the
 * function has the same offset there. */
static LPTHREAD_START_ROUTINE in_child(const os_child *child, LPTHREAD_START_ROUTINE function)
{
    uintptr_t offset = (uintptr_t)function - (uintptr_t)&__ImageBase;

    return (LPTHREAD_START_ROUTINE)((uintptr_t)child->status->image + offset);
}

/* Runs a thread of our own in the child, which suspends the main thread and records it.  So the stack is walked in the
 * child by the code that does so after a crash. */
static int run_in_child(const os_child *child, os_record_head *head)
{
    enum { PATIENCE_MS = 2000 };
    HANDLE thread = CreateRemoteThread(child->process, NULL, 0, in_child(child, crash_record_main), NULL, 0, NULL);
    DWORD waited, code = 0;

    if (!thread)
        return os_error(GetLastError(), "CreateRemoteThread");
    waited = WaitForSingleObject(thread, PATIENCE_MS);
    if (waited == WAIT_OBJECT_0)
        GetExitCodeThread(thread, &code);
    CloseHandle(thread);
    if (waited != WAIT_OBJECT_0)
        return error_detail(XF_ETIMEDOUT, "the child's main thread does not stop");
    return code && atomic_load(&head->state) == OS_RECORD_WHOLE
               ? 0
               : error_detail(XF_ESTATE, "the child is crashing, or cannot record where it is");
}

int os_child_snapshot(os_child *child)
{
    if (!child->record || !child->status->image)
        return error_detail(XF_ESTATE, "this child has no room for a record");
    if (child->ended || WaitForSingleObject(child->process, 0) == WAIT_OBJECT_0)
        return error_detail(XF_EEND, "the child is not running");
    return run_in_child(child, child->record);
}
