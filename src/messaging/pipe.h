/* Pipes, inside. */
#ifndef PIPE_H
#define PIPE_H

#include "crossfork/pipe.h"
#include "lockfree/wait_target.h"

/* How many bytes of shared memory there are for what this end receives: no message is longer. */
uint64_t pipe_memory(const xf_pipe *pipe);

/* Whether xf_pipe_send or xf_pipe_receive would return at once, be it with an error.
 *   target  See wait_target.h. */
bool pipe_is_ready(xf_pipe *pipe, bool send, wait_target *target);

/* Whether this end of a pipe does that: 0 or XF_ESTATE. */
int pipe_check(const xf_pipe *pipe, bool send);

#endif
