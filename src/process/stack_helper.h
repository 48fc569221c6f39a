/* The helper: a child of the library's own, which unwinds and names the stacks of children that crashed.
 *
 * A record names files and has addresses for them, and a broken or hostile child has written all of it.  Libraries
 * that read such files were made for sound ones: they crash, loop and use up memory for others.  So they run in a
 * process that can be lost, with limits of memory and time, and this process believes nothing of what it sends
 * (stack_answer.h).
 *
 * The helper starts when a stack is first asked for, and stays for a second after the last one, so that many reports
 * in a row pay for one start. */
#ifndef STACK_HELPER_H
#define STACK_HELPER_H

#include "crossfork/report.h"
#include "os/crash.h"

/* Takes one frame; its texts are valid during the call. */
typedef void (*stack_helper_found)(void *arg, const xf_frame *frame);

/* Calls found for each frame of a recorded stack, the innermost first.
 *   record  OS_RECORD_SIZE bytes.
 * Returns false, perhaps after calls of found, when the helper cannot be started, ends, or takes longer than
 * STACK_HELPER_MS.  Threads: any. */
bool stack_helper_ask(const void *record, stack_helper_found found, void *arg);

enum { STACK_HELPER_MS = 10000 };

/* Ends the helper, if there is one. */
void stack_helper_end(void);

#endif
