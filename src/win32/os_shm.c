/* Shared memory: pagefile-backed sections. */
#include "os_private.h"

int os_shm_create(os_shm *shm, size_t size, int flags)
{
    int rc;
    void *address;
    DWORD protection = PAGE_READWRITE | (flags & OS_SHM_RESERVED ? SEC_RESERVE : SEC_COMMIT);
    HANDLE bell = NULL, section = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, protection,
                                                     (DWORD)((uint64_t)size >> 32), (DWORD)size, NULL);

    if (!section)
        return os_error(GetLastError(), "CreateFileMappingW");
    address = MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, size);
    if (!address) {
        rc = os_error(GetLastError(), "MapViewOfFile");
        goto close_section;
    }
    if (flags & OS_SHM_BELL) {
        bell = CreateEventW(NULL, FALSE, FALSE, NULL);
        if (!bell) {
            rc = os_error(GetLastError(), "CreateEventW");
            goto unmap;
        }
    }
    *shm = (os_shm){address, size, (intptr_t)section, (intptr_t)bell};
    return 0;

unmap:
    UnmapViewOfFile(address);
close_section:
    CloseHandle(section);
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
    if (shm->bell)
        CloseHandle((HANDLE)shm->bell);
    shm->bell = 0;
    shm->address = NULL;
    shm->size = 0;
}

int os_shm_commit(const os_shm *shm, size_t offset, size_t size)
{
    if (offset > shm->size || size > shm->size - offset)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "a segment's end");
    return VirtualAlloc((char *)shm->address + offset, size, MEM_COMMIT, PAGE_READWRITE)
               ? 0
               : os_error(GetLastError(), "VirtualAlloc");
}

void os_shm_wait(const os_shm *shm, _Atomic uint32_t *word, uint32_t seen, int timeout_ms)
{
    if (atomic_load(word) == seen)
        WaitForSingleObject((HANDLE)shm->bell, timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms);
}

void os_shm_ring(const os_shm *shm, _Atomic uint32_t *word)
{
    (void)word;
    SetEvent((HANDLE)shm->bell);
}
