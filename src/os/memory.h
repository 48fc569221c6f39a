/* THE SEAM: shared memory, words in it that processes sleep on, and handles.  Core port; rules: traits.h. */
#ifndef OS_MEMORY_H
#define OS_MEMORY_H

#include "os/traits.h"

/* ---- Segments -------------------------------------------------------------------------------- */

/* An unnamed shared segment, mapped here. */
typedef struct os_shm {
    void *address;
    size_t size;
    intptr_t handle; /* fd or HANDLE; -1 when only the mapping is left */
    int flags;
} os_shm;

#define OS_SHM_NONE ((os_shm){NULL, 0, -1, 0})

enum {
    OS_SHM_RESERVED = 1, /* size is a limit: memory is there once os_shm_commit was called for it; dumps leave it out */
    OS_SHM_WAITABLE = 2, /* processes may sleep on words in it: os_shm_wait, os_shm_wake */
    OS_SHM_PRIVATE = 4,  /* a copy of this process that the program forks does not have it mapped */
    OS_SHM_HUGE = 8,     /* large pages, where the system has some to give */
    OS_SHM_READONLY = 16, /* for os_shm_open: writing to it is an access violation */
    OS_SHM_OWNED = 32,    /* only the process that creates it can write to it: its children map it read-only, a forked
                              one too, and os_shm_is_sealed says whether they could get around that */
    OS_SHM_FORKED = 64,   /* it has no handle, so that only forked children have it; not used on Windows */
    OS_SHM_COPIED = 128   /* a copy of this process that the program forks has it as memory of its own, so that what
                             such a copy writes reaches nobody; not used on Windows */
};

#define OS_PAGE 4096 /* bytes; a system's own pages may be larger */

/* Creates and maps an unnamed shared segment of size bytes (not 0), zero-filled, that cannot shrink.
 *   flags  Of OS_SHM_; 0: none.
 * Windows: a pagefile-backed section.  POSIX: a sealed memfd, which RLIMIT_FSIZE holds for: XF_ENOMEM beyond it.
 * XF_ENOMEM, XF_EHANDLES. */
int os_shm_create(os_shm *shm, size_t size, int flags);

/* Whether no other process can get a writable view of an OS_SHM_OWNED segment, whatever it tries with what it has
 * inherited.
 * Windows: always; a child's handle has the right to read alone.  Linux: F_SEAL_FUTURE_WRITE, which kernels before 5.1
 * do not have. */
bool os_shm_is_sealed(const os_shm *shm);

/* Maps a segment that another process has made with that size and those flags, neither of which is trusted.
 *   handle  From os_channel_take.  It belongs to the segment from then on, and is closed here on failure.
 * XF_EPROTO when it is no such segment, is smaller, or could shrink; XF_ENOMEM. */
int os_shm_open(os_shm *shm, intptr_t handle, size_t size, int flags);

/* Makes that part of a reserved segment usable by every process that maps it; harmless where it is usable already.
 *   offset, size  Multiples of OS_PAGE.
 * Windows: VirtualAlloc MEM_COMMIT.  Linux: madvise MADV_POPULATE_WRITE, where the kernel has it (5.14), so that a
 * shortage is an error here and not a signal at the first use.
 * XF_ENOMEM. */
int os_shm_commit(const os_shm *shm, size_t offset, size_t size);

/* Makes sure that reading that part of a reserved segment is no fault, whatever others say that they have committed.
 * Windows: commits what is not committed yet.  POSIX: there is nothing to do.
 * XF_ENOMEM. */
int os_shm_make_readable(const os_shm *shm, size_t offset, size_t size);

/* Closes the handle and keeps the mapping: the memory lives on until os_shm_close in the last process. */
void os_shm_forget(os_shm *shm);

/* Unmaps the segment and closes its handle.  Harmless on OS_SHM_NONE. */
void os_shm_close(os_shm *shm);

/* In a forked copy of the process that opened it: closes what the copy has of it.  A segment of OS_SHM_PRIVATE or
 * OS_SHM_OWNED is not unmapped, because it is not mapped there, and something else may be.
 * Windows: never called, as os_self_generation says. */
void os_shm_let_go(os_shm *shm);

/* ---- Guarded memory -------------------------------------------------------------------------- */

/* Memory of this process alone, behind whose end every access is an access violation. */
typedef struct os_guarded {
    void *address; /* NULL: none */
    size_t size;   /* a multiple of the system's pages */
} os_guarded;

/* Makes such memory, zero-filled, of size bytes (not 0) or more.  XF_ENOMEM. */
int os_guarded_create(os_guarded *memory, size_t size);

/* Frees it.  Harmless when there is none. */
void os_guarded_free(os_guarded *memory);

/* ---- Sleeping on words ----------------------------------------------------------------------- */

/* Sleeps while *word is seen, or until timeout_ms (-1: no limit) has passed; may return before either.
 *   word  In the segment, which was made with OS_SHM_WAITABLE.  A thread that changes the word calls os_shm_wake after
 *         that, in whichever process it is.
 * Windows: the segment has a list of sleepers, each with an event of its own; sleepers beyond the list's room check
 * the word every few milliseconds.  POSIX: a futex. */
void os_shm_wait(const os_shm *shm, _Atomic uint32_t *word, uint32_t seen, int timeout_ms);

/* A word to sleep on, as for os_shm_wait. */
typedef struct os_word {
    const os_shm *shm;
    _Atomic uint32_t *word;
    uint32_t seen;
    void *reserved; /* for the system, while it sleeps */
} os_word;

/* Sleeps while all of count words are as they were seen, in whichever segments they are; otherwise as os_shm_wait.
 *   count  At least 1, without an upper limit.
 * Windows: one event, listed in each segment.  Linux: futex_waitv, with a helping thread for each further 127 words,
 * all of which have ended when this returns; where the kernel has no futex_waitv (before 5.16), or no thread can be
 * made, it checks the words every few milliseconds. */
void os_shm_wait_any(os_word *words, size_t count, int timeout_ms);

/* Wakes up to count sleepers on that word, in whichever process they are. */
void os_shm_wake(const os_shm *shm, _Atomic uint32_t *word, int count);

enum { OS_ALL = INT32_MAX };

/* ---- Handles --------------------------------------------------------------------------------- */

/* Makes a second fd or HANDLE of the same file, socket or segment.  XF_EHANDLES; XF_EINVAL when handle is none. */
int os_handle_copy(intptr_t handle, intptr_t *copy);
void os_handle_close(intptr_t handle);

#endif
