/* The newest bytes of a captured stream. */
#ifndef TAIL_BUFFER_H
#define TAIL_BUFFER_H

#include <stddef.h>

typedef struct tail_buffer {
    char *data;
    size_t size;
    size_t limit; /* 0: the stream is not captured */
    size_t room;
} tail_buffer;

/* Appends bytes, and drops the oldest beyond the limit.  XF_ENOMEM. */
int tail_buffer_put(tail_buffer *buffer, const char *data, size_t size);

/* Returns the newest bytes, at most size_max, with a NUL behind them.
 *   size  Set to their number. */
const char *tail_buffer_get(const tail_buffer *buffer, size_t size_max, size_t *size);

void tail_buffer_close(tail_buffer *buffer);

#endif
