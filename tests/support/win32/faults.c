/* Failures on demand: system calls.  A call into a DLL goes through a pointer, __imp_name, so that is what is led here.
 */
#include "faults.h"

#include "crossfork/error.h"

/* clang-format off: windows.h comes first */
#include <windows.h>

#include <sddl.h>
/* clang-format on */

static bool fail(DWORD error)
{
    SetLastError(error);
    return false;
}

static HANDLE no_handle(HANDLE handle, DWORD error)
{
    SetLastError(error);
    return handle;
}

/* clang-format off */
#define SYSTEM_CALLS(X)                                                                                                \
    X(__imp_CreateEventW, HANDLE, (SECURITY_ATTRIBUTES *security, BOOL manual, BOOL set, const wchar_t *name),         \
      (security, manual, set, name), no_handle(NULL, ERROR_NO_SYSTEM_RESOURCES), XF_ENOMEM)                            \
    X(__imp_CreateNamedPipeW, HANDLE,                                                                                  \
      (const wchar_t *name, DWORD access, DWORD mode, DWORD instances, DWORD out, DWORD in, DWORD timeout_ms,          \
       SECURITY_ATTRIBUTES *security),                                                                                 \
      (name, access, mode, instances, out, in, timeout_ms, security),                                                  \
      no_handle(INVALID_HANDLE_VALUE, ERROR_TOO_MANY_OPEN_FILES), XF_EHANDLES)                                         \
    X(__imp_CreateFileW, HANDLE,                                                                                       \
      (const wchar_t *name, DWORD access, DWORD share, SECURITY_ATTRIBUTES *security, DWORD how, DWORD flags,          \
       HANDLE pattern),                                                                                                \
      (name, access, share, security, how, flags, pattern),                                                            \
      no_handle(INVALID_HANDLE_VALUE, ERROR_TOO_MANY_OPEN_FILES), XF_EHANDLES)                                         \
    X(__imp_CreateIoCompletionPort, HANDLE, (HANDLE file, HANDLE port, ULONG_PTR key, DWORD threads),                  \
      (file, port, key, threads), no_handle(NULL, ERROR_TOO_MANY_OPEN_FILES), XF_EHANDLES)                             \
    X(__imp_CreateFileMappingW, HANDLE,                                                                                \
      (HANDLE file, SECURITY_ATTRIBUTES *security, DWORD protection, DWORD high, DWORD low, const wchar_t *name),      \
      (file, security, protection, high, low, name), no_handle(NULL, ERROR_COMMITMENT_LIMIT), XF_ENOMEM)               \
    X(__imp_MapViewOfFile, void *, (HANDLE section, DWORD access, DWORD high, DWORD low, SIZE_T size),                 \
      (section, access, high, low, size), no_handle(NULL, ERROR_NOT_ENOUGH_MEMORY), XF_ENOMEM)                         \
    X(__imp_DuplicateHandle, BOOL,                                                                                     \
      (HANDLE from, HANDLE handle, HANDLE to, HANDLE *copy, DWORD access, BOOL inherit, DWORD options),                \
      (from, handle, to, copy, access, inherit, options), fail(ERROR_NO_SYSTEM_RESOURCES), XF_ENOMEM)                  \
    X(__imp_CreateJobObjectW, HANDLE, (SECURITY_ATTRIBUTES *security, const wchar_t *name), (security, name),          \
      no_handle(NULL, ERROR_NO_SYSTEM_RESOURCES), XF_ENOMEM)                                                           \
    X(__imp_SetInformationJobObject, BOOL, (HANDLE job, JOBOBJECTINFOCLASS kind, void *facts, DWORD size),             \
      (job, kind, facts, size), fail(ERROR_ACCESS_DENIED), XF_EACCESS)                                                 \
    X(__imp_UpdateProcThreadAttribute, BOOL,                                                                           \
      (LPPROC_THREAD_ATTRIBUTE_LIST list, DWORD flags, DWORD_PTR kind, void *value, SIZE_T size, void *previous,       \
       SIZE_T *returned),                                                                                              \
      (list, flags, kind, value, size, previous, returned), fail(ERROR_NOT_ENOUGH_MEMORY), XF_ENOMEM)                  \
    X(__imp_CreateProcessW, BOOL,                                                                                      \
      (const wchar_t *image, wchar_t *command, SECURITY_ATTRIBUTES *process, SECURITY_ATTRIBUTES *thread,              \
       BOOL inherit, DWORD flags, void *environment, const wchar_t *directory, STARTUPINFOW *startup,                  \
       PROCESS_INFORMATION *made),                                                                                     \
      (image, command, process, thread, inherit, flags, environment, directory, startup, made),                        \
      fail(ERROR_NO_PROC_SLOTS), XF_EPROCESSES)                                                                        \
    X(__imp_RegisterWaitForSingleObject, BOOL,                                                                         \
      (HANDLE *wait, HANDLE object, WAITORTIMERCALLBACK called, void *arg, ULONG timeout_ms, ULONG flags),             \
      (wait, object, called, arg, timeout_ms, flags), fail(ERROR_NOT_ENOUGH_MEMORY), XF_ENOMEM)                        \
    X(__imp_WriteFile, BOOL, (HANDLE file, const void *data, DWORD size, DWORD *count, OVERLAPPED *io),                \
      (file, data, size, count, io), fail(ERROR_NO_SYSTEM_RESOURCES), XF_ENOMEM)                                       \
    X(__imp_GetEnvironmentStringsW, wchar_t *, (void), (), no_handle(NULL, ERROR_NOT_ENOUGH_MEMORY), XF_ENOMEM)        \
    X(__imp_ConvertStringSecurityDescriptorToSecurityDescriptorW, BOOL,                                                \
      (const wchar_t *text, DWORD revision, PSECURITY_DESCRIPTOR *made, ULONG *size), (text, revision, made, size),    \
      fail(ERROR_NOT_ENOUGH_MEMORY), XF_ENOMEM)
/* clang-format on */

/* A function, and the pointer to it that calls go through. */
#define IMPORT_WRAPPER(name, type, parameters, arguments, failure, code)                                               \
    extern type(WINAPI *__real_##name) parameters;                                                                     \
    extern type(WINAPI *__wrap_##name) parameters;                                                                     \
    static type WINAPI call_##name parameters                                                                          \
    {                                                                                                                  \
        if (faults_due(#name, code))                                                                                   \
            return failure;                                                                                            \
        return __real_##name arguments;                                                                                \
    }                                                                                                                  \
    type(WINAPI *__wrap_##name) parameters = call_##name;

SYSTEM_CALLS(IMPORT_WRAPPER)

/* ---- The compiler's own ---------------------------------------------------------------------- */

/* MinGW's thread-local variables take memory when a thread first uses one, and the program aborts without it. */
void *__real___emutls_get_address(void *variable);
void *__wrap___emutls_get_address(void *variable);

void *__wrap___emutls_get_address(void *variable)
{
    void *address;

    faults_pause(1);
    address = __real___emutls_get_address(variable);
    faults_pause(-1);
    return address;
}
