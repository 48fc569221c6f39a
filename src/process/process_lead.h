/* Which thread reads a child's channel and waits for it: the leader.  A thread that joins or receives leads when no
 * other thread does; otherwise it waits until the leader wakes it.  While no thread leads, the supervisor watches
 * the child. */
#ifndef PROCESS_LEAD_H
#define PROCESS_LEAD_H

#include "lockfree/wait_target.h"
#include "process/process.h"

/* A condition that a thread waits for. */
typedef bool (*process_condition)(const xf_process *process);

bool process_lead_has_ended(const xf_process *process);
bool process_lead_has_message(const xf_process *process);
bool process_lead_has_pid(const xf_process *process);

/* With the lock held: waits until the condition holds, and leads when no other thread does.  Returns 0 early when the
 * process has ended.  XF_ETIMEDOUT; XF_EDEADLK in the process's own log callback. */
int process_lead_await(xf_process *process, process_condition holds, uint64_t deadline);

/* With the lock held: asks the child for its process id if it is not known yet. */
void process_lead_learn_pid(xf_process *process);

/* With the lock held: asks the task to stop, and kills the child after the grace. */
void process_lead_ask_to_stop(xf_process *process);

/* With the lock held: kills a child that is too late, and records its stack before, if the system lets it. */
void process_lead_kill_late(xf_process *process);

/* With the lock held: wakes a child that sleeps on its box's wake word. */
void process_lead_wake(xf_process *process);

/* Hands a child that was just started to the supervisor. */
void process_lead_begin(xf_process *process);

/* Returns 0, or XF_ESTATE in a forked copy of the process that started it, whose memory it is in, too. */
int process_lead_check_own(const xf_process *process);

/* In such a copy: frees the copy's memory, and closes its descriptors; the child and the parent do not notice.  What
 * another thread was changing at the moment of the fork is left as it is. */
void process_lead_let_go(xf_process *process);

/* The supervisor calls this for a process. */
void process_lead_on_due(supervised *supervised);

/* The callback thread calls this for a process whose on_log is due. */
void process_lead_on_log_turn(callback_source *source);

/* Frees a process that has no child and that the supervisor does not know. */
void process_lead_discard(xf_process *process);

/* Frees a process that has ended. */
void process_lead_destroy(xf_process *process);

/* The same, once its on_log has had every line. */
void process_lead_release(xf_process *process);

/* The parts of xf_wait that are about processes.
 *   process_lead_prepare   Called before the wait.  XF_EDEADLK on a thread that would wait for itself; XF_ENOMEM,
 *                          XF_EHANDLES.
 *   process_lead_is_ready  Whether xf_process_receive (message) or xf_process_join would return at once, with an error
 *                          or without; target: see wait_target.h.
 *   process_lead_poll      Reads what there is now, and does not leave it to the supervisor. */
int process_lead_prepare(xf_process *process);
bool process_lead_is_ready(xf_process *process, bool message, wait_target *target);
void process_lead_poll(xf_process *process);

#endif
