#include "shmem/shm.h"

#include "base/clock.h"
#include "base/error.h"
#include "rendezvous/connector.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { DATA_AT = OS_PAGE - OBJECT_HEAD }; /* in the body, so that data begins with the second page */

/* The start of the body. */
typedef struct shape {
    _Atomic uint64_t size; /* of the data; it only grows */
    uint64_t limit;
} shape;

static shape *shape_of(const xf_shm *shm)
{
    return shm->object->body;
}

uint64_t shm_end(const object *object)
{
    uint64_t size = atomic_load(&((const shape *)object->body)->size);

    return size < object->size && DATA_AT + size < object->size ? DATA_AT + size : object->size;
}

static uint64_t limit_of(const xf_shm *shm)
{
    uint64_t limit = shape_of(shm)->limit, room = shm->object->size - DATA_AT;

    return limit < room ? limit : room;
}

static size_t to_pages(size_t size)
{
    return (size + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
}

/* A hold of an object, which is closed on failure. */
static int make_hold(xf_shm **out, object *object)
{
    xf_shm *shm = malloc(sizeof *shm);

    if (!shm) {
        object_close(object);
        return error_detail(XF_ENOMEM, "a hold of shared memory");
    }
    *shm = (xf_shm){object, OS_SHM_NONE, (char *)object->body + DATA_AT, NULL};
    *out = shm;
    return 0;
}

/* Makes memory for the data up to that size, and says so unless another has made more meanwhile. */
static int extend(xf_shm *shm, size_t size)
{
    uint64_t now = atomic_load(&shape_of(shm)->size);
    size_t from = to_pages((size_t)now), to = to_pages(size);
    int rc = to > from ? os_shm_commit(&shm->object->shm, OS_PAGE + from, to - from) : 0;

    if (rc < 0)
        return rc;
    while (now < size && !atomic_compare_exchange_weak(&shape_of(shm)->size, &now, size))
        continue;
    return 0;
}

int xf_shm_create(xf_shm **out, size_t size, const xf_shm_options *options)
{
    static const xf_shm_options defaults;
    object *object;
    xf_shm *shm;
    size_t limit;
    int rc;

    if (!options)
        options = &defaults;
    limit = options->limit ? options->limit : size;
    if (size == 0 || limit < size)
        return error_detail(XF_EINVAL, "shared memory of %zu bytes that may grow to %zu", size, limit);
    if (limit > SIZE_MAX / 2)
        return error_detail(XF_ENOMEM, "shared memory of %zu bytes", limit);
    rc = object_create(&object, XF_KIND_SHM, SHM_VERSION, DATA_AT + to_pages(limit),
                       OS_SHM_RESERVED | (options->huge_pages ? OS_SHM_HUGE : 0));
    if (rc == 0)
        rc = make_hold(&shm, object);
    if (rc < 0)
        return rc;
    shape_of(shm)->limit = limit;
    rc = extend(shm, size);
    if (rc < 0)
        xf_shm_free(shm);
    else
        *out = shm;
    return rc;
}

/* Maps it once more, so that it cannot be written to. */
static int protect(xf_shm *shm)
{
    const os_shm *whole = &shm->object->shm;
    intptr_t copy;
    int rc = os_handle_copy(whole->handle, &copy);

    if (rc == 0)
        rc = os_shm_open(&shm->view, copy, whole->size, whole->flags | OS_SHM_READONLY);
    if (rc == 0)
        shm->data = (char *)shm->view.address + OS_PAGE;
    return rc;
}

static int check_access(xf_shm_access access)
{
    return access == XF_SHM_WRITE || access == XF_SHM_READ
               ? 0
               : error_detail(XF_EINVAL, "access %d to shared memory", (int)access);
}

static int open_hold(xf_shm **out, const xf_ref *ref)
{
    object *object;
    int rc = object_open(&object, ref, XF_KIND_SHM, SHM_VERSION);

    if (rc < 0)
        return rc;
    if (object->size > DATA_AT)
        return make_hold(out, object);
    object_close(object);
    return error_detail(XF_EPROTO, "shared memory that has no room for data");
}

int xf_shm_open(xf_shm **out, const xf_ref *ref, xf_shm_access access)
{
    xf_shm *shm = NULL;
    int rc = check_access(access);

    if (rc == 0)
        rc = open_hold(&shm, ref);
    if (rc < 0)
        return rc;
    if (access == XF_SHM_READ)
        rc = protect(shm);
    if (rc < 0)
        xf_shm_free(shm);
    else
        *out = shm;
    return rc;
}

int xf_shm_ref(xf_shm *shm, xf_ref *ref)
{
    return object_ref(shm->object, ref);
}

void *xf_shm_data(const xf_shm *shm)
{
    return shm->data;
}

size_t xf_shm_size(const xf_shm *shm)
{
    return (size_t)(shm_end(shm->object) - DATA_AT);
}

int xf_shm_grow(xf_shm *shm, size_t size)
{
    if (shm->view.address)
        return error_detail(XF_ESTATE, "this hold of shared memory is for reading");
    if (size > limit_of(shm))
        return error_detail(XF_ELIMIT, "shared memory of %zu bytes, which may grow to %llu", size,
                            (unsigned long long)limit_of(shm));
    return extend(shm, size);
}

void xf_shm_free(xf_shm *shm)
{
    if (!shm)
        return;
    publication_close(shm->publication);
    os_shm_close(&shm->view);
    object_close(shm->object);
    free(shm);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static const xf_key no_key;

int xf_shm_publish(xf_shm *shm, const char *name, const xf_key *key)
{
    if (shm->publication)
        return error_detail(XF_ESTATE, "this hold of shared memory has a name already");
    return publication_open(&shm->publication, shm->object, name, key ? key : &no_key);
}

int xf_shm_find(xf_shm **out, const char *name, const xf_key *key, xf_shm_access access, int timeout_ms)
{
    uint64_t deadline = clock_deadline(timeout_ms);
    xf_shm *shm = NULL;
    connector connector;
    int rc = check_access(access);

    if (rc == 0)
        rc = connector_open(&connector, name, key ? key : &no_key, XF_KIND_SHM, 0, deadline);
    if (rc < 0)
        return rc;
    rc = xf_shm_open(&shm, &connector.ref, access);
    if (rc < 0)
        return connector_close(&connector, rc);
    rc = connector_close(&connector, 0);
    if (rc < 0)
        xf_shm_free(shm);
    else
        *out = shm;
    return rc;
}
