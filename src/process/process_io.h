/* Reading what a child sends and prints.  All functions are called with the lock held, by the thread that leads. */
#ifndef PROCESS_IO_H
#define PROCESS_IO_H

#include "process/process.h"

/* Reads what is there now; all that is left once the child has exited. */
void process_io_drain(xf_process *process);

/* Takes the last frames, which the child left in the box, as if they had come through the channel.  Called after the
 * child has exited and the channel is drained. */
void process_io_read_last_frames(xf_process *process);

/* Delivers what was printed and not yet delivered, incomplete lines too. */
void process_io_finish_printed(xf_process *process);

#endif
