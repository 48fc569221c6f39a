/* Reports: how a child ended, and what is known about it.
 *
 *     const xf_report *report = xf_process_report(process);
 *     if (report && report->status.kind != XF_END_DONE)
 *         xf_report_print(report, stderr); */
#ifndef CROSSFORK_REPORT_H
#define CROSSFORK_REPORT_H

#include "export.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The ways a child ends; the same end has the same kind and code on every system. */
typedef enum xf_end {
    XF_END_NONE,       /* it has not */
    XF_END_DONE,       /* the task returned 0; code 0 */
    XF_END_FAILED,     /* the task returned another value or called xf_fail; code is that value */
    XF_END_EXITED,     /* the process exited inside the task, whatever the exit code; code is the exit code */
    XF_END_CRASHED,    /* a fault or abort; code is an xf_crash */
    XF_END_KILLED,     /* killed by somebody else; code 0 */
    XF_END_TERMINATED, /* by xf_process_terminate, _kill or _free; code 0 */
    XF_END_PROTOCOL,   /* what it sent could not be understood or kept, and it was ended; code is an XF_E* code */
    XF_END_START,      /* the task never began; code is an XF_E* code: XF_EMAIN, XF_EBUILD, XF_ENOTASK ... */
    XF_END_UNKNOWN,    /* somebody else took the exit status (waitpid(-1), SIGCHLD ignored), and the task had not told
                          its end before; code 0 */
    XF_END_TIMED_OUT,  /* a pool's item ran longer than its timeout_ms; code 0 */
    XF_END_CANCELLED   /* a pool's item was cancelled; code 0 */
} xf_end;

/* The faults that end a process. */
typedef enum xf_crash {
    XF_CRASH_OTHER,
    XF_CRASH_ABORT,  /* abort() */
    XF_CRASH_ACCESS, /* access violation: SIGSEGV, SIGBUS */
    XF_CRASH_DIVIDE, /* division by zero and other arithmetic faults */
    XF_CRASH_STACK_OVERFLOW,
    XF_CRASH_ILLEGAL, /* illegal instruction */
    XF_CRASH_TRAP     /* a breakpoint outside a debugger */
} xf_crash;

/* How a child ended, in short. */
typedef struct xf_status {
    xf_end kind;
    int code;       /* what it means depends on kind, not on the system */
    int64_t system; /* the system's own value: exit code, signal number (POSIX), exception code (Windows) */
} xf_status;

/* How far the child had come. */
typedef enum xf_phase {
    XF_PHASE_STARTING, /* it had not reached xf_main */
    XF_PHASE_LOADING,  /* finding the task, decoding its input */
    XF_PHASE_RUNNING,  /* inside the task */
    XF_PHASE_SENDING,  /* encoding and sending the result */
    XF_PHASE_ENDED     /* it had said goodbye */
} xf_phase;

/* A line that the child logged. */
typedef struct xf_log_line {
    double time; /* seconds since 1970, by the child's clock */
    xf_level level;
    const char *text;
} xf_log_line;

/* Everything known about the end of a child.  Members are only ever added at the end. */
typedef struct xf_report {
    xf_status status;
    const char *kind_name; /* "crashed" */
    const char *code_name; /* "access violation", "XF_EMAIN", or "" when code is a plain number */
    const char *message;   /* what xf_fail said, or what went wrong, in a sentence; "" when there is nothing to add */
    const char *name;      /* of the process */
    const char *task;      /* name of the task */
    int64_t pid;
    xf_phase phase;
    double started; /* seconds since 1970 */
    double ended;
    const xf_log_line *log; /* the last lines, oldest first */
    size_t log_count;
    uint64_t log_total;      /* how many lines there were */
    const char *stderr_tail; /* the end of the captured standard error; "" when none was captured */
    size_t stderr_tail_size;
    uint64_t item; /* of a pool's future; 0 for a process */
    int attempt;   /* of the item, counted from 1; 0 for a process */
} xf_report;

#define XF_REPORT_LOG_LINES 32      /* at most so many lines are kept */
#define XF_REPORT_LOG_BYTES 1024    /* and so much of each */
#define XF_REPORT_STDERR_BYTES 4096 /* and so much of the standard error */

/* Writes a report for a person: at most a screen of text.  Control characters from the child are shown as escapes.
 * Returns 0, or XF_EIO when the stream does not take it. */
XF_API int xf_report_print(const xf_report *report, FILE *stream);

/* Names for messages: "crashed", "access violation", "running".  Never NULL. */
XF_API const char *xf_end_name(xf_end kind);
XF_API const char *xf_crash_name(xf_crash crash);
XF_API const char *xf_phase_name(xf_phase phase);

#ifdef __cplusplus
}
#endif

#endif
