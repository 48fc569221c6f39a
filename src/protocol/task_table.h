/* The tasks that the program has registered. */
#ifndef TASK_TABLE_H
#define TASK_TABLE_H

#include "crossfork/task.h"

#include <stdbool.h>
#include <stdint.h>

/* xf_main closes the table: a child that is executed anew would not know a task that is registered later, so
 * xf_task_register refuses it. */
void task_table_close(void);

/* Whether the program has called xf_main. */
bool task_table_is_closed(void);

/* Returns 0 when parent and child can start the task; XF_ENOTASK, XF_EDUPTASK. */
int task_table_check(const xf_task *task);

/* A number that tells two tables apart by the names and sizes in them. */
uint64_t task_table_hash(void);

#endif
