/* Starting a process, and the checks and defaults of its options. */
#ifndef PROCESS_START_H
#define PROCESS_START_H

#include "process/process.h"

/* Everything that a process is started with, except the options. */
typedef struct process_plan {
    xf_task *task;
    const void *input;
    size_t size;
    os_method method;
    const os_shm *segments[OS_INPUTS]; /* that the child maps; NULL: none.  Then size is at most FRAME_INLINE_MAX */
    process_owner owner;
} process_plan;

/* Does what xf_process_start does, for a task and options that were checked. */
int process_start(xf_process **process, const process_plan *plan, const xf_process_options *options);

/* The checks of xf_process_start. */
int process_start_check_options(const xf_process_options *options);
int process_start_check_task(const xf_task *task, size_t size);

/* Chooses the start method that the options ask for.
 *   otherwise  The default; NULL: fork while the process has one thread, spawn after that.  XF_START in the environment
 *              takes precedence over it. */
int process_start_choose_method(xf_start_method wanted, const os_method *otherwise, os_method *method);

/* How long to wait for a child that was asked to stop before it is killed. */
int process_start_grace_ms(const xf_process_options *options);

#endif
