/* Shared memory: pagefile-backed sections. */
#include "base/error.h"
#include "os_private.h"

#include <psapi.h>

/* ---- Segments -------------------------------------------------------------------------------- */

static size_t sleepers_offset(size_t size)
{
    return (size + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
}

static size_t whole_size(size_t size, int flags)
{
    return flags & OS_SHM_WAITABLE ? sleepers_offset(size) + OS_PAGE : size;
}

void *shm_sleepers(const os_shm *shm)
{
    return (char *)shm->address + sleepers_offset(shm->size);
}

int shm_map(os_shm *shm, HANDLE section, size_t size, int flags)
{
    DWORD access = flags & OS_SHM_READONLY ? FILE_MAP_READ : FILE_MAP_READ | FILE_MAP_WRITE;
    void *address = MapViewOfFile(section, access, 0, 0, whole_size(size, flags));

    if (!address)
        return os_error(GetLastError(), "MapViewOfFile");
    *shm = (os_shm){address, size, (intptr_t)section, flags};
    return 0;
}

int os_shm_create(os_shm *shm, size_t size, int flags)
{
    size_t whole = whole_size(size, flags);
    DWORD protection = PAGE_READWRITE | (flags & OS_SHM_RESERVED ? SEC_RESERVE : SEC_COMMIT);
    HANDLE section;
    DWORD error;
    int rc;

    if (whole < size || whole > SIZE_MAX / 2)
        return error_detail(XF_ENOMEM, "a segment of %llu bytes", (unsigned long long)size);
    section =
        CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, protection, (DWORD)((uint64_t)whole >> 32), (DWORD)whole, NULL);
    error = GetLastError();
    if (!section) /* the size is the only parameter that may be invalid: no section is as large */
        return os_error(error == ERROR_INVALID_PARAMETER ? ERROR_NOT_ENOUGH_MEMORY : error, "CreateFileMappingW");
    rc = shm_map(shm, section, size, flags);
    if (rc < 0)
        goto close_section;
    if (flags & OS_SHM_WAITABLE && !VirtualAlloc(shm_sleepers(shm), OS_PAGE, MEM_COMMIT, PAGE_READWRITE)) {
        rc = os_error(GetLastError(), "VirtualAlloc");
        goto unmap;
    }
    return 0;

unmap:
    UnmapViewOfFile(shm->address);
close_section:
    CloseHandle(section);
    *shm = OS_SHM_NONE;
    return rc;
}

bool os_shm_is_sealed(const os_shm *shm)
{
    return shm->flags & OS_SHM_OWNED;
}

/* Whether a part of a mapping is memory that only a lack of memory can take away: it is not a file and not an image,
 * and is reserved only where it may be. */
static bool is_plain_memory(const char *address, size_t size, bool reserved)
{
    MEMORY_BASIC_INFORMATION facts;
    wchar_t file[MAX_PATH];
    const char *end = address + size;

    if (GetMappedFileNameW(GetCurrentProcess(), (void *)address, file, sizeof file / sizeof *file) != 0)
        return false;
    while (address < end) {
        if (!VirtualQuery(address, &facts, sizeof facts) || facts.Type != MEM_MAPPED ||
            !(facts.State == MEM_COMMIT || (reserved && facts.State == MEM_RESERVE)))
            return false;
        address = (const char *)facts.BaseAddress + facts.RegionSize;
    }
    return true;
}

/* Whether a mapping is a segment.  It commits the list's page again, because Wine does not see in a second view that
 * the page was committed in the first. */
static bool is_segment(const os_shm *shm)
{
    DWORD protection = shm->flags & OS_SHM_READONLY ? PAGE_READONLY : PAGE_READWRITE;

    if (shm->flags & OS_SHM_WAITABLE && shm->flags & OS_SHM_RESERVED)
        VirtualAlloc(shm_sleepers(shm), OS_PAGE, MEM_COMMIT, protection);
    return is_plain_memory(shm->address, shm->size, shm->flags & OS_SHM_RESERVED) &&
           (!(shm->flags & OS_SHM_WAITABLE) || is_plain_memory(shm_sleepers(shm), OS_PAGE, false));
}

int os_shm_open(os_shm *shm, intptr_t handle, size_t size, int flags)
{
    os_shm opened = OS_SHM_NONE;
    int rc = size == 0 || whole_size(size, flags) < size ? XF_EPROTO : shm_map(&opened, (HANDLE)handle, size, flags);

    if (rc == 0 && !is_segment(&opened)) {
        UnmapViewOfFile(opened.address);
        rc = XF_EPROTO;
    }
    if (rc < 0 && rc != XF_ENOMEM)
        rc = error_detail(XF_EPROTO, "the handle is not a segment of %llu bytes", (unsigned long long)size);
    if (rc < 0)
        CloseHandle((HANDLE)handle);
    else
        *shm = opened;
    return rc;
}

void os_shm_forget(os_shm *shm)
{
    if (shm->handle != -1)
        CloseHandle((HANDLE)shm->handle);
    shm->handle = -1;
}

void os_shm_close(os_shm *shm)
{
    if (shm->address)
        UnmapViewOfFile(shm->address);
    os_shm_forget(shm);
    shm->address = NULL;
    shm->size = 0;
}

void os_shm_let_go(os_shm *shm)
{
    os_shm_close(shm);
}

int os_shm_commit(const os_shm *shm, size_t offset, size_t size)
{
    if (offset > shm->size || size > shm->size - offset)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "a commit beyond the segment's end");
    return VirtualAlloc((char *)shm->address + offset, size, MEM_COMMIT, PAGE_READWRITE)
               ? 0
               : os_error(GetLastError(), "VirtualAlloc");
}

int os_shm_make_readable(const os_shm *shm, size_t offset, size_t size)
{
    return size == 0 ? 0 : os_shm_commit(shm, offset, size);
}

/* ---- Guarded memory -------------------------------------------------------------------------- */

int os_guarded_create(os_guarded *memory, size_t size)
{
    char *address;

    if (size > SIZE_MAX / 2)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "guarded memory");
    size = (size + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
    address = VirtualAlloc(NULL, size + OS_PAGE, MEM_RESERVE, PAGE_NOACCESS);
    if (!address) /* the system calls a size that can never be had an invalid parameter */
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "VirtualAlloc");
    if (!VirtualAlloc(address, size, MEM_COMMIT, PAGE_READWRITE)) {
        int rc = os_error(GetLastError(), "VirtualAlloc");
        VirtualFree(address, 0, MEM_RELEASE);
        return rc;
    }
    *memory = (os_guarded){address, size};
    return 0;
}

void os_guarded_free(os_guarded *memory)
{
    if (memory->address)
        VirtualFree(memory->address, 0, MEM_RELEASE);
    *memory = (os_guarded){NULL, 0};
}
