/* Bytes that another process sent: in memory of their own, or in a segment. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "os/memory.h"

#include <stddef.h>

typedef struct message {
    struct message *next;
    size_t size;
    os_shm segment; /* OS_SHM_NONE when there are bytes */
    void *bytes;    /* aligned for any type */
} message;

/* Makes a message with room for size bytes; NULL when there is no memory. */
message *message_create(size_t size);
void message_free(message *message);

const void *message_data(const message *message);

/* Takes the segment that is attached to the current frame. */
typedef int (*message_take)(void *arg, uint64_t token, size_t size, os_shm *shm);

typedef struct frame frame;

/* Makes a message of a frame's payload, or of its segment.
 * XF_EPROTO when the frame has both; XF_ENOMEM; as take. */
int message_from_frame(message **out, const frame *frame, message_take take, void *arg);

#endif
