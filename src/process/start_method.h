/* How a child is started. */
#ifndef START_METHOD_H
#define START_METHOD_H

#include "crossfork/process.h"
#include "os/child.h"

/* Chooses the start method that the options ask for.
 *   otherwise  The default; NULL: fork while the process has one thread, spawn after that.  XF_START in the environment
 *              takes precedence over it. */
int start_method_choose(xf_start_method wanted, const os_method *otherwise, os_method *method);

#endif
