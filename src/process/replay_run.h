/* Running a saved task again, in this process. */
#ifndef AGAIN_H
#define AGAIN_H

/* Runs what XF_REPLAY in the environment names, and ends the process; returns when there is no such variable. */
void replay_run_from_environment(void);

#endif
