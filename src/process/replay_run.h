/* Runs a saved task again, in this process. */
#ifndef REPLAY_RUN_H
#define REPLAY_RUN_H

/* Runs the task in the file that XF_REPLAY in the environment names, and ends the process.  Returns when there is no
 * such variable. */
void replay_run_from_environment(void);

#endif
