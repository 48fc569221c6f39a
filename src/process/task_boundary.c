#include "process/task_boundary.h"

#include <errno.h>
#include <string.h>

/* The phase is stored after the call, so the call is no tail call and leaves a frame of this function on the stack. */
__attribute__((noinline)) int task_boundary(xf_call *call, const task_batch *batch)
{
    int code;

    errno = 0; /* what failed before is not the task's */
    atomic_store_explicit(&call->box->phase, XF_PHASE_RUNNING, memory_order_relaxed);
    if (batch)
        code = call->task->batch(call, batch->in, batch->out, batch->count, batch->settled);
    else
        code = call->task->entry(call);
    call_end_copy(call, code);
    atomic_store_explicit(&call->box->phase, XF_PHASE_SENDING, memory_order_relaxed);
    return code;
}

/* Whether text ends with the end, in which a / may be a \ in the text. */
static bool path_ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);

    if (size < end_size)
        return false;
    for (text += size - end_size; *end; text++, end++)
        if (*text != *end && !(*end == '/' && *text == '\\'))
            return false;
    return true;
}

/* Debug data gives name and file.  A table of symbols gives the name alone, which may have a suffix of the compiler's
 * (".constprop.0"); then only a name with the library's own prefix can be no function of the program. */
static bool is_task_boundary(const xf_frame *frame)
{
    static const char prefix[] = "xf__", name[] = "task_boundary";
    bool is_own = strncmp(frame->function, prefix, sizeof prefix - 1) == 0;
    const char *function = frame->function + (is_own ? sizeof prefix - 1 : 0);

    if (strncmp(function, name, sizeof name - 1) != 0)
        return false;
    if (function[sizeof name - 1] != 0 && function[sizeof name - 1] != '.')
        return false;
    return *frame->file ? path_ends_with(frame->file, "/process/task_boundary.c") : is_own;
}

size_t task_boundary_find(const xf_frame *frames, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_task_boundary(&frames[i]))
            return i;
    return count;
}
