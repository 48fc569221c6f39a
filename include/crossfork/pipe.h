/* Pipes: messages between two ends, each in a process of its own.
 *
 *     xf_pipe *mine, *theirs;
 *     xf_ref ref;
 *     xf_pipe_create(&mine, &theirs, NULL);
 *     xf_pipe_ref(theirs, &ref);
 *     xf_process_start(&process, &task, &ref, sizeof ref, NULL);
 *     xf_pipe_free(theirs);
 *     xf_pipe_send(mine, "hello", 5, XF_FOREVER);
 *
 *     xf_pipe *pipe;                                                       // in the task
 *     xf_message message;
 *     xf_pipe_open(&pipe, &ref);                                           // ref is its input
 *     xf_pipe_receive(pipe, &message, XF_FOREVER);
 *
 * Messages lie in shared memory, whole and in order.  When the other end has gone, because it was freed everywhere or
 * because its processes have ended in whatever way, what it sent can still be received, and then comes XF_EEND.
 * An end may be open in several processes and used by several threads; each message is received once. */
#ifndef CROSSFORK_PIPE_H
#define CROSSFORK_PIPE_H

#include "export.h"
#include "process.h"
#include "ref.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One end of a pipe. */
typedef struct xf_pipe xf_pipe;

/* How a pipe is made.  {0} is the default in every member. */
typedef struct xf_pipe_options {
    bool simplex;        /* the first end only receives, the second only sends */
    size_t capacity;     /* messages that wait in each direction at most; default 1,024 */
    size_t message_size; /* what most messages are not longer than; default 144, at most 65536: as for a queue */
    size_t memory_limit; /* bytes of shared memory for longer messages in each direction; default: the machine's
                            memory */
    int spin_us;         /* how long a wait spins before it sleeps; default 50 where there is more than one core, and 0
                         otherwise; -1: 0 */
} xf_pipe_options;

/* Makes a pipe, and opens both ends.
 *   one, other  Set to them; each is freed by the caller with xf_pipe_free.
 *   options     NULL for the default.
 * Returns 0; XF_EINVAL for an option out of range; XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
XF_API int xf_pipe_create(xf_pipe **one, xf_pipe **other, const xf_pipe_options *options);

/* Names an end, for another process to open.  From here on the end is there for the other end until a process has
 * opened it, though no process has it open meanwhile; so it can be freed here, if the other end is open somewhere.  If
 * whoever should open it dies before, nobody tells: wait for that process too.
 * Returns 0; XF_ENOMEM, XF_EHANDLES, XF_ELIMIT, XF_EEND. */
XF_API int xf_pipe_ref(xf_pipe *pipe, xf_ref *ref);

/* Opens the end that a reference names.
 * Returns 0; XF_EINVAL when it names something else; XF_ENOENT when no process has the pipe open any more; XF_ELIMIT
 * when XF_PIPE_PROCESSES_MAX processes have that end open; XF_EPROTO when its memory is broken; XF_EEND when this is a
 * child and its parent has gone; XF_ENOMEM, XF_EHANDLES. */
XF_API int xf_pipe_open(xf_pipe **pipe, const xf_ref *ref);

#define XF_PIPE_PROCESSES_MAX 64

/* Sends a message.
 *   data        size bytes, copied; NULL when size is 0.
 *   timeout_ms  How long to wait for room; 0 does not wait.
 * Returns 0; XF_ETIMEDOUT; XF_EEND when the other end has gone; XF_ESTATE when this end only receives; XF_ELIMIT for a
 * message larger than memory_limit; XF_ENOMEM; XF_EPROTO when the shared memory is broken. */
XF_API int xf_pipe_send(xf_pipe *pipe, const void *data, size_t size, int timeout_ms);

/* Receives the next message.
 *   message  Set to a copy of it, freed by the caller with xf_message_free.
 * Returns 0; XF_ETIMEDOUT; XF_EEND when the other end has gone and what it sent was received; XF_ESTATE when this end
 * only sends; XF_ENOMEM: the message stays; XF_EPROTO when the shared memory is broken: that message is gone. */
XF_API int xf_pipe_receive(xf_pipe *pipe, xf_message *message, int timeout_ms);

/* The same into memory of the caller's.
 *   got  Set to the number of bytes of the message, also with XF_ESIZE.
 * Returns as xf_pipe_receive; XF_ESIZE when it is longer than size: then it stays. */
XF_API int xf_pipe_receive_into(xf_pipe *pipe, void *room, size_t size, size_t *got, int timeout_ms);

/* Waits until there is something to receive, and tells its size.  Returns as xf_pipe_receive. */
XF_API int xf_pipe_peek(xf_pipe *pipe, size_t *size, int timeout_ms);

/* Lets go of this end in this process.  NULL is harmless.
 * Threads: no other call on this end may be under way or follow. */
XF_API void xf_pipe_free(xf_pipe *pipe);

#ifdef __cplusplus
}
#endif

#endif
