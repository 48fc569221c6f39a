/* What the files of src/posix share. */
#ifndef OS_PRIVATE_H
#define OS_PRIVATE_H

#include "os/os.h"
#include "os/twins.h"

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

/* poll, which signals do not end: 0, XF_ETIMEDOUT, or an error. */
int fd_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

/* Moves a new fd out of the way of the standard streams; -1 and errno as from fcntl. */
int fd_above_stdio(int fd);

/* A pipe, a connected pair of AF_UNIX sockets, and /dev/null for reading and writing: close-on-exec, out of the way of
 * the standard streams. */
int fd_pipe(int ends[2]);
int fd_socketpair(int ends[2], int type);
int fd_null(int *fd);

/* A pidfd, or -1 and errno: ENOSYS where the system has none. */
int pidfd_of(pid_t pid);

/* waitid for a child that is known by a pidfd, or else by its pid.
 *   usage  What it used up; NULL: not asked for. */
int wait_process(int pidfd, pid_t pid, siginfo_t *info, int options, struct rusage *usage);

/* ---- os_channel.c ---------------------------------------------------------------------------- */

/* A descriptor that came over a channel with the bytes that were read last. */
typedef struct attachment {
    int fd;    /* -1: none */
    bool lost; /* one came, and this process had no number left for it */
} attachment;

struct os_channel {
    int fd; /* -1: there is no such stream */
    attachment attached;
    bool is_pipe; /* what a child prints */
    bool ended;   /* the end has been read */
};

#define CHANNEL_OF(fd) ((os_channel){(fd), {-1, false}, false, false})

/* Closes what a channel holds. */
void stream_release(os_channel *channel);

/* ---- os_shm.c -------------------------------------------------------------------------------- */

/* No process forks, and no private segment is being mapped, between these two; a thread does not nest them. */
void shm_lock_forks(void);
void shm_unlock_forks(void);

/* Whether children that are forked from now on have the segment; NULL is harmless. */
void shm_let_fork(const os_shm *shm, bool has);

/* ---- os_file.c -------------------------------------------------------------------------------- */

/* Reads the first line of a file, without its end; false when there is none. */
bool file_read_line(char *line, size_t size, const char *format, ...) XF_PRINTF(3, 4);

/* ---- os_environment.c ------------------------------------------------------------------------ */

/* This process's environment with the additions, as pointers to both; freed by the caller.  NULL: no memory. */
char **merge_environment(const char *const *additions);

/* The strings one after the other, each with its terminating 0; freed by the caller.  NULL: no memory. */
char *flatten(char *const *strings, size_t *size);

/* ---- os_machine.c, os_quota.c ---------------------------------------------------------------- */

/* Fills in what is beyond the numbers of the processors.
 *   root  Comes before /proc and /sys in paths; "". */
void machine_describe(os_machine *machine, const char *root);

/* Fills in quota and group. */
void quota_describe(os_machine *machine, const char *root);

/* ---- os_child.c, os_start.c ------------------------------------------------------------------ */

/* A child, in its parent. */
struct os_child {
    os_channel stream[OS_STREAMS];
    int exit_fd;    /* ready at the end: the pidfd, or the socket on which the server tells, or a lifeline */
    int pidfd;      /* -1: the system has none, or the child is the server's; closed as exit_fd */
    int lifeline;   /* the writing end: closing it kills the group */
    int hold;       /* the reading end, which the child does not have; -1: it has, and the parent has not */
    int watched_by; /* epoll set, or -1 */
    pid_t pid;      /* 0: of the server's, and running */
    bool by_server;
    bool killed; /* by os_child_kill */
    bool ended;
    os_end end;
    const os_status *status; /* the child writes to it */
    os_record *record;       /* in the box; NULL: none */
    char *dumps;             /* where the child may leave a core file; NULL: nowhere */
    xf_limits limits;
    uint64_t kills_before; /* limit_kills when it was started */
};

/* What a child is made with: the fds it keeps, none below 3 but inherited stdio, -1 where there is none. */
typedef struct child_fds {
    int stdio[3];
    int directory;
    int channel;
    int lifeline;
    int box;
    int input;
} child_fds;

/* Frees a child that was not started, or has ended. */
void child_free(os_child *child);

/* What a child has inherited, with its channel. */
typedef struct newborn {
    os_channel channel;
    os_inherited inherited; /* whose channel that is */
} newborn;

/* ---- os_newborn.c ---------------------------------------------------------------------------- */

/* In a new child: joins a group of its own, ties its life to the parent's, takes its standard streams and directory.
 * Async-signal-safe. */
void child_settle(child_fds *fds, const os_status *status);

/* In a new child: the system's default for every signal, or for one.  Async-signal-safe. */
void child_reset_signals(void);
void child_reset_signal(int number);

/* In a new child, or in the server for all of its own: a task that calls exit does not run what the program registered
 * before. */
void child_catch_exit(void);

/* In a new child that did not come by exec: closes every fd above 2 that is not in fds.  Async-signal-safe. */
void child_close_others(const child_fds *fds);

/* Makes the kernel kill that group when the other end of the lifeline is closed.  Async-signal-safe. */
void child_arm_lifeline(int end, pid_t leader);

/* In a new child: arms its lifeline and, if the parent holds that end too, closes it; ends at once when the parent has
 * ended already.  Async-signal-safe. */
void child_tie_life(int lifeline, const os_status *status);

/* In a new child: closes those descriptors, as far as there are any.  Async-signal-safe. */
void child_close_range(unsigned first, unsigned last);

/* ---- os_crash.c ------------------------------------------------------------------------------ */

enum { RECORD_STACK = 65536, RECORD_MAPS = 28672 };

struct os_record {
    os_record_head head;
    uint64_t stack_at;      /* where in the child the copy of its stack begins */
    uint32_t stack_size;    /* bytes of it */
    uint32_t maps_size;     /* bytes of maps */
    char maps[RECORD_MAPS]; /* lines of /proc/PID/maps that are about code of files */
    uint8_t stack[RECORD_STACK];
};

_Static_assert(sizeof(os_record) <= OS_RECORD_SIZE, "a record fits the box");

/* What is set up for faults when a process comes to xf_main, as one that is executed anew finds it: nothing, or a
 * sanitizer's handlers.  A forked child gets it back. */
void crash_remember_faults(void);
void crash_reset_faults(void);
bool crash_is_fault(int number);

/* In a new child, after that: our own handlers, before which what stood there is run in its turn, and no signal
 * blocked. */
void child_catch_faults(os_status *status);

/* Records where this process is, which is about to end by exit(). */
void crash_record_exit(void);

/* ---- os_record.c ----------------------------------------------------------------------------- */

/* Fills in a record of the process of that id, which is this one or one that is stopped. */
void record_stack(os_record *record, pid_t pid, uintptr_t stack_pointer);
void record_maps(os_record *record, const char *path);

/* Of os_record_head.registers. */
extern const char *const record_register_names[];

/* The registers as a handler finds them.  Returns the stack pointer; 0 where it is not known. */
uintptr_t record_registers(os_record_head *head, const ucontext_t *context);

/* Where it is called. */
uintptr_t record_pc(void);

/* The registers where it is called, as far as calls keep them; inline, as that frame has to stay for as long as the
 * stack is looked at.  What getcontext would do, which is not in every C library.
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

/* In a new child: puts the status block's limits on.  Async-signal-safe. */
void limit_self(const os_status *status);

/* In a child that crashes or exits with that errno: notes whether it was short of memory.  Async-signal-safe. */
void limit_mark_refused(os_status *status, int error);

/* In the parent: how often the kernel has killed for lack of memory, when that was looked at last. */
uint64_t limit_kills(void);

/* In the parent: sees whether a child that ended like that came to one of its limits, and adds what it used up. */
void limit_judge(const os_child *child, const struct rusage *usage, os_end *end);

/* ---- os_exec.c ------------------------------------------------------------------------------- */

/* Executes the running image anew with one argument.
 *   environment  As for execve.
 *   fds          The new image finds channel, lifeline, box, input at EXEC_CHANNEL and so on. */
int exec_again(pid_t *pid, const char *argument, char *const *environment, const child_fds *fds);

enum { EXEC_CHANNEL = 3, EXEC_LIFELINE, EXEC_BOX, EXEC_INPUT, EXEC_END };

#define CHILD_ARGUMENT "--crossfork-child="
#define SERVER_ARGUMENT "--crossfork-server"

/* ---- os_server.c ----------------------------------------------------------------------------- */

/* Asks the server to fork a child; status receives server_news. */
int server_start(os_server *server, const os_start *start, const child_fds *fds, int status);

/* What the server tells of a child, once: how it ended, or why there is none. */
typedef struct server_news {
    int error;      /* of fork; 0: there was a child */
    siginfo_t info; /* as waitid gave it */
    struct rusage usage;
} server_news;

/* Runs the server on its request socket; never returns. */
_Noreturn void server_run(int requests, os_entry entry);

/* ---- os_module.c ----------------------------------------------------------------------------- */

enum { MODULE_PARTS_MAX = 64 };

/* The file of a program or shared library.  What it says of itself is not trusted. */
typedef struct module_file {
    int fd;
    struct stat facts;
    ElfW(Half) type; /* ET_EXEC or ET_DYN */
    size_t count;
    ElfW(Phdr) parts[MODULE_PARTS_MAX];
} module_file;

/* Opens a file of this machine's kind; waits for nobody, whatever the path stands for. */
bool module_open(module_file *file, const char *path);

/* The address, as it was linked, of what is at that offset in the file. */
bool module_linked(const module_file *file, uint64_t offset, uint64_t *address);

/* All the addresses of a file, as they were linked. */
bool module_span(const module_file *file, uint64_t *start, uint64_t *end);

/* The build id of a file in hexadecimal, "" when it has none. */
void module_build_id(const module_file *file, char *text, size_t size);

/* A build id among notes; they are aligned.  NULL: there is none. */
const uint8_t *find_build_id(const void *notes, size_t size, size_t *id_size);

#endif
