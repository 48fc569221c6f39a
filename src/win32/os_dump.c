/* Minidumps.  The parent writes one while the child that crashed waits in its exception filter (os_crash.c). */
#include "base/error.h"
#include "os_private.h"

#include <stdio.h>
#include <stdlib.h>

#include <dbghelp.h>

typedef BOOL(WINAPI *write_dump)(HANDLE process, DWORD pid, HANDLE file, MINIDUMP_TYPE type,
                                 PMINIDUMP_EXCEPTION_INFORMATION exception, PMINIDUMP_USER_STREAM_INFORMATION streams,
                                 PMINIDUMP_CALLBACK_INFORMATION callback);

/* Loads the library only when a dump is written, because few programs ever need it. */
static write_dump load_writer(void)
{
    HMODULE library = LoadLibraryExW(L"dbghelp.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);

    return library ? (write_dump)(void (*)(void))GetProcAddress(library, "MiniDumpWriteDump") : NULL;
}

static int write_dump_to_file(const os_child *child, HANDLE file)
{
    uint64_t pointers = *(volatile uint64_t *)&child->status->exception; /* the child may change it meanwhile */
    MINIDUMP_EXCEPTION_INFORMATION exception = {child->record ? (DWORD)child->record->thread : 0,
                                                (EXCEPTION_POINTERS *)(uintptr_t)pointers, TRUE};
    write_dump write = load_writer();

    if (!write)
        return os_error(GetLastError(), "MiniDumpWriteDump");
    return write(child->process, (DWORD)child->pid, file, MiniDumpNormal, pointers ? &exception : NULL, NULL, NULL)
               ? 0
               : os_error(GetLastError(), "MiniDumpWriteDump");
}

static int write_dump_to_path(const os_child *child, const wchar_t *path)
{
    HANDLE file = CreateFileW(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    int rc;

    if (file == INVALID_HANDLE_VALUE)
        return os_error(GetLastError(), "CreateFileW of a minidump");
    rc = write_dump_to_file(child, file);
    CloseHandle(file);
    if (rc < 0)
        DeleteFileW(path);
    return rc;
}

int os_child_dump(os_child *child, const char *name, char *path, size_t size)
{
    wchar_t *wide;
    int rc;

    if (!child->dump_asked || WaitForSingleObject(child->dump_asked, 0) != WAIT_OBJECT_0)
        return XF_EAGAIN;
    if ((size_t)snprintf(path, size, "%s.dmp", name) >= size)
        rc = error_detail(XF_EINVAL, "the path of the dump has more than %llu bytes", (unsigned long long)size);
    else
        rc = wide_text(path, &wide);
    if (rc == 0) {
        rc = write_dump_to_path(child, wide);
        free(wide);
    }
    handle_close(&child->dump_asked);
    atomic_store(&child->status->dumped, 1);
    return rc;
}
