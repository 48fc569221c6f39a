#include "objects/handle.h"

#include "base/error.h"
#include "objects/object_client.h"
#include "objects/object_entry.h"
#include "objects/object_kind.h"
#include "os/cancel.h"

/* After a handle has been taken, neither this process nor a child has it open any more.  Called with the table's lock
 * held. */
static void close_everywhere(object_entry *entry)
{
    entry->opens -= entry->has_handle;
    entry->has_handle = false;
    while (entry->holders)
        object_table_remove_holder(entry->holders);
}

/* Takes the handle out of its entry, and gives up the entry.  Returns -1 when the table does not have the handle: what
 * the reference calls one may be the segment of an object that others use. */
static intptr_t take_from_table(const xf_ref *ref)
{
    intptr_t handle = -1;
    bool unused = false;
    object_entry *entry;

    object_table_lock();
    entry = object_table_find(ref);
    if (entry && entry->object.ref.kind == XF_KIND_HANDLE) {
        handle = entry->object.shm.handle;
        entry->object.shm.handle = -1;
        close_everywhere(entry);
        unused = object_table_remove_unused(entry);
    }
    object_table_unlock();
    if (unused)
        object_entry_destroy(entry);
    return handle;
}

int handle_take(const xf_ref *ref, intptr_t *handle)
{
    intptr_t taken = take_from_table(ref);
    object_answer answer;
    int rc = taken == -1 ? object_client_ask(ref, &answer) : 0;

    if (rc < 0)
        return rc;
    *handle = taken == -1 ? answer.handle : taken;
    return 0;
}

int xf_handle_ref(intptr_t handle, xf_ref *out)
{
    OS_HOLD_CANCEL;
    os_shm shm = OS_SHM_NONE;
    xf_ref ref;
    object_entry *entry;
    int rc = object_entry_make_ref(&ref, XF_KIND_HANDLE);

    if (rc == 0)
        rc = os_handle_copy(handle, &shm.handle);
    if (rc == 0)
        rc = object_entry_make(&entry, &ref, &shm, NULL);
    if (rc < 0)
        return rc;
    entry->opens = 1;
    entry->has_handle = true;
    object_table_lock();
    object_table_insert(entry);
    object_table_unlock();
    rc = object_client_offer(entry);
    if (rc == 0)
        *out = ref;
    else
        object_entry_close(entry);
    return rc;
}

int xf_handle_take(const xf_ref *ref, intptr_t *handle)
{
    OS_HOLD_CANCEL;

    if (ref->kind != XF_KIND_HANDLE)
        return error_detail(XF_EINVAL, "a reference to a %s, where one to a handle is needed",
                            object_kind_name(ref->kind));
    return handle_take(ref, handle);
}
