#include "shmem/shm.h"

#include "base/clock.h"
#include "base/error.h"
#include "os/cancel.h"
#include "rendezvous/connector.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { DATA_AT = OS_PAGE - OBJECT_HEAD }; /* in the body: the data begins with the second page */

/* The start of the body. */
typedef struct shape {
    _Atomic uint64_t size; /* of the data; only grows */
    uint64_t limit;
} shape;

static shape *shm_shape(const xf_shm *shm)
{
    return shm->object->body;
}

uint64_t shm_end(const object *object)
{
    uint64_t size = atomic_load(&((const shape *)object->body)->size);

    return size < object->size && DATA_AT + size < object->size ? DATA_AT + size : object->size;
}

static uint64_t shm_limit(const xf_shm *shm)
{
    uint64_t limit = shm_shape(shm)->limit, room = shm->object->size - DATA_AT;

    return limit < room ? limit : room;
}

static size_t shm_to_pages(size_t size)
{
    return (size + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
}

/* Makes a handle to an object, or closes the object. */
static int shm_make_handle(xf_shm **out, object *object)
{
    xf_shm *shm = malloc(sizeof *shm);

    if (!shm) {
        object_close(object);
        return error_detail(XF_ENOMEM, "a handle to shared memory");
    }
    *shm = (xf_shm){object, OS_SHM_NONE, (char *)object->body + DATA_AT, NULL};
    *out = shm;
    return 0;
}

/* Gives memory to the data up to that size, and raises the size unless another process has raised it further. */
static int shm_extend(xf_shm *shm, size_t size)
{
    uint64_t now = atomic_load(&shm_shape(shm)->size);
    size_t from = shm_to_pages((size_t)now), to = shm_to_pages(size);
    int rc = to > from ? os_shm_commit(&shm->object->shm, OS_PAGE + from, to - from) : 0;

    if (rc < 0)
        return rc;
    while (now < size && !atomic_compare_exchange_weak(&shm_shape(shm)->size, &now, size))
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
    rc = object_create(&object, XF_KIND_SHM, SHM_VERSION, DATA_AT + shm_to_pages(limit),
                       OS_SHM_RESERVED | (options->huge_pages ? OS_SHM_HUGE : 0));
    if (rc == 0)
        rc = shm_make_handle(&shm, object);
    if (rc < 0)
        return rc;
    shm_shape(shm)->limit = limit;
    rc = shm_extend(shm, size);
    if (rc < 0)
        xf_shm_free(shm);
    else
        *out = shm;
    return rc;
}

/* Maps the segment once more, for reading only. */
static int shm_map_read_only(xf_shm *shm)
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

static int shm_check_access(xf_shm_access access)
{
    return access == XF_SHM_WRITE || access == XF_SHM_READ
               ? 0
               : error_detail(XF_EINVAL, "access %d to shared memory", (int)access);
}

static int shm_open_handle(xf_shm **out, const xf_ref *ref)
{
    object *object;
    int rc = object_open(&object, ref, XF_KIND_SHM, SHM_VERSION);

    if (rc < 0)
        return rc;
    if (object->size > DATA_AT)
        return shm_make_handle(out, object);
    object_close(object);
    return error_detail(XF_EPROTO, "shared memory without room for data");
}

int xf_shm_open(xf_shm **out, const xf_ref *ref, xf_shm_access access)
{
    xf_shm *shm = NULL;
    int rc = shm_check_access(access);

    if (rc == 0)
        rc = shm_open_handle(&shm, ref);
    if (rc < 0)
        return rc;
    if (access == XF_SHM_READ)
        rc = shm_map_read_only(shm);
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
    if (!object_is_own(shm->object))
        return 0;
    return (size_t)(shm_end(shm->object) - DATA_AT);
}

int xf_shm_grow(xf_shm *shm, size_t size)
{
    if (!object_is_own(shm->object))
        return object_not_own();
    if (shm->view.address)
        return error_detail(XF_ESTATE, "this handle to shared memory is for reading only");
    if (size > shm_limit(shm))
        return error_detail(XF_ELIMIT, "shared memory of %zu bytes, which may grow to %llu", size,
                            (unsigned long long)shm_limit(shm));
    return shm_extend(shm, size);
}

void xf_shm_free(xf_shm *shm)
{
    OS_HOLD_CANCEL;

    if (!shm)
        return;
    publication_close(shm->publication);
    if (object_is_own(shm->object))
        os_shm_close(&shm->view);
    else
        os_shm_let_go(&shm->view);
    object_close(shm->object);
    free(shm);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static const xf_key no_key;

int xf_shm_publish(xf_shm *shm, const char *name, const xf_key *key)
{
    OS_HOLD_CANCEL;

    if (!object_is_own(shm->object))
        return object_not_own();
    if (shm->publication)
        return error_detail(XF_ESTATE, "this handle to shared memory has a name already");
    return publication_open(&shm->publication, shm->object, name, key ? key : &no_key);
}

int xf_shm_find(xf_shm **out, const char *name, const xf_shm_find_options *options, int timeout_ms)
{
    OS_HOLD_CANCEL;
    static const xf_shm_find_options defaults;
    uint64_t deadline = clock_deadline(timeout_ms);
    xf_shm *shm = NULL;
    connector connector;
    int rc;

    if (!options)
        options = &defaults;
    rc = shm_check_access(options->access);
    if (rc == 0)
        rc = connector_open(&connector, name, options->key ? options->key : &no_key, XF_KIND_SHM, 0, deadline);
    if (rc < 0)
        return rc;
    rc = xf_shm_open(&shm, &connector.ref, options->access);
    if (rc < 0)
        return connector_close(&connector, rc);
    rc = connector_close(&connector, 0);
    if (rc < 0)
        xf_shm_free(shm);
    else
        *out = shm;
    return rc;
}
