/* A plug-in: tasks in a library of their own.  Nothing differs from tasks in a program. */
#include <crossfork.h>

typedef struct sides {
    double a, b;
} sides;

XF_TASK(rectangle, const sides *in, double *out)
{
    *out = in->a * in->b;
    return 0;
}

XF_TASK(ellipse, const sides *in, double *out)
{
    if (in->a < 0 || in->b < 0)
        return xf_fail(call, 1, "an axis is negative");
    *out = 3.141592653589793 * in->a * in->b;
    return 0;
}
