/* Shared memory: sealed memfds. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Segments -------------------------------------------------------------------------------- */

/* A private segment is not private yet when mmap returns. */
static pthread_mutex_t mapping = PTHREAD_MUTEX_INITIALIZER;

void shm_lock_forks(void)
{
    pthread_mutex_lock(&mapping);
}

void shm_unlock_forks(void)
{
    pthread_mutex_unlock(&mapping);
}

void shm_let_fork(const os_shm *shm, bool has)
{
    if (shm->flags & OS_SHM_PRIVATE)
        madvise(shm->address, shm->size, has ? MADV_DOFORK : MADV_DONTFORK);
}

/* ---- What a copy of this process has of them ------------------------------------------------- */

/* A mapping that a copy of this process has as memory of its own. */
typedef struct copied_part {
    void *address;
    size_t size;
    int fd;     /* -1: the copy gets zeros */
    ino_t file; /* the task may have put another file at that number */
} copied_part;

enum { COPIED_PARTS = 32 };

/* The lock above covers them. */
static copied_part copied[COPIED_PARTS];
static int copied_count;

/* Without room for one more, a copy does not have the mapping at all. */
static void add_copied(void *address, size_t size, int fd)
{
    struct stat facts = {.st_ino = 0};

    if (copied_count == COPIED_PARTS || (fd >= 0 && fstat(fd, &facts) < 0))
        madvise(address, size, MADV_DONTFORK);
    else
        copied[copied_count++] = (copied_part){address, size, fd, facts.st_ino};
}

static void remove_copied(const void *address)
{
    shm_lock_forks();
    for (int i = 0; i < copied_count; i++)
        if (copied[i].address == address)
            copied[i--] = copied[--copied_count];
    shm_unlock_forks();
}

/* Maps the file once more, at the same place, as memory of this process alone.  Where the file is not to be had any
 * more, this process can read what the other one writes. */
static void own_copied(const copied_part *part)
{
    int kind = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (part->fd < 0 ? MAP_ANONYMOUS : 0);
    struct stat facts;
    void *own = MAP_FAILED;

    if (part->fd < 0 || (fstat(part->fd, &facts) == 0 && facts.st_ino == part->file))
        own = mmap(part->address, part->size, PROT_READ | PROT_WRITE, kind, part->fd, 0);
    if (own == MAP_FAILED)
        mprotect(part->address, part->size, PROT_READ);
}

void shm_own_copied(void)
{
    while (copied_count > 0)
        own_copied(&copied[--copied_count]);
}

void shm_copy_box(const os_shm *box)
{
    shm_lock_forks();
    add_copied(box->address, box->size, -1);
    shm_unlock_forks();
}

/* ---- Mapping --------------------------------------------------------------------------------- */

/* Has a mapping that was made without access locked page by page, as they are used: mlock2(2). */
static void lock_when_used(void *address, size_t size, int protection)
{
    enum { LOCK_ON_FAULT = 1 };

    if (syscall(SYS_mlock2, address, size, LOCK_ON_FAULT) < 0)
        munlock(address, size);
    mprotect(address, size, protection);
}

/* As mmap.  After mlockall with MCL_FUTURE the kernel would give memory to all of a reserved segment. */
static void *map_lazily(size_t size, int protection, int kind, int fd, int flags)
{
    int locks = flags & OS_SHM_RESERVED ? limit_locks_mappings() : 0;
    void *address = MAP_FAILED;

    if (locks >= 0)
        address = mmap(NULL, size, locks ? PROT_NONE : protection, MAP_SHARED | kind, fd, 0);
    if (locks && address != MAP_FAILED)
        lock_when_used(address, size, protection);
    return address;
}

/* As mmap, in one step with what a copy of this process is to have of it. */
static void *shm_map_for(size_t size, int protection, int kind, int fd, int flags)
{
    bool concerns_forks = flags & (OS_SHM_PRIVATE | OS_SHM_OWNED | OS_SHM_COPIED);
    void *address;

    if (concerns_forks)
        shm_lock_forks();
    address = map_lazily(size, protection, kind, fd, flags);
    if (concerns_forks && address != MAP_FAILED) {
        if (flags & OS_SHM_COPIED)
            add_copied(address, size, fd);
        else
            madvise(address, size, MADV_DONTFORK);
    }
    if (concerns_forks)
        shm_unlock_forks();
    return address;
}

/* Maps a segment.  The kernel provides pages as they are used, and a futex needs no preparation.  Reserved segments are
 * left out of core files, because the kernel would bring in each of their pages to write it. */
static int shm_map(os_shm *shm, int fd, size_t size, int flags)
{
    int protection = flags & OS_SHM_READONLY ? PROT_READ : PROT_READ | PROT_WRITE;
    void *address = shm_map_for(size, protection, 0, fd, flags);

    if (address == MAP_FAILED)
        return limit_explain_map(errno, size);
    if (flags & OS_SHM_HUGE)
        madvise(address, size, MADV_HUGEPAGE);
    if (flags & OS_SHM_RESERVED)
        madvise(address, size, MADV_DONTDUMP);
    *shm = (os_shm){address, size, fd, flags};
    return 0;
}

/* F_SEAL_FUTURE_WRITE leaves the mapping writable that is there already. */
static int shm_seal(int fd, bool owned)
{
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    int rc = fcntl(fd, F_ADD_SEALS, owned ? seals | F_SEAL_FUTURE_WRITE : seals);

    if (rc < 0 && owned && errno == EINVAL) /* Linux before 5.1 */
        rc = fcntl(fd, F_ADD_SEALS, seals);
    return rc < 0 ? os_error(errno, "fcntl F_ADD_SEALS") : 0;
}

/* Takes two thirds of the time of a memfd. */
static int shm_map_forked(os_shm *shm, size_t size, int flags)
{
    void *address = shm_map_for(size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1, flags);

    if (address == MAP_FAILED)
        return limit_explain_map(errno, size);
    *shm = (os_shm){address, size, -1, flags};
    return 0;
}

int os_shm_create(os_shm *shm, size_t size, int flags)
{
    OS_HOLD_CANCEL;
    int rc, fd;

    if (flags & OS_SHM_FORKED)
        return shm_map_forked(shm, size, flags);
    if (os_self_check_file_size(size) < 0)
        return XF_ENOMEM;
    fd = memfd_create("crossfork", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return os_error(errno, "memfd_create");
    fd = fd_above_stdio(fd);
    if (fd < 0)
        return os_error(errno, "fcntl");
    if (ftruncate(fd, (off_t)size) < 0) {
        rc = os_error(errno == EFBIG || errno == EINVAL ? ENOMEM : errno, "ftruncate");
        goto close_fd;
    }
    rc = shm_map(shm, fd, size, flags);
    if (rc < 0)
        goto close_fd;
    rc = shm_seal(fd, flags & OS_SHM_OWNED);
    if (rc == 0)
        return 0;
    munmap(shm->address, size);
    *shm = OS_SHM_NONE;

close_fd:
    close(fd);
    return rc;
}

bool os_shm_is_sealed(const os_shm *shm)
{
    int seals = fcntl((int)shm->handle, F_GET_SEALS);

    return seals >= 0 && seals & F_SEAL_FUTURE_WRITE;
}

input_access shm_access_of_child(const os_shm *input)
{
    if (!input)
        return INPUT_NONE;
    return input->flags & OS_SHM_OWNED ? INPUT_READONLY : INPUT_WRITABLE;
}

os_shm shm_map_inherited(int fd, size_t size, input_access access)
{
    int protection = access == INPUT_READONLY ? PROT_READ : PROT_READ | PROT_WRITE, error;
    void *address = shm_map_for(size, protection, 0, fd, access == INPUT_WRITABLE ? OS_SHM_COPIED : 0);

    if (access == INPUT_WRITABLE && address != MAP_FAILED) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    } else {
        error = errno;
        close(fd);
        errno = error;
    }
    return address == MAP_FAILED ? OS_SHM_NONE : (os_shm){address, size, -1, 0};
}

int os_shm_open(os_shm *shm, intptr_t handle, size_t size, int flags)
{
    OS_HOLD_CANCEL;
    int rc, fd = (int)handle, seals = fcntl(fd, F_GET_SEALS);
    struct stat facts;

    if (size == 0 || fstat(fd, &facts) < 0 || facts.st_size < 0 || (uint64_t)facts.st_size < size || seals < 0 ||
        !(seals & F_SEAL_SHRINK))
        rc = error_detail(XF_EPROTO, "the handle is not a segment of %zu bytes", size);
    else
        rc = shm_map(shm, fd, size, flags);
    if (rc < 0)
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
    OS_HOLD_CANCEL;

    if (shm->flags & OS_SHM_COPIED)
        remove_copied(shm->address);
    if (shm->address)
        munmap(shm->address, shm->size);
    os_shm_forget(shm);
    shm->address = NULL;
    shm->size = 0;
}

void os_shm_let_go(os_shm *shm)
{
    if (shm->flags & (OS_SHM_PRIVATE | OS_SHM_OWNED) && !(shm->flags & OS_SHM_COPIED))
        shm->address = NULL;
    if (!child_has_others())
        shm->handle = -1;
    os_shm_close(shm);
}

/* This is MADV_POPULATE_WRITE of <linux/mman.h>, which glibc has since 2.35. */
enum { POPULATE_WRITE = 23 };

int os_shm_commit(const os_shm *shm, size_t offset, size_t size)
{
    char *start = (char *)shm->address + offset;

    if (offset > shm->size || size > shm->size - offset)
        return os_error(ENOMEM, "a commit beyond the segment's end");
    if (madvise(start, size, POPULATE_WRITE) == 0 || errno == EINVAL)
        return 0;
    return os_error(errno == EFAULT || errno == EHWPOISON ? ENOMEM : errno, "madvise MADV_POPULATE_WRITE");
}

int os_shm_make_readable(const os_shm *shm, size_t offset, size_t size)
{
    return offset > shm->size || size > shm->size - offset ? os_error(ENOMEM, "a segment's end") : 0;
}

/* ---- Guarded memory -------------------------------------------------------------------------- */

int os_guarded_create(os_guarded *memory, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole;
    char *address;

    if (size > SIZE_MAX / 2)
        return os_error(ENOMEM, "guarded memory");
    size = (size + page - 1) / page * page;
    whole = size + page;
    address = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED)
        return os_error(errno, "mmap");
    if (mprotect(address + size, page, PROT_NONE) < 0) {
        int rc = os_error(errno, "mprotect");
        munmap(address, whole);
        return rc;
    }
    *memory = (os_guarded){address, size};
    return 0;
}

void os_guarded_free(os_guarded *memory)
{
    if (memory->address)
        munmap(memory->address, memory->size + (size_t)sysconf(_SC_PAGESIZE));
    *memory = (os_guarded){NULL, 0};
}
