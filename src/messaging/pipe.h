/* Pipes, as other parts of the library see them. */
#ifndef PIPE_H
#define PIPE_H

#include "crossfork/pipe.h"
#include "lockfree/wait_target.h"

/* How many bytes of shared memory there are for what this end receives.  No message is longer. */
uint64_t pipe_memory(const xf_pipe *pipe);

/* Whether xf_pipe_send or xf_pipe_receive would return at once, with an error or without.
 *   target  See wait_target.h. */
bool pipe_is_ready(xf_pipe *pipe, bool send, wait_target *target);

/* Checks that this process has the pipe, and that its end sends, or receives.  XF_ESTATE when it does not. */
int pipe_check(const xf_pipe *pipe, bool send);

#endif
