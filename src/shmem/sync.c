#include "shmem/sync.h"

#include "base/clock.h"
#include "base/error.h"
#include "shmem/shm.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { SYNC_MAGIC = 0x7866736c };

/* ---- Where a state lies ---------------------------------------------------------------------- */

/* A place in the user's shared memory is counted from the body of its object, in steps of XF_SYNC_ALIGN. */
static int sync_check_place(const xf_sync_place *place, size_t bytes)
{
    size_t size = xf_shm_size(place->shm);

    if (!object_is_own(place->shm->object))
        return object_not_own();
    if (place->shm->view.address)
        return error_detail(XF_EINVAL, "a place in shared memory that is open for reading only");
    if (place->at % XF_SYNC_ALIGN != 0 || place->at > size || bytes > size - place->at)
        return error_detail(XF_EINVAL, "a place of %zu bytes at %zu of %zu", bytes, place->at, size);
    if (place->at / XF_SYNC_ALIGN >= UINT32_MAX / 2)
        return error_detail(XF_EINVAL, "a place at %zu, which is too far", place->at);
    return 0;
}

static int sync_make_handle(sync_handle **out, object *object, uint32_t place)
{
    sync_handle *handle = malloc(sizeof *handle);

    if (!handle) {
        object_close(object);
        return error_detail(XF_ENOMEM, "a handle to an object");
    }
    *handle = (struct sync_handle){object, object_at(object, (uint64_t)place * XF_SYNC_ALIGN), place};
    *out = handle;
    return 0;
}

static int sync_create_in(sync_handle **out, size_t bytes, const xf_sync_place *place)
{
    const object *shared = place->shm->object;
    object *object;
    uint64_t where;
    int rc = sync_check_place(place, bytes);

    if (rc == 0)
        rc = object_open(&object, &shared->ref, XF_KIND_SHM, SHM_VERSION);
    if (rc < 0)
        return rc;
    where = object_offset(shared, (char *)place->shm->data + place->at);
    return sync_make_handle(out, object, (uint32_t)(where / XF_SYNC_ALIGN));
}

int sync_create(sync_handle **out, xf_object_kind kind, size_t bytes, uint32_t parameter, const xf_sync_place *place)
{
    object *object;
    sync_head *head;
    int rc;

    if (place->shm) {
        rc = sync_create_in(out, bytes, place);
    } else {
        rc = object_create(&object, kind, SYNC_VERSION, bytes, 0);
        if (rc == 0)
            rc = sync_make_handle(out, object, 0);
    }
    if (rc < 0)
        return rc;
    head = (*out)->state;
    memset(head, 0, bytes);
    *head = (sync_head){SYNC_MAGIC, kind, (uint32_t)bytes, parameter};
    return 0;
}

/* Whether the state that lies there is of the kind that the reference says. */
static bool sync_is_state(const sync_handle *handle, uint32_t kind)
{
    const sync_head *head = handle->state;
    uint64_t at = (uint64_t)handle->place * XF_SYNC_ALIGN, size = handle->object->size;

    if (handle->place > 0)
        size = shm_end(handle->object);
    return at + sizeof *head <= size && head->magic == SYNC_MAGIC && head->kind == kind && head->bytes <= size - at;
}

int sync_open(sync_handle **out, const xf_ref *ref, xf_object_kind kind)
{
    xf_ref whole = *ref;
    object *object;
    int rc;

    if (ref->kind != (uint32_t)kind)
        return error_detail(XF_EINVAL, "a reference of another kind of object: %u, not %d", (unsigned)ref->kind,
                            (int)kind);
    whole.reserved = 0;
    whole.kind = ref->reserved ? XF_KIND_SHM : kind;
    rc = object_open(&object, &whole, (xf_object_kind)whole.kind, ref->reserved ? SHM_VERSION : SYNC_VERSION);
    if (rc == 0)
        rc = sync_make_handle(out, object, ref->reserved);
    if (rc == 0 && !sync_is_state(*out, kind)) {
        sync_close(*out);
        rc = error_detail(XF_EPROTO, "the object is not of the kind that its reference says");
    }
    return rc;
}

int sync_ref(sync_handle *handle, xf_object_kind kind, xf_ref *ref)
{
    int rc = object_ref(handle->object, ref);

    if (rc < 0)
        return rc;
    ref->kind = kind;
    ref->reserved = handle->place;
    return 0;
}

void sync_close(sync_handle *handle)
{
    if (handle)
        object_close(handle->object);
    free(handle);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

sync_wait sync_wait_begin(int timeout_ms)
{
    return (sync_wait){clock_deadline(timeout_ms), clock_deadline(SYNC_RECHECK_MS), 0};
}

bool sync_is_time_to_check(sync_wait *wait)
{
    wait->now = uv_hrtime();
    if (wait->now < wait->next_check && wait->now < wait->deadline)
        return false;
    wait->next_check = wait->now + (uint64_t)SYNC_RECHECK_MS * CLOCK_NS_PER_MS;
    return true;
}

bool sync_has_expired(const sync_wait *wait)
{
    return wait->now >= wait->deadline;
}

static int sync_nap_ms(const sync_wait *wait)
{
    return clock_left_ms(wait->deadline < wait->next_check ? wait->deadline : wait->next_check);
}

void sync_sleep(const sync_handle *handle, sync_eventcount *changes, uint32_t seen, const sync_wait *wait)
{
    atomic_fetch_add(&changes->sleepers, 1);
    os_shm_wait(&handle->object->shm, &changes->count, seen, sync_nap_ms(wait));
    atomic_fetch_sub(&changes->sleepers, 1);
}

/* Either the holder sees the sleeper, or the sleeper sees that there is no holder any more. */
void sync_sleep_while(const sync_handle *handle, sync_eventcount *changes, uint32_t seen, const sync_wait *wait,
                      const _Atomic uint64_t *holder)
{
    atomic_fetch_add(&changes->sleepers, 1);
    if (atomic_load(holder) != 0)
        os_shm_wait(&handle->object->shm, &changes->count, seen, sync_nap_ms(wait));
    atomic_fetch_sub(&changes->sleepers, 1);
}

void sync_wake(const sync_handle *handle, sync_eventcount *changes, int count)
{
    atomic_fetch_add(&changes->count, 1);
    if (atomic_load(&changes->sleepers) > 0)
        os_shm_wake(&handle->object->shm, &changes->count, count);
}
