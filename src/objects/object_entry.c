#include "objects/object_entry.h"

#include "base/error.h"
#include "objects/object_client.h"
#include "objects/object_kind.h"
#include "os/identity.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

_Static_assert(sizeof(object_head) <= OBJECT_HEAD, "the head fits before the body");

int object_entry_make_ref(xf_ref *ref, xf_object_kind kind)
{
    int rc;

    *ref = (xf_ref){.kind = kind};
    rc = uv_random(NULL, NULL, ref->id, sizeof ref->id, 0, NULL);
    return rc < 0 ? error_from_uv(rc, "uv_random") : 0;
}

/* ---- Making ---------------------------------------------------------------------------------- */

int object_entry_make(object_entry **out, const xf_ref *ref, os_shm *shm)
{
    object_entry *entry = calloc(1, sizeof *entry);

    if (!entry) {
        os_shm_close(shm);
        return error_detail(XF_ENOMEM, "a shared object");
    }
    entry->object = (object){.shm = *shm, .ref = *ref};
    entry->generation = os_self_generation();
    if (shm->address) {
        const object_head *head = shm->address;
        entry->object.body = (char *)shm->address + OBJECT_HEAD;
        entry->object.size = (size_t)head->size;
        entry->version = head->version;
    }
    *out = entry;
    return 0;
}

/* Whether a segment is the object of the reference. */
static bool is_object(const os_shm *shm, const xf_ref *ref)
{
    const object_head *head = shm->address;

    return head->magic == OBJECT_MAGIC && memcmp(&head->ref, ref, sizeof *ref) == 0 &&
           head->size <= shm->size - OBJECT_HEAD;
}

/* Opens a segment of another process, which may be broken or hostile. */
static int open_segment(os_shm *shm, const xf_ref *ref, intptr_t handle, uint64_t size, int flags)
{
    enum { ALLOWED = OS_SHM_RESERVED | OS_SHM_WAITABLE | OS_SHM_PRIVATE | OS_SHM_HUGE };
    int rc;

    if (size <= OBJECT_HEAD || size > SIZE_MAX / 2 || flags & ~ALLOWED) {
        os_handle_close(handle);
        return error_detail(XF_EPROTO, "an object of %llu bytes", (unsigned long long)size);
    }
    rc = os_shm_open(shm, handle, (size_t)size, flags);
    if (rc < 0)
        return rc;
    if (flags & OS_SHM_RESERVED)
        rc = os_shm_commit(shm, 0, OS_PAGE);
    if (rc == 0 && !is_object(shm, ref))
        rc = error_detail(XF_EPROTO, "the segment is not the %s of the reference", object_kind_name(ref->kind));
    if (rc < 0)
        os_shm_close(shm);
    return rc;
}

int object_entry_receive(object_entry **out, const xf_ref *ref, intptr_t handle, uint64_t size, int flags)
{
    os_shm shm = {NULL, 0, handle, 0};
    int rc = ref->kind == XF_KIND_HANDLE ? 0 : open_segment(&shm, ref, handle, size, flags);

    return rc < 0 ? rc : object_entry_make(out, ref, &shm);
}

/* ---- Opening and closing --------------------------------------------------------------------- */

object_entry *object_entry_insert(object_entry *fresh)
{
    object_entry *known;

    object_table_lock();
    known = object_table_find(&fresh->object.ref);
    if (known)
        known->reported += fresh->reported;
    else
        object_table_insert(known = fresh);
    known->opens++;
    object_table_unlock();
    if (known != fresh) {
        fresh->reported = 0;
        object_entry_destroy(fresh);
    }
    return known;
}

int object_entry_open(object_entry **out, const xf_ref *ref)
{
    object_answer answer;
    object_entry *entry;
    int rc;

    object_table_lock();
    entry = object_table_find(ref);
    if (entry)
        entry->opens++;
    object_table_unlock();
    if (!entry) {
        rc = object_client_ask(ref, &answer);
        if (rc == 0)
            rc = object_entry_receive(&entry, ref, answer.handle, answer.size, answer.flags);
        if (rc < 0)
            return rc;
        entry->reported = 1;
        entry = object_entry_insert(entry);
    }
    *out = entry;
    return 0;
}

void object_entry_close(object_entry *entry)
{
    bool unused;

    object_table_lock();
    assert(entry->opens > 0);
    entry->opens--;
    unused = object_table_remove_unused(entry);
    object_table_unlock();
    if (unused)
        object_entry_destroy(entry);
}

/* The parent's table refers to the entry, so the entry stays. */
void object_entry_let_go(object_entry *entry)
{
    bool unused;

    object_table_lock();
    unused = entry->opens > 0 && --entry->opens == 0;
    object_table_unlock();
    if (unused)
        os_shm_let_go(&entry->object.shm);
}

void object_entry_destroy(object_entry *entry)
{
    if (entry->reported > 0)
        object_client_drop(&entry->object.ref, entry->reported);
    os_shm_close(&entry->object.shm);
    free(entry);
}
