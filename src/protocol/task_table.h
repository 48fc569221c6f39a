/* The task table. */
#ifndef TASK_H
#define TASK_H

#include "crossfork/task.h"

#include <stdbool.h>
#include <stdint.h>

/* From xf_main on: what is registered later would be unknown to a child that is executed anew, and so is refused. */
void task_table_close(void);

/* Whether that was: whether the program called xf_main. */
bool task_table_is_closed(void);

/* Whether the task can be started, in parent and child alike: 0, XF_ENOTASK, XF_EDUPTASK. */
int task_table_check(const xf_task *task);

/* A number that tells two tables apart by the names and sizes in them. */
uint64_t task_table_hash(void);

#endif
