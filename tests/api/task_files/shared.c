/* Tasks of a shared library. */
#include "tasks.h"

XF_TASK(halve, const double *in, double *out)
{
    *out = *in / 2;
    return 0;
}

XF_TASK_IN(in_both, const double *in)
{
    return *in > 0;
}
