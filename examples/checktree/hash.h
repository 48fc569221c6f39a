/* The task that the children run: hashing a batch of files. */
#ifndef CHECKTREE_HASH_H
#define CHECKTREE_HASH_H

#include <crossfork.h>
#include <stdint.h>

/* Input: strings, each with its terminating 0: the pattern of --crash-on ("" for none), then the paths.
 * Messages: a hash_result for each path, in their order, each as soon as it is known.  So the number of messages always
 * tells at which file the child is.
 * Output: none. */
extern xf_task hash_files;

typedef struct hash_result {
    uint64_t position; /* of the path in the input, from 0 */
    uint64_t hash;
    uint64_t bytes; /* that were read */
    int64_t error;  /* why there is no hash, a UV_E* code; 0 */
} hash_result;

#endif
