/* A heap in shared memory: memory that any process allocates and any process frees.
 *
 *     xf_heap *heap;
 *     void *memory;
 *     uint64_t offset;
 *     xf_heap_create(&heap, 1 << 30);
 *     xf_heap_ref(heap, &ref);                             // to be handed over: see ref.h
 *     xf_heap_alloc(heap, 5000, &memory);
 *     offset = xf_heap_offset(heap, memory);               // a number that means the same in every process
 *     xf_heap_keep(heap, memory);                          // it stays now, whoever ends
 *     xf_queue_put(queue, &offset, sizeof offset, XF_FOREVER);
 *
 *     xf_heap *theirs;                                     // in another process
 *     xf_heap_open(&theirs, &ref);
 *     memory = xf_heap_at(theirs, offset);
 *     xf_heap_dealloc(theirs, memory);
 *
 * Death.  An allocation belongs to the process that made it: when that process ends, in whatever way, before it has
 * freed or kept it, the allocation is freed, by the next process that finds the heap full or calls xf_heap_reclaim.
 * One that was kept belongs to nobody, and is there until it is freed or made somebody's by xf_heap_own.  So memory
 * that is handed over is kept first, and the receiver makes it its own; what was kept and is never received stays until
 * the heap goes.  No lock is held at any time: a process may be killed at any instruction, and blocks nobody.
 *
 * Life.  The heap is there as long as some process has it open, and all of its memory goes with the last one, kept or
 * not.  Closing it frees nothing that the process has allocated.
 *
 * Mistakes.  Each call checks that what it is given is the beginning of an allocation, by what is not in the user's
 * reach; so freeing something twice, or freeing what is none, gives XF_EINVAL, unless it has been allocated again
 * meanwhile.  As with any heap, whoever writes beyond the end of an allocation hurts the next. */
#ifndef CROSSFORK_HEAP_H
#define CROSSFORK_HEAP_H

#include "ref.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* This process's hold of a heap. */
typedef struct xf_heap xf_heap;

/* Makes a heap, and opens it.
 *   limit  Bytes that it may have, rounded up to whole pages of 4,096: addresses are set aside for that much and an
 *          eighth more, memory comes as it is needed, and stays the heap's.
 * Returns 0; XF_EINVAL for a limit of 0; XF_ENOMEM; XF_EHANDLES. */
XF_API int xf_heap_create(xf_heap **heap, size_t limit);

/* Opens what a reference names.  Returns as xf_shm_open; XF_EPROTO when its memory is broken. */
XF_API int xf_heap_open(xf_heap **heap, const xf_ref *ref);

/* Names it, as xf_shm_ref does. */
XF_API int xf_heap_ref(xf_heap *heap, xf_ref *ref);

/* Ends this process's hold; NULL is harmless. */
XF_API void xf_heap_free(xf_heap *heap);

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Allocates memory, which is this process's.  It is not cleared.
 *   size    Bytes.  Up to 2,048 they are rounded up to a power of 2, to 64 at least, and aligned to that; more are
 *           rounded up to whole pages, and aligned to a page.  0 is as 1.
 *   memory  Set to where it is in this process.
 * Returns 0; XF_ELIMIT when it is more than the heap's limit; XF_ENOMEM when there is no room for it now, or no memory.
 * Threads: any, in any process, at the same time. */
XF_API int xf_heap_alloc(xf_heap *heap, size_t size, void **memory);

/* Frees an allocation, whoever made it.  NULL is harmless.
 * Returns 0, or XF_EINVAL when it is none. */
XF_API int xf_heap_dealloc(xf_heap *heap, void *memory);

/* Makes an allocation nobody's, so that no process's end frees it; or this process's, whosever it was.  In both, the
 * one it belonged to must not end meanwhile unless it was kept.
 * Returns 0, or XF_EINVAL when it is none. */
XF_API int xf_heap_keep(xf_heap *heap, void *memory);
XF_API int xf_heap_own(xf_heap *heap, void *memory);

/* How many bytes an allocation has: what was asked for, rounded up.  0 when it is none. */
XF_API size_t xf_heap_size(const xf_heap *heap, const void *memory);

/* What stands for an address in the heap in every process, also one in the middle of an allocation; 0 for NULL and for
 * an address that is not in the heap. */
XF_API uint64_t xf_heap_offset(const xf_heap *heap, const void *address);

/* The address in this process; NULL for 0 and for an offset at which the heap has no memory. */
XF_API void *xf_heap_at(const xf_heap *heap, uint64_t offset);

/* ---- What is there --------------------------------------------------------------------------- */

/* Frees what processes that have ended had not kept.  Returns how many allocations there were. */
XF_API size_t xf_heap_reclaim(xf_heap *heap);

typedef struct xf_heap_stats {
    size_t limit;       /* bytes */
    size_t committed;   /* of these, bytes that have memory */
    size_t pages;       /* bytes of pages that something is in */
    size_t allocations; /* how many */
    size_t bytes;       /* in allocations, rounded up as they were */
    size_t kept;        /* how many of them are nobody's */
    uint64_t reclaimed; /* allocations that were freed because their process had ended, since the heap was made */
} xf_heap_stats;

/* Counts what there is; while others allocate and free, roughly. */
XF_API void xf_heap_stats_get(const xf_heap *heap, xf_heap_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
