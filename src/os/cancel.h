/* THE SEAM: threads that the program cancels.  Core port; rules: traits.h. */
#ifndef OS_CANCEL_H
#define OS_CANCEL_H

/* Holds off that the calling thread is cancelled, and returns what was before; cannot fail.
 * POSIX: pthread_setcancelstate, so that a pthread_cancel counts once the thread is allowed to be cancelled again.
 * Windows: nothing cancels a thread. */
int os_cancel_hold(void);

/* Undoes it; pairs may be inside each other.  It is no cancellation point itself. */
void os_cancel_release(const int *before);

/* Holds it off for the rest of the block.  Each function that the program calls, or one that it calls before it waits,
 * reads, writes, opens or closes anything, has this among its declarations: a thread that was cancelled there would
 * leave locks behind, and half of what it was changing.  tests/cancel_points.cmake finds those that lack it. */
#define OS_HOLD_CANCEL __attribute__((cleanup(os_cancel_release), unused)) const int before_cancel = os_cancel_hold()

#endif
