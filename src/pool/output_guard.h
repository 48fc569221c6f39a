/* Guard bytes: what stands around outputs, and is looked at to see whether a task wrote beyond its own. */
#ifndef OUTPUT_GUARD_H
#define OUTPUT_GUARD_H

#include <stdbool.h>
#include <stddef.h>

enum { OUTPUT_GUARD = 64 }; /* bytes at most */

/* Writes so many guard bytes. */
void output_guard_set(void *at, size_t size);

/* How far the guard bytes behind an output were overwritten: 0 when all are as they were set.
 *   front  OUTPUT_GUARD guard bytes in front of it; NULL: there are none.  When they are overwritten too, the task of
 *          another output wrote on until here, and the answer is 0. */
size_t output_guard_overrun(const void *front, const void *at, size_t size);

#endif
