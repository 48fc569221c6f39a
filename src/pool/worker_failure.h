/* What a worker notes of an item that is not done: why, when, and what it had logged.
 *
 * The notes lie in the pool's memory.  Where memory_limit leaves no room for one, the item is added to the note of the
 * item before it, if that one ended in the same way; otherwise its note is short, and is written to pages that are kept
 * back for that.  Where those are used up, too, the job says that some failures are not known.
 */
#ifndef WORKER_FAILURE_H
#define WORKER_FAILURE_H

#include "pool/worker.h"

/* An item begins, or a chunk of items that a batch function runs. */
void worker_failure_begin(worker *worker);

/* A part of the back-end of a task's calls; backend_arg is the worker. */
void worker_failure_replace(xf_call *call, int code);

/* The item that runs now. */
uint64_t worker_failure_item(const xf_call *call);

/* Notes how the item that runs has ended with a code that is not 0. */
void worker_failure_note(worker *worker, int code);

/* Notes what xf_fail was called for, if it was called. */
void worker_failure_flush(worker *worker);

/* Notes that an item has written so many bytes beyond its output. */
void worker_failure_note_overrun(worker *worker, uint64_t item, size_t bytes);

#endif
