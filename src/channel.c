#include "channel.h"

#include "error.h"

#include <stdlib.h>
#include <string.h>

void channel_open(channel *channel, os_parent *parent)
{
    wire_open_in(&channel->in, channel->buffer);
    channel->parent = parent;
    channel->pending_size = 0;
    channel->attached = false;
    if (uv_mutex_init(&channel->lock))
        abort(); /* it has no reason to fail */
}

/* Nothing is lost when it fails, for then nothing was written. */
static int flush_pending(channel *channel, os_shm *segment)
{
    int rc = os_parent_write(channel->parent, channel->pending, channel->pending_size, segment);

    if (rc == 0)
        channel->pending_size = 0;
    return rc;
}

/* Appends a frame to what is pending; what is pending leaves first when there is no room. */
static int append(channel *channel, const wire_frame *frame, const wire_fields *fields, const void *data, size_t size)
{
    uint8_t *at;
    size_t head = fields ? fields->size : 0;
    int rc = 0;

    if (channel->pending_size + WIRE_HEADER + frame->size > WIRE_BUFFER)
        rc = flush_pending(channel, NULL);
    if (rc < 0)
        return rc;
    at = channel->pending + channel->pending_size;
    wire_put_header(at, frame);
    if (head > 0)
        memcpy(at + WIRE_HEADER, fields->bytes, head);
    if (size > 0)
        memcpy(at + WIRE_HEADER + head, data, size);
    channel->pending_size += WIRE_HEADER + frame->size;
    return 0;
}

/* A segment goes with the first byte of a write, so what is pending has to leave before its frame. */
static int send_attached(channel *channel, wire_type type, os_shm *segment)
{
    wire_frame frame = {.type = type, .attached = segment->size, .token = (uint64_t)segment->handle};
    int rc = channel->pending_size ? flush_pending(channel, NULL) : 0;

    if (rc == 0)
        rc = append(channel, &frame, NULL, NULL, 0);
    if (rc == 0) {
        rc = flush_pending(channel, segment);
        if (rc < 0)
            channel->pending_size = 0; /* that frame alone */
    }
    channel->attached |= rc == 0;
    return rc;
}

int channel_send_segment(channel *channel, wire_type type, os_shm *segment)
{
    int rc;

    uv_mutex_lock(&channel->lock);
    rc = send_attached(channel, type, segment);
    uv_mutex_unlock(&channel->lock);
    return rc;
}

static int send_large(channel *channel, wire_type type, const void *data, size_t size)
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

int channel_send(channel *channel, wire_type type, const wire_fields *fields, const void *data, size_t size, bool flush)
{
    wire_frame frame = {.type = type, .size = (fields ? fields->size : 0) + size};
    int rc;

    if (size > WIRE_INLINE_MAX)
        return send_large(channel, type, data, size);
    uv_mutex_lock(&channel->lock);
    rc = append(channel, &frame, fields, data, size);
    if (rc == 0 && flush) {
        rc = flush_pending(channel, NULL);
        if (rc < 0)
            channel->pending_size -= WIRE_HEADER + frame.size; /* what waited before goes on waiting */
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
    int rc;

    uv_mutex_lock(&channel->lock);
    rc = flush_pending(channel, NULL);
    uv_mutex_unlock(&channel->lock);
    return rc;
}

int channel_receive(channel *channel, int timeout_ms, wire_frame *frame)
{
    size_t room, count;
    int rc;

    while ((rc = wire_next(&channel->in, frame)) == XF_EAGAIN) {
        uint8_t *space = wire_space(&channel->in, &room);
        rc = os_parent_read(channel->parent, space, room, timeout_ms, &count);
        if (rc < 0)
            return rc;
        wire_filled(&channel->in, count);
    }
    return rc;
}

void channel_linger(channel *channel)
{
    wire_frame frame;

    while (os.attach_needs_ack && channel->attached && channel_receive(channel, -1, &frame) == 0)
        if (frame.type == WIRE_ACK)
            break;
}
