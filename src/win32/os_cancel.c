/* Threads that the program cancels: none. */
#include "os_private.h"

int os_cancel_hold(void)
{
    return 0;
}

void os_cancel_release(const int *before)
{
    (void)before;
}
