/* Where a stack begins for its reader: at the program's own function, not at those that ended the process for it. */
#ifndef STACK_TRIM_H
#define STACK_TRIM_H

#include "crossfork/report.h"

/* How many of the innermost frames of a process that ended so are of exit, or of what aborts in the program's name:
 * abort and raise, and in the C and C++ libraries whatever called them.  0 for any other end, and when no frame would
 * be left. */
size_t stack_trim(xf_status status, const xf_frame *frames, size_t count);

#endif
