/* Tasks: the functions that children run.
 *
 *     XF_TASK(area, const struct shape *in, double *out)       // a fixed-size struct in, a fixed-size struct out
 *     {
 *         if (in->width < 0)
 *             return xf_fail(call, 1, "width %g is negative", in->width);
 *         *out = in->width * in->height;
 *         return 0;
 *     }
 *
 *     XF_ENTRY(reverse)                                        // bytes of any length in and out
 *     {
 *         size_t size;
 *         const char *in = xf_call_input(call, &size);
 *         char *out = xf_call_output(call, size);
 *         for (size_t i = 0; i < size; i++)
 *             out[i] = in[size - 1 - i];
 *         return 0;
 *     }
 *
 * A task is self-contained: it sees its input and the objects that it makes itself.  It must not rely on global
 * variables that the program changed after start-up, on open files, or on other threads: under some start methods a
 * child happens to see them, under others it cannot.  Inside a task the variable `call` is the argument of the xf_call
 * functions below.
 * A task that returns 0 is done; with any other value it failed, with that value as its code.
 * Differences: on POSIX a task may fork by itself.  Such a copy of its process ends where the task ends, counts for
 * nothing, and reaches nobody through `call`: docs/semantics/copies.md. */
#ifndef CROSSFORK_TASK_H
#define CROSSFORK_TASK_H

#include "codec.h"
#include "define.h"
#include "export.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One run of a task, inside the child.  Lives from the entry's call to its return. */
typedef struct xf_call xf_call;

/* The function of a task. */
typedef int (*xf_entry)(xf_call *call);

/* The function of a task for many items of fixed size: it runs them one after the other until one does not return 0,
 * and returns that value.  It increases *settled after each item that returned 0.  XF_TASK defines one. */
typedef int (*xf_batch)(xf_call *call, const void *in, void *out, size_t count, volatile unsigned *settled);

#define XF_ANY_SIZE SIZE_MAX

/* A registered task.  XF_TASK and XF_ENTRY define one.  A program that registers one by hand fills it in, down to
 * output_codec; it must live as long as the program. */
typedef struct xf_task {
    const char *name; /* how a child finds it: unique in the program, at most XF_TASK_NAME_MAX bytes */
    xf_entry entry;
    size_t input_size;            /* exact size of the input, or XF_ANY_SIZE */
    size_t output_size;           /* exact size of the output, or XF_ANY_SIZE */
    const xf_codec *input_codec;  /* NULL: the input is plain bytes */
    const xf_codec *output_codec; /* NULL: the output is plain bytes */
    xf_batch batch;               /* NULL: a pool calls entry for each item */
    struct {
        struct xf_task *next;
        int state;
    } reserved;        /* crossfork's own */
    const char *where; /* "file:line" of its definition, for messages; NULL: not known */
} xf_task;

#define XF_TASK_NAME_MAX 255

/* Registers a task, before xf_main, in the program and so in its children too.
 *   task  Borrowed for the life of the program.
 * Returns 0; XF_EINVAL for a missing entry, a missing or overlong name; XF_EDUPTASK when another task has the
 * name: then no task of that name can be started; XF_ESTATE after xf_main, when children would not know the task.
 * Registering the same struct again does nothing.
 * Threads: not while another thread registers or starts a task. */
XF_API int xf_task_register(xf_task *task);

/* The registered task of that name; NULL when there is none, and xf_error_detail says why that may be. */
XF_API xf_task *xf_task_find(const char *name);

/* ---- Defining tasks -------------------------------------------------------------------------- */

/* XF_TASK(name, const In *in, Out *out) { ... }  defines and registers the task `name` of fixed-size input and output.
 * The parameters are called in and out; both types must be complete and hold no pointers.  A type that is aligned to
 * more than XF_ALIGN_MAX bytes (64), or in C++ is not trivially copyable, does not compile.  *out is zero when the task
 * begins, unless it is larger than XF_ZEROED_MAX.  Use in and out, and not xf_call_input and xf_call_output.
 * Differences: in C++ a type may hold commas, as std::pair<int, int> does. */
#define XF_TASK(task, ...) XF_INPUT_AND_OUTPUT(task, __VA_ARGS__)

/* XF_TASK_IN(name, const In *in) { ... }  defines one without output: maps leave out NULL, and results have 0 bytes. */
#define XF_TASK_IN(task, ...) XF_INPUT(task, __VA_ARGS__)

/* XF_TASK_OUT(name, Out *out) { ... }  defines one without input: maps leave in NULL, and count says how often it
 * runs. */
#define XF_TASK_OUT(task, ...) XF_OUTPUT(task, __VA_ARGS__)

/* XF_TASK_BARE(name) { ... }  defines one with neither. */
#define XF_TASK_BARE(task) XF_NEITHER(task)

/* XF_ENTRY(name) { ... }  defines and registers the task `name` whose input and output are bytes of any length. */
#define XF_ENTRY(task) XF_ENTRY_CODEC(task, XF_NULL, XF_NULL)

/* XF_ENTRY_CODEC(name, &input_codec, &output_codec) { ... }  defines one for objects: xf_call_object gives the decoded
 * input, xf_call_return takes the output.  Either codec may be NULL. */
#define XF_ENTRY_CODEC(task, in_codec, out_codec)                                                                      \
    static int task##_entry(XF_MAYBE_UNUSED xf_call *call);                                                            \
    XF_DEFINE(task, XF_ANY_SIZE, XF_ANY_SIZE, in_codec, out_codec, XF_NULL, (void)0)                                   \
    static int task##_entry(XF_MAYBE_UNUSED xf_call *call)

/* XF_DECLARE(name);  declares a task that another file defines, by any of the macros above: in a header, for instance.
 * What a shared library is to export goes in front:  __declspec(dllexport) XF_DECLARE(square); */
#define XF_DECLARE(task) extern xf_task task

/* XF_USE(name);  declares one, and has the linker take it along.  A task of a static library, or of a shared one that
 * is linked --as-needed, is left out of a program that does not name it: one that only finds it by xf_task_find, or
 * only replays it.  Not in a function. */
#define XF_USE(task)                                                                                                   \
    XF_DECLARE(task);                                                                                                  \
    XF_BEFORE_MAIN(task##_use)                                                                                         \
    {                                                                                                                  \
        (void)xf_task_register(&task);                                                                                 \
    }                                                                                                                  \
    XF_STATIC_ASSERT(1, "takes the semicolon")

/* ---- Inside a task --------------------------------------------------------------------------- */

/* The input's bytes, which the task must not change; aligned for any type, to XF_ALIGN_MAX at most.  Valid until the
 * entry returns.
 *   size  Set to the number of bytes; may be NULL. */
XF_API const void *xf_call_input(const xf_call *call, size_t *size);

/* The object that the task's input codec made of the input; NULL when it has no codec.  Destroyed by the codec after
 * the entry has returned. */
XF_API void *xf_call_object(const xf_call *call);

/* Gives memory of size bytes, aligned as the input, that becomes the task's output when the entry returns 0.  It is
 * zero-filled up to a size of XF_ZEROED_MAX; larger memory of a pool may hold bytes of another task.  Large output is
 * written straight into memory that the parent sees, and is never copied.  In a pool, an item that writes beyond its
 * output ends as XF_END_CRASHED: at the line that does it, where it comes to an unmapped page, or afterwards with
 * XF_CRASH_OVERRUN; docs/semantics/pools.md says what it can damage before.  A further call replaces the output of the
 * call before.
 * Returns NULL when there is no memory, or when size is not what the task declares; returning XF_TASK_NO_MEMORY then
 * says so to the parent.
 * Threads: only the entry's own thread. */
XF_API void *xf_call_output(xf_call *call, size_t size);

#define XF_TASK_NO_MEMORY (-2)

/* Encodes object with the task's output codec as the task's output.
 * Returns 0; XF_ESTATE when the task has no output codec, XF_ECODEC when it fails, XF_ENOMEM.
 * Threads: only the entry's own thread. */
XF_API int xf_call_return(xf_call *call, const void *object);

/* Records why the task fails, and returns code, so that a task ends with  return xf_fail(call, 7, "...").
 *   code    The parent sees it in status.code; 0 reads as XF_EFAILED.
 *   format  As printf's; the text may be of any length, and the report keeps its first XF_REPORT_MESSAGE_BYTES.
 * The last call counts.
 * Threads: only the entry's own thread. */
XF_API int xf_fail(xf_call *call, int code, const char *format, ...) XF_PRINTF(3, 4);

/* The severity of a log line. */
typedef enum xf_log_level { XF_LOG_DEBUG = 10, XF_LOG_INFO = 20, XF_LOG_WARNING = 30, XF_LOG_ERROR = 40 } xf_log_level;

/* Where a line comes from: xf_log, or the child's standard output or error. */
typedef enum xf_log_source { XF_SOURCE_LOG, XF_SOURCE_STDOUT, XF_SOURCE_STDERR } xf_log_source;

/* Logs one line.  When the call returns, the line is in memory that the parent shares, so it is in the report however
 * the child ends; where the parent has an on_log, it goes there too, and this may wait until there is room.
 *   format  As printf's; a line of more than XF_LOG_LINE_MAX bytes is cut there.
 * Returns 0, XF_EINVAL for a format that cannot be printed, XF_ESTATE in a process that the task forked by itself, or
 * XF_EEND when the parent has ended.
 * Threads: any thread of the child; each line arrives whole. */
XF_API int xf_log(xf_call *call, xf_log_level level, const char *format, ...) XF_PRINTF(3, 4);

#define XF_LOG_LINE_MAX 16384

/* Gives the progress of the task, in units of its own: see xf_process_progress.  Costs no system call.
 * Threads: any thread of the child. */
XF_API void xf_progress(xf_call *call, uint64_t done, uint64_t total);

/* Sends one message to the parent, which gets it whole and in order from xf_process_receive.
 *   data  Copied; NULL when size is 0.
 * Returns 0; XF_ESTATE in a pool's task (use a queue there), and in a process that the task forked by itself;
 * XF_EINVAL when data is NULL and size is not 0; XF_ENOMEM, XF_EHANDLES; XF_EEND when the parent has ended.
 * Threads: any thread of the child. */
XF_API int xf_send(xf_call *call, const void *data, size_t size);

/* Whether the parent asked the task to stop (xf_process_terminate, a timeout, a cancelled item).  A long task asks now
 * and then, and returns.
 *   timeout_ms  How long to wait for the request; 0 does not wait, and costs a load; XF_FOREVER waits.
 * Threads: any thread of the child with timeout 0; only the entry's own thread with another. */
XF_API bool xf_stop_requested(xf_call *call, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
