/* Stops a child for a moment, to record where it is. */
#include "base/error.h"
#include "os_private.h"

#include <elf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

/* A request to the tracing thread, and its result. */
typedef struct stop {
    os_record *record;
    pid_t pid;
    int rc;
    int error; /* errno of call; 0: rc says everything */
    const char *call;
} stop;

static int snapshot_fail(stop *self, const char *call)
{
    self->error = errno;
    self->call = call;
    return XF_ESYSTEM;
}

/* Waits until the child has stopped.  It asks for stops only, because the child's end is for os_child_end to
 * collect. */
static int await_child_stop(stop *self)
{
    enum { PATIENCE_MS = 1000 };

    for (int i = 0; i < PATIENCE_MS; i++) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)self->pid, &info, WSTOPPED | WNOHANG | __WALL) < 0 && errno != EINTR)
            return errno == ECHILD ? XF_EEND : snapshot_fail(self, "waitid of a stop");
        if (info.si_pid == self->pid)
            return 0;
        poll(NULL, 0, 1);
    }
    return XF_ETIMEDOUT;
}

/* Reads the registers in the order in which a signal handler finds them.  Returns the stack pointer, or 0. */
static uintptr_t take_registers(os_record_head *head, pid_t pid)
{
#if defined(__x86_64__)
    struct user_regs_struct regs;
    struct iovec part = {&regs, sizeof regs};

    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &part) < 0)
        return 0;
    const uint64_t ordered[] = {regs.r8,  regs.r9,  regs.r10, regs.r11, regs.r12, regs.r13,
                                regs.r14, regs.r15, regs.rdi, regs.rsi, regs.rbp, regs.rbx,
                                regs.rdx, regs.rax, regs.rcx, regs.rsp, regs.rip, regs.eflags};
    head->register_count = sizeof ordered / sizeof *ordered;
    memcpy(head->registers, ordered, sizeof ordered);
    return (uintptr_t)regs.rsp;
#elif defined(__aarch64__)
    struct user_regs_struct regs;
    struct iovec part = {&regs, sizeof regs};

    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &part) < 0)
        return 0;
    head->register_count = 33;
    memcpy(head->registers, regs.regs, sizeof regs.regs);
    head->registers[31] = regs.sp;
    head->registers[32] = regs.pc;
    return (uintptr_t)regs.sp;
#else
    (void)head, (void)pid;
    return 0;
#endif
}

static int record_stopped_child(os_record *record, pid_t pid)
{
    char maps[64];
    uintptr_t stack;

    record->head.system = record->head.detail = record->head.error = 0;
    record->head.fault_address = 0;
    record->head.thread = pid;
    record->stack_size = record->maps_size = 0;
    stack = take_registers(&record->head, pid);
    if (!stack)
        return XF_ENOTSUP;
    record_stack(record, pid, stack);
    snprintf(maps, sizeof maps, "/proc/%d/maps", (int)pid);
    if (proc_is_own())
        record_maps(record, maps);
    return 0;
}

static int stop_and_record(stop *self)
{
    int rc;

    if (ptrace(PTRACE_SEIZE, self->pid, NULL, NULL) < 0)
        return errno == ESRCH ? XF_EEND : snapshot_fail(self, "ptrace of a child");
    if (ptrace(PTRACE_INTERRUPT, self->pid, NULL, NULL) < 0)
        return errno == ESRCH ? XF_EEND : snapshot_fail(self, "ptrace of a child");
    rc = await_child_stop(self);
    return rc < 0 ? rc : record_stopped_child(self->record, self->pid);
}

static void *trace_child(void *arg)
{
    stop *self = arg;

    self->rc = stop_and_record(self);
    return NULL;
}

/* Traces in a thread of its own, because the kernel releases the child when the tracing thread ends, whatever state the
 * child is in.  A call of ptrace could release the child only while it is stopped; and the server, which may be its
 * parent, would not learn of the end of a child that is still traced. */
static int trace_in_thread(stop *self)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, trace_child, self);

    if (error)
        return os_error(error, "pthread_create");
    pthread_join(thread, NULL);
    if (self->error)
        return os_error(self->error, self->call);
    return self->rc < 0 ? error_detail(self->rc, "process %d cannot be stopped for a snapshot", (int)self->pid) : 0;
}

/* The record is made in memory of this process's own: other threads of the child do not stop, and could change sizes
 * in the box while they are reckoned with. */
static int record_apart(pid_t pid, os_record *into)
{
    stop stop = {.record = calloc(1, sizeof *into), .pid = pid};
    int rc = stop.record ? trace_in_thread(&stop) : os_error(ENOMEM, "calloc");

    if (rc == 0)
        memcpy((char *)into + sizeof into->head.state, (char *)stop.record + sizeof into->head.state,
               sizeof *into - sizeof into->head.state);
    free(stop.record);
    return rc;
}

int os_child_snapshot(os_child *child)
{
    os_record *record = child->record;
    pid_t pid = (pid_t)os_child_pid(child);
    int rc;

    if (!record)
        return error_detail(XF_ESTATE, "this child has no room for a record");
    if (child->ended || pid == 0)
        return error_detail(XF_EEND, "the child is not running");
    if (!twins_claim_record(&record->head))
        return error_detail(XF_ESTATE, "the child is crashing");
    rc = record_apart(pid, record);
    atomic_store(&record->head.state, rc == 0 ? OS_RECORD_WHOLE : OS_RECORD_NONE);
    return rc;
}
