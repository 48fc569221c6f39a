/* Where a child was when it crashed or was stopped: a copy of the record in its box, of which frames and names are
 * found when somebody asks for them, as that takes a thousand times as long as the copy. */
#ifndef TRACE_H
#define TRACE_H

#include "crossfork/report.h"
#include "os/crash.h"

typedef struct trace trace;

/* Copies a record; NULL when nothing was recorded, or there is no memory for it. */
trace *stack_trace_take(const os_record_head *record);

/* One more owner, who ends it with stack_trace_free; harmless on NULL, as is stack_trace_free. */
trace *stack_trace_share(trace *trace);
void stack_trace_free(trace *trace);

/* The registers and the address of a fault, which need no search. */
uint64_t stack_trace_fault_address(const trace *trace);
const xf_register *stack_trace_registers(const trace *trace, size_t *count);

/* The frames, innermost first, of the trace's memory.  Threads: any. */
const xf_frame *stack_trace_frames(trace *trace, size_t *count);

#endif
