/* Start-up.
 *
 *     int main(int argc, char **argv)
 *     {
 *         xf_main(argc, argv);
 *         return 0; // the program
 *     } */
#ifndef CROSSFORK_MAIN_H
#define CROSSFORK_MAIN_H

#include "export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Checks whether crossfork has started this process.  If so, it runs the child's task, and never returns.
 *
 * A child executes the program again, so call this at the top of main, before everything that should happen only once
 * (reading options, opening files, starting threads).  In the program itself it returns at once.
 *   argc, argv  As main got them; 0 and NULL where main gets none (the system is asked then).
 * A program that never calls it gets XF_EMAIN from its first xf_process_start, and so no child can run such a main.
 * With XF_REPLAY=file in the environment it runs the task that was saved in that file (save_failures), in this process,
 * and ends it: see docs/replay.md.
 * Threads: call once, from the main thread.
 * A program that has more rights than who starts it (setuid, setgid, capabilities of its file) obeys neither XF_REPLAY
 * nor XF_START nor the hidden argument of a child, and can start children by fork only: other methods are XF_ENOTSUP.
 * Differences: Windows programs have no rights by their file.  A forked child never runs main, but the call is required
 * all the same, so that a program that runs on one system runs on the other. */
XF_API void xf_main(int argc, char **argv);

/* Ends now the supervisor and the callback thread, the helper process that names stacks and, on POSIX, that of
 * XF_START_FORKSERVER, which crossfork keeps for a second after they were last needed.  Not needed before the program
 * ends.
 * Returns 0, or XF_EBUSY while a process or a pool has not been freed (or, detached, has not ended): so always in a
 * callback on those threads. */
XF_API int xf_cleanup(void);

#ifdef __cplusplus
}
#endif

#endif
