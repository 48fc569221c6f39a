/* Records of a stack, as a crash leaves them; the twins are posix/record.c and win32/record.c. */
#ifndef RECORD_H
#define RECORD_H

#include "os/crash.h"

#include <stdbool.h>
#include <stddef.h>

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

/* Makes the record of a process that was in a module of that path when it crashed, if need be by saying so. */
void record_point_to(os_record *record, const char *path);

/* Changes the copy of a program in memory so that its headers are wrong in some way.  Returns false when there are no
 * more than number ways. */
bool record_spoil(char *bytes, size_t size, int number);

/* Sets path to one that no module should have: that of a pipe, a device, an endless file.
 *   scratch  A directory in which something may be made, and is removed by record_drop_path.
 *   program  The content of a program.
 * Returns false when there are no more than number of them; path is "" where the system cannot make one. */
bool record_make_path(char *path, size_t room, const char *scratch, int number, const char *program, size_t size);
void record_drop_path(const char *path, const char *scratch);

#endif
