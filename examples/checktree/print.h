/* What checktree prints. */
#ifndef CHECKTREE_PRINT_H
#define CHECKTREE_PRINT_H

#include "farm.h"
#include "tree.h"

#include <stddef.h>
#include <stdint.h>

/* Shows how far the work is, on one line of the standard error that is written over and over. */
void print_progress(uint64_t done, size_t count, uint64_t lost);

/* Removes that line, if there is one, before other text. */
void print_progress_clear(void);

/* Shows on the standard error what became of a child, under the heading "what path". */
void print_report(const xf_report *report, const char *what, const char *path);

/* Writes "hash  path" for each file that has a hash to the standard output, as xxhsum 0.8.1 does: 16 digits, and the
 * name as it is, whatever characters are in it.  Then, if there are totals, a summary.
 * Returns 0 or a UV_E* code. */
int print_hashes(const tree *tree, const farm_totals *totals, double seconds);

/* Writes "path: reason" for each file that has no hash to the standard error, and returns how many those are. */
size_t print_failures(const tree *tree);

#endif
