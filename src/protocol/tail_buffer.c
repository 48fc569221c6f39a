#include "protocol/tail_buffer.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Room for size bytes more and a NUL.  Twice the limit is held before the older half is dropped, so that each byte is
 * moved once at most. */
static int make_room(capture *capture, size_t size)
{
    size_t room = capture->room ? capture->room : 4096;
    char *grown;

    if (capture->size + size > 2 * capture->limit) {
        size_t kept = capture->size < capture->limit ? capture->size : capture->limit;
        memmove(capture->data, capture->data + capture->size - kept, kept);
        capture->size = kept;
    }
    while (room <= capture->size + size)
        room *= 2;
    if (room == capture->room)
        return 0;
    grown = realloc(capture->data, room);
    if (!grown)
        return error_detail(XF_ENOMEM, "what a child printed");
    capture->data = grown;
    capture->room = room;
    return 0;
}

int capture_put(capture *capture, const char *data, size_t size)
{
    int rc;

    if (size > capture->limit) {
        data += size - capture->limit;
        size = capture->limit;
    }
    rc = make_room(capture, size);
    if (rc < 0)
        return rc;
    memcpy(capture->data + capture->size, data, size);
    capture->size += size;
    capture->data[capture->size] = 0;
    return 0;
}

const char *capture_tail(const capture *capture, size_t most, size_t *size)
{
    size_t tail = capture->size;

    if (tail > capture->limit)
        tail = capture->limit;
    if (tail > most)
        tail = most;
    *size = tail;
    return capture->data ? capture->data + capture->size - tail : "";
}

void capture_close(capture *capture)
{
    free(capture->data);
    *capture = (struct capture){0};
}
