/* Lines on their way to a process's log callback, which the callback thread calls while other threads read the channel.
 * When the lines are more than LOG_QUEUE_MAX bytes the channel is read no further, so the child waits.  All functions
 * but process_log_close are called with the process's lock held. */
#ifndef PROCESS_LOG_H
#define PROCESS_LOG_H

#include "process/process.h"

enum { LOG_QUEUE_MAX = 256 << 10 };

/* Gets ready to call on_log, if there is one.  XF_EPROCESSES, XF_ENOMEM. */
int process_log_open(xf_process *process);

/* Frees what is left.  Afterwards on_log does not run, unless this is called from there. */
void process_log_close(xf_process *process);

/* In a forked copy: frees what is left. */
void process_log_let_go(xf_process *process);

/* Queues a copy of the line.  XF_ENOMEM. */
int process_log_put(xf_process *process, const xf_log_line *line);

/* On the callback thread: calls on_log for some lines. */
void process_log_take_turn(xf_process *process);

bool process_log_is_full(const xf_process *process);

/* Whether on_log has had every line, and has returned. */
bool process_log_is_over(const xf_process *process);

/* Waits until that is so, or the deadline passes.  On the callback thread it calls on_log itself. */
void process_log_await(xf_process *process, uint64_t deadline);

/* XF_EDEADLK when the calling thread is in the process's on_log. */
int process_log_check_wait(const xf_process *process);

#endif
