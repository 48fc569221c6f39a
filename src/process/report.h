/* Names in reports, and reports that outlive their process. */
#ifndef REPORT_H
#define REPORT_H

#include "crossfork/report.h"
#include "process/stack_trace.h"

#include <uv.h>

/* The name of a status's code: of the crash, the signal or the XF_E* code; "" when it is the task's own. */
const char *report_code_name(xf_status status);

/* The name of a code of XF_ERRORS; "" for any other number. */
const char *report_error_name(int code);

/* A copy in memory of its own; NULL: no memory.  The trace, which may be NULL, is shared with it. */
xf_report *report_copy(const xf_report *report, stack_trace *trace);
void report_free(xf_report *report);

/* Finds the frames of a report, once; of an exit or an abort, from the function on that called it (stack_trim.h).
 *   lock  Held while the report is changed, and not while frames are looked for.  Threads: any. */
void report_set_stack(xf_report *report, stack_trace *trace, uv_mutex_t *lock);

/* The same for a report that is a copy. */
void report_find_stack(xf_report *report, uv_mutex_t *lock);

/* The message, and why the task was not saved.  Freed with free; NULL: no memory. */
char *report_add_reason(const char *message, const char *why);

#endif
