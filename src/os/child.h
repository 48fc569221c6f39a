/* THE SEAM: children, as their parent sees them, and this process as a child.  Core port; rules: traits.h. */
#ifndef OS_CHILD_H
#define OS_CHILD_H

#include "crossfork/types.h"
#include "os/channel.h"
#include "os/memory.h"

typedef struct uv_loop_s uv_loop_t;

typedef struct os_child os_child;   /* a child's end, channel and captured streams */
typedef struct os_server os_server; /* server.h */

/* ---- What parent and child share ------------------------------------------------------------- */

/* The status block, at the start of the box segment: what a child can still say when it can no longer send.  It is
 * written with plain stores. */
typedef struct os_status {
    uint64_t nonce;          /* set by os_child_start; a child that was executed anew checks it against its argv */
    uint64_t record_at;      /* where in the segment there is an os_record for faults; 0: they are left to the system */
    _Atomic int32_t crash;   /* an xf_crash + 1, set by the child's own fault handlers; 0: none */
    _Atomic int32_t leaving; /* the process ends by its own exit() and was not killed */
    _Atomic int32_t armed;   /* the two above can be relied on: set in os_self_child, on Windows before main */
    uint64_t dump_at;        /* where in the segment the path of a directory for a core file is; 0: no dump is wanted */
    uint64_t dump_event;     /* set by os_child_start: the child's handle for asking for a minidump; 0 on POSIX */
    uint64_t exception;      /* what the dump is about, in the child; 0 on POSIX */
    _Atomic uint32_t dumped; /* set by the parent: the child need not wait for the dump any longer */
    uint64_t image;          /* set by the child, before main: where crossfork was loaded; 0 on POSIX */
    xf_limits limits;        /* set by os_child_start; the child applies them to itself */
    _Atomic int32_t refused; /* set by the child when it crashes or exits: limits.memory is used up, or nearly */
} os_status;

enum { OS_INPUTS = 2 };

/* What a child has inherited from its parent. */
typedef struct os_inherited {
    os_channel *channel;
    os_shm box;               /* mapped, without a handle */
    os_shm inputs[OS_INPUTS]; /* the same; address NULL: there was none */
} os_inherited;

/* Runs a child; never returns. */
typedef void (*os_entry)(const os_inherited *inherited);

/* ---- A child, as its parent sees it ---------------------------------------------------------- */

typedef enum os_method { OS_FORK, OS_SPAWN, OS_SERVER } os_method;

typedef struct os_start {
    os_method method;
    os_server *server;              /* for OS_SERVER */
    os_entry entry;                 /* what the child runs; a child that is executed anew calls os_self_child first */
    const char *const *environment; /* changes to this process's own: "NAME=value" sets, "NAME" removes ..., NULL; NULL:
                                       none */
    const char *directory;          /* NULL: this process's own */
    const xf_limits *limits;        /* NULL: none */
    xf_stdio stdio[3];              /* no XF_STDIO_DEFAULT or _LOG; [0] is not captured */
    const char *stdio_path[3];      /* for XF_STDIO_FILE, relative to this process's directory */
    const os_shm *box; /* begins with an os_status; mapped in the child, and here until os_child_end is 0 */
    const os_shm *inputs[OS_INPUTS]; /* mapped in the child; NULL: none */
    const void *first;               /* the bytes that the child reads first */
    size_t first_size;               /* at most OS_FIRST_MAX */
} os_start;

#define OS_FIRST_MAX 49152

/* Starts a child.
 *
 * The child gets the three standard streams, its channel, the box and the inputs, and no other open file or handle of
 * this process.  It leads a process group of its own, so that a Ctrl-C meant for this process does not reach it, and it
 * starts with the system's default for every signal or console event that the program may have set up, except faults
 * and the signals that would stop it for the terminal, which it ignores.
 * The child and its descendants end at once when this process ends, however it ends, whatever they are doing.
 * Windows: CreateProcessW of the running image with a handle list, in a kill-on-close job object of its own.
 * POSIX: fork, posix_spawn of the running image, or a request to the server; a process group; a lifeline pipe whose
 * hang-up makes the kernel send SIGKILL to the group, of which this process holds both ends, so that the child cannot
 * close or change them; and a keeper, a process between this one and the child that kills all that the child has
 * started, in whichever group it is.  There is no keeper when an image has other threads before it comes to
 * os_self_child: a process that leaves the group (setsid, setpgid) escapes then, other than the child itself.
 * A copy of the child that its task forks has the box and the inputs as memory of its own: nothing that it writes
 * reaches this process.  It is no child: what it does with signals, exit() and faults is not recorded.
 * Limits hold from os_self_child on; for a child that is not executed anew, and on Windows, from its first instruction.
 * They are never wider than this process's own.  Windows: limits of the job.  POSIX: setrlimit in the child.
 * XF_EINVAL (environment, directory or path that is not UTF-8, on Windows; a named pipe that nobody reads, or that is
 * to be read, in stdio_path, on POSIX: no path makes this wait); XF_ENOENT, XF_ENOTDIR, XF_EACCESS (the
 * directory, or a path of stdio_path); XF_EHANDLES, XF_EPROCESSES, XF_ENOMEM, XF_ELIMIT (a
 * variable that is longer than the system passes on, which the detail names; not for fork), XF_ENOTSUP (fork, or
 * limits.files, on Windows), XF_ESYSTEM; XF_EEND when the server has ended, XF_EMAIN when it did so before its main
 * came to os_self_child, XF_ETIMEDOUT when it has taken no request for seconds. */
int os_child_start(os_child **child, const os_start *start);

/* A child's channel, and its output. */
enum { OS_CHANNEL, OS_STDOUT, OS_STDERR, OS_STREAMS };

/* Returns one of these, which is valid until os_child_close.  OS_STDOUT and OS_STDERR can only be read, and where they
 * are not captured, os_channel_read returns XF_EEND.  After os_child_end has returned 0, everything that the child has
 * written can be read without waiting: XF_EAGAIN then means that only a descendant may still write. */
os_channel *os_child_channel(os_child *child, int stream);

/* Waits until os_channel_read of one of the streams, or os_child_end, has something new to return, or timeout_ms (-1:
 * no limit) has passed: XF_ETIMEDOUT.  Not to be called when all of them have ended.  Meanwhile other threads may call
 * os_channel_write and os_child_kill. */
int os_child_wait(os_child *child, int timeout_ms);

typedef enum os_end_kind {
    OS_EXITED,
    OS_CRASHED,
    OS_KILLED,
    OS_LOST,
    OS_UNSTARTED,
    OS_CPU_LIMIT,
    OS_OUT_OF_MEMORY
} os_end_kind;

/* Before a child has called os_self_child, a kill by another process may read as an exit: Windows cannot tell. */
typedef struct os_end {
    os_end_kind kind;
    int code;       /* OS_EXITED: the exit code; OS_CRASHED: an xf_crash; OS_UNSTARTED: an XF_E* code; 0 otherwise */
    int64_t system; /* exit code, signal number or exception code; OS_UNSTARTED: errno, or 0 when the server ended */
    bool refused;   /* the child had next to nothing left of limits.memory */
    uint64_t memory_peak; /* bytes that it held in memory at most; 0: not known */
    double cpu_time;      /* seconds that it computed, in user and system mode; 0: not known */
} os_end;

/* Returns how the child's process ended, kills what is left of its descendants, and lets the system forget it.  Its
 * channels can be read after that.
 *   end  OS_LOST when another part of the program took the status, which on POSIX is possible only where there is no
 *        keeper; OS_UNSTARTED when the server, or the keeper, could not make the child, or the child could not map
 *        what it inherits.
 *        OS_CPU_LIMIT when limits.cpu_ms were used up.  Windows: the job's exit code for that.  POSIX: SIGXCPU, or
 *        SIGKILL when about a second more was used up.
 *        OS_OUT_OF_MEMORY when the system killed it for lack of memory.  Windows: never.  Linux: SIGKILL, not by
 *        os_child_kill, while the count of such kills grew, in the cgroup that this process is in or else everywhere;
 *        each kill counts for one child.
 *        refused is evidence, not proof: when the child crashed or exited, it could not allocate a sixteenth of
 *        limits.memory any more, or a fourth where errno was ENOMEM.  It tried; of a child that was killed nothing is
 *        known.
 * XF_EAGAIN while it runs.  May be called again, and returns the same. */
int os_child_end(os_child *child, os_end *end);

/* Returns the system's name of a signal or exception that ends processes, for os_end.system: "SIGPIPE"; "" when it has
 * none.
 *   cause  Set to what it means, as a sentence, where that is not for os_end.code to say; "" otherwise.
 * Windows: names of exceptions.  POSIX: names of signals. */
const char *os_end_name(int64_t system, const char **cause);

/* Kills the child and its descendants at once.  Harmless when it has ended. */
void os_child_kill(os_child *child);

/* Returns the child's process id, or 0 while it is not known, on POSIX; nothing becomes ready when it is. */
int64_t os_child_pid(os_child *child);

/* Returns what becomes ready when the child ends: an fd that polls readable, or a HANDLE. */
intptr_t os_child_sentinel(const os_child *child);

/* Releases everything; the child must have ended (os_child_end returned 0). */
void os_child_close(os_child *child);

/* In a forked copy of the process that started it: closes what the copy has of it.  The child does not notice.
 * Windows: never called, as os_self_generation says. */
void os_child_let_go(os_child *child);

/* ---- Watching many children ------------------------------------------------------------------ */

/* Calls ready(key, arg) on a loop's thread for children that os_child_wait would return for. */
typedef struct os_watcher os_watcher;

typedef void (*os_ready)(uint64_t key, void *arg);

/* uv_loop_init, for a program whose standard streams may be closed and whose descriptors may be used up.
 * XF_EHANDLES, XF_ENOMEM.
 * POSIX: libuv aborts when its own descriptors are 0 to 2 or there are none left, so this is checked before. */
int os_loop_open(uv_loop_t *loop);

/* Opens a watcher on the loop, on the loop's thread.  ready may call any function of the seam but os_watcher_close. */
int os_watcher_open(os_watcher **watcher, uv_loop_t *loop, os_ready ready, void *arg);

/* Closes the watcher, on the loop's thread; the loop frees it when it runs next.  No child is being watched. */
void os_watcher_close(os_watcher *watcher);

/* Watches a child, from any thread: ready(key) is called, at least once for each watch and at most a few times, when
 * there is something to do.  At most one watch for each child; child and key stay valid until os_child_unwatch.
 * XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
int os_child_watch(os_child *child, os_watcher *watcher, uint64_t key);

/* Ends the watch, from any thread; harmless when there is none.  A call of ready that has begun may still come. */
void os_child_unwatch(os_child *child);

/* ---- This process as a child ----------------------------------------------------------------- */

/* Prepares this process to be a child, as os_child_start promises, if crossfork started it.
 *   argc, argv  As main got them.  argv[1] says whether it did; when argc is 0, the system is asked for the command
 *               line.
 *   entry       What a child of the fork server runs.
 *   inherited   Set to what the parent has left for this process; NULL when crossfork did not start it.
 * Does not return in the fork server.  XF_EPROTO when argv names a channel that does not exist; XF_EACCESS when it
 * names one and this process is privileged (os_self_is_privileged). */
int os_self_child(int argc, char **argv, os_entry entry, const os_inherited **inherited);

/* Ends this process at once with that exit code: no exit handlers, no flushing. */
_Noreturn void os_self_exit(int code);

#endif
