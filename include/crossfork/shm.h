/* Shared memory.
 *
 *     xf_shm *shm;
 *     xf_ref ref;
 *     xf_shm_create(&shm, 1 << 20, NULL);
 *     xf_shm_ref(shm, &ref);                               // to be handed over: see ref.h
 *     ((double *)xf_shm_data(shm))[7] = 1.5;
 *
 *     xf_shm_open(&shm, &ref, XF_SHM_READ);                // in another process
 *
 * It has no name and belongs to nobody in particular: it is there as long as some process has it open, and gone with
 * the last, on every system, also when all of them are killed.  Each process sees it at an address of its own, so what
 * is kept in it refers to other parts of it by offsets. */
#ifndef CROSSFORK_SHM_H
#define CROSSFORK_SHM_H

#include "ref.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* This process's hold of some shared memory. */
typedef struct xf_shm xf_shm;

typedef struct xf_shm_options {
    size_t limit;    /* how large it may grow: addresses are set aside for that much, memory is not; 0: it does not */
    bool huge_pages; /* few large pages, where the system has them for shared memory: Linux's transparent ones */
} xf_shm_options;

/* What a hold is for. */
typedef enum xf_shm_access {
    XF_SHM_WRITE = 0,
    XF_SHM_READ /* writing to it is an access violation */
} xf_shm_access;

/* Makes shared memory, and opens it for writing.
 *   size     Bytes, not 0; they are zero, and there: a shortage is told here and not when they are first touched (on
 * Linux from 5.14 on). options  Borrowed for the call; may be NULL. Returns 0; XF_EINVAL for a size of 0, or a limit
 * below it; XF_ENOMEM; XF_EHANDLES. */
XF_API int xf_shm_create(xf_shm **shm, size_t size, const xf_shm_options *options);

/* Opens what a reference names, which any process of the family may do, as often as it likes.
 * Returns 0; XF_EINVAL when the reference is of something else; XF_ENOENT when no process has it open any more;
 * XF_ENOMEM; XF_EHANDLES; XF_ELIMIT when this is a child that has too much open; XF_EEND when this is a child and its
 * parent has gone. */
XF_API int xf_shm_open(xf_shm **shm, const xf_ref *ref, xf_shm_access access);

/* Names it, for others to open it while this process, or another, has it open.
 * Returns 0; XF_EHANDLES, XF_ENOMEM; XF_ELIMIT when this is a child that has given out too many; XF_EEND when this is a
 * child and its parent has gone. */
XF_API int xf_shm_ref(xf_shm *shm, xf_ref *ref);

/* Where it is in this process: at the start of a page, the same until xf_shm_close, also when it grows. */
XF_API void *xf_shm_data(const xf_shm *shm);

/* How many bytes it has now, whoever has made it grow. */
XF_API size_t xf_shm_size(const xf_shm *shm);

/* Makes it at least that large, for all who have it open; they see the new size when they ask for it.  New bytes are
 * zero. It never shrinks. Returns 0; XF_ELIMIT for more than the limit it was made with; XF_ESTATE for a hold that is
 * for reading; XF_ENOMEM. Threads: any, in any process. */
XF_API int xf_shm_grow(xf_shm *shm, size_t size);

/* Ends this hold; the memory goes with the last one of all processes.  NULL is harmless. */
XF_API void xf_shm_close(xf_shm *shm);

#ifdef __cplusplus
}
#endif

#endif
