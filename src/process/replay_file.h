/* Files from which a task that failed can be run again, in one process: see docs/replay.md for their format. */
#ifndef REPLAY_H
#define REPLAY_H

#include "crossfork/report.h"
#include "os/os.h"
#include "protocol/task_table.h"

/* What is needed to run a task again. */
typedef struct replay_case {
    const char *task;
    uint64_t declared_input, declared_output; /* sizes */
    const void *input;                        /* encoded, where the task has a codec */
    size_t size;
    uint64_t item;           /* of a pool's future */
    const char *initializer; /* of a pool, run before it; "": none */
    const void *initializer_input;
    size_t initializer_size;
    const char *const *environment; /* additions, up to a NULL; NULL: none */
    const char *directory;          /* NULL: this process's own */
} replay_case;

/* Whether an end is one after which a case is saved. */
bool replay_file_is_wanted(xf_end kind);

/* Encodes a file, in which the status is missing.  XF_ENOMEM. */
int replay_file_encode(xf_writer *file, const replay_case *what);

/* Writes an encoded file into a directory, under a name of its own.
 *   path  Set to that, freed by the caller with free.
 * XF_ELIMIT once REPLAY_MOST were written; XF_ENOENT, XF_ENOTDIR, XF_EACCESS, XF_ENOSPACE, XF_EIO, XF_ENOMEM: then
 * nothing is left behind. */
int replay_file_save(xf_writer *file, const char *directory, const char *task, xf_status status, char **path);

enum { REPLAY_MOST = 1000 };

/* What a file says, once it has been checked. */
typedef struct replay_file {
    uint8_t *bytes; /* that the rest points into */
    const char **environment;
    replay_case what;
    uint8_t build[OS_BUILD_ID_SIZE];
    xf_status status;
} replay_file;

/* Reads and checks a file.  XF_EPROTO for one that is none, or damaged; XF_ENOENT and so on; XF_ENOMEM. */
int replay_file_open(replay_file *file, const char *path);
void replay_file_close(replay_file *file);

#endif
