/* The parent's side: a pool of children that hash the files of a tree. */
#ifndef CHECKTREE_FARM_H
#define CHECKTREE_FARM_H

#include "tree.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct farm_options {
    int jobs;             /* children at a time */
    const char *crash_on; /* part of the paths at which a child shall crash; "" for none */
    bool progress;        /* on the standard error */
} farm_options;

typedef struct farm_totals {
    uint64_t bytes; /* hashed */
    uint64_t children;
} farm_totals;

/* Hashes the files that have no error yet.  A file that costs its child its life has no hash, and the child's report is
 * on the standard error in the end.
 * Returns 0, or -1 after it has said on the standard error why it had to stop. */
int farm_run(tree *tree, const farm_options *options, farm_totals *totals);

#endif
