/* Shared memory: pagefile-backed sections. */
#include "os_private.h"

int os_shm_create(os_shm *shm, size_t size)
{
    int rc;
    void *address;
    HANDLE section = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, (DWORD)((uint64_t)size >> 32),
                                        (DWORD)size, NULL);

    if (!section)
        return os_error(GetLastError(), "CreateFileMappingW");
    address = MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, size);
    if (!address) {
        rc = os_error(GetLastError(), "MapViewOfFile");
        goto close_section;
    }
    *shm = (os_shm){address, size, (intptr_t)section};
    return 0;

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
    shm->address = NULL;
    shm->size = 0;
}

uint64_t os_shm_token(const os_shm *shm)
{
    return (uint64_t)shm->handle;
}
