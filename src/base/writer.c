#include "base/writer.h"

#include "base/error.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int xf_writer_put(xf_writer *writer, const void *data, size_t size)
{
    size_t room = writer->room ? writer->room : 256;
    char *grown;
    int rc = error_check_data(data, size, "data");

    if (rc < 0)
        return rc;
    if (size > SIZE_MAX / 4 - writer->size)
        return error_detail(XF_ENOMEM, "encoding more than an address space holds");
    while (room < writer->size + size)
        room *= 2;
    if (room > writer->room) {
        grown = realloc(writer->data, room);
        if (!grown)
            return error_detail(XF_ENOMEM, "encoding %zu bytes", writer->size + size);
        writer->data = grown;
        writer->room = room;
    }
    if (size > 0)
        memcpy(writer->data + writer->size, data, size);
    writer->size += size;
    return 0;
}

void writer_free(xf_writer *writer)
{
    free(writer->data);
    *writer = (xf_writer){0};
}
