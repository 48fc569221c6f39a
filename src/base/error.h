/* The detail text of an error code; each thread has one. */
#ifndef ERROR_H
#define ERROR_H

#include "crossfork/error.h"

/* Keeps the formatted text as this thread's xf_error_detail and returns code, so that a function ends with
 * return error_detail(XF_ENOTASK, "task %s", name). */
int error_detail(int code, const char *format, ...) XF_PRINTF(2, 3);

/* Does the same for a negative status of libuv: returns its XF_E* code, XF_ESYSTEM when none fits, and appends libuv's
 * text to the formatted one.
 *   format  The call that failed, or the file. */
int error_from_uv(int status, const char *format, ...) XF_PRINTF(2, 3);

#endif
