#include "objects/object.h"

#include "base/error.h"
#include "objects/object_client.h"
#include "objects/object_entry.h"
#include "objects/object_kind.h"
#include "os/cancel.h"
#include "os/identity.h"

#include <assert.h>
#include <string.h>

/* Creates the segment of a new object. */
static int create_segment(os_shm *shm, const object_head *head, int flags)
{
    size_t whole = OBJECT_HEAD + (size_t)head->size;
    int rc;

    if (flags & OS_SHM_RESERVED)
        whole = (whole + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
    rc = os_shm_create(shm, whole, flags | OS_SHM_WAITABLE | OS_SHM_PRIVATE);
    if (rc < 0)
        return rc;
    if (flags & OS_SHM_RESERVED)
        rc = os_shm_commit(shm, 0, OS_PAGE);
    if (rc < 0)
        os_shm_close(shm);
    else
        memcpy(shm->address, head, sizeof *head);
    return rc;
}

int object_create(object **out, xf_object_kind kind, uint32_t version, size_t size, int flags)
{
    OS_HOLD_CANCEL;
    object_head head = {.magic = OBJECT_MAGIC, .version = version, .size = size};
    os_shm shm;
    object_entry *entry;
    int rc;

    assert(size > 0);
    if (size > SIZE_MAX / 2)
        return error_detail(XF_ENOMEM, "a %s of %zu bytes", object_kind_name(kind), size);
    rc = object_entry_make_ref(&head.ref, kind);
    if (rc == 0)
        rc = create_segment(&shm, &head, flags);
    if (rc == 0)
        rc = object_entry_make(&entry, &head.ref, &shm, &head);
    if (rc < 0)
        return rc;
    entry->opens = 1;
    object_table_lock();
    object_table_insert(entry);
    object_table_unlock();
    *out = &entry->object;
    return 0;
}

int object_open(object **out, const xf_ref *ref, xf_object_kind kind, uint32_t version)
{
    OS_HOLD_CANCEL;
    object_entry *entry;
    int rc;

    if (ref->kind != (uint32_t)kind)
        return error_detail(XF_EINVAL, "a reference to a %s, where one to a %s is needed", object_kind_name(ref->kind),
                            object_kind_name(kind));
    rc = object_entry_open(&entry, ref);
    if (rc < 0)
        return rc;
    if (memcmp(entry->object.ref.id, ref->id, sizeof ref->id) != 0 || entry->object.ref.kind != ref->kind ||
        entry->version != version) {
        object_entry_close(entry);
        return error_detail(XF_EPROTO, "the object is not the %s of the reference", object_kind_name(kind));
    }
    *out = &entry->object;
    return 0;
}

int object_open_any(object **out, const xf_ref *ref)
{
    OS_HOLD_CANCEL;
    object_entry *entry;
    int rc = object_entry_open(&entry, ref);

    if (rc == 0)
        *out = &entry->object;
    return rc;
}

int object_adopt(object **out, const xf_ref *ref, intptr_t handle, uint64_t size, int flags)
{
    OS_HOLD_CANCEL;
    object_entry *entry;
    int rc = object_entry_receive(&entry, ref, handle, size, flags);

    if (rc == 0)
        *out = &object_entry_insert(entry)->object;
    return rc;
}

int object_ref(object *object, xf_ref *ref)
{
    OS_HOLD_CANCEL;
    object_entry *entry = (object_entry *)object;
    bool reported;
    int rc = 0;

    if (!object_is_own(object))
        return object_not_own();
    object_table_lock();
    reported = entry->reported > 0;
    object_table_unlock();
    if (!reported)
        rc = object_client_offer(entry);
    if (rc == 0)
        *ref = object->ref;
    return rc;
}

bool object_is_own(const object *object)
{
    return ((const object_entry *)object)->generation == os_self_generation();
}

int object_not_own(void)
{
    return error_detail(XF_ESTATE, "this process is a forked copy of the one that has the object");
}

void object_close(object *object)
{
    OS_HOLD_CANCEL;

    if (!object)
        return;
    if (object_is_own(object))
        object_entry_close((object_entry *)object);
    else
        object_entry_let_go((object_entry *)object);
}
