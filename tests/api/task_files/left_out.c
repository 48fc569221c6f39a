/* A task of a static library that no program refers to, so the linker leaves it out. */
#include "crossfork.h"

XF_TASK_BARE(left_out)
{
    return 0;
}
