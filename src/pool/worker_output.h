/* What a worker leaves of an item that is done: its output.
 *
 * A task writes an output of up to a page, and with JOB_GUARD_PAGES any, in memory of its own process that ends at an
 * unmapped page, from which it is copied to its place: so it cannot write beyond it into memory that others see.  A
 * larger one is written in its place, with guard bytes behind it; many outputs of one size that a batch function
 * writes, in theirs, with guard bytes behind the last. */
#ifndef WORKER_OUTPUT_H
#define WORKER_OUTPUT_H

#include "pool/worker.h"

/* A part of the back-end of a task's calls; backend_arg is the worker. */
int worker_output_give(xf_call *call, size_t size);

/* An item begins, which has no output yet. */
void worker_output_forget(worker *worker);

/* Memory for the output of the only item of a batch. */
void *worker_output_of_one(worker *worker);

/* Keeps the output of the item that has run and returned code.  Returns the code that it ends with, which is not 0
 * where it wrote beyond its output. */
int worker_output_keep(worker *worker, int code);

/* Looks at the guard bytes behind the outputs of the whole job, after the chunk before them has run. */
void worker_output_check_guard(worker *worker);

#endif
