/* Declarations for the snippets of the documentation. */
#ifndef PRELUDE_H
#define PRELUDE_H

#include <crossfork.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef __STDC_NO_ATOMICS__
#include <stdatomic.h>
#endif

struct shape {
    double width, height;
};

extern xf_task area, integrate, reverse, square, task, upper, worker, count_up;
extern xf_pool *pool;
extern xf_future *future;
extern xf_process *process;
extern xf_queue *queue;
extern xf_message message;
extern xf_ref ref;
extern void *memory;
extern uint64_t offset;
extern xf_lock *lock;
extern double in[1000000], out[1000000], x;
extern int rc;
void repair(void);
void serve(xf_pipe *client);

#endif
