/* Tasks of a static library that the program refers to. */
#include "tasks.h"

#include <string.h>

static int calls;

XF_TASK(length, const range *in, int *out)
{
    *out = in->to - in->from;
    return 0;
}

XF_TASK_IN(check, const range *in)
{
    return in->from <= in->to ? 0 : xf_fail(call, 4, "%d comes before %d", in->to, in->from);
}

XF_TASK_OUT(next_call, int *out)
{
    *out += ++calls; /* it was 0 */
    return 0;
}

XF_TASK_BARE(note)
{
    calls += 100;
    return 0;
}

XF_ENTRY(copy)
{
    size_t size;
    const void *in = xf_call_input(call, &size);
    void *out = xf_call_output(call, size);

    if (!out)
        return XF_TASK_NO_MEMORY;
    memcpy(out, in, size);
    return 0;
}
