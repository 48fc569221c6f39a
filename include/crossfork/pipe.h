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
 * Messages lie in shared memory, whole and in order.  When the other end is closed, because every process freed it or
 * ended in whatever way, the messages that it sent can still be received, and then comes XF_EEND.
 * An end may be open in several processes and used by several threads; each message is received once. */
#ifndef CROSSFORK_PIPE_H
#define CROSSFORK_PIPE_H

#include "export.h"
#include "ref.h"
#include "types.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One end of a pipe. */
typedef struct xf_pipe xf_pipe;

/* How a pipe works.  {0} is the default in every member. */
typedef struct xf_pipe_options {
    bool simplex;        /* the first end only receives, the second only sends */
    size_t capacity;     /* messages that wait in each direction at most; default 1,024 */
    size_t message_size; /* the length that most messages do not exceed; default 144, at most 65536: as for a queue */
    size_t memory_limit; /* bytes of shared memory for longer messages in each direction; default: the memory of the
                            machine */
    int spin_us;         /* how long a wait spins before it sleeps; default 50 where there is more than one core, and 0
                         otherwise; -1: 0 */
} xf_pipe_options;

/* Creates a pipe, and opens both ends.
 *   one, other  Set to the ends; the caller frees each with xf_pipe_free.
 *   options     NULL for the default.
 * Returns 0; XF_EINVAL for an option out of range; XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
XF_API int xf_pipe_create(xf_pipe **one, xf_pipe **other, const xf_pipe_options *options);

/* Names an end, for another process to open.  From here on the other end sees this one as open until a process has
 * opened it, even while no process has it open; so it can be freed here, if the other end is open in some process.  A
 * process that dies before it opens the end goes unnoticed at the other end: wait for that process too.
 * Returns 0; XF_ENOMEM, XF_EHANDLES, XF_ELIMIT, XF_EEND. */
XF_API int xf_pipe_ref(xf_pipe *pipe, xf_ref *ref);

/* Opens the end that a reference names.
 * Returns 0; XF_EINVAL when it names something else; XF_ENOENT when no process has the pipe open any more; XF_ELIMIT
 * when XF_PIPE_PROCESSES_MAX processes have that end open; XF_EPROTO when its memory is broken; XF_EEND when this is a
 * child and its parent has ended; XF_ENOMEM, XF_EHANDLES. */
XF_API int xf_pipe_open(xf_pipe **pipe, const xf_ref *ref);

#define XF_PIPE_PROCESSES_MAX 64

/* Sends a message.
 *   data        size bytes, copied; NULL when size is 0.
 *   timeout_ms  How long to wait for room; 0 does not wait.
 * Returns 0; XF_EINVAL when data is NULL and size is not 0; XF_ETIMEDOUT; XF_EEND when the other end is closed;
 * XF_ESTATE when this end only receives; XF_ELIMIT for a message larger than memory_limit; XF_ENOMEM; XF_EPROTO when
 * the shared memory is broken. */
XF_API int xf_pipe_send(xf_pipe *pipe, const void *data, size_t size, int timeout_ms);

/* Receives the next message.
 *   message  Set to a copy of it, freed by the caller with xf_message_free.
 * Returns 0; XF_ETIMEDOUT; XF_EEND when the other end is closed and all that it sent was received; XF_ESTATE when this
 * end only sends; XF_ENOMEM: the message stays; XF_EPROTO when the shared memory is broken: that message is lost. */
XF_API int xf_pipe_receive(xf_pipe *pipe, xf_message *message, int timeout_ms);

/* Receives the next message into memory of the caller.
 *   room  size bytes; NULL when size is 0.
 *   got   Set to the number of bytes of the message, also with XF_ESIZE.
 * Returns as xf_pipe_receive; XF_ESIZE when the message is longer than size: then it stays; XF_EINVAL when room is NULL
 * and size is not 0. */
XF_API int xf_pipe_receive_into(xf_pipe *pipe, void *room, size_t size, size_t *got, int timeout_ms);

/* Waits for the next message and gives its size.  The message stays; another thread may receive it next.  Returns as
 * xf_pipe_receive. */
XF_API int xf_pipe_peek(xf_pipe *pipe, size_t *size, int timeout_ms);

/* Ends this end in this process.  NULL is harmless.
 * Threads: no other call on this end may be under way or follow. */
XF_API void xf_pipe_free(xf_pipe *pipe);

#ifdef __cplusplus
}
#endif

#endif
