/* Memory of the pool that a worker takes for the job that it runs: it stays as long as the job. */
#ifndef WORKER_SLAB_H
#define WORKER_SLAB_H

#include "pool/worker.h"

/* Takes memory for outputs; NULL when memory_limit does not leave it, with the error detail.
 *   align  At most OUTPUT_ALIGN. */
void *worker_slab_take_output(worker *worker, uint64_t size, uint64_t align);

/* Takes memory to note how an item failed, aligned to JOB_ALIGN; NULL when there is none.
 *   kept_back  Of what is kept back for short notes, beyond memory_limit. */
void *worker_slab_take_note(worker *worker, uint64_t size, bool kept_back);

#endif
