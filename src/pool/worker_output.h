/* What a worker leaves of an item: its output, or why it failed.
 *
 * A task writes an output of up to a page, and with JOB_GUARD_PAGES any, in memory of its own process that ends at an
 * unmapped page, from which it is copied to its place: so it cannot write beyond it into memory that others see.  A
 * larger one is written in its place, with guard bytes behind it; many outputs of one size that a batch function
 * writes, in theirs, with guard bytes behind the last. */
#ifndef WORKER_OUTPUT_H
#define WORKER_OUTPUT_H

#include "pool/worker.h"

/* Parts of the back-end of a task's calls; backend_arg is the worker.
 *   worker_output_item  The item that runs now. */
int worker_output_give(xf_call *call, size_t size);
void worker_output_begin_failure(xf_call *call);
uint64_t worker_output_item(const xf_call *call);

/* An item begins, which has no output yet. */
void worker_output_forget(worker *worker);

/* Memory for the output of the only item of a batch. */
void *worker_output_of_one(worker *worker);

/* Keeps the output of the item that has run and returned code.  Returns the code that it ends with, which is not 0
 * where it wrote beyond its output. */
int worker_output_keep(worker *worker, int code);

/* Notes how the item that runs has ended with a code that is not 0. */
void worker_output_fail_item(worker *worker, int code);

/* Records what xf_fail was called for, if it was called. */
void worker_output_flush_failure(worker *worker);

/* Looks at the guard bytes behind the outputs of the whole job, after the chunk before them has run. */
void worker_output_check_guard(worker *worker);

#endif
