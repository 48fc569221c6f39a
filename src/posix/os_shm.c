/* Shared memory: sealed memfds. */
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int os_shm_create(os_shm *shm, size_t size)
{
    int rc;
    void *address;
    int fd = memfd_create("crossfork", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return os_error(errno, "memfd_create");
    fd = fd_above_stdio(fd);
    if (fd < 0)
        return os_error(errno, "fcntl");
    if (ftruncate(fd, (off_t)size) < 0) {
        rc = os_error(errno == EFBIG || errno == EINVAL ? ENOMEM : errno, "ftruncate");
        goto close_fd;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        rc = os_error(errno, "fcntl F_ADD_SEALS");
        goto close_fd;
    }
    address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) {
        rc = os_error(errno, "mmap");
        goto close_fd;
    }
    *shm = (os_shm){address, size, fd};
    return 0;

close_fd:
    close(fd);
    return rc;
}

void os_shm_forget(os_shm *shm)
{
    int fd = (int)shm->handle;

    fd_close(&fd);
    shm->handle = -1;
}

void os_shm_close(os_shm *shm)
{
    if (shm->address)
        munmap(shm->address, shm->size);
    os_shm_forget(shm);
    shm->address = NULL;
    shm->size = 0;
}

uint64_t os_shm_token(const os_shm *shm)
{
    (void)shm;
    return 0;
}
