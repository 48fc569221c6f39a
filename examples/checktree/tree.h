/* The regular files below a directory. */
#ifndef CHECKTREE_TREE_H
#define CHECKTREE_TREE_H

#include <crossfork.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file, or a directory that could not be listed: that one has an error and no hash. */
typedef struct file {
    char *path;
    uint64_t size; /* when it was listed */
    uint64_t hash;
    int error;     /* what the system said against it, a UV_E* code; 0 */
    xf_status end; /* how the child ended that was at this file, if it ended there; kind is XF_END_NONE otherwise */
} file;

typedef struct tree {
    file *files; /* sorted bytewise by path */
    size_t count;
    size_t room;
} tree;

/* Lists what is below the directory; paths are the directory as given, "/", and names joined by "/".  Symbolic links
 * below it are not followed.
 * Returns 0, UV_ENOMEM, or the UV_E* code that says why the directory itself cannot be listed. */
int tree_list(tree *tree, const char *directory);

/* Whether there is no hash, for whatever reason. */
bool file_failed(const file *file);

void tree_free(tree *tree);

#endif
