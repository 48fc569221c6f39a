/* What the files of src/posix share. */
#ifndef OS_PRIVATE_H
#define OS_PRIVATE_H

#include "os/os.h"
#include "os/twins.h"

#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <ucontext.h>

/* Translates errno of a failed call, keeps "call: text" as the error detail, and returns the XF_E* code. */
int os_error(int system, const char *call);

/* ---- os_handle.c ----------------------------------------------------------------------------- */

/* Closes *fd, if there is one, and sets it to -1. */
void fd_close(int *fd);

/* Calls poll again when a signal interrupts it.  Returns 0, XF_ETIMEDOUT, or an error. */
int fd_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

/* Moves a new descriptor above those of the standard streams; -1 and errno as from fcntl. */
int fd_above_stdio(int fd);

/* Open a pipe, a connected pair of AF_UNIX sockets, and /dev/null for reading and writing.  The descriptors
 * are close-on-exec and above those of the standard streams. */
int fd_pipe(int ends[2]);
int fd_socketpair(int ends[2], int type);
int fd_null(int *fd);

/* Opens a pidfd; -1 and errno: ENOSYS where the system has none, or does not let this process have one. */
int pidfd_of(pid_t pid);

/* Calls waitid for a child that is known by a pidfd, or, if that is -1, by its pid.
 *   usage  Set to what the child has used; may be NULL. */
int wait_process(int pidfd, pid_t pid, siginfo_t *info, int options, struct rusage *usage);

/* Translates what wait says about the end of a process to what waitid says. */
siginfo_t info_of_status(pid_t pid, int status);

/* Sends a signal to a child that is known in the same way. */
void signal_process(int pidfd, pid_t pid, int number);

/* ---- os_shm.c -------------------------------------------------------------------------------- */

/* How a child maps an input, or its box. */
typedef enum input_access { INPUT_NONE, INPUT_WRITABLE, INPUT_READONLY, INPUT_BOX } input_access;

input_access shm_access_of_child(const os_shm *input);

/* Maps a segment of that size from the descriptor that a child has inherited; an address of NULL and errno when that
 * fails.  The descriptor of a writable input stays open, close-on-exec, because copies of the child need it; every
 * other one is closed. */
os_shm shm_map_inherited(int fd, size_t size, input_access access);

/* In a new child: its copies have the box as memory of their own, full of zeros. */
void shm_copy_box(const os_shm *box);

/* In a forked process, also one that crossfork has forked: makes what is copied its own.  Called before descriptors are
 * closed, with forks locked. */
void shm_own_copied(void);

/* ---- os_channel.c ---------------------------------------------------------------------------- */

/* A descriptor that came over a channel with the bytes that were read last. */
typedef struct attachment {
    int fd;    /* -1: none */
    bool lost; /* a descriptor came, and this process had no number left for it */
} attachment;

struct os_channel {
    int fd; /* -1: there is no such stream */
    attachment attached;
    bool is_pipe; /* the stream is what a child prints */
    bool ended;   /* the end has been read */
};

#define CHANNEL_OF(fd) ((os_channel){(fd), {-1, false}, false, false})

/* Closes the descriptors of a channel. */
void stream_release(os_channel *channel);

/* ---- os_shm.c -------------------------------------------------------------------------------- */

/* No process forks, and no private segment is being mapped, between these two; a thread does not nest them. */
void shm_lock_forks(void);
void shm_unlock_forks(void);

/* Says whether children that are forked from now on have a private segment; harmless for others. */
void shm_let_fork(const os_shm *shm, bool has);

/* ---- os_file.c ------------------------------------------------------------------------------- */

/* Reads the first line of a file, without its line end; false when there is none. */
bool file_read_line(char *line, size_t size, const char *format, ...) XF_PRINTF(3, 4);

/* ---- os_identity.c --------------------------------------------------------------------------- */

/* Whether the ids in /proc are those by which this process knows others: in a namespace of ids whose /proc is that of
 * the namespace around it, they stand for other processes.  Async-signal-safe. */
bool proc_is_own(void);

/* ---- os_environment.c ------------------------------------------------------------------------ */

/* Makes this process's environment with the changes, as pointers to the strings of both; the caller frees it.
 *   changes  "NAME=value" sets a variable, "NAME" removes it.  NULL: none.
 * NULL: no memory. */
char **merge_environment(const char *const *changes);

/* Why the system does not take an environment for a program that it executes: XF_ELIMIT, with the name of a variable
 * that is too long, or else the size of them all. */
int environment_error(char *const *environment);

/* Joins the strings, each with its terminating 0; the caller frees the result.  NULL: no memory. */
char *flatten_strings(char *const *strings, size_t *size);

/* ---- os_machine.c, os_quota.c ---------------------------------------------------------------- */

/* Fills in everything about the processors but their numbers.
 *   root  Comes before /proc and /sys in paths; "" except in tests. */
void machine_describe(os_machine *machine, const char *root);

/* Fills in the quota and the memory limit. */
void quota_describe(os_machine *machine, const char *root);

/* Bytes that the group, and each around it, may still take; UINT64_MAX: there is no limit.
 *   root  As for quota_describe. */
uint64_t quota_spare(const char *root);

/* ---- os_child.c, os_start.c ------------------------------------------------------------------ */

/* A child, as its parent sees it. */
struct os_child {
    os_channel stream[OS_STREAMS];
    int exit_fd;       /* readable at the end: pidfd or news */
    int pidfd;         /* of started; -1: the system has none, or the server started it */
    int news;          /* the keeper reports on it, and kills when this end is closed or shut down */
    int lifeline;      /* the writing end: closing it kills the group */
    int hold;          /* the reading end, which the child does not have */
    int watched_by;    /* epoll set, or -1 */
    pid_t started;     /* the process that this one has started: the keeper, once it has a child; 0: the server did */
    pid_t pid;         /* 0: not known yet */
    os_server *server; /* NULL: the child was started otherwise */
    bool killed;       /* by os_child_kill */
    bool ended;
    os_end end;
    const os_status *status; /* the child writes to it */
    os_record *record;       /* in the box; NULL: none */
    char *dumps;             /* where the child may leave a core file; NULL: nowhere */
    xf_limits limits;
    uint64_t kills_before; /* limit_kills when the child was started */
};

/* The descriptors that a child keeps; -1 where there is none.  None is below 3, except inherited standard streams. */
typedef struct child_fds {
    int stdio[3];
    int directory;
    int channel;
    int lifeline;
    int box;
    int news;
    int inputs[OS_INPUTS];
} child_fds;

#define NO_CHILD_FDS ((child_fds){{-1, -1, -1}, -1, -1, -1, -1, -1, {-1, -1}})

/* Frees a child that was not started, or has ended. */
void child_free(os_child *child);

/* What a child has inherited, together with its channel. */
typedef struct newborn {
    os_channel channel;
    os_inherited inherited; /* its channel points to the one above */
} newborn;

/* ---- os_newborn.c ---------------------------------------------------------------------------- */

/* What a keeper reports about its child, once. */
typedef struct keeper_news {
    int error;  /* errno of what the child could not be forked, or could not begin, for; 0: it has begun */
    pid_t pid;  /* the child's */
    int status; /* as wait gave it */
    struct rusage usage;
} keeper_news;

/* Sends such a report, and closes the socket. */
void keeper_tell(int socket, const keeper_news *news);

/* In a new child that has fds->news: tells the parent the errno of what it cannot begin for, and ends this process. */
_Noreturn void child_refuse(int news, int error);

/* In a new process: divides it into a keeper and its child, and returns in the child, which closes fds->news before it
 * runs any task.  The keeper waits for the end of the child and of all that the child has left, and kills both when the
 * other end of fds->news is shut down or closed.
 * Other threads than the calling one are not in the child.
 *   was_forked  The process was forked, and not executed. */
void child_divide(child_fds *fds, bool was_forked);

/* In a new child: ties its life to the parent's, sets up the standard streams and the directory, and closes fds->news.
 * Async-signal-safe. */
void child_settle(child_fds *fds);

/* In a new child: restore the system's default for every signal but those that stop it for the terminal, or for one.
 * Async-signal-safe. */
void child_reset_signals(void);
void child_reset_signal(int number);

/* The signals that stop a process for the terminal, SIGTTIN and SIGTTOU.  A child is in the terminal's background, and
 * nobody would bring it to the foreground or continue it: so it ignores them, as what it executes does then.  Until it
 * comes to xf_main they are blocked in it, which has the same effect. */
void child_list_terminal_stops(sigset_t *stops);

/* In a new child, or in the server for all of its children: makes sure that a task that calls exit does not run the
 * handlers that the program registered before. */
void child_catch_exit(void);

/* In a new child that was forked and not executed, or in the server: drops what the program has written to its streams
 * and not flushed, so that only the program writes it.  Streams without a descriptor, and those of C++ that have
 * buffers of their own, keep theirs; with other C libraries than glibc so do all but the standard streams. */
void child_drop_pending(void);

/* In a new child that was forked and not executed: closes every descriptor above 2 that is not in fds.
 * Async-signal-safe. */
void child_close_others(const child_fds *fds);

/* In a forked copy of a process: whether it has the descriptors of that process.  A child of ours, and copies of it, do
 * not: there their numbers may stand for others. */
bool child_has_others(void);

/* Makes the kernel kill that group when the other end of the lifeline is closed.
 *   marks  What the end's open file says about the child from then on, to who has a descriptor of it.  They are file
 *          status flags that mean nothing to an end which nobody reads.
 * Async-signal-safe. */
enum { LIFE_BEGUN = O_NONBLOCK, LIFE_ALONE = O_APPEND };
void child_arm_lifeline(int end, pid_t leader, int marks);

/* In a new child: arms its lifeline and closes it; ends this process at once if the parent has ended already.  The
 * lifeline says from then on that the child has begun, and whether it is alone.
 *   is_alone  It has no keeper.
 * Async-signal-safe. */
void child_tie_life(int lifeline, bool is_alone);

/* In a new child: closes the descriptors of a range, open or not.  Async-signal-safe. */
void child_close_range(unsigned first, unsigned last);

/* ---- os_crash.c ------------------------------------------------------------------------------ */

enum { RECORD_STACK = 65536, RECORD_MAPS = 28672 };

struct os_record {
    os_record_head head;
    uint64_t stack_at;      /* the address in the child from which its stack was copied */
    uint32_t stack_size;    /* bytes in stack */
    uint32_t maps_size;     /* bytes in maps */
    char maps[RECORD_MAPS]; /* the lines of /proc/PID/maps about code of files */
    uint8_t stack[RECORD_STACK];
};

_Static_assert(sizeof(os_record) <= OS_RECORD_SIZE, "a record fits the box");

/* Remember what is installed for faults when a process comes to xf_main, and give it back to a forked child.  It is
 * what a process that is executed anew finds: nothing, or a sanitizer's handlers. */
void crash_remember_faults(void);
void crash_reset_faults(void);
bool crash_is_fault(int number);

/* Whether this process is a child, or a copy of one, which has its handlers. */
bool crash_guards_child(void);

/* In a new child, after that: installs our own handlers, which run the remembered ones in their turn, and unblocks all
 * signals. */
void child_catch_faults(os_status *status);

/* Records where this process is, which is about to end by exit(); does nothing in a copy of the child. */
void crash_record_exit(void);

/* ---- os_record.c ----------------------------------------------------------------------------- */

/* Fill in a record of the process with that id, which is this process or one that is stopped. */
void record_stack(os_record *record, pid_t pid, uintptr_t stack_pointer);
void record_maps(os_record *record, const char *path);

/* The names of os_record_head.registers. */
extern const char *const record_register_names[];

/* Copies the registers as a signal handler finds them.  Returns the stack pointer; 0 where it is not known. */
uintptr_t record_registers(os_record_head *head, const ucontext_t *context);

/* The address from which it is called. */
uintptr_t record_pc(void);

/* Copies the registers at the place where it is called, as far as calls preserve them.  It is inline because its
 * caller's frame has to stay for as long as the stack is being copied.  It does what getcontext would do, which some C
 * libraries lack.
 *   pc  record_pc(). */
static inline __attribute__((always_inline)) uintptr_t record_registers_here(os_record_head *head, uintptr_t pc)
{
    uint64_t *to = head->registers;

    memset(to, 0, sizeof head->registers);
#if defined(__x86_64__)
    head->register_count = REG_EFL + 1;
    __asm__ volatile("movq %%rbx, %0; movq %%rbp, %1; movq %%r12, %2; movq %%r13, %3; movq %%r14, %4; movq %%r15, %5"
                     : "=m"(to[REG_RBX]), "=m"(to[REG_RBP]), "=m"(to[REG_R12]), "=m"(to[REG_R13]), "=m"(to[REG_R14]),
                       "=m"(to[REG_R15]));
    __asm__ volatile("movq %%rsp, %0" : "=r"(to[REG_RSP]));
    to[REG_RIP] = pc;
    return (uintptr_t)to[REG_RSP];
#elif defined(__aarch64__)
    head->register_count = 33;
    __asm__ volatile("stp x19, x20, [%0]; stp x21, x22, [%0, 16]; stp x23, x24, [%0, 32]; stp x25, x26, [%0, 48];"
                     "stp x27, x28, [%0, 64]; stp x29, x30, [%0, 80]"
                     :
                     : "r"(to + 19)
                     : "memory");
    __asm__ volatile("mov %0, sp" : "=r"(to[31]));
    to[32] = pc;
    return (uintptr_t)to[31];
#else
    head->register_count = 2;
    to[0] = (uintptr_t)__builtin_frame_address(0);
    to[1] = pc;
    return (uintptr_t)to[0];
#endif
}

/* ---- os_limit.c ------------------------------------------------------------------------------ */

/* In a new child: sets the limits that are in the status block.  Async-signal-safe. */
void limit_self(const os_status *status);

/* Whether mlockall has every new mapping locked, and so filled with memory at once; -1 with errno when there is no room
 * for any mapping. */
int limit_locks_mappings(void);

/* The error of mmap, by the limit that is the reason. */
int limit_explain_map(int error, size_t size);

/* Reads "key number" out of a file; false when it is not there. */
bool limit_read_number(const char *path, const char *key, uint64_t *number);

/* In a child that crashes or exits with that errno: notes whether it is short of memory.  Async-signal-safe. */
void limit_mark_refused(os_status *status, int error);

/* In the parent: how often the kernel had killed for lack of memory when this was last counted. */
uint64_t limit_kills(void);

/* In the parent: sees whether a child with that end has exceeded one of its limits, and adds what the child has
 * used. */
void limit_judge(const os_child *child, const struct rusage *usage, os_end *end);

/* ---- os_exec.c ------------------------------------------------------------------------------- */

/* Executes the running image anew with one argument.
 *   environment  As for execve.
 *   fds          The new image finds channel, lifeline, box, news and inputs at EXEC_CHANNEL and the numbers after
 *                it. */
int exec_again(pid_t *pid, const char *argument, char *const *environment, const child_fds *fds);

enum { EXEC_CHANNEL = 3, EXEC_LIFELINE, EXEC_BOX, EXEC_NEWS, EXEC_INPUT, EXEC_END = EXEC_INPUT + OS_INPUTS };

#define CHILD_ARGUMENT "--crossfork-child="
#define SERVER_ARGUMENT "--crossfork-server"

/* ---- os_server.c ----------------------------------------------------------------------------- */

/* Asks the server to fork a process that divides itself (child_divide).  XF_EMAIN when its main ended before it came to
 * xf_main, XF_EEND when it ended later, XF_ETIMEDOUT when it takes no requests. */
int server_start(os_server *server, const os_start *start, const child_fds *fds);

/* A child keeps what is known of its server until it is freed; NULL is harmless. */
os_server *server_hold(os_server *server);
void server_let_go(os_server *server);

/* Whether a server that has ended, or is about to, has come to xf_main.
 *   info  Set to how it ended if it has not. */
bool server_has_reached(os_server *server, siginfo_t *info);

/* In the server: a datagram and the number of descriptors that came with it, as a request. */
typedef struct server_request {
    size_t box_size;
    size_t input_sizes[OS_INPUTS]; /* 0: none; otherwise a descriptor of its own follows */
    input_access access[OS_INPUTS];
    size_t environment_size; /* of "NAME=value" strings, each with its terminating 0 */
    bool environment_apart;  /* it is in a segment: the last descriptor */
} server_request;

/* Whether a datagram is a whole request.
 *   inside  The environment in it, where there is one. */
bool server_is_whole(const server_request *head, size_t size, size_t descriptors, const char *inside);

/* The strings of an environment as execve takes them, and the memory that they are in, both freed by the caller.
 *   sent  Ends with a 0, or is empty.
 * NULL: no memory. */
char **server_unflatten(const char *sent, size_t size, char **flat);

/* Runs the server on its request socket; never returns. */
_Noreturn void server_run(int requests, os_entry entry);

/* ---- os_module.c ----------------------------------------------------------------------------- */

enum { MODULE_PARTS_MAX = 64 };

/* The file of a program or shared library.  Its contents are not trusted. */
typedef struct module_file {
    int fd;
    struct stat facts;
    ElfW(Half) type; /* ET_EXEC or ET_DYN */
    size_t count;
    ElfW(Phdr) parts[MODULE_PARTS_MAX];
} module_file;

/* Opens a file that is of this machine's kind; does not wait, whatever kind of file the path names. */
bool module_open(module_file *file, const char *path);

/* The address, as it was linked, of the byte at that offset in the file. */
bool module_linked(const module_file *file, uint64_t offset, uint64_t *address);

/* The range of a file's addresses, as they were linked. */
bool module_span(const module_file *file, uint64_t *start, uint64_t *end);

/* Writes the build id of a file in hexadecimal; "" when it has none. */
void module_build_id(const module_file *file, char *text, size_t size);

/* Finds the build id among notes, which are aligned; NULL when there is none. */
const uint8_t *find_build_id(const void *notes, size_t size, size_t *id_size);

#endif
