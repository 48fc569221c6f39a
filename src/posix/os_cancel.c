/* Threads that the program cancels. */
#include "os_private.h"

#include <pthread.h>

int os_cancel_hold(void)
{
    int before;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void os_cancel_release(const int *before)
{
    int held;

    pthread_setcancelstate(*before, &held);
}
