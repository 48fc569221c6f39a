/* A task of a static library that the program finds by name, and names in XF_USE. */
#include "crossfork.h"

XF_TASK_OUT(only_named, int *out)
{
    *out = 5;
    return 0;
}
