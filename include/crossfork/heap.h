/* A heap in shared memory: memory that any process allocates and any process frees.
 *
 *     xf_heap *heap;
 *     void *memory;
 *     uint64_t offset;
 *     xf_heap_create(&heap, 1 << 30);
 *     xf_heap_ref(heap, &ref);                             // to be handed over: see ref.h
 *     xf_heap_alloc(heap, 5000, &memory);
 *     offset = xf_heap_offset(heap, memory);               // a number that means the same in every process
 *     xf_heap_keep(heap, memory);                          // it stays now, whichever process ends
 *     xf_queue_put(queue, &offset, sizeof offset, XF_FOREVER);
 *
 *     xf_heap *theirs;                                     // in another process
 *     xf_heap_open(&theirs, &ref);
 *     memory = xf_heap_at(theirs, offset);
 *     xf_heap_dealloc(theirs, memory);
 *
 * Death.  An allocation belongs to the process that made it: when that process ends, in whatever way, before it has
 * freed or kept it, the allocation is freed, by the next process that finds the heap full or calls xf_heap_reclaim.
 * A kept allocation belongs to no process, and exists until it is freed, or until xf_heap_own gives it to a process.
 * So a process that hands memory over keeps it first, and the receiver makes it its own; memory that was kept and is
 * never received stays until the heap ends.  No lock is held at any time: a process may be killed at any instruction,
 * and blocks no other.
 *
 * Life.  The heap exists as long as some process has it open, and all of its memory, kept or not, ends with the last
 * one.  xf_heap_free frees none of the process's allocations.
 *
 * Mistakes.  Each call checks that its argument is the beginning of an allocation, by records that the user cannot
 * reach; so freeing memory twice, or an address that is no allocation, gives XF_EINVAL, unless the memory has been
 * allocated again meanwhile.  As with any heap, writing beyond the end of an allocation damages the next one. */
#ifndef CROSSFORK_HEAP_H
#define CROSSFORK_HEAP_H

#include "ref.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A heap that this process has open. */
typedef struct xf_heap xf_heap;

/* Creates a heap, and opens it.
 *   limit  Bytes that it may have, rounded up to whole pages of 4,096: addresses are reserved for that much and an
 *          eighth more; memory is committed as it is needed, and stays the heap's.
 * Returns 0; XF_EINVAL for a limit of 0; XF_ENOMEM; XF_EHANDLES. */
XF_API int xf_heap_create(xf_heap **heap, size_t limit);

/* Opens the heap that a reference names.  Returns as xf_shm_open; XF_EPROTO when its memory is broken. */
XF_API int xf_heap_open(xf_heap **heap, const xf_ref *ref);

/* Names it, as xf_shm_ref does. */
XF_API int xf_heap_ref(xf_heap *heap, xf_ref *ref);

/* Ends the heap in this process; NULL is harmless. */
XF_API void xf_heap_free(xf_heap *heap);

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Allocates memory that belongs to this process.  It is not cleared.
 *   size    Bytes.  Up to 2,048 they are rounded up to a power of 2, to 64 at least, and aligned to that; more are
 *           rounded up to whole pages, and aligned to a page.  0 is as 1.
 *   memory  Set to its address in this process.
 * Returns 0; XF_ELIMIT when it is more than the heap's limit; XF_ENOMEM when the heap has no room for it now, or the
 * system no memory.
 * Threads: any, in any process, at the same time. */
XF_API int xf_heap_alloc(xf_heap *heap, size_t size, void **memory);

/* Frees an allocation, whichever process made it.  NULL is harmless.
 * Returns 0, or XF_EINVAL when memory is no allocation. */
XF_API int xf_heap_dealloc(xf_heap *heap, void *memory);

/* Keeps an allocation: it belongs to no process, so that no process's end frees it.  Or makes it this process's own,
 * whichever process owned it.  In both, the previous owner must not end meanwhile unless the allocation was kept.
 * Returns 0, or XF_EINVAL when memory is no allocation. */
XF_API int xf_heap_keep(xf_heap *heap, void *memory);
XF_API int xf_heap_own(xf_heap *heap, void *memory);

/* How many bytes an allocation has: the requested size, rounded up.  0 when memory is no allocation. */
XF_API size_t xf_heap_size(const xf_heap *heap, const void *memory);

/* The offset of an address in the heap, which is the same in every process; the address may be in the middle of an
 * allocation.  0 for NULL and for an address that is not in the heap. */
XF_API uint64_t xf_heap_offset(const xf_heap *heap, const void *address);

/* The address in this process; NULL for 0 and for an offset at which the heap has no memory. */
XF_API void *xf_heap_at(const xf_heap *heap, uint64_t offset);

/* ---- Statistics ------------------------------------------------------------------------------ */

/* Frees the allocations that processes had not kept before they ended.  Returns how many it freed. */
XF_API size_t xf_heap_reclaim(xf_heap *heap);

typedef struct xf_heap_stats {
    size_t limit;       /* bytes */
    size_t committed;   /* of these, bytes that have memory */
    size_t pages;       /* bytes of pages that hold allocations */
    size_t allocations; /* how many */
    size_t bytes;       /* in allocations, rounded up */
    size_t kept;        /* how many of the allocations belong to no process */
    uint64_t reclaimed; /* allocations that were freed because their process had ended, since the heap was created */
} xf_heap_stats;

/* Takes a snapshot; it is approximate while other threads allocate and free. */
XF_API void xf_heap_stats_get(const xf_heap *heap, xf_heap_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
