/* Monitors: a mutex and the condition that goes with it, which are made and destroyed together. */
#ifndef MONITOR_H
#define MONITOR_H

#include <uv.h>

/* Makes both, or neither.
 *   owner  "a pool", for the detail.
 * XF_ENOMEM. */
int monitor_open(uv_mutex_t *lock, uv_cond_t *changed, const char *owner);
void monitor_close(uv_mutex_t *lock, uv_cond_t *changed);

#endif
