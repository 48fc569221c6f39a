/* What is set up once in each process. */
#ifndef SELF_H
#define SELF_H

#include <stdatomic.h>
#include <stdint.h>

/* Calls initialize, once in this process: a forked child has the memory of its parent, but not its threads, so what is
 * set up there has to be set up again.  That is found out when it is first needed, and not before, for each page that a
 * child writes to is copied.  One thread sets up, others wait for it.
 *   ready_in  Static and 0 at first: the process that is set up, or minus the one that is being. */
void per_process_set_up(_Atomic int64_t *ready_in, void (*initialize)(void));

#endif
