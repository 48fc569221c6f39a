/* THE SEAM: what crossfork needs of a system beyond the C library and libuv.
 *
 * Everything in src/ above this file is the same on every system; src/posix and src/win32 hold the twins that keep
 * these contracts: the same files, the same functions, in the same order.  tests/seam asserts them sentence by
 * sentence.  crash.h is its second part: what a child leaves behind when it crashes.
 *
 * Rules for all of them.  They return 0 or a negative XF_E* code and write outputs only on success.  On failure they
 * hold nothing, and have told error_detail (error.h) what the system said.  They are safe to call from several threads
 * on different objects; on one object only where said so.  Handles they make are not inherited by any process but the
 * one they are made for, also when several threads start children at the same time. */
#ifndef OS_H
#define OS_H

#include "crossfork/error.h"
#include "crossfork/process.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct uv_loop_s uv_loop_t;

/* ---- Differences between systems, as data ---------------------------------------------------- */

typedef struct os_traits {
    bool has_fork;         /* OS_FORK works */
    bool has_server;       /* OS_SERVER is more than another word for OS_SPAWN */
    bool attach_needs_ack; /* what is attached to a frame is lost if its sender ends before the receiver took it */
    const char *const *register_names; /* of an os_record_head (crash.h) */
} os_traits;

extern const os_traits os;

/* ---- Shared memory --------------------------------------------------------------------------- */

/* An unnamed shared segment, mapped here. */
typedef struct os_shm {
    void *address;
    size_t size;
    intptr_t handle; /* fd or HANDLE; -1 when only the mapping is left */
    int flags;
} os_shm;

#define OS_SHM_NONE ((os_shm){NULL, 0, -1, 0})

enum {
    OS_SHM_RESERVED = 1, /* size is a limit: memory is there once os_shm_commit was called for it */
    OS_SHM_BELL = 2,     /* processes may sleep on words in it: os_shm_wait, os_shm_ring */
    OS_SHM_PRIVATE = 4,  /* a child that is forked does not have it mapped */
    OS_SHM_HUGE = 8,     /* large pages, where the system has them to give */
    OS_SHM_READONLY = 16 /* for os_shm_open: writing to it is an access violation */
};

/* Creates and maps an unnamed shared segment of size bytes (not 0), zero-filled, that cannot shrink.
 *   flags  Of OS_SHM_; 0: none.
 * Windows: a pagefile-backed section.  POSIX: a sealed memfd.
 * XF_ENOMEM, XF_EHANDLES. */
int os_shm_create(os_shm *shm, size_t size, int flags);

/* Maps a segment that another process has made with that size and those flags, neither of which is trusted.
 *   handle  From os_child_take or os_parent_take; the segment's from then on, and closed here on failure.
 * XF_EPROTO when it is no such segment, is smaller, or could shrink; XF_ENOMEM. */
int os_shm_open(os_shm *shm, intptr_t handle, size_t size, int flags);

/* Makes that part of a reserved segment usable by every process that maps it; harmless where it is already.
 *   offset, size  Multiples of OS_PAGE.
 * Windows: VirtualAlloc MEM_COMMIT.  Linux: madvise MADV_POPULATE_WRITE, where there is one (5.14), so that a shortage
 * is told here and not by a signal at the first use.
 * XF_ENOMEM. */
int os_shm_commit(const os_shm *shm, size_t offset, size_t size);

#define OS_PAGE 4096 /* bytes; a system's own pages may be larger */

/* Sleeps while *word is seen, or until timeout_ms (-1: for ever) has passed; may return before either.
 *   word  In the segment, which was made with OS_SHM_BELL.  Whoever changes it calls os_shm_ring then, in any process.
 * Windows: sleepers are listed in the segment, each with an event of its own; when there are more than fit the list,
 * the rest looks again every few milliseconds.  POSIX: a futex. */
void os_shm_wait(const os_shm *shm, _Atomic uint32_t *word, uint32_t seen, int timeout_ms);

/* A word that is slept on, as for os_shm_wait. */
typedef struct os_word {
    const os_shm *shm;
    _Atomic uint32_t *word;
    uint32_t seen;
    void *own; /* the system's, while it sleeps */
} os_word;

/* Sleeps while all of count words are as they were seen, in whichever segments they are; else as os_shm_wait.
 *   count  At least 1, and as many as there may be.
 * Windows: one event, listed in each segment.  Linux: futex_waitv, with a helping thread for each further 127 words,
 * which are gone when this returns; where there is no futex_waitv (before 5.16) or no thread to be had, it looks again
 * every few milliseconds. */
void os_shm_wait_any(os_word *words, size_t count, int timeout_ms);

/* Wakes up to count of those that sleep on that word, in whichever process. */
void os_shm_ring(const os_shm *shm, _Atomic uint32_t *word, int count);

enum { OS_ALL = INT32_MAX };

/* Closes the handle and keeps the mapping: the memory lives on until os_shm_close in the last process. */
void os_shm_forget(os_shm *shm);

/* Unmaps the segment and closes its handle.  Harmless on OS_SHM_NONE. */
void os_shm_close(os_shm *shm);

/* ---- A child, as its parent sees it ---------------------------------------------------------- */

typedef struct os_child os_child;   /* exit, channel and captured streams of a child */
typedef struct os_parent os_parent; /* the channel to the parent, and what the parent handed over */
typedef struct os_server os_server; /* the helper process that OS_SERVER forks */

typedef enum os_method { OS_FORK, OS_SPAWN, OS_SERVER } os_method;

/* Runs a child; never returns. */
typedef void (*os_entry)(os_parent *parent);

/* Shared by a parent and one child, at the start of the box segment: what a child can still say when it can no longer
 * send, written with plain stores. */
typedef struct os_note {
    uint64_t nonce;          /* set by os_child_start; a child that was executed anew checks it against its argv */
    uint64_t record_at;      /* where in the segment there is an os_record for faults; 0: they are left to the system */
    _Atomic int32_t crash;   /* an xf_crash + 1, set by the child's own fault handlers; 0: none */
    _Atomic int32_t leaving; /* the process ends by its own exit(), not by somebody's kill */
    _Atomic int32_t armed;   /* the two above can be relied on: set in os_self_child, on Windows before main */
    uint64_t dump_at;        /* where in the segment the path is of a directory for a core file; 0: no dump is wanted */
    uint64_t dump_event;     /* set by os_child_start: the child's handle of what asks for a minidump; 0 on POSIX */
    uint64_t exception;      /* what the dump is about, in the child; 0 on POSIX */
    _Atomic uint32_t dumped; /* set by the parent: the child need not wait for it any longer */
    uint64_t image;          /* set by the child, before main: where crossfork was loaded; 0 on POSIX */
    _Atomic int64_t pid;     /* set by a child of the server, whose parent does not know it otherwise */
    xf_limits limits;        /* set by os_child_start, for the child to put on */
    _Atomic int32_t refused; /* memory beyond limits.memory was refused, and then it ended; not used on Windows */
} os_note;

typedef struct os_start {
    os_method method;
    os_server *server;              /* for OS_SERVER */
    os_entry entry;                 /* what the child runs; a child that is executed anew gets to it by os_self_child */
    const char *const *environment; /* "NAME=value" ..., NULL: added to this process's own; NULL: nothing */
    const char *directory;          /* NULL: this process's own */
    const xf_limits *limits;        /* NULL: none */
    xf_stdio stdio[3];              /* no XF_STDIO_DEFAULT or _LOG; [0] is not captured */
    const char *stdio_path[3];      /* for XF_STDIO_FILE, of this process's directory */
    const os_shm *box;              /* begins with an os_note; mapped in the child, and here until os_child_end is 0 */
    const os_shm *input;            /* mapped in the child; NULL: none */
    const void *greeting;           /* the first bytes the child reads; at most OS_GREETING_MAX */
    size_t greeting_size;
} os_start;

#define OS_GREETING_MAX 49152

/* Starts a child.
 *
 * The child gets the three standard streams, its channel, the box and the input, and no other open file or handle of
 * this process.  It leads a group of its own, so that a Ctrl-C meant for this process does not reach it, and it starts
 * with the system's default for every signal or console event that the program may have set up, except faults.
 * It and its descendants end at once when this process ends, however it ends, whatever they are doing.
 * Windows: CreateProcessW of the running image with a handle list, in a kill-on-close job object of its own.
 * POSIX: fork, posix_spawn of the running image, or a request to the server; pidfd; a process group; a lifeline pipe
 * whose hang-up makes the kernel send SIGKILL to the group.
 * Limits hold from os_self_child on; for a child that is not executed anew, and on Windows, from its first instruction.
 * They are never wider than this process's own.  Windows: limits of the job.  POSIX: setrlimit in the child.
 * XF_EINVAL (environment, directory or path that is not UTF-8, on Windows); XF_ENOENT, XF_ENOTDIR, XF_EACCESS (the
 * directory, or a path of stdio_path); XF_EHANDLES, XF_EPROCESSES, XF_ENOMEM, XF_ENOTSUP (fork, or limits.files, on
 * Windows), XF_ESYSTEM; XF_EEND when the server has gone. */
int os_child_start(os_child **child, const os_start *start);

/* The streams of a child that can be read. */
enum { OS_CHANNEL, OS_STDOUT, OS_STDERR, OS_STREAMS };

/* Reads what is there, without waiting; not for a stream that is not captured (XF_EEND).
 *   count  At least 1 on success.
 * XF_EAGAIN when nothing is there now (after os_child_end returned 0: only a descendant may still write); XF_EEND when
 * the stream has ended, and ever after. */
int os_child_read(os_child *child, int stream, void *data, size_t size, size_t *count);

/* Writes a few bytes, 4096 at most, to the child's channel, all or nothing, without waiting.
 * XF_EAGAIN when there is no room; XF_EEND when the child has gone. */
int os_child_write(os_child *child, const void *data, size_t size);

/* The same, and hands a copy of that handle to the child, which gets at it by os_parent_take.
 *   data  Has room for a token at OS_TOKEN_AT, which is filled in.
 * XF_EHANDLES besides.
 * Windows: DuplicateHandle into the child.  POSIX: SCM_RIGHTS. */
int os_child_give(os_child *child, uint8_t *data, size_t size, intptr_t handle);

enum { OS_TOKEN_AT = 16, OS_TOKEN_SIZE = 8 }; /* where a frame says what is attached to it; little-endian */

/* Takes the handle that the child attached to the frame whose bytes were read last.
 *   token  As the frame says: the child's own handle, which POSIX does not look at.  It is not trusted.
 * XF_EPROTO when nothing is attached; XF_EHANDLES. */
int os_child_take(os_child *child, uint64_t token, intptr_t *handle);

/* Waits until os_child_read or os_child_end has something new to say, or timeout_ms (-1: for ever) has passed:
 * XF_ETIMEDOUT.  Not to be called when everything has ended.  Meanwhile other threads may call os_child_write and
 * os_child_kill. */
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

/* Before a child has come to os_self_child, a kill by somebody else may read as an exit: Windows cannot tell. */
typedef struct os_end {
    os_end_kind kind;
    int code;       /* OS_EXITED: the exit code; OS_CRASHED: an xf_crash; OS_UNSTARTED: an XF_E* code; 0 otherwise */
    int64_t system; /* exit code, signal number or exception code */
    bool refused;   /* beyond limits.memory the child was refused memory */
    uint64_t memory_peak; /* bytes that it held in memory at most; 0: not known */
    double cpu_time;      /* seconds that it computed, in user and system mode; 0: not known */
} os_end;

/* Tells how the child's process ended, kills what is left of its descendants, and lets the system forget it.  Reading
 * goes on to work after that.
 *   end  OS_LOST when somebody else took the status; OS_UNSTARTED when the server could not make the child.
 *        OS_CPU_LIMIT when limits.cpu_ms were used up.  Windows: the job's exit code for that.  POSIX: SIGXCPU, or
 *        SIGKILL when about a second more was used up.
 *        OS_OUT_OF_MEMORY when the system killed it for lack of memory.  Windows: never.  Linux: SIGKILL, not by
 *        os_child_kill, while the count of such kills grew, in the cgroup that this process is in or else everywhere;
 *        each kill counts for one child.
 *        refused is evidence, not proof.  Windows: the job said so.  POSIX: when the child crashed or exited, errno was
 *        ENOMEM, or there was no sixteenth of limits.memory left; nothing is known of one that was killed.
 * XF_EAGAIN while it runs.  May be called again, and says the same. */
int os_child_end(os_child *child, os_end *end);

/* Kills the child and its descendants at once.  Harmless when it has ended. */
void os_child_kill(os_child *child);

/* The child's process id, or 0 in the moment until a child of the server has told it; nothing becomes ready then. */
int64_t os_child_pid(os_child *child);

/* What becomes ready when the child ends: an fd that polls readable, or a HANDLE. */
intptr_t os_child_sentinel(const os_child *child);

/* Releases everything; the child must have ended (os_child_end returned 0). */
void os_child_close(os_child *child);

/* ---- Watching many children ------------------------------------------------------------------ */

/* Calls ready(key, arg) on a loop's thread for children that os_child_wait would return for. */
typedef struct os_watcher os_watcher;

typedef void (*os_ready)(uint64_t key, void *arg);

/* uv_loop_init, for a program whose standard streams may be closed and whose descriptors may be used up.
 * XF_EHANDLES, XF_ENOMEM.
 * POSIX: libuv aborts when its own descriptors are 0 to 2 or cannot be had, so that is seen to first. */
int os_loop_open(uv_loop_t *loop);

/* Opens a watcher on the loop, on the loop's thread.  ready may call anything of os.h but os_watcher_close. */
int os_watcher_open(os_watcher **watcher, uv_loop_t *loop, os_ready ready, void *arg);

/* Closes the watcher, on the loop's thread; it is gone when the loop has run once more.  No child is being watched. */
void os_watcher_close(os_watcher *watcher);

/* Watches a child, from any thread: ready(key) is called, once for each watch at least and a few times at most, when
 * there is something to do.  At most one watch for each child; child and key stay valid until os_child_unwatch.
 * XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
int os_child_watch(os_child *child, os_watcher *watcher, uint64_t key);

/* Ends the watch, from any thread; harmless when there is none.  A ready(key) that is under way may still come. */
void os_child_unwatch(os_child *child);

/* ---- The server of OS_SERVER ----------------------------------------------------------------- */

/* Starts the helper process that forks children on request.  It is executed anew and so small and with one thread,
 * whatever this process is, and it ends with this process.
 * Windows: there is nothing to start, and OS_SERVER means OS_SPAWN. */
int os_server_open(os_server **server);

/* Ends the helper process, and with it what is left of its children.  NULL is harmless. */
void os_server_close(os_server *server);

/* ---- This process as a child ----------------------------------------------------------------- */

/* Whether crossfork started this process: gets it ready to be a child, as os_child_start promises, and sets *parent.
 * Looks at argv[1], and asks the system for the command line when argc is 0.
 *   entry   What a child of the server runs: in a helper process of OS_SERVER this call does not return.
 *   parent  Set to NULL when this process is nobody's child.
 * XF_EPROTO when the command line speaks of a channel that is not there. */
int os_self_child(int argc, char **argv, os_entry entry, os_parent **parent);

/* Reads at least one byte from the channel.
 *   timeout_ms  -1 waits for ever; 0 only looks.
 * XF_ETIMEDOUT; XF_EEND when the parent has gone. */
int os_parent_read(os_parent *parent, void *data, size_t size, int timeout_ms, size_t *count);

/* Writes all of data to the channel, waiting for as long as the parent does not read.
 *   attached  A handle that goes with the bytes; on success it is the parent's, and closed here.  -1: none.
 * XF_EEND when the parent has gone; XF_EHANDLES, XF_ESYSTEM: then nothing was written. */
int os_parent_write(os_parent *parent, const void *data, size_t size, intptr_t attached);

/* Takes the handle that the parent attached to the frame whose bytes were read last.  XF_EPROTO, XF_EHANDLES. */
int os_parent_take(os_parent *parent, uint64_t token, intptr_t *handle);

/* The segments that the parent handed over, mapped and without handle. */
typedef struct os_given {
    os_shm box;
    os_shm input; /* address NULL: there was none */
} os_given;

const os_given *os_parent_given(const os_parent *parent);

/* Ends this process at once with that exit code: no exit handlers, no flushing. */
_Noreturn void os_self_exit(int code);

/* ---- Facts about this process ---------------------------------------------------------------- */

#define OS_BUILD_ID_SIZE 20

/* What tells this program's build from every other, without reading a file: the linker's build id, or what stands for
 * it; and the same of the shared library or DLL, where crossfork is one, which may be replaced by itself. */
void os_self_build(uint8_t build[OS_BUILD_ID_SIZE]);

/* Whether what is written to descriptor 1 or 2 may hold the escapes of ECMA-48 for colours.
 * Windows: a console that takes them, which it is asked to.  POSIX: a terminal that is not TERM=dumb. */
bool os_self_colours(int descriptor);

/* How many threads this process has; 0 when that cannot be known. */
int os_self_threads(void);

/* A number of at most OS_THREAD_BITS bits, not 0, that stands for the calling thread and for no other on this machine,
 * also when the system gives its id to another later; costs nothing after the first time.
 * Windows and POSIX: the thread's id, and below it some bits of when it started. */
uint64_t os_self_thread(void);

/* Whether that thread has not ended, whichever process it is of.
 * Windows: OpenThread.  Linux: /proc. */
bool os_thread_lives(uint64_t thread);

enum { OS_THREAD_BITS = 56 };

/* The same of this process and of others, in OS_PROCESS_BITS; a process lives as long as a thread of it does.
 * Windows: OpenProcess; the id, a multiple of 4 below 2^26 (as many as a table of handles holds), is 24 of the bits.
 * Linux: /proc; the id is below 2^22 (PID_MAX_LIMIT). */
uint64_t os_self_process(void);
bool os_process_lives(uint64_t process);

enum { OS_PROCESS_BITS = 40 };

/* ---- The machine ----------------------------------------------------------------------------- */

enum { OS_CPUS_MAX = 1024 }; /* what there is beyond is not known of */

/* A processor, as the system schedules on it: a core's second thread is one, too. */
typedef struct os_cpu {
    uint32_t number; /* the system's.  Windows: 64 times its group, and its place there */
    uint32_t core;   /* the same for those of one core, */
    uint32_t cache;  /* for those that share the last cache, and 0 where that is not known, */
    uint32_t node;   /* and for those that the same memory is near to; 0 where that is not known */
} os_cpu;

typedef struct os_machine {
    os_cpu cpus[OS_CPUS_MAX]; /* that the calling thread may run on, by number */
    uint32_t count;           /* at least 1 */
    uint64_t cache;           /* bytes of one last cache; 0: not known */
    uint64_t core_cache;      /* of the one before it; 0: not known, or there is none */
    double quota;   /* how many processors the group that this process is in may keep busy in the long run; 0: all */
    uint64_t group; /* bytes of memory that the group may have; 0: all */
} os_machine;

/* Looks at the machine, as far as this process may use it.  What cannot be read is not known, and no limit.
 * Windows: GetLogicalProcessorInformationEx, the affinity of the process, and its job.
 * Linux: sched_getaffinity, /sys/devices/system, and the cgroups that the process is in, of version 2 or 1.
 * XF_ENOMEM, XF_ESYSTEM. */
int os_machine_read(os_machine *machine);

/* Processors: that of number n is bit n % 64 of word n / 64. */
typedef struct os_cpu_set {
    uint64_t words[OS_CPUS_MAX / 64];
} os_cpu_set;

/* Lets this process, which has no other threads yet, run on those processors only, and what it starts later, too.
 * XF_EINVAL when there is none among them that it may run on; XF_EACCESS, XF_ESYSTEM.
 * Windows: SetProcessAffinityMask; in another group of processors than its own SetThreadGroupAffinity, and threads that
 * it makes may run in all of the group then.  Linux: sched_setaffinity. */
int os_self_bind(const os_cpu_set *set);

/* ---- Other processes of this user ------------------------------------------------------------ */

typedef struct os_door os_door; /* a name, at which processes arrive that need not be of the family */
typedef struct os_link os_link; /* a stream of bytes between two processes, with handles beside them */

enum { OS_NAME_MAX = 63, OS_LINKS_MAX = 32 };

/* Takes a name, until os_door_close or the end of this process, however it ends; nothing is left in the file system.
 *   name  1 to OS_NAME_MAX of a-z, 0-9, '-', '_', '.'.  Each user has names of their own.
 * Windows: a named pipe that admits this user only and no remote clients.  Linux: a socket with an abstract name, which
 * is gone with its last descriptor.
 * XF_EEXIST when a process has the name; XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM. */
int os_door_open(os_door **door, const char *name);

/* Takes in who has arrived, without waiting.  Processes of other users are turned away.
 * XF_EAGAIN when nobody has; XF_EEND when the door was shut; XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM. */
int os_door_admit(os_door *door, os_link **link);

/* Lets nobody in any more, from any thread: os_door_wait returns, and os_door_admit says XF_EEND from then on.  The
 * name stays taken. */
void os_door_shut(os_door *door);

/* Closes the door; who has arrived and was not taken in sees XF_EEND. */
void os_door_close(os_door *door);

/* Waits until somebody has arrived at the door (NULL: none), a link has something to read or to say, or timeout_ms (-1:
 * for ever) has passed: XF_ETIMEDOUT.
 *   links  count of them, at most OS_LINKS_MAX. */
int os_door_wait(os_door *door, os_link *const *links, size_t count, int timeout_ms);

/* Arrives at the door of that name, and waits for a place there for up to timeout_ms (-1: for ever).
 * XF_ENOENT when nobody has the name; XF_ETIMEDOUT; XF_EACCESS when another user has it; XF_EHANDLES, XF_ENOMEM. */
int os_link_open(os_link **link, const char *name, int timeout_ms);

/* Reads what is there, without waiting.
 *   count  At least 1 on success.
 * XF_EAGAIN when nothing is there now; XF_EEND when the other side has closed the link or ended, and ever after. */
int os_link_read(os_link *link, void *data, size_t size, size_t *count);

/* Writes a few bytes, OS_LINK_WRITE_MAX at most, all or nothing, without waiting.
 *   handle  A copy of it goes with them, and it stays open here until the other side has taken that; data has room for
 *           a token at OS_TOKEN_AT then, which is filled in.  -1: none.
 * XF_EAGAIN when there is no room; XF_EEND when the other side has gone; XF_EHANDLES, XF_ENOMEM.
 * POSIX: SCM_RIGHTS.  Windows: see os_link_take. */
int os_link_write(os_link *link, void *data, size_t size, intptr_t handle);

enum { OS_LINK_WRITE_MAX = 256 };

/* Takes the handle that came with the bytes that were read last.
 *   token  As they say; it is not trusted.
 * XF_EPROTO when there is none; XF_EHANDLES, XF_ENOMEM; XF_EACCESS when this process may not.
 * Windows: DuplicateHandle out of the other side's process. */
int os_link_take(os_link *link, uint64_t token, intptr_t *handle);

/* Closes this side.  The other can read what was written before. */
void os_link_close(os_link *link);

/* ---- Secrets --------------------------------------------------------------------------------- */

/* Reads a whole file that nobody else can read.
 *   size   Room; the file is not larger, or XF_ELIMIT.
 *   count  Set to its size.
 * XF_ENOENT; XF_EACCESS when it may not be read, or is not this user's alone: POSIX: its owner is another, or its mode
 * has rights for group or others; Windows: not looked at.  XF_EINVAL when it is no plain file; XF_EHANDLES, XF_EIO. */
int os_secret_read(const char *path, void *room, size_t size, size_t *count);

/* ---- Handles --------------------------------------------------------------------------------- */

/* A second fd or HANDLE of the same file, socket or segment.  XF_EHANDLES; XF_EINVAL when it is none. */
int os_handle_copy(intptr_t handle, intptr_t *copy);
void os_handle_close(intptr_t handle);

#endif
