/* A task of a shared library into which a copy of crossfork is linked. */
#include "tasks.h"

XF_TASK_BARE(of_another_copy)
{
    return 0;
}
