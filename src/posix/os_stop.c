/* Stopping a child for a moment, to see where it is. */
#include "../error.h"
#include "os_private.h"

#include <elf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

/* Waits until the child has stopped, and takes note of stops only: its end is not ours to take here. */
static int await_stop(pid_t pid)
{
    enum { PATIENCE_MS = 1000 };

    for (int i = 0; i < PATIENCE_MS; i++) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | __WALL) < 0 && errno != EINTR)
            return errno == ECHILD ? XF_EEND : os_error(errno, "waitid of a stop");
        if (info.si_pid == pid)
            return 0;
        poll(NULL, 0, 1);
    }
    return XF_ETIMEDOUT;
}

/* Puts the registers in the order that a signal handler finds them in: the stack pointer, or 0. */
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

static int take_record(os_record *record, pid_t pid)
{
    char maps[64];
    uintptr_t stack;

    record->head.system = record->head.detail = record->head.error = 0;
    record->head.fault_address = 0;
    record->head.thread = pid;
    record->stack_size = record->maps_size = 0;
    stack = take_registers(&record->head, pid);
    if (!stack)
        return error_detail(XF_ENOTSUP, "registers of a child on this processor");
    record_stack(record, pid, stack);
    snprintf(maps, sizeof maps, "/proc/%d/maps", (int)pid);
    record_maps(record, maps);
    return 0;
}

static int stop_and_record(os_record *record, pid_t pid)
{
    int rc;

    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
        return errno == ESRCH ? XF_EEND : os_error(errno, "ptrace of a child");
    rc = ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 ? os_error(errno, "ptrace of a child") : await_stop(pid);
    if (rc == 0)
        rc = take_record(record, pid);
    ptrace(PTRACE_DETACH, pid, NULL, NULL); /* fails when it has ended meanwhile, or could not be stopped */
    return rc;
}

int os_child_stack(os_child *child)
{
    os_note *note = (os_note *)(uintptr_t)child->note;
    os_record *record = (os_record *)((char *)note + note->record_at);
    pid_t pid = (pid_t)os_child_pid(child);
    uint32_t none = OS_RECORD_NONE, stale = OS_RECORD_STALE;
    int rc;

    if (!note->record_at)
        return error_detail(XF_ESTATE, "where this child is, is not recorded");
    if (child->ended || pid == 0)
        return error_detail(XF_EEND, "the child does not run");
    if (!atomic_compare_exchange_strong(&record->head.state, &none, OS_RECORD_BEGUN) &&
        !atomic_compare_exchange_strong(&record->head.state, &stale, OS_RECORD_BEGUN))
        return error_detail(XF_ESTATE, "the child is just crashing");
    rc = stop_and_record(record, pid);
    atomic_store(&record->head.state, rc == 0 ? OS_RECORD_WHOLE : OS_RECORD_NONE);
    return rc;
}
