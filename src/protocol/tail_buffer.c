#include "protocol/tail_buffer.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Makes room for size more bytes and a NUL.  The buffer grows to twice the limit before the older half is dropped, so
 * each byte is moved at most once. */
static int make_tail_room(tail_buffer *buffer, size_t size)
{
    size_t room = buffer->room ? buffer->room : 4096;
    char *grown;

    if (buffer->size + size > 2 * buffer->limit) {
        size_t kept = buffer->size < buffer->limit ? buffer->size : buffer->limit;
        memmove(buffer->data, buffer->data + buffer->size - kept, kept);
        buffer->size = kept;
    }
    while (room <= buffer->size + size)
        room *= 2;
    if (room == buffer->room)
        return 0;
    grown = realloc(buffer->data, room);
    if (!grown)
        return error_detail(XF_ENOMEM, "the output of a child");
    buffer->data = grown;
    buffer->room = room;
    return 0;
}

int tail_buffer_put(tail_buffer *buffer, const char *data, size_t size)
{
    int rc;

    if (size > buffer->limit) {
        data += size - buffer->limit;
        size = buffer->limit;
    }
    rc = make_tail_room(buffer, size);
    if (rc < 0)
        return rc;
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = 0;
    return 0;
}

const char *tail_buffer_get(const tail_buffer *buffer, size_t size_max, size_t *size)
{
    size_t tail = buffer->size;

    if (tail > buffer->limit)
        tail = buffer->limit;
    if (tail > size_max)
        tail = size_max;
    *size = tail;
    return buffer->data ? buffer->data + buffer->size - tail : "";
}

void tail_buffer_close(tail_buffer *buffer)
{
    free(buffer->data);
    *buffer = (tail_buffer){0};
}
