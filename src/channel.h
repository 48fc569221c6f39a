/* The child's end of the channel: frames to the parent, and what the parent says. */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "os.h"
#include "wire.h"

#include <uv.h>

typedef struct channel {
    os_parent *parent;
    uv_mutex_t lock; /* of everything that writes */
    size_t pending_size;
    wire_decoder in;
    bool attached;                /* a segment was sent */
    uint8_t pending[WIRE_BUFFER]; /* frames that wait to be written with the next one */
    uint8_t buffer[WIRE_BUFFER];  /* of in */
} channel;

/* Needs no memory, so that a child that has none can say so. */
void channel_open(channel *channel, os_parent *parent);

/* Sends a frame of those payload bytes.
 *   data  Goes behind them, or in a segment when it is large; NULL when size is 0.
 *   flush Whether the frame leaves now, and does not wait for the next.
 * XF_EEND when the parent has gone, XF_ENOMEM, XF_EHANDLES.  Threads: any. */
int channel_send(channel *channel, wire_type type, const wire_fields *fields, const void *data, size_t size,
                 bool flush);

/* Sends a frame with a segment, which is the parent's then. */
int channel_send_segment(channel *channel, wire_type type, os_shm *segment);

/* Takes the frames that wait to be written, if they fit, to reach the parent in another way: 0 when they do not. */
size_t channel_take_pending(channel *channel, uint8_t *bytes, size_t room);

/* Writes the frames that wait to be written. */
int channel_flush(channel *channel);

/* Reads the next frame from the parent.  XF_ETIMEDOUT, XF_EEND, XF_EPROTO.  Threads: one. */
int channel_receive(channel *channel, int timeout_ms, wire_frame *frame);

/* Waits until the parent has taken every segment, where that is needed before the process ends. */
void channel_linger(channel *channel);

#endif
