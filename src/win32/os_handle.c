/* Handles and pipes. */
#include "base/clock.h"
#include "base/error.h"
#define _CRT_RAND_S
#include "os_private.h"

#include <stdlib.h>
#include <wchar.h>

#include <sddl.h>

enum { PIPE_BUFFER = 65536 }; /* room for a task frame while nobody reads the pipe yet */

void handle_close(HANDLE *handle)
{
    if (*handle)
        CloseHandle(*handle);
    *handle = NULL;
}

int handles_wait(const HANDLE *handles, DWORD count, uint64_t deadline)
{
    int left_ms = clock_left_ms(deadline);
    DWORD signalled = WaitForMultipleObjects(count, handles, FALSE, left_ms < 0 ? INFINITE : (DWORD)left_ms);

    if (signalled == WAIT_FAILED)
        return os_error(GetLastError(), "WaitForMultipleObjects");
    return signalled == WAIT_TIMEOUT ? XF_ETIMEDOUT : (int)(signalled - WAIT_OBJECT_0);
}

/* ---- Pipes ----------------------------------------------------------------------------------- */

/* Makes a name that no other process can guess. */
static int private_name(wchar_t *name, size_t size)
{
    unsigned random[4];

    for (int i = 0; i < 4; i++)
        if (rand_s(&random[i]) != 0)
            return error_detail(XF_ESYSTEM, "rand_s failed");
    swprintf(name, size, L"\\\\.\\pipe\\crossfork-%lu-%08x%08x%08x%08x", GetCurrentProcessId(), random[0], random[1],
             random[2], random[3]);
    return 0;
}

/* Creates the only instance of a pipe, for this user only; fails if a pipe of that name exists. */
static int create_pipe(const wchar_t *name, DWORD direction, HANDLE *pipe)
{
    SECURITY_ATTRIBUTES owner_only = {sizeof owner_only, NULL, FALSE};
    int rc = 0;

    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(L"D:P(A;;GA;;;OW)", SDDL_REVISION_1,
                                                              &owner_only.lpSecurityDescriptor, NULL))
        return os_error(GetLastError(), "ConvertStringSecurityDescriptorToSecurityDescriptorW");
    *pipe = CreateNamedPipeW(name, direction | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE,
                             PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS, 1,
                             PIPE_BUFFER, PIPE_BUFFER, 0, &owner_only);
    if (*pipe == INVALID_HANDLE_VALUE)
        rc = os_error(GetLastError(), "CreateNamedPipeW");
    LocalFree(owner_only.lpSecurityDescriptor);
    return rc;
}

int pipe_open(bool duplex, HANDLE *ours, HANDLE *theirs)
{
    SECURITY_ATTRIBUTES inheritable = {sizeof inheritable, NULL, TRUE};
    DWORD access = duplex ? GENERIC_READ | GENERIC_WRITE : GENERIC_WRITE | FILE_READ_ATTRIBUTES;
    wchar_t name[80];
    HANDLE near_end, far_end;
    int rc = private_name(name, sizeof name / sizeof *name);

    if (rc < 0)
        return rc;
    rc = create_pipe(name, duplex ? PIPE_ACCESS_DUPLEX : PIPE_ACCESS_INBOUND, &near_end);
    if (rc < 0)
        return rc;
    far_end = CreateFileW(name, access, 0, &inheritable, OPEN_EXISTING, duplex ? FILE_FLAG_OVERLAPPED : 0, NULL);
    if (far_end == INVALID_HANDLE_VALUE) {
        rc = os_error(GetLastError(), "CreateFileW of a pipe");
        goto close_near_end;
    }
    *ours = near_end;
    *theirs = far_end;
    return 0;

close_near_end:
    CloseHandle(near_end);
    return rc;
}

/* ---- The seam -------------------------------------------------------------------------------- */

int os_handle_copy(intptr_t handle, intptr_t *copy)
{
    HANDLE self = GetCurrentProcess(), made;

    if (handle <= 0) /* they stand for the caller's own process and thread */
        return error_detail(XF_EINVAL, "no handle");
    if (!DuplicateHandle(self, (HANDLE)handle, self, &made, 0, FALSE, DUPLICATE_SAME_ACCESS))
        return os_error(GetLastError(), "DuplicateHandle");
    *copy = (intptr_t)made;
    return 0;
}

void os_handle_close(intptr_t handle)
{
    CloseHandle((HANDLE)handle);
}
