/* Files from which a task that failed can be run again, in one process: see docs/replay.md for their format. */
#ifndef REPLAY_FILE_H
#define REPLAY_FILE_H

#include "base/writer.h"
#include "crossfork/report.h"
#include "os/identity.h"

/* Everything that is needed to run a task again. */
typedef struct replay_case {
    const char *task;
    uint64_t declared_input, declared_output; /* sizes */
    const void *input;                        /* encoded, where the task has a codec */
    size_t size;
    uint64_t item;           /* of a pool's future */
    const char *initializer; /* of a pool, run before it; "": none */
    const void *initializer_input;
    size_t initializer_size;
    const char *const *environment; /* changes, and a NULL at the end; NULL: none */
    const char *directory;          /* NULL: this process's own */
} replay_case;

/* Whether a case is saved after such an end. */
bool replay_file_is_wanted(xf_end kind);

/* Encodes a file without the status, which replay_file_save adds.  XF_ENOMEM. */
int replay_file_encode(xf_writer *file, const replay_case *what);

/* Writes an encoded file into a directory, under a name that no other file there has.
 *   path  Set to its path; the caller frees it with free.
 * XF_ELIMIT once REPLAY_MOST were written, or where this process may not write so much; XF_ENOENT, XF_ENOTDIR,
 * XF_EACCESS, XF_ENOSPACE, XF_EIO, XF_ENOMEM: then nothing is left behind. */
int replay_file_save(xf_writer *file, const char *directory, const char *task, xf_status status, char **path);

enum { REPLAY_MOST = 1000 };

/* The content of a file, after it was checked. */
typedef struct replay_file {
    uint8_t *bytes; /* the other members point into them */
    const char **environment;
    replay_case what;
    uint8_t build[OS_BUILD_ID_SIZE];
    xf_status status;
} replay_file;

/* Completes an encoded file: its header, with the status. */
void replay_file_seal(xf_writer *file, xf_status status);

/* Checks the size bytes of a file that were read into file->bytes, and fills in the rest.
 *   path  For the error detail.
 * XF_EPROTO, XF_ENOMEM. */
int replay_file_check(replay_file *file, size_t size, const char *path);

/* Reads and checks a file.  XF_EPROTO for a file of another kind or a damaged one; XF_ENOENT and so on; XF_ENOMEM. */
int replay_file_open(replay_file *file, const char *path);
void replay_file_close(replay_file *file);

#endif
