/* Goal: whatever a child asks for, offers and drops, and whatever is in the segments that it offers, its parent's table
 * stays sound, and when the child has ended nothing of it is left.
 *
 * An input is a list of frames: type, length, and so many bytes; behind an offer come length and bytes of a segment. */
#include "fuzz.h"
#include "objects/handle.h"
#include "objects/object.h"
#include "objects/object_client.h"
#include "objects/object_entry.h"
#include "objects/object_server.h"
#include "os/identity.h"
#include "protocol/frame.h"

enum { SEGMENT_MAX = 8192 };

/* ---- In place of the seam and of a parent ---------------------------------------------------- */

static fuzz_input input;
static long segments, handles;

os_channel *os_child_channel(os_child *child, int stream)
{
    (void)stream;
    return (os_channel *)child;
}

int os_channel_write(os_channel *channel, const void *data, size_t size, intptr_t handle, int timeout_ms)
{
    (void)channel, (void)handle, (void)timeout_ms;
    CHECK(fuzz_sum(data, size) <= 255U * (unsigned)size);
    return fuzz_number(&input, 1) == 77 ? XF_EHANDLES : 0;
}

int os_channel_take(os_channel *channel, uint64_t token, intptr_t *handle)
{
    (void)channel;
    if (token % 8 == 7)
        return XF_EPROTO;
    *handle = 100;
    handles++;
    return 0;
}

void os_handle_close(intptr_t handle)
{
    handles -= handle == 100;
}

int os_handle_copy(intptr_t handle, intptr_t *copy)
{
    (void)handle, (void)copy;
    return XF_EINVAL;
}

int os_shm_open(os_shm *shm, intptr_t handle, size_t size, int flags)
{
    if (size > SEGMENT_MAX) {
        os_handle_close(handle);
        return XF_EPROTO;
    }
    *shm = (os_shm){malloc(size), size, handle, flags};
    CHECK(shm->address);
    fuzz_take(&input, shm->address, size < 128 ? size : 128);
    segments++;
    return 0;
}

int os_shm_create(os_shm *shm, size_t size, int flags)
{
    *shm = (os_shm){calloc(1, size), size, 200, flags};
    CHECK(shm->address);
    segments++;
    return 0;
}

int os_shm_commit(const os_shm *shm, size_t offset, size_t size)
{
    return offset > shm->size || size > shm->size - offset ? XF_ENOMEM : 0;
}

void os_shm_close(os_shm *shm)
{
    segments -= shm->address != NULL;
    free(shm->address);
    os_handle_close(shm->handle);
    *shm = OS_SHM_NONE;
}

void os_shm_let_go(os_shm *shm)
{
    os_shm_close(shm);
}

uint32_t os_self_generation(void)
{
    return 0;
}

int object_client_ask(const xf_ref *ref, object_answer *answer)
{
    (void)ref, (void)answer;
    return XF_ENOENT;
}

int object_client_offer(object_entry *entry)
{
    (void)entry;
    return 0;
}

void object_client_drop(const xf_ref *ref, uint32_t times)
{
    (void)ref, (void)times;
}

/* ---- The child ------------------------------------------------------------------------------- */

static int receive(object_child *child)
{
    uint8_t payload[64];
    size_t length;
    frame frame = {.type = (frame_type)(FRAME_ASK + fuzz_number(&input, 1) % 3), .payload = payload};

    length = fuzz_number(&input, 1) % (sizeof payload + 1);
    if (length == 0) /* as long as it should be */
        length = sizeof(xf_ref) + (frame.type == FRAME_DROP ? 4 : 8);
    fuzz_take(&input, payload, length);
    frame.size = length;
    frame.token = fuzz_number(&input, 1);
    frame.attached = frame.type == FRAME_OFFER ? fuzz_number(&input, 2) : 0;
    return object_server_receive(child, NULL, &frame);
}

/* An object of this process's own: nothing that the child says changes it. */
static void check_own(object *own)
{
    CHECK(own->shm.address && own->shm.handle == 200 && own->size == 64 && own->ref.kind == XF_KIND_LOCK);
    CHECK(fuzz_sum(own->body, own->size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    object_child child = {NULL, 0, 0};
    object *own;

    input = (fuzz_input){data, size};
    CHECK(object_create(&own, XF_KIND_LOCK, 1, 64, 0) == 0);
    object_table_lock();
    CHECK(object_table_remove_unused((object_entry *)own) == false);
    object_table_unlock();
    while (input.left > 0 && receive(&child) == 0)
        check_own(own);
    check_own(own);
    object_server_forget(&child);
    CHECK(child.count == 0 && child.offered == 0 && !child.first);
    check_own(own);
    object_close(own);
    CHECK(segments == 0 && handles == 0);
    return 0;
}
