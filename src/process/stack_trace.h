/* Where a child was when it crashed or was stopped: a copy of the record in its box.  Frames and names are looked
 * for when they are first asked for, because that takes a thousand times as long as the copy. */
#ifndef STACK_TRACE_H
#define STACK_TRACE_H

#include "crossfork/report.h"
#include "os/crash.h"

typedef struct stack_trace stack_trace;

/* Copies a record; NULL when nothing was recorded, or there is no memory for it. */
stack_trace *stack_trace_take(const os_record_head *record);

/* Adds an owner, which frees it with stack_trace_free.  Both are harmless on NULL. */
stack_trace *stack_trace_share(stack_trace *trace);
void stack_trace_free(stack_trace *trace);

/* The registers and the address of a fault, for which no frame has to be looked for. */
uint64_t stack_trace_fault_address(const stack_trace *trace);
const xf_register *stack_trace_registers(const stack_trace *trace, size_t *count);

/* The frames, innermost first, in memory of the trace.  Threads: any. */
const xf_frame *stack_trace_frames(stack_trace *trace, size_t *count);

#endif
