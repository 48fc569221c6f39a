/* The child's end of the channel: frames to the parent, and what the parent says. */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "os/os.h"
#include "protocol/frame.h"

#include <uv.h>

typedef struct channel {
    const os_inherited *inherited;
    uv_mutex_t lock; /* of everything that writes */
    size_t pending_size;
    bool attached;           /* a segment was sent that the parent has to take before this process ends */
    uv_mutex_t reading_lock; /* of the following */
    uv_cond_t heard;         /* something came, or nobody reads any more */
    bool reading;            /* a thread is reading, without the lock */
    bool acknowledged;
    int ended; /* why nothing more will come; 0: it may */
    void (*on_answer)(struct channel *channel, const wire_frame *frame);
    wire_decoder in;
    uint8_t pending[WIRE_BUFFER]; /* frames that wait to be written with the next one */
    uint8_t buffer[WIRE_BUFFER];  /* of in */
} channel;

/* Needs no memory, so that a child that has none can say so. */
void channel_open(channel *channel, const os_inherited *inherited);

/* Sends a frame of those payload bytes.
 *   data  Goes behind them, or in a segment when it is large; NULL when size is 0.
 *   flush Whether the frame leaves now, and does not wait for the next.
 * XF_EEND when the parent has gone, XF_ENOMEM, XF_EHANDLES.  Threads: any. */
int channel_send(channel *channel, wire_type type, const wire_fields *fields, const void *data, size_t size,
                 bool flush);

/* Sends a frame with a segment, which is the parent's then. */
int channel_send_segment(channel *channel, wire_type type, os_shm *segment);

/* Sends a frame with a handle, which is closed here then, of something of that size (not 0), and waits for no
 * acknowledgement of it before the process ends. */
int channel_send_handle(channel *channel, wire_type type, const wire_fields *fields, intptr_t handle, uint64_t size);

/* Takes the frames that wait to be written, if they fit, to reach the parent in another way: 0 when they do not. */
size_t channel_take_pending(channel *channel, uint8_t *bytes, size_t room);

/* Writes the frames that wait to be written. */
int channel_flush(channel *channel);

/* Reads the first frame from the parent.  XF_EEND, XF_EPROTO.  Threads: one. */
int channel_receive(channel *channel, wire_frame *frame);

/* Takes in what the parent says until the condition holds.  Whichever thread waits reads, for the others too.
 *   holds      Called with a lock held.  What makes it true comes with a frame.
 *   on_answer  Of the channel is called for each WIRE_ANSWER, with that lock held too.
 * XF_ETIMEDOUT, XF_EEND, XF_EPROTO.  Threads: any. */
int channel_await(channel *channel, bool (*holds)(const void *arg), const void *arg, int timeout_ms);

/* Waits until the parent has taken every segment, where that is needed before the process ends. */
void channel_linger(channel *channel);

#endif
