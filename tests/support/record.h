/* Records of a stack, as a crash leaves them; the twins are posix/record.c and win32/record.c. */
#ifndef RECORD_H
#define RECORD_H

#include "os/crash.h"

/* A record of nothing; freed by the caller.  Fails the test without memory. */
os_record *record_new(void);

/* How many bytes it has. */
size_t record_size(void);

/* Records the calling thread, and this function as the innermost. */
void record_take(void *record);

/* Leaves of the stack what is on top of it. */
void record_truncate(os_record *record);

/* Makes the stack pointer, or what was found by it, point to nothing. */
void record_smash(os_record *record);

/* Makes every module one that was replaced on disk. */
void record_replace(os_record *record);

#endif
