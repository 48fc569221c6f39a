/* Pipes, inside. */
#ifndef PIPE_H
#define PIPE_H

#include "crossfork/pipe.h"

/* How many bytes of shared memory there are for what this end receives: no message is longer. */
uint64_t pipe_memory(const xf_pipe *pipe);

#endif
