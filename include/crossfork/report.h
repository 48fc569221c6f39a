/* Reports: how a child ended, and all that is known about it.
 *
 *     const xf_report *report = xf_process_report(process);
 *     if (report && report->status.kind != XF_END_DONE)
 *         xf_report_print(report, stderr); */
#ifndef CROSSFORK_REPORT_H
#define CROSSFORK_REPORT_H

#include "export.h"
#include "task.h"
#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The ways a child ends; the same end has the same kind and code on every system. */
typedef enum xf_end {
    XF_END_NONE,           /* it still runs */
    XF_END_DONE,           /* the task returned 0; code 0 */
    XF_END_FAILED,         /* the task returned another value or called xf_fail; code is that value */
    XF_END_EXITED,         /* the process exited inside the task, whatever the exit code; code is the exit code */
    XF_END_CRASHED,        /* a fault or abort; code is an xf_crash */
    XF_END_KILLED,         /* killed from outside: by another program, or a user; or ended by a signal that is no
                              fault, as SIGPIPE; code 0 */
    XF_END_TERMINATED,     /* by xf_process_terminate, _kill or _free; code 0 */
    XF_END_PROTOCOL_ERROR, /* the parent could not read or keep what it sent, and ended it; code is an XF_E* code */
    XF_END_START_FAILED,   /* the task never began; code is an XF_E* code: XF_EMAIN, XF_EBUILD, XF_ENOTASK ... */
    XF_END_UNKNOWN,        /* the program took the exit status itself (waitpid(-1), SIGCHLD ignored), and the task had
                              not reported its end before; or, for an item, there was no memory to keep how it ended: it
                              may be done; code 0 */
    XF_END_TIMED_OUT,      /* it ran longer than a pool's timeout_ms, or than limits.wall_ms, or deadline_ms of its map
                              had passed, perhaps before it began; code 0 */
    XF_END_CANCELLED,      /* a pool's item was cancelled; code 0 */
    XF_END_MEMORY_LIMIT,   /* it died of limits.memory; code 0 */
    XF_END_CPU_LIMIT,      /* it used up limits.cpu_ms; code 0 */
    XF_END_OUT_OF_MEMORY   /* the system killed it because memory was short; code 0 */
} xf_end;

/* How a child ended, in short. */
typedef struct xf_status {
    xf_end kind;
    int code;       /* its meaning depends on kind, not on the system */
    int64_t system; /* the system's own value: exit code, signal number (POSIX), exception code (Windows) */
} xf_status;

/* How far the child had come. */
typedef enum xf_phase {
    XF_PHASE_STARTING, /* it had not reached xf_main */
    XF_PHASE_LOADING,  /* finding the task, decoding its input */
    XF_PHASE_RUNNING,  /* inside the task */
    XF_PHASE_SENDING,  /* encoding and sending the result */
    XF_PHASE_ENDED     /* it had sent its last frame */
} xf_phase;

/* A line that the child logged, or printed (XF_STDIO_LOG). */
typedef struct xf_log_line {
    double time; /* seconds since 1970, by the child's clock; a broken child may send any value, NAN too */
    xf_log_level level;
    const char *text;
    xf_log_source source;
    int64_t pid;
    const char *task; /* the task that logged it */
    uint64_t item;    /* of a pool's future; 0 for a process */
} xf_log_line;

/* A place in the child's program: one function on its stack. */
typedef struct xf_frame {
    uint64_t address;     /* in the child */
    const char *module;   /* path of the program or library; "" when it is in none */
    const char *build_id; /* of the module, hexadecimal; "" when it has none */
    uint64_t offset;      /* in the module, as addr2line -e module takes it; the address when there is no module */
    const char *function; /* "" when it is not known */
    const char *file;     /* of the source; "" when it is not known */
    int line;             /* 0 when it is not known */
    bool inlined;         /* into the next frame */
} xf_frame;

/* A processor's register when the child crashed. */
typedef struct xf_register {
    const char *name;
    uint64_t value;
} xf_register;

/* Everything known about the end of a child.  Members are only ever added at the end. */
typedef struct xf_report {
    xf_status status;
    const char *kind_name; /* "crashed" */
    const char *code_name; /* "access violation", "SIGPIPE", "XF_EMAIN"; "" when code is the task's own, or there is no
                              more to say */
    const char *message;   /* the text of xf_fail, or a sentence on what went wrong; "" when there is nothing to add */
    const char *name;      /* of the process */
    const char *task;      /* name of the task */
    int64_t pid;
    xf_phase phase;
    double started; /* seconds since 1970.  An item that failed: when its worker began it, or for one of many small ones
                       of XF_TASK, its chunk or the chunks before it.  An item whose worker died: when the worker was
                       started */
    double ended;
    const xf_log_line *log; /* the last lines, oldest first; of an item, its own */
    size_t log_count;
    uint64_t log_total;      /* how many lines there were */
    const char *stderr_tail; /* the end of the captured standard error, and a NUL; "" when none was captured.  In a pool
                                it is the worker's, and may be of items that it ran before */
    size_t stderr_tail_size; /* without the NUL */
    uint64_t item;           /* of a pool's future; 0 for a process */
    int attempt;             /* of the item, counted from 1; 0 for a process */
    const xf_frame *stack;   /* where it was when it crashed, exited or was stopped for its time, innermost first; of an
                                exit or an abort, from the program's function on that called the C library */
    size_t stack_count;      /* 0: not known, as for a kill from outside */
    uint64_t fault_address;  /* of an access violation; 0 otherwise */
    const xf_register *registers;
    size_t register_count;
    double heard;         /* seconds since 1970 when the task last called crossfork; 0: never */
    uint64_t done, total; /* of xf_progress */
    uint64_t memory_peak; /* bytes that it held in memory at most; 0 when the system does not count them */
    double cpu_time;      /* seconds that it computed, system time included */
    const char *dump;     /* path of a core file or minidump; "" when there is none */
    const char *saved;    /* path of the file for XF_REPLAY (see save_failures); "" when there is none */
} xf_report;

#define XF_REPORT_LOG_LINES 32      /* lines of the log that a report keeps */
#define XF_REPORT_LOG_BYTES 1024    /* bytes of each line */
#define XF_REPORT_STDERR_BYTES 4096 /* bytes of the standard error */

#define XF_REPORT_MESSAGE_BYTES 1048576 /* bytes of the message */

/* Writes a report for a person: at most a screen of text, in colour on a terminal (unless NO_COLOR is set in the
 * environment).  Escapes as C has them stand for what the child sent and a terminal would take for commands: control
 * characters, U+0080 to U+009F among them, line separators, and characters that turn the direction of text; and for
 * bytes that are not UTF-8.  Numbers have a point in every locale.
 * Returns 0; XF_EINVAL when report is NULL, as for an item that is done; XF_EIO when writing to the stream fails. */
XF_API int xf_report_print(const xf_report *report, FILE *stream);

/* Writes a report for a tool: one line, a JSON object in UTF-8; docs/report.md describes its members.  Bytes of
 * the child's texts that are not UTF-8 become U+FFFD.  Numbers have a point in every locale; one that the child made
 * infinite or no number at all is null.
 * Returns 0; XF_EINVAL when report is NULL; XF_EIO when writing to the stream fails. */
XF_API int xf_report_json(const xf_report *report, FILE *stream);

/* Names for messages: "crashed", "access violation", "running"; docs/report.md lists them.  Never NULL. */
XF_API const char *xf_end_name(xf_end kind);
XF_API const char *xf_crash_name(xf_crash crash);
XF_API const char *xf_phase_name(xf_phase phase);

#ifdef __cplusplus
}
#endif

#endif
