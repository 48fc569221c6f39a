/* The tasks that the children run. */
#ifndef CHECKTREE_HASH_H
#define CHECKTREE_HASH_H

#include <crossfork.h>

#include <stdint.h>

/* Run in a child before its first file.
 * Input: the pattern of --crash-on with its terminating 0, "" for none.  Output: none. */
extern xf_task choose_crashes;

/* Hashes a file.
 * Input: the path with its terminating 0.  Output: a hash_result, also when the file cannot be read. */
extern xf_task hash_file;

typedef struct hash_result {
    uint64_t hash;
    uint64_t bytes; /* that were read */
    int64_t error;  /* why there is no hash, a UV_E* code; 0 */
} hash_result;

#endif
