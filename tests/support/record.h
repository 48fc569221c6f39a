/* Records of a stack, as a crash leaves them; the twins are posix/record.c and win32/record.c. */
#ifndef RECORD_H
#define RECORD_H

#include "os/crash.h"

/* Returns an empty record, which the caller frees.  Fails the test without memory. */
os_record *record_new(void);

/* Returns the size of a record in bytes. */
size_t record_size(void);

/* Records the calling thread; the innermost frame is this function. */
void record_take(void *record);

/* Keeps only the top of the stack. */
void record_truncate(os_record *record);

/* Makes the stack pointer, or the pointers that were found by it, invalid. */
void record_smash(os_record *record);

/* Makes every module look as if it had been replaced on disk. */
void record_replace(os_record *record);

#endif
