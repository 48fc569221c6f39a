/* Arrays and single values that processes share, with their lock.
 *
 *     xf_array *counters;
 *     xf_array_create(&counters, 100, sizeof(int64_t));    // a value is an array of one
 *     xf_array_ref(counters, &ref);                        // to be handed over: see ref.h
 *
 *     xf_array_open(&counters, &ref, sizeof(int64_t));     // in another process
 *     atomic_fetch_add(&XF_ARRAY_ATOMIC_AT(counters, int64_t, 7), 1);
 *
 *     xf_lock_acquire(xf_array_lock(counters), XF_FOREVER);     // for a change in several steps
 *     XF_ARRAY_AT(counters, int64_t, 7) *= 2;
 *     xf_lock_release(xf_array_lock(counters)); */
#ifndef CROSSFORK_ARRAY_H
#define CROSSFORK_ARRAY_H

#include "ref.h"
#include "sync.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xf_array xf_array;

/* Creates an array whose elements are zero, and opens it.  Its lock is recursive.
 *   count, size  How many elements of how many bytes; neither is 0.
 * Returns 0; XF_EINVAL; XF_ENOMEM; XF_EHANDLES. */
XF_API int xf_array_create(xf_array **array, size_t count, size_t size);

/* Opens the array that a reference names.
 *   size  Bytes of an element, as a check: XF_ESIZE when it has another.
 * Returns 0; XF_EINVAL when the reference names something else, XF_EPROTO when it names shared memory that is no array;
 * otherwise as xf_shm_open. */
XF_API int xf_array_open(xf_array **array, const xf_ref *ref, size_t size);

/* Names it, as xf_shm_ref does. */
XF_API int xf_array_ref(xf_array *array, xf_ref *ref);

/* The first element, aligned to 64 bytes, until xf_array_free. */
XF_API void *xf_array_data(const xf_array *array);
XF_API size_t xf_array_count(const xf_array *array);

/* The array's own lock, which is freed with it.  The array does not use it. */
XF_API xf_lock *xf_array_lock(const xf_array *array);

/* Ends the array in this process; NULL is harmless. */
XF_API void xf_array_free(xf_array *array);

/* Element number i, of a type of the size that the array was created for; and the same for the functions of
 * stdatomic.h, for a type whose atomic variant has the same size. */
#ifdef __cplusplus
#define XF_ARRAY_AT(array, type, i) (static_cast<type *>(xf_array_data(array))[i])
#else
#define XF_ARRAY_AT(array, type, i) (((type *)xf_array_data(array))[i])
#define XF_ARRAY_ATOMIC_AT(array, type, i) (((_Atomic(type) *)xf_array_data(array))[i])
#endif

#ifdef __cplusplus
}
#endif

#endif
