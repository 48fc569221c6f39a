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
 * The parent reads and keeps all that a child sends at all times, on a thread that waits for the child or on
 * crossfork's one supervisor thread, so joining first and reading afterwards never deadlocks, at any size.
 * A child ends with its parent, however the parent ends and whatever the child does, and its own descendants end with
 * it, in whichever group or session they are: docs/semantics/ends.md has the gaps.
 * In a process that the program forked by itself, xf_process_free and xf_process_detach free that process's copy alone,
 * and other calls fail with XF_ESTATE: docs/semantics/copies.md. */
#ifndef CROSSFORK_PROCESS_H
#define CROSSFORK_PROCESS_H

#include "export.h"
#include "report.h"
#include "task.h"
#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A child and the task it runs. */
typedef struct xf_process xf_process;

/* How a child is made.  A task behaves the same under each method. */
typedef enum xf_start_method {
    XF_START_DEFAULT,   /* the method that XF_START=fork|spawn|forkserver names in the environment; without it, fork on
                           POSIX while the program has one thread, and spawn otherwise */
    XF_START_FORK,      /* a copy of the program: quickest to start from a small parent.  XF_ENOTSUP on Windows */
    XF_START_SPAWN,     /* the program is executed again, from the image that is running */
    XF_START_FORKSERVER /* a small helper process is spawned once and forked for each child: quick however large the
                           parent is.  On Windows the same as spawn.  XF_START=server names it, too */
} xf_start_method;

/* Called for each line that a child logs, in order, on crossfork's callback thread, which calls all such callbacks one
 * after the other.  However long it takes, the child ends when it has to.  A call that waits for or frees the same
 * process, or waits for a pool, fails there (XF_EDEADLK); all others may be made.  Lines that the child printed before
 * it logged a line come before that line (XF_STDIO_LOG).
 *   process  NULL in an inline pool.
 *   line     Its text has no line end; valid during the call. */
typedef void (*xf_log_callback)(xf_process *process, const xf_log_line *line, void *arg);

/* How to start a process.  {0} is the default in every member. */
typedef struct xf_process_options {
    const char *name; /* for reports; default: the task's name */
    xf_start_method start;
    const char *const *environment; /* strings, then NULL: how the child's environment differs from the parent's.
                                       "NAME=value" adds a variable, or replaces the one of that name; "NAME" removes
                                       it */
    const char *directory;          /* the child's working directory; default: the parent's */
    xf_stdio stdin_from;
    xf_stdio stdout_to;
    xf_stdio stderr_to;
    int start_timeout_ms; /* how long the child may take to reach xf_main; default 30,000 */
    int grace_ms;         /* how long xf_process_terminate lets the task stop by itself; default 2,000; -1: not at
                             all */
    size_t capture_limit; /* bytes kept of each captured stream, the newest; default 1 MiB */
    size_t message_limit; /* bytes kept of messages that were not received yet, with some 100 for each message; default
                             4 GiB.  A child that sends more is ended as XF_END_PROTOCOL_ERROR with XF_ELIMIT */
    xf_log_callback on_log;
    void *on_log_arg;
    const char *stdin_path;  /* for XF_STDIO_FILE */
    const char *stdout_path; /* appended to, and created when it does not exist; stdout and stderr may be the same */
    const char *stderr_path;
    xf_limits limits;
    int log_rate; /* lines a second that go to on_log; lines beyond it are counted and dropped, but a report still has
                     the last lines.  0: no limit: a child that logs faster than on_log returns waits */
    bool no_crash_record;      /* keep no record of where a child crashes: its report then has no stack */
    const char *dumps;         /* directory for a minidump (Windows) of a crash; on POSIX it allows a core file, whose
                                  place the system chooses.  NULL: neither */
    const char *save_failures; /* directory where a task that fails, crashes or is killed leaves its input: see
                                  docs/replay.md.  NULL: nowhere */
} xf_process_options;

/* Starts a child that runs the task on a copy of the input.
 *   process  Set to the new process, which the caller frees with xf_process_free (or hands off with
 *            xf_process_detach).
 *   input    size bytes; the child gets a copy.  NULL when size is 0.  For a task with an input codec: the object to
 *            encode, and size is ignored.
 *   options  NULL for the default.  Borrowed during the call.
 * Returns 0 once the system has started the child: join and the report give later errors.  XF_EMAIN when the program
 * never called xf_main, and, by the fork server, when its main has ended already before it came there, which otherwise
 * the report says; XF_ENOTASK when the task is not registered, XF_EDUPTASK when two tasks have its name, XF_ESIZE
 * when size is not what the task declares, XF_ECODEC; XF_EDEPTH beyond XF_DEPTH_MAX processes inside each other, or
 * beyond the nesting that the pool allows whose task makes this call; XF_ENOENT, XF_ENOTDIR or XF_EACCESS for the
 * directory, a stream's file, or dumps; XF_ENOTSUP for fork or limits.files on Windows; XF_EINVAL for an option out of
 * range, an input that is NULL although it has a size, an XF_START in the environment that names no method, or a
 * stream's file that is a named pipe, unless it is for output and somebody reads it (Windows: XF_ENOENT or XF_EBUSY);
 * XF_ELIMIT for a variable of the environment that is longer than the system passes on (Windows: 32,766 characters with
 * its name; spawn on Linux: 128 KiB); XF_ENOMEM, XF_EHANDLES, XF_EPROCESSES, XF_ESYSTEM.
 * Differences: POSIX defines little for a fork in a program with several threads, so use fork only with one; the
 * supervisor thread of crossfork does not count, but its callback thread does. */
XF_API int xf_process_start(xf_process **process, xf_task *task, const void *input, size_t size,
                            const xf_process_options *options);

#define XF_DEPTH_MAX 16

/* Waits until the child has ended and everything it sent has been read, and then, no longer than timeout_ms in all,
 * until on_log has had every line.
 *   status      Set on success; may be NULL.
 *   timeout_ms  0 polls; XF_FOREVER never times out.
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

/* Receives the next message that the task sent, in the order in which it sent them; messages outlive the child.  One of
 * more than 32 KiB is memory that the child shared, and that a hostile one can change meanwhile.
 *   message     Set on success; the caller frees it with xf_message_free, also after it freed the process.
 *   timeout_ms  As for join.
 * Returns 0; XF_ETIMEDOUT; XF_EEND when the child has ended and every message was received; XF_EDEADLK as join. */
XF_API int xf_process_receive(xf_process *process, xf_message *message, int timeout_ms);

/* Copies the bytes that a captured stream holds so far: the newest capture_limit bytes.
 *   stream  1 for the standard output, 2 for the standard error.
 *   data    Set to size bytes and a terminating 0, which the caller frees with xf_memory_free.
 *   size    May be NULL.
 * Returns 0; XF_EINVAL when that stream is not captured; XF_ENOMEM. */
XF_API int xf_process_output(xf_process *process, int stream, char **data, size_t *size);

/* The progress that the task last gave (xf_progress); both are 0 before the first time.
 * Returns 0, or XF_ESTATE once the child has ended. */
XF_API int xf_process_progress(xf_process *process, uint64_t *done, uint64_t *total);

/* Asks the task to stop (see xf_stop_requested), and kills it when the grace has passed.  Returns at once; harmless on
 * a process that has ended.  A task that has not begun never begins.
 * The process ends as XF_END_TERMINATED; as XF_END_DONE when the task had ended by itself, or stops by returning 0. */
XF_API void xf_process_terminate(xf_process *process);

/* Kills the child and its descendants at once; harmless on a process that has ended.  The process ends as
 * XF_END_TERMINATED.
 * Differences: on POSIX a descendant that has become another user escapes. */
XF_API void xf_process_kill(xf_process *process);

/* The system's id of the child; 0 when it could not be started.  After the child has ended, the id it had.
 * Differences: on POSIX this may wait a moment, until the child is there; its parent is its keeper
 * (docs/semantics/ends.md). */
XF_API int64_t xf_process_pid(xf_process *process);

/* The name given in the options, or the task's.  Valid until the process is freed. */
XF_API const char *xf_process_name(const xf_process *process);

/* Whether the child still runs, as join with timeout 0 sees it. */
XF_API bool xf_process_alive(xf_process *process);

/* A handle that becomes ready when the child ends, for event loops of the caller's own.  Join then returns without
 * waiting long.
 * Returns a file descriptor to poll for reading on POSIX, a HANDLE to wait for on Windows; it belongs to the process
 * and is valid until the process is freed: do not read from or close it.  Once the child has been joined it may be
 * -1. */
XF_API intptr_t xf_process_sentinel(xf_process *process);

/* How the child ended.  Returns memory of the process, valid until it is freed; NULL while the child runs.
 * The first call for a child that left a stack finds its names, for which crossfork starts a helper process and keeps
 * it for a second.  It takes 10 s at most, whatever files the child has named. */
XF_API const xf_report *xf_process_report(xf_process *process);

/* Where a child is. */
typedef struct xf_stack {
    const xf_frame *frames; /* innermost first */
    size_t count;
    void *reserved; /* crossfork's own */
} xf_stack;

/* Takes the stack of a child's main thread, whether it computes or waits; the thread continues afterwards.
 *   stack  Set on success; the caller frees it with xf_stack_free.
 * Returns 0; XF_ESTATE when the child has ended, or was started with no_crash_record; XF_EACCESS when the system does
 * not allow it (a debugger is attached; ptrace is forbidden); XF_ETIMEDOUT when the child cannot be stopped; XF_ENOMEM,
 * XF_ESYSTEM.
 * Differences: on POSIX it interrupts a system call that the child waits in, and some system calls return EINTR
 * then. */
XF_API int xf_process_stack(xf_process *process, xf_stack *stack);

/* Frees a stack of xf_process_stack; a stack that is all zero is harmless. */
XF_API void xf_stack_free(xf_stack *stack);

/* Gives the process up: the child runs on, and crossfork frees everything when it ends.  The child still ends with this
 * program.  `process` must not be used any more. */
XF_API void xf_process_detach(xf_process *process);

/* Ends the process, by killing the child if it still runs, and frees everything of it.  NULL is harmless.
 * Returns 0, or XF_EDEADLK from the process's own log callback.
 * Threads: no other call on this process may be under way or follow. */
XF_API int xf_process_free(xf_process *process);

#ifdef __cplusplus
}
#endif

#endif
