/* One run of a task: its state, and the back-end that its calls go to. */
#ifndef CALL_H
#define CALL_H

#include "crossfork/task.h"
#include "lockfree/wait_target.h"
#include "process/child_log.h"
#include "protocol/black_box.h"
#include "protocol/channel.h"

/* Where the calls of a task go: to the parent (child.c), into the pool's segment (pool/worker.c), or nowhere
 * (replay_run.c, and a pool without processes). */
typedef struct call_backend {
    /* Sets call->output to zeroed memory (up to XF_ZEROED_MAX bytes).  XF_ENOMEM, XF_EHANDLES. */
    int (*output)(xf_call *call, size_t size);

    /* Frees call->output, if there is one; NULL: the back-end frees it later. */
    void (*drop_output)(xf_call *call);

    /* xf_fail is about to set a failure with that code, which replaces another one; NULL: the last failure counts. */
    void (*begin_failure)(xf_call *call, int code);

    /* Takes a line, whose text has size bytes; the item is the back-end's to fill in.  Threads: any. */
    int (*log)(xf_call *call, xf_log_line *line, size_t size);

    /* Threads: any. */
    int (*send)(xf_call *call, const void *data, size_t size);

    /* As xf_stop_requested. */
    bool (*stop_requested)(xf_call *call, int timeout_ms);

    /* Sets what changes when the task is asked to stop; NULL: no process asks while the task waits. */
    void (*stop_target)(xf_call *call, wait_target *target);
} call_backend;

struct xf_call {
    xf_call_head head; /* comes first, where XF_TASK expects it */
    const call_backend *backend;
    void *backend_arg; /* the back-end's own */
    black_box *box;
    const xf_task *task;
    const void *input;
    size_t input_size;
    void *object;  /* made by the input codec; NULL: none */
    os_shm output; /* large output, or address in ordinary memory and handle -1 */
    bool has_output;
    int fail_code;      /* of xf_fail; 0: not called */
    char *fail_text;    /* NULL: none, or there was no memory for it */
    bool fail_is_own;   /* crossfork itself has found the failure, not the task */
    uint64_t fail_item; /* of a pool's chunk, to which fail_code belongs */
    int depth;
    child_log log;
    channel channel; /* comes last: its buffers are large, and a forked child pays for each page that it writes to */
};

/* Has the call belong to this process, and not to copies that its task forks. */
void call_begin(xf_call *call);

/* Whether this process is a copy of the one that runs the task: the copy counts for nothing.  It ends where the task
 * ends, and its calls reach nobody. */
static inline bool call_is_in_copy(const xf_call *call)
{
    return XF_IN_COPY(call);
}

/* Ends this process, which is such a copy.
 *   code  Of the task. */
_Noreturn void call_exit_copy(int code);

/* Ends this process if it is such a copy. */
static inline void call_end_copy(const xf_call *call, int code)
{
    if (call_is_in_copy(call))
        call_exit_copy(code);
}

/* Frees the output that xf_call_output made, if there is one. */
void call_drop_output(xf_call *call);

/* Whether the task has to give an output, and has not. */
bool call_lacks_output(const xf_call *call);

/* As xf_fail, for what crossfork itself has found: code is one of XF_ERRORS, and the report names it. */
int call_fail_own(xf_call *call, int code, const char *format, ...) XF_PRINTF(3, 4);

/* Decodes the input if the task has an input codec.  XF_ECODEC; the failure is set then. */
int call_decode(xf_call *call);

/* Destroys the decoded input. */
void call_end_object(xf_call *call);

/* Stores in the box when the task last called. */
void call_beat(xf_call *call);

/* Whether xf_stop_requested would return at once.
 *   target  See wait_target.h. */
bool call_is_ready(xf_call *call, wait_target *target);

#endif
