/* The child's side: it reads its task, runs it, sends the result and exits. */
#ifndef CHILD_H
#define CHILD_H

#include "os/child.h"
#include "process/call.h"

/* A task's calls go to the parent. */
extern const call_backend child_backend;

/* Sets what the parent changes when it asks the task to stop. */
void child_stop_target(xf_call *call, wait_target *target);

/* Reads the task from the channel, runs it, sends the result, and ends the process. */
_Noreturn void child_run(const os_inherited *inherited);

/* How many processes of crossfork are above this one; 0 in the program itself. */
int child_depth(void);

/* How deep this process may nest others: XF_DEPTH_MAX, or less in a pool's worker. */
int child_depth_limit(void);
void child_limit_depth(int limit);

#endif
