/* The bytes that a codec's encoder has written so far. */
#ifndef WRITER_H
#define WRITER_H

#include "crossfork/task.h"

/* Starts as {0}; xf_writer_put appends to it. */
struct xf_writer {
    char *data;
    size_t size;
    size_t room;
};

void writer_free(xf_writer *writer);

#endif
