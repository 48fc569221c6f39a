/* One run of a task, inside. */
#ifndef CALL_H
#define CALL_H

#include "crossfork/task.h"
#include "lockfree/wait_target.h"
#include "process/child_log.h"
#include "protocol/black_box.h"
#include "protocol/channel.h"

/* Takes the lines of a task that does not run in a child. */
typedef void (*log_sink)(void *arg, const xf_log_line *line);

struct xf_call {
    box *box;
    const xf_task *task;
    const void *input;
    size_t input_size;
    void *object;  /* what the input codec made */
    os_shm output; /* large output, or address in ordinary memory and handle -1 */
    bool has_output;
    int fail_code;      /* of xf_fail; 0: it was not called */
    char *fail_text;    /* NULL: none, or no memory for it */
    uint64_t fail_item; /* of a pool's chunk, that fail_code is about */
    int depth;
    struct worker *worker; /* NULL: this is no pool's worker */
    log_sink sink;         /* NULL: lines go to the box and the parent */
    void *sink_arg;
    child_log log;
    channel channel; /* last: its buffers are large, and a forked child pays for each page that it writes to */
};

/* Ends the output that xf_call_output made, if any. */
void call_drop_output(xf_call *call);

/* Decodes the input for a task with an input codec.  XF_ECODEC, with the failure set. */
int call_decode(xf_call *call);

/* Ends what that made. */
void call_end_object(xf_call *call);

/* Says in the box that the task is alive. */
void call_beat(xf_call *call);

/* Whether xf_stop_requested would return at once.
 *   target  See wait_target.h. */
bool call_is_ready(xf_call *call, wait_target *target);

#endif
