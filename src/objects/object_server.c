#include "objects/object_server.h"

#include "base/error.h"
#include "objects/handle.h"
#include "objects/object_client.h"
#include "objects/object_entry.h"
#include "protocol/frame.h"

#include <string.h>

/* Fills in an ANSWER frame. */
static size_t build_answer(uint8_t *bytes, uint32_t number, int code, const os_shm *shm)
{
    frame_fields fields = {.size = 0};
    frame frame = {.type = FRAME_ANSWER, .attached = shm ? (shm->size ? shm->size : 1) : 0};

    frame_put_u32(&fields, number);
    frame_put_u32(&fields, (uint32_t)code);
    frame_put_u32(&fields, shm ? (uint32_t)shm->flags : 0);
    frame.size = fields.size;
    frame_put_header(bytes, &frame);
    memcpy(bytes + FRAME_HEADER, fields.bytes, fields.size);
    return FRAME_HEADER + fields.size;
}

static int send_answer(os_child *process, uint32_t number, int code)
{
    uint8_t bytes[FRAME_HEADER + 16];
    int rc =
        os_channel_write(os_child_channel(process, OS_CHANNEL), bytes, build_answer(bytes, number, code, NULL), -1, 0);

    if (rc == XF_EAGAIN)
        return error_detail(XF_EPROTO, "a child does not read the answers to its requests");
    return rc == XF_EEND ? 0 : rc;
}

static int send_object(os_child *process, uint32_t number, const os_shm *shm)
{
    uint8_t bytes[FRAME_HEADER + 16];

    return os_channel_write(os_child_channel(process, OS_CHANNEL), bytes, build_answer(bytes, number, 0, shm),
                            shm->handle, 0);
}

/* Hands over a handle, which can be done once: this process does not have it afterwards. */
static int serve_handle(os_child *process, uint32_t number, const xf_ref *ref)
{
    os_shm shm = OS_SHM_NONE;
    int rc = handle_take(ref, &shm.handle);

    if (rc == 0)
        rc = send_object(process, number, &shm);
    os_shm_close(&shm);
    return rc < 0 ? send_answer(process, number, rc) : 0;
}

static int serve_ask(object_child *child, os_child *process, uint32_t number, const xf_ref *ref)
{
    object_entry *entry;
    int rc;

    if (ref->kind == XF_KIND_HANDLE)
        return serve_handle(process, number, ref);
    rc = object_entry_open(&entry, ref);
    if (rc < 0)
        return send_answer(process, number, rc);
    if (entry->object.ref.kind != ref->kind) {
        object_entry_close(entry);
        return send_answer(process, number, XF_ENOENT);
    }
    object_table_lock();
    rc = object_table_add_holder(entry, child, false);
    object_table_unlock();
    if (rc == 0) {
        rc = send_object(process, number, &entry->object.shm);
        if (rc < 0) {
            object_table_lock();
            object_table_release_holder(entry, child, 1);
            object_table_unlock();
        }
    }
    object_entry_close(entry);
    return rc < 0 ? send_answer(process, number, rc) : 0;
}

/* Accepts an object of a child.  Before the child gets its answer, this process's own parent is given the object,
 * too. */
static int accept_offer(object_child *child, const xf_ref *ref, intptr_t handle, uint64_t size, int flags)
{
    object_entry *entry;
    bool reported;
    int rc = object_entry_receive(&entry, ref, handle, size, flags);

    if (rc < 0)
        return rc;
    entry = object_entry_insert(entry);
    object_table_lock();
    reported = entry->reported > 0;
    rc = object_table_add_holder(entry, child, true);
    object_table_unlock();
    if (rc == 0 && !reported)
        rc = object_client_offer(entry);
    if (rc < 0) {
        object_table_lock();
        object_table_release_holder(entry, child, 1);
        object_table_unlock();
    }
    object_entry_close(entry);
    return rc;
}

static int serve_offer(object_child *child, os_child *process, const frame *frame, uint32_t number, const xf_ref *ref,
                       int flags)
{
    intptr_t handle;
    int rc = os_channel_take(os_child_channel(process, OS_CHANNEL), frame->token, &handle);

    if (rc == 0)
        rc = accept_offer(child, ref, handle, frame->attached, flags);
    return rc == XF_EPROTO ? rc : send_answer(process, number, rc);
}

static void serve_drop(object_child *child, const xf_ref *ref, uint32_t times)
{
    bool unused = false;
    object_entry *entry;

    object_table_lock();
    entry = object_table_find(ref);
    if (entry) {
        object_table_release_holder(entry, child, times);
        unused = object_table_remove_unused(entry);
    }
    object_table_unlock();
    if (unused)
        object_entry_destroy(entry);
}

int object_server_receive(object_child *child, os_child *process, const frame *frame)
{
    frame_reader reader = frame_read(frame);
    uint32_t number, last;
    xf_ref ref;

    if (frame->type != FRAME_ASK && frame->type != FRAME_OFFER && frame->type != FRAME_DROP)
        return 0;
    number = frame->type == FRAME_DROP ? 0 : frame_get_u32(&reader);
    frame_get(&reader, &ref, sizeof ref);
    last = frame_get_u32(&reader);
    if (reader.bad || reader.left || (frame->type == FRAME_OFFER) != (frame->attached > 0))
        return error_detail(XF_EPROTO, "a malformed frame of %zu bytes about an object", frame->size);
    if (frame->type == FRAME_ASK)
        return serve_ask(child, process, number, &ref);
    if (frame->type == FRAME_OFFER)
        return serve_offer(child, process, frame, number, &ref, (int)last);
    serve_drop(child, &ref, last);
    return 0;
}

void object_server_forget(object_child *child)
{
    object_entry *entry;
    bool unused;

    while (child->first) {
        object_table_lock();
        entry = child->first->entry;
        object_table_remove_holder(child->first);
        unused = object_table_remove_unused(entry);
        object_table_unlock();
        if (unused)
            object_entry_destroy(entry);
    }
}
