/* The newest bytes of a captured stream. */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stddef.h>

typedef struct capture {
    char *data;
    size_t size;
    size_t limit; /* 0: the stream is not captured */
    size_t room;
} capture;

/* Appends bytes, dropping the oldest beyond the limit; XF_ENOMEM. */
int capture_put(capture *capture, const char *data, size_t size);

/* The newest bytes, at most that many, and a NUL. */
const char *capture_tail(const capture *capture, size_t most, size_t *size);

void capture_close(capture *capture);

#endif
