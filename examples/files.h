/* Files and directories, for the examples.  Paths are UTF-8 on every system, which libuv sees to. */
#ifndef FILES_H
#define FILES_H

#include <stddef.h>

/* Paths, sorted within each directory. */
typedef struct files {
    char **paths;
    size_t count, room;
} files;

/* Adds the files in a directory, or the path itself when it is none.  Returns 0 or libuv's error. */
int files_list(files *files, const char *path);

void files_free(files *files);

/* Reads all of a file.
 *   text  Set to size bytes, freed by the caller with free.
 * Returns 0 or libuv's error. */
int file_read(const char *path, char **text, size_t *size);

/* The text of libuv's error. */
const char *file_error(int error);

#endif
