/* crossfork: multiprocessing for C, the same on Windows and on POSIX.
 *
 * A program registers functions as tasks and runs them in child processes:
 *
 *     #include <crossfork.h>
 *
 *     XF_TASK(square, const double *in, double *out)
 *     {
 *         *out = *in * *in;
 *         return 0;
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *         xf_main(argc, argv);
 *         double x = 3;
 *         xf_process *process;
 *         xf_status status;
 *         if (xf_process_start(&process, &square, &x, sizeof x, NULL) < 0)
 *             return 1;
 *         xf_process_join(process, &status, XF_FOREVER);
 *         xf_report_print(xf_process_report(process), stderr);
 *         xf_process_free(process);
 *         return 0;
 *     }
 *
 * Conventions, which hold in every header below.
 *   Returns     0 (or a count) on success, a negative XF_E* code on failure; outputs are written only on success.
 *               xf_error_detail() then names what failed, and where; after XF_ETIMEDOUT it may be an older text.
 *   Pointers    Are non-NULL unless a comment allows NULL.  xf_*_free(NULL) does nothing, but xf_message_free and
 *               xf_stack_free want a struct, which may be all zero.
 *   Units       Times are milliseconds, sizes are bytes, text is UTF-8 on every system.
 *   Options     Structs in which all zero is the default; NULL stands for all zero.
 *   Life        xf_X_create and xf_X_start make an object, xf_X_open attaches to one that exists.  xf_X_close refuses
 *               further work or messages.  xf_X_free ends the object in this process; where processes share it, the
 *               last one ends it altogether.
 *   Threads     Any thread may make any call, and several at the same time, unless a comment says otherwise.  A call
 *               that frees or detaches an object is the last call on it: no other may be under way.  A thread that is
 *               cancelled in a call (pthread_cancel) completes it.
 *   Mistakes    Of the caller return XF_EINVAL; nothing is written to stdout or stderr unless asked. */
#ifndef CROSSFORK_H
#define CROSSFORK_H

#include "crossfork/advise.h"
#include "crossfork/array.h"
#include "crossfork/codec.h"
#include "crossfork/error.h"
#include "crossfork/export.h"
#include "crossfork/heap.h"
#include "crossfork/key.h"
#include "crossfork/listener.h"
#include "crossfork/main.h"
#include "crossfork/pipe.h"
#include "crossfork/pool.h"
#include "crossfork/process.h"
#include "crossfork/queue.h"
#include "crossfork/ref.h"
#include "crossfork/report.h"
#include "crossfork/shm.h"
#include "crossfork/sync.h"
#include "crossfork/task.h"
#include "crossfork/types.h"
#include "crossfork/wait.h"

#define XF_VERSION_MAJOR 0
#define XF_VERSION_MINOR 2
#define XF_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that runs, as "major.minor.patch". */
XF_API const char *xf_version(void);

#ifdef __cplusplus
}
#endif

#endif
