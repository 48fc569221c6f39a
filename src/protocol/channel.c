#include "protocol/channel.h"

#include "base/clock.h"
#include "base/error.h"
#include "os/cancel.h"

#include <stdlib.h>
#include <string.h>

void channel_open(channel *channel, const os_inherited *inherited)
{
    frame_decoder_open_in(&channel->in, channel->buffer);
    channel->inherited = inherited;
    channel->pending_size = 0;
    channel->segment_sent = channel->reading = channel->acknowledged = false;
    channel->read_error = 0;
    channel->on_answer = NULL;
    if (uv_mutex_init(&channel->lock) || uv_mutex_init(&channel->reading_lock) || uv_cond_init(&channel->received))
        abort(); /* they have no reason to fail */
}

/* A failed write writes nothing, so the frames stay pending. */
static int flush_pending(channel *channel, intptr_t attached)
{
    int rc = os_channel_write(channel->inherited->channel, channel->pending, channel->pending_size, attached, -1);

    if (rc == 0)
        channel->pending_size = 0;
    return rc;
}

/* Appends a frame to the pending ones, which are written first when there is no room. */
static int append_frame(channel *channel, const frame *frame, const frame_fields *fields, const void *data, size_t size)
{
    uint8_t *at;
    size_t head = fields ? fields->size : 0;
    int rc = 0;

    if (channel->pending_size + FRAME_HEADER + frame->size > FRAME_BUFFER)
        rc = flush_pending(channel, -1);
    if (rc < 0)
        return rc;
    at = channel->pending + channel->pending_size;
    frame_put_header(at, frame);
    if (head > 0)
        memcpy(at + FRAME_HEADER, fields->bytes, head);
    if (size > 0)
        memcpy(at + FRAME_HEADER + head, data, size);
    channel->pending_size += FRAME_HEADER + frame->size;
    return 0;
}

/* A handle travels with the first byte of a write, so the pending frames are written before its frame. */
static int send_attached(channel *channel, const frame *frame, const frame_fields *fields, intptr_t handle)
{
    int rc = channel->pending_size ? flush_pending(channel, -1) : 0;

    if (rc == 0)
        rc = append_frame(channel, frame, fields, NULL, 0);
    if (rc == 0) {
        rc = flush_pending(channel, handle);
        if (rc < 0)
            channel->pending_size = 0; /* drop that frame */
    }
    return rc;
}

int channel_send_handle(channel *channel, frame_type type, const frame_fields *fields, intptr_t handle, uint64_t size)
{
    frame frame = {.type = type, .size = fields->size, .attached = size};
    int rc;

    uv_mutex_lock(&channel->lock);
    rc = send_attached(channel, &frame, fields, handle);
    uv_mutex_unlock(&channel->lock);
    if (rc == 0)
        os_handle_close(handle);
    return rc;
}

int channel_send_segment(channel *channel, frame_type type, os_shm *segment)
{
    OS_HOLD_CANCEL;
    frame frame = {.type = type, .attached = segment->size};
    int rc;

    uv_mutex_lock(&channel->lock);
    rc = send_attached(channel, &frame, NULL, segment->handle);
    channel->segment_sent |= rc == 0;
    uv_mutex_unlock(&channel->lock);
    if (rc < 0)
        return rc;
    os_shm_close(segment);
    return 0;
}

static int send_large(channel *channel, frame_type type, const void *data, size_t size)
{
    os_shm segment;
    int rc = os_shm_create(&segment, size, 0);

    if (rc < 0)
        return rc;
    memcpy(segment.address, data, size);
    rc = channel_send_segment(channel, type, &segment);
    if (rc < 0)
        os_shm_close(&segment);
    return rc;
}

int channel_send(channel *channel, frame_type type, const frame_fields *fields, const void *data, size_t size,
                 bool flush)
{
    OS_HOLD_CANCEL;
    frame frame = {.type = type, .size = (fields ? fields->size : 0) + size};
    int rc;

    if (size > FRAME_INLINE_MAX)
        return send_large(channel, type, data, size);
    uv_mutex_lock(&channel->lock);
    rc = append_frame(channel, &frame, fields, data, size);
    if (rc == 0 && flush) {
        rc = flush_pending(channel, -1);
        if (rc < 0)
            channel->pending_size -= FRAME_HEADER + frame.size; /* drop that frame; those before it stay pending */
    }
    uv_mutex_unlock(&channel->lock);
    return rc;
}

size_t channel_take_pending(channel *channel, uint8_t *bytes, size_t room)
{
    size_t size;

    uv_mutex_lock(&channel->lock);
    size = channel->pending_size <= room ? channel->pending_size : 0;
    memcpy(bytes, channel->pending, size);
    channel->pending_size -= size;
    uv_mutex_unlock(&channel->lock);
    return size;
}

int channel_flush(channel *channel)
{
    OS_HOLD_CANCEL;
    int rc;

    uv_mutex_lock(&channel->lock);
    rc = flush_pending(channel, -1);
    uv_mutex_unlock(&channel->lock);
    return rc;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static int read_frame(channel *channel, int timeout_ms, frame *frame)
{
    size_t room, count;
    int rc;

    while ((rc = frame_decoder_next(&channel->in, frame)) == XF_EAGAIN) {
        uint8_t *space = frame_decoder_space(&channel->in, &room);
        rc = os_channel_read(channel->inherited->channel, space, room, &count, timeout_ms);
        if (rc < 0)
            return rc;
        frame_decoder_filled(&channel->in, count);
    }
    return rc;
}

int channel_receive(channel *channel, frame *frame)
{
    OS_HOLD_CANCEL;

    return read_frame(channel, -1, frame);
}

/* Reads one frame.  Called with the reading lock held, which is released while the thread reads. */
static void read_and_wake(channel *channel, int timeout_ms)
{
    frame frame;
    int rc;

    channel->reading = true;
    uv_mutex_unlock(&channel->reading_lock);
    rc = read_frame(channel, timeout_ms, &frame);
    uv_mutex_lock(&channel->reading_lock);
    channel->reading = false;
    if (rc == 0 && frame.type == FRAME_ANSWER && channel->on_answer)
        channel->on_answer(channel, &frame);
    else if (rc == 0 && frame.type == FRAME_ACK)
        channel->acknowledged = true;
    else if (rc < 0 && rc != XF_ETIMEDOUT && rc != XF_EAGAIN)
        channel->read_error = rc;
    uv_cond_broadcast(&channel->received);
}

int channel_wait(channel *channel, bool (*holds)(const void *arg), const void *arg, int timeout_ms)
{
    OS_HOLD_CANCEL;
    uint64_t deadline = clock_deadline(timeout_ms), now;
    int rc = 0;

    uv_mutex_lock(&channel->reading_lock);
    while (!holds(arg)) {
        rc = channel->read_error;
        now = uv_hrtime();
        if (rc == 0 && now >= deadline)
            rc = XF_ETIMEDOUT;
        if (rc < 0)
            break;
        if (!channel->reading)
            read_and_wake(channel, clock_left_ms(deadline));
        else if (deadline == CLOCK_NEVER)
            uv_cond_wait(&channel->received, &channel->reading_lock);
        else
            uv_cond_timedwait(&channel->received, &channel->reading_lock, deadline - now);
    }
    uv_mutex_unlock(&channel->reading_lock);
    return rc;
}

static bool is_acknowledged(const void *arg)
{
    return ((const channel *)arg)->acknowledged;
}

void channel_wait_acknowledged(channel *channel)
{
    OS_HOLD_CANCEL;

    if (os.attach_needs_ack && channel->segment_sent)
        (void)channel_wait(channel, is_acknowledged, channel, -1);
}
