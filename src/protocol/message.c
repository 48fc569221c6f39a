#include "protocol/message.h"

#include "base/aligned.h"
#include "base/error.h"
#include "protocol/frame.h"

#include <stdlib.h>
#include <string.h>

message *message_create(size_t size)
{
    size_t room = aligned_for(size); /* malloc aligns for less */
    message *message = size < SIZE_MAX / 2 ? malloc(sizeof *message + room + size) : NULL;

    if (message) {
        message->next = NULL;
        message->segment = OS_SHM_NONE;
        message->size = size;
        message->bytes = (char *)(message + 1) + (room - (uintptr_t)(message + 1) % room) % room;
    }
    return message;
}

void message_free(message *message)
{
    if (message)
        os_shm_close(&message->segment);
    free(message);
}

const void *message_data(const message *message)
{
    return message->segment.address ? message->segment.address : message->bytes;
}

int message_from_frame(message **out, const frame *frame, message_take take, void *arg)
{
    size_t inside = frame->attached ? 0 : frame->size;
    message *message;
    int rc;

    if (frame->attached > SIZE_MAX / 2 || (frame->attached && frame->size))
        return error_detail(XF_EPROTO, "a segment of %llu bytes with %zu more beside it",
                            (unsigned long long)frame->attached, frame->size);
    message = message_create(inside);
    if (!message)
        return error_detail(XF_ENOMEM, "%zu bytes from a child", inside);
    if (frame->attached)
        message->size = (size_t)frame->attached;
    if (frame->attached) {
        rc = take(arg, frame->token, message->size, &message->segment);
        if (rc < 0) {
            free(message);
            return rc;
        }
        os_shm_forget(&message->segment);
    } else if (inside > 0) {
        memcpy(message->bytes, frame->payload, inside);
    }
    *out = message;
    return 0;
}
