/* Processes: one task in one child.
 *
 *     xf_process *process;
 *     xf_status status;
 *     size_t size;
 *     if (xf_process_start(&process, &reverse, "abc", 3, NULL) < 0)
 *         return 1;
 *     if (xf_process_join(process, &status, 5000) == XF_ETIMEDOUT)
 *         xf_process_kill(process);
 *     const char *output = xf_process_result(process, &size);
 *     xf_process_free(process);
 *
 * What a child sends is read and kept by the parent at all times, by whichever thread waits or by crossfork's one
 * supervisor thread, so joining first and reading afterwards never deadlocks, at any size.
 * A child ends with its parent, however the parent ends, and takes its own descendants with it. */
#ifndef CROSSFORK_PROCESS_H
#define CROSSFORK_PROCESS_H

#include "export.h"
#include "report.h"
#include "task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A child and the task it runs. */
typedef struct xf_process xf_process;

/* As a timeout: wait however long it takes. */
#define XF_FOREVER (-1)

/* How a child comes to be.  A task behaves the same under each of them. */
typedef enum xf_start_method {
    XF_START_DEFAULT,   /* what XF_START=fork|spawn|forkserver in the environment says; else fork on POSIX while the
                           program has one thread, spawn otherwise */
    XF_START_FORK,      /* a copy of the program: quickest to start from a small parent.  XF_ENOTSUP on Windows */
    XF_START_SPAWN,     /* the program is executed again, from the image that is running */
    XF_START_FORKSERVER /* a small helper process is spawned once and forked for each child: quick however large the
                           parent is.  On Windows the same as spawn */
} xf_start_method;

/* What a child's standard input, output or error stream is. */
typedef enum xf_stdio {
    XF_STDIO_DEFAULT, /* null for the input, inherit for output and error */
    XF_STDIO_INHERIT, /* the parent's own */
    XF_STDIO_NULL,    /* nothing to read, and what is written is dropped */
    XF_STDIO_CAPTURE, /* kept by the parent: see xf_process_output.  Not for the input */
    XF_STDIO_LOG,     /* kept like that, and each line goes to on_log too.  Not for the input */
    XF_STDIO_FILE     /* the file of stdin_path, stdout_path or stderr_path */
} xf_stdio;

/* Called for each line that a child logs, in order and one at a time for each child, on the thread that happens to read
 * the channel: one that waits for this process, or the supervisor.  It may call anything but what waits for or frees
 * the same process (XF_EDEADLK).  What the child printed before it logged a line comes before that line (XF_STDIO_LOG).
 *   process  NULL in an inline pool.
 *   line     Its text has no line end; valid during the call. */
typedef void (*xf_log_callback)(xf_process *process, const xf_log_line *line, void *arg);

/* What a child may use.  0 in every member: as much as the program itself. */
typedef struct xf_limits {
    size_t memory; /* bytes of private memory: beyond it allocations fail; a child that dies of that ends as
                      XF_END_MEMORY_LIMIT */
    int cpu_ms;    /* of computing; XF_END_CPU_LIMIT.  Rounded up to a second on POSIX; in user mode on Windows */
    int wall_ms;   /* from its start on: then the task is asked to stop, and killed grace_ms later; XF_END_TIMED_OUT */
    int files;     /* open files and sockets at a time, some five of crossfork's included; XF_ENOTSUP on Windows */
    int processes; /* besides itself: beyond it none can be started.  On POSIX those of the same user count, too, and
                      root is not limited */
} xf_limits;

/* How to start a process.  {0} is the default in every member. */
typedef struct xf_process_options {
    const char *name; /* for reports; default: the task's name */
    xf_start_method start;
    const char *const *environment; /* "NAME=value" strings, then NULL, added to the parent's environment */
    const char *directory;          /* the child's working directory; default: the parent's */
    xf_stdio stdin_from;
    xf_stdio stdout_to;
    xf_stdio stderr_to;
    int start_timeout_ms; /* how long the child may take to reach xf_main; default 30,000 */
    int grace_ms;         /* what xf_process_terminate leaves the task to stop by itself; default 2,000;
                             -1: none */
    size_t capture_limit; /* bytes kept of each captured stream, the newest; default 1 MiB */
    size_t message_limit; /* bytes kept of messages that nobody has received, with some 100 for each
                             message; default 4 GiB.  A child that
                             sends more is ended as XF_END_PROTOCOL_ERROR with XF_ELIMIT */
    xf_log_callback on_log;
    void *on_log_arg;
    const char *stdin_path;  /* for XF_STDIO_FILE */
    const char *stdout_path; /* appended to, and made when it is not there; stdout and stderr may be the same */
    const char *stderr_path;
    xf_limits limits;
    int log_rate; /* lines a second that go to on_log; those beyond are counted and dropped, but a report still has the
                     last lines.  0: all go, and a child that logs faster than on_log takes waits */
    bool no_crash_record; /* do not keep where a child crashes: its report then has no stack */
    const char *dumps;    /* directory for a minidump (Windows) of a crash; on POSIX it allows a core file, which the
                             system puts where it puts them.  NULL: neither */
    const char *save_failures; /* directory where a task that fails, crashes or is killed leaves its input: see
                                  docs/replay.md.  NULL: nowhere */
} xf_process_options;

/* Starts a child that runs the task on a copy of the input.
 *   process  Set to the new process, which the caller frees with xf_process_free (or hands off with
 *            xf_process_detach).
 *   input    size bytes, of which the child gets a copy; NULL when size is 0.  For a task with an input codec: the
 *            object to encode, and size is ignored.
 *   options  NULL for the default.  Borrowed during the call.
 * Returns 0 once the child is on its way: what goes wrong later is told by join and the report.  XF_EMAIN when the
 * program never called xf_main; XF_ENOTASK when the task is not registered, XF_EDUPTASK when its name is taken twice,
 * XF_ESIZE when size is not what it declares, XF_ECODEC; XF_EDEPTH beyond XF_DEPTH_MAX processes inside each other,
 * or the nesting that the pool allows in whose task this is; XF_ENOENT, XF_ENOTDIR or XF_EACCESS for the directory, a
 * stream's file, or dumps; XF_ENOTSUP for fork or limits.files on Windows; XF_EINVAL for an option out of range or an
 * XF_START in the environment that is none; XF_ENOMEM, XF_EHANDLES, XF_EPROCESSES, XF_ESYSTEM.
 * Differences: fork is said to be fit only for programs with one thread, as POSIX leaves little else defined; the
 * supervisor thread of crossfork does not count. */
XF_API int xf_process_start(xf_process **process, xf_task *task, const void *input, size_t size,
                            const xf_process_options *options);

#define XF_DEPTH_MAX 16

/* Waits until the child has ended and everything it sent has been read.
 *   timeout_ms  0 polls; XF_FOREVER never times out.
 *   status      Set on success; may be NULL.
 * Returns 0; XF_ETIMEDOUT while the child still runs; XF_EDEADLK from the process's own log callback.
 * Threads: any; concurrent joins all see the same status. */
XF_API int xf_process_join(xf_process *process, xf_status *status, int timeout_ms);

/* The output of a task that is done: bytes, or for a task with an output codec still encoded.
 *   size  Set to the number of bytes; may be NULL.
 * Returns memory of the process, aligned for any type, valid until it is freed; NULL while it runs, and when it did not
 * end as XF_END_DONE. */
XF_API const void *xf_process_result(xf_process *process, size_t *size);

/* Decodes the output of a task that is done with the task's output codec.
 *   object  Set to a new object, which the caller ends with the codec's destroy.
 * Returns 0; XF_ESTATE while the task runs or when it has no output codec; XF_EFAILED when it did not end as
 * XF_END_DONE; XF_ECODEC when the bytes do not decode. */
XF_API int xf_process_result_object(xf_process *process, void **object);

/* A message from a child. */
typedef struct xf_message {
    const void *data; /* aligned for any type */
    size_t size;
    void *reserved; /* crossfork's own */
} xf_message;

/* Takes the next message that the task sent, in the order it sent them; messages outlive the child.
 *   timeout_ms  As for join.
 *   message     Set on success; freed by the caller with xf_message_free, also after the process is freed.
 * Returns 0; XF_ETIMEDOUT; XF_EEND when the child has ended and every message was taken; XF_EDEADLK as join. */
XF_API int xf_process_receive(xf_process *process, xf_message *message, int timeout_ms);

/* Frees what xf_process_receive gave; harmless on one that is all zero. */
XF_API void xf_message_free(xf_message *message);

/* Copies out what a captured stream holds so far: the newest capture_limit bytes.
 *   stream  1 for the standard output, 2 for the standard error.
 *   data    Set to size bytes and a terminating 0, which the caller frees with xf_memory_free.
 *   size    May be NULL.
 * Returns 0; XF_EINVAL when that stream is not captured; XF_ENOMEM. */
XF_API int xf_process_output(xf_process *process, int stream, char **data, size_t *size);

/* Frees memory that a crossfork call gave to the caller. */
XF_API void xf_memory_free(void *memory);

/* How far the task says that it has come (xf_progress): both 0 before it has said so.
 * Returns 0, or XF_ESTATE once the child has ended. */
XF_API int xf_process_progress(xf_process *process, uint64_t *done, uint64_t *total);

/* Asks the task to stop (see xf_stop_requested), and kills it when the grace has passed.  Returns at once; harmless on
 * a process that has ended.  A task that has not begun never begins.
 * Ends as XF_END_TERMINATED, unless the task had ended by itself, or stops by returning 0: then as XF_END_DONE. */
XF_API void xf_process_terminate(xf_process *process);

/* Kills the child and its descendants at once; harmless on a process that has ended.  Ends as XF_END_TERMINATED.
 * Differences: on POSIX a descendant that made a session of its own (setsid) escapes. */
XF_API void xf_process_kill(xf_process *process);

/* The system's id of the child; 0 when it could not be started.  After the child has ended, the id it had.
 * Differences: with XF_START_FORKSERVER this may wait a moment, until the helper process tells. */
XF_API int64_t xf_process_pid(xf_process *process);

/* The name given in the options, or the task's.  Valid until the process is freed. */
XF_API const char *xf_process_name(const xf_process *process);

/* Whether the child has not ended yet, as join with timeout 0 sees it. */
XF_API bool xf_process_alive(xf_process *process);

/* What becomes ready when the child ends, for event loops of the caller's own.  Join then returns without waiting long.
 * Returns a file descriptor to poll for reading on POSIX, a HANDLE to wait for on Windows; of the process, valid until
 * it is freed: do not read from or close it.  Once the child has been joined it may be -1. */
XF_API intptr_t xf_process_sentinel(xf_process *process);

/* How the child ended.  Returns memory of the process, valid until it is freed; NULL while the child runs. */
XF_API const xf_report *xf_process_report(xf_process *process);

/* Where a child is. */
typedef struct xf_stack {
    const xf_frame *frames; /* innermost first */
    size_t count;
    void *reserved; /* crossfork's own */
} xf_stack;

/* Takes the stack of a child's main thread, whether it computes or waits; it goes on afterwards.
 *   stack  Set on success; freed by the caller with xf_stack_free.
 * Returns 0; XF_ESTATE when it has ended, or was started with no_crash_record; XF_EACCESS when the system does not
 * allow it (a debugger is attached; ptrace is forbidden); XF_ETIMEDOUT when the child cannot be stopped; XF_ENOMEM,
 * XF_ESYSTEM.
 * Differences: on POSIX a system call that the child waits in is interrupted, and some of those return EINTR. */
XF_API int xf_process_stack(xf_process *process, xf_stack *stack);

/* Frees what xf_process_stack gave; harmless on one that is all zero. */
XF_API void xf_stack_free(xf_stack *stack);

/* Gives the process up: the child runs on, and crossfork frees everything when it ends.  It still ends with this
 * process.  `process` must not be used any more. */
XF_API void xf_process_detach(xf_process *process);

/* Ends the process, by killing the child if it still runs, and frees everything of it.  NULL is harmless.
 * Returns 0, or XF_EDEADLK from the process's own log callback.
 * Threads: no other call on this process may be under way or follow. */
XF_API int xf_process_free(xf_process *process);

#ifdef __cplusplus
}
#endif

#endif
