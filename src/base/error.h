/* The detail that goes with an error code, one for each thread. */
#ifndef ERROR_H
#define ERROR_H

#include "crossfork/error.h"

/* Keeps the formatted text as this thread's xf_error_detail and returns code, so that a function ends with
 * return error_detail(XF_ENOTASK, "task %s", name). */
int error_detail(int code, const char *format, ...) XF_PRINTF(2, 3);

#endif
