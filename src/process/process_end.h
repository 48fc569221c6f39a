/* How a child ended: what its report says. */
#ifndef PROCESS_END_H
#define PROCESS_END_H

#include "process/process.h"

/* With the lock held, once the child has exited and its channel is drained: decides how it ended, and fills in the
 * report. */
void process_end_judge(xf_process *process);

/* With the lock held: takes a dump if the child has left one, or puts into the report's message why there is none. */
void process_end_take_dump(xf_process *process);

#endif
