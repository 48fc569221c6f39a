/* Arrays: shared memory that begins with a head and a lock. */
#include "crossfork/array.h"

#include "base/error.h"
#include "shmem/shm.h"
#include "shmem/sync.h"

#include <stdlib.h>

/* The start of the data. */
typedef struct array_head {
    uint64_t magic;
    uint64_t count;
    uint64_t size; /* of an element */
} array_head;

#define ARRAY_MAGIC UINT64_C(0x7866617272617931)

enum { LOCK_AT = XF_SYNC_ALIGN, ELEMENTS_AT = LOCK_AT + XF_LOCK_BYTES };

struct xf_array {
    xf_shm *shm;
    xf_lock *lock;
};

static array_head *array_head_of(const xf_array *array)
{
    return xf_shm_data(array->shm);
}

static int array_allocate(xf_array **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : error_detail(XF_ENOMEM, "a handle to an array");
}

int xf_array_create(xf_array **out, size_t count, size_t size)
{
    xf_lock_options options = {.recursive = true};
    xf_array *array;
    int rc;

    if (count == 0 || size == 0)
        return error_detail(XF_EINVAL, "an array of %zu elements of %zu bytes", count, size);
    if (count > (SIZE_MAX / 2 - ELEMENTS_AT) / size)
        return error_detail(XF_ENOMEM, "an array of %zu elements of %zu bytes", count, size);
    rc = array_allocate(&array);
    if (rc < 0)
        return rc;
    rc = xf_shm_create(&array->shm, ELEMENTS_AT + count * size, NULL);
    options.place = (xf_sync_place){array->shm, LOCK_AT};
    if (rc == 0)
        rc = xf_lock_create(&array->lock, &options);
    if (rc < 0) {
        xf_array_free(array);
        return rc;
    }
    *array_head_of(array) = (array_head){ARRAY_MAGIC, count, size};
    *out = array;
    return 0;
}

/* The process that made the array may be broken. */
static int array_check(const xf_array *array, size_t size)
{
    const array_head *head = array_head_of(array);
    size_t whole = xf_shm_size(array->shm);

    if (whole < ELEMENTS_AT || head->magic != ARRAY_MAGIC || head->size == 0 ||
        head->count > (whole - ELEMENTS_AT) / head->size)
        return error_detail(XF_EPROTO, "the shared memory is not an array");
    if (head->size != size)
        return error_detail(XF_ESIZE, "elements of %llu bytes, not of %zu", (unsigned long long)head->size, size);
    return 0;
}

/* The lock lies in the memory that the reference names. */
static int array_open_lock(xf_array *array, const xf_ref *ref)
{
    xf_ref lock = *ref;

    lock.kind = XF_KIND_LOCK;
    lock.reserved =
        (uint32_t)(object_offset(array->shm->object, (char *)xf_shm_data(array->shm) + LOCK_AT) / XF_SYNC_ALIGN);
    return xf_lock_open(&array->lock, &lock);
}

int xf_array_open(xf_array **out, const xf_ref *ref, size_t size)
{
    xf_array *array;
    int rc = array_allocate(&array);

    if (rc < 0)
        return rc;
    rc = xf_shm_open(&array->shm, ref, XF_SHM_WRITE);
    if (rc == 0)
        rc = array_check(array, size);
    if (rc == 0)
        rc = array_open_lock(array, ref);
    if (rc < 0)
        xf_array_free(array);
    else
        *out = array;
    return rc;
}

int xf_array_ref(xf_array *array, xf_ref *ref)
{
    return xf_shm_ref(array->shm, ref);
}

void *xf_array_data(const xf_array *array)
{
    return (char *)xf_shm_data(array->shm) + ELEMENTS_AT;
}

size_t xf_array_count(const xf_array *array)
{
    return object_is_own(array->shm->object) ? (size_t)array_head_of(array)->count : 0;
}

xf_lock *xf_array_lock(const xf_array *array)
{
    return array->lock;
}

void xf_array_free(xf_array *array)
{
    if (!array)
        return;
    xf_lock_free(array->lock);
    xf_shm_free(array->shm);
    free(array);
}
