/* Where a task begins on the stack of its process.  Every call of a task's entry goes through task_boundary, so the
 * frames inside of it are the program's, and the frames outside of it are crossfork's and the same in every report. */
#ifndef TASK_BOUNDARY_H
#define TASK_BOUNDARY_H

#include "crossfork/report.h"
#include "process/call.h"

/* The arguments of a task's batch function (xf_batch). */
typedef struct task_batch {
    const void *in;
    void *out;
    size_t count;
    volatile unsigned *settled;
} task_batch;

/* Calls the entry of call->task, and sets the phase before and after it.
 *   batch  NULL: calls the entry; otherwise the task's batch function, with these arguments.
 * Returns what the task returns. */
int task_boundary(xf_call *call, const task_batch *batch);

/* Counts the frames inside of the innermost task_boundary.
 * Returns count when there is no such frame: the program was stripped, or the stack was cut. */
size_t task_boundary_find(const xf_frame *frames, size_t count);

#endif
