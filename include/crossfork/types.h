/* Types that several headers share: bytes, messages, timeouts, and the description of a child for the system.
 *
 *     xf_message message;
 *     if (xf_queue_get(queue, &message, XF_FOREVER) == 0)
 *         xf_message_free(&message); */
#ifndef CROSSFORK_TYPES_H
#define CROSSFORK_TYPES_H

#include "export.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As a timeout: the call waits until it succeeds or fails. */
#define XF_FOREVER (-1)

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Bytes of any length. */
typedef struct xf_bytes {
    const void *data;
    size_t size;
} xf_bytes;

/* A message: from a child, a queue or a pipe. */
typedef struct xf_message {
    const void *data; /* aligned for any type */
    size_t size;
    void *reserved; /* crossfork's own */
} xf_message;

/* Frees a message that a crossfork call gave to the caller.  A message that is all zero is harmless. */
XF_API void xf_message_free(xf_message *message);

/* Frees memory that a crossfork call gave to the caller.  NULL is harmless. */
XF_API void xf_memory_free(void *memory);

/* ---- Children -------------------------------------------------------------------------------- */

/* What a child's standard input, output or error stream is. */
typedef enum xf_stdio {
    XF_STDIO_DEFAULT, /* null for the input, inherit for output and error */
    XF_STDIO_INHERIT, /* the stream of the parent.  On POSIX a child cannot read the terminal (EIO) */
    XF_STDIO_NULL,    /* the child reads nothing, and its output is dropped */
    XF_STDIO_CAPTURE, /* the parent keeps the output: see xf_process_output.  Not for the input */
    XF_STDIO_LOG,     /* the same, and each line goes to on_log too.  Not for the input */
    XF_STDIO_FILE     /* the file or device that stdin_path, stdout_path or stderr_path names */
} xf_stdio;

/* What a child may use.  0 in a member: as much as the program itself. */
typedef struct xf_limits {
    size_t memory; /* bytes of private memory: beyond it allocations fail; a child that dies of that ends as
                      XF_END_MEMORY_LIMIT */
    int cpu_ms;    /* processor time, then the child ends as XF_END_CPU_LIMIT.  POSIX rounds it up to a second; Windows
                      counts user mode only */
    int wall_ms;   /* time since the start: then the task is asked to stop, and killed grace_ms later; it ends as
                      XF_END_TIMED_OUT */
    int files;     /* files and sockets that are open at a time, with some five of crossfork's own; XF_ENOTSUP on
                      Windows */
    int processes; /* processes besides the child: beyond it none can be started.  POSIX counts all processes of the
                      same user, and does not limit root */
} xf_limits;

/* The faults that end a process. */
typedef enum xf_crash {
    XF_CRASH_OTHER,
    XF_CRASH_ABORT,  /* abort() */
    XF_CRASH_ACCESS, /* access violation: SIGSEGV, SIGBUS */
    XF_CRASH_DIVIDE, /* division by zero and other arithmetic faults */
    XF_CRASH_STACK_OVERFLOW,
    XF_CRASH_ILLEGAL, /* illegal instruction */
    XF_CRASH_TRAP,    /* a breakpoint outside a debugger */
    XF_CRASH_OVERRUN  /* a pool's item wrote beyond its output; its worker continues */
} xf_crash;

#ifdef __cplusplus
}
#endif

#endif
