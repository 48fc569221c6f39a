/* The detail text of an error code; each thread has one. */
#ifndef ERROR_H
#define ERROR_H

#include "crossfork/error.h"

#include <stdint.h>

/* Keeps the formatted text as this thread's xf_error_detail and returns code, so that a function ends with
 * return error_detail(XF_ENOTASK, "task %s", name). */
int error_detail(int code, const char *format, ...) XF_PRINTF(2, 3);

/* XF_EINVAL when data is NULL although size is not 0; else 0.
 *   parameter  What the caller passed it as, for the detail: "map->in". */
int error_check_data(const void *data, uint64_t size, const char *parameter);

/* Does the same for a negative status of libuv: returns its XF_E* code, XF_ESYSTEM when none fits, and appends libuv's
 * text to the formatted one.
 *   format  The call that failed, or the file. */
int error_from_uv(int status, const char *format, ...) XF_PRINTF(2, 3);

#endif
