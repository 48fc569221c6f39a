/* The child's end of the channel: it sends frames to the parent, and receives the parent's. */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "os/child.h"
#include "os/memory.h"
#include "protocol/frame.h"

#include <uv.h>

typedef struct channel {
    const os_inherited *inherited;
    uv_mutex_t lock; /* held by a thread that writes */
    size_t pending_size;
    bool segment_sent;       /* the parent has to take a segment before this process ends */
    uv_mutex_t reading_lock; /* protects the following */
    uv_cond_t received;      /* a frame came, or the thread that read has stopped reading */
    bool reading;            /* a thread reads, without the lock */
    bool acknowledged;
    int read_error; /* why no more frames come; 0: they may */
    void (*on_answer)(struct channel *channel, const frame *frame);
    frame_decoder in;
    uint8_t pending[FRAME_BUFFER]; /* frames that are written with the next one */
    uint8_t buffer[FRAME_BUFFER];  /* the decoder's */
} channel;

/* Allocates no memory, so that a child that has none can report that. */
void channel_open(channel *channel, const os_inherited *inherited);

/* Sends a frame.
 *   fields  Start the payload; NULL for none.
 *   data    Follows them, or travels in a segment when it is large; NULL when size is 0.
 *   flush   Writes the frame now, instead of together with the next.
 * XF_EEND when the parent has closed its end; XF_ENOMEM, XF_EHANDLES.  Threads: any. */
int channel_send(channel *channel, frame_type type, const frame_fields *fields, const void *data, size_t size,
                 bool flush);

/* Sends a frame with a segment, which then belongs to the parent. */
int channel_send_segment(channel *channel, frame_type type, os_shm *segment);

/* Sends a frame with a handle, which then belongs to the parent.  The process may end without an acknowledgement of it.
 *   size  Of the object that the handle opens, not 0. */
int channel_send_handle(channel *channel, frame_type type, const frame_fields *fields, intptr_t handle, uint64_t size);

/* Moves the pending frames to bytes, to reach the parent in another way.  Returns their size, 0 when they do not
 * fit. */
size_t channel_take_pending(channel *channel, uint8_t *bytes, size_t room);

/* Writes the pending frames. */
int channel_flush(channel *channel);

/* Reads the first frame from the parent.  XF_EEND, XF_EPROTO.  Threads: one. */
int channel_receive(channel *channel, frame *frame);

/* Receives frames until a condition holds.  One of the waiting threads reads, for the others too.
 *   holds      Called with the reading lock held.  A frame makes it true.
 *   on_answer  The channel's is called for each FRAME_ANSWER, with that lock held too.
 * XF_ETIMEDOUT, XF_EEND, XF_EPROTO.  Threads: any. */
int channel_wait(channel *channel, bool (*holds)(const void *arg), const void *arg, int timeout_ms);

/* Waits until the parent has taken every segment, on systems where a segment is lost when its sender ends first. */
void channel_wait_acknowledged(channel *channel);

#endif
