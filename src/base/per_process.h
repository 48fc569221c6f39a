/* State that each process sets up once for itself. */
#ifndef PER_PROCESS_H
#define PER_PROCESS_H

#include <stdatomic.h>
#include <stdint.h>

/* Calls initialize once in this process.  A forked child has the memory of its parent but not its threads, so it has to
 * set such state up anew.  That happens when the state is first needed and not at the fork, because each page that a
 * child writes to is copied.  One thread initializes, and the others wait for it.
 *   ready_in  Static and 0 at first.  The id of the process whose state is set up; negative while a thread of that
 *             process initializes it. */
void per_process_set_up(_Atomic int64_t *ready_in, void (*initialize)(void));

#endif
