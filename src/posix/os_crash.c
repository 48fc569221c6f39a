/* What a child leaves behind when it crashes: its registers, the top of its stack, and where everything was mapped.
 *
 * This runs in a signal handler of a process whose heap and locks may be in any state, so it calls async-signal-safe
 * functions only (tests/crash_symbols checks this file's undefined symbols), and all else is left to the parent. */
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGXCPU};

enum { FAULTS = sizeof faults / sizeof *faults };

/* In this order, as a forked child pays for each page that it writes to, and seldom writes to the stack. */
static struct {
    os_note *note;
    os_record *record; /* NULL: nothing is recorded */
    const char *dumps; /* directory for a core file; NULL: wherever the system puts it, if anywhere */
    struct sigaction previous[FAULTS];
    _Alignas(16) char stack[65536]; /* to run on when the child's own is at its end */
} guard;

static struct sigaction at_main[FAULTS];
static bool know_main; /* false: it never came to xf_main, and starts no children */

static int index_of(int number)
{
    int i = 0;

    while (i < FAULTS && faults[i] != number)
        i++;
    return i;
}

bool crash_is_fault(int number)
{
    return index_of(number) < FAULTS;
}

void crash_remember_faults(void)
{
    for (int i = 0; i < FAULTS; i++)
        sigaction(faults[i], NULL, &at_main[i]);
    know_main = true;
}

void crash_reset_faults(void)
{
    for (int i = 0; i < FAULTS && know_main; i++)
        sigaction(faults[i], &at_main[i], NULL);
}

/* ---- The record ------------------------------------------------------------------------------------------------- */

/* Copies what can be read from there on, page by page: how much.  The system call fails where a load would fault. */
static size_t copy_memory(void *to, size_t room, pid_t pid, uintptr_t from)
{
    enum { PARTS = RECORD_STACK / OS_PAGE + 1 };
    struct iovec local = {to, room}, remote[PARTS];
    uintptr_t end = from + room;
    int count = 0;
    ssize_t copied;

    for (uintptr_t at = from; at < end && count < PARTS; count++) {
        uintptr_t next = (at | (OS_PAGE - 1)) + 1;
        remote[count] = (struct iovec){(void *)at, (next < end ? next : end) - at};
        at = next;
    }
    copied = process_vm_readv(pid, &local, 1, remote, (unsigned long)count, 0);
    return copied < 0 ? 0 : (size_t)copied;
}

/* A stack pointer that has run over the end of the stack points below what can be read. */
void record_stack(os_record *record, pid_t pid, uintptr_t stack_pointer)
{
    enum { PAGES_BELOW = 16 };

    record->stack_size = 0;
    for (int i = 0; i < PAGES_BELOW && record->stack_size == 0 && stack_pointer < UINTPTR_MAX - RECORD_STACK; i++) {
        record->stack_at = stack_pointer;
        record->stack_size = (uint32_t)copy_memory(record->stack, RECORD_STACK, pid, stack_pointer);
        stack_pointer = (stack_pointer | (OS_PAGE - 1)) + 1;
    }
}

/* Whether a line is worth its place: a stack is told by code, and everything else is mapped by many. */
static bool is_code_of_file(const char *line, size_t size)
{
    const char *rights = memchr(line, ' ', size); /* " r-xp" */

    return rights && size - (size_t)(rights - line) > 3 && rights[3] == 'x' && memchr(line, '/', size);
}

/* Appends a byte of the system's list; a line that is of no use, or does not fit whole, is taken back at its end.
 *   begin  Where the line begins. */
static void put_map_byte(os_record *record, uint32_t *begin, char byte)
{
    bool fits = record->maps_size < RECORD_MAPS;

    if (fits)
        record->maps[record->maps_size++] = byte;
    if (byte != '\n')
        return;
    if (!fits || !is_code_of_file(record->maps + *begin, record->maps_size - *begin))
        record->maps_size = *begin;
    *begin = record->maps_size;
}

void record_maps(os_record *record, const char *path)
{
    char part[1024];
    uint32_t begin = 0;
    ssize_t count;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    record->maps_size = 0;
    if (fd < 0)
        return;
    while ((count = read(fd, part, sizeof part)) > 0)
        for (ssize_t i = 0; i < count; i++)
            put_map_byte(record, &begin, part[i]);
    record->maps_size = begin;
    close(fd);
}

#if defined(__x86_64__)
const char *const crash_register_names[] = {"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rdi",
                                            "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp", "rip", "eflags"};
#elif defined(__aarch64__)
const char *const crash_register_names[] = {"x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",  "x10",
                                            "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21",
                                            "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp",  "pc"};
#else
#if defined(__i386__)
#define STACK_POINTER(machine) (uint32_t)(machine).gregs[REG_ESP]
#define PROGRAM_COUNTER(machine) (uint32_t)(machine).gregs[REG_EIP]
#elif defined(__arm__)
#define STACK_POINTER(machine) (machine).arm_sp
#define PROGRAM_COUNTER(machine) (machine).arm_pc
#elif defined(__riscv)
#define STACK_POINTER(machine) (machine).__gregs[REG_SP]
#define PROGRAM_COUNTER(machine) (machine).__gregs[REG_PC]
#elif defined(__s390x__)
#define STACK_POINTER(machine) (machine).gregs[15]
#define PROGRAM_COUNTER(machine) (machine).psw.addr
#else /* a stack overflow then reads as an access violation */
#define STACK_POINTER(machine) ((void)(machine), 0)
#define PROGRAM_COUNTER(machine) ((void)(machine), 0)
#endif
const char *const crash_register_names[] = {"sp", "pc"};
#endif

/* Returns the stack pointer. */
static uintptr_t record_registers(os_record_head *head, const ucontext_t *context)
{
#if defined(__x86_64__)
    head->register_count = REG_EFL + 1;
    for (uint32_t i = 0; i < head->register_count; i++)
        head->registers[i] = (uint64_t)context->uc_mcontext.gregs[i];
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    head->register_count = 33;
    for (uint32_t i = 0; i < 31; i++)
        head->registers[i] = context->uc_mcontext.regs[i];
    head->registers[31] = context->uc_mcontext.sp;
    head->registers[32] = context->uc_mcontext.pc;
    return (uintptr_t)context->uc_mcontext.sp;
#else
    head->register_count = 2;
    head->registers[0] = STACK_POINTER(context->uc_mcontext);
    head->registers[1] = PROGRAM_COUNTER(context->uc_mcontext);
    return (uintptr_t)head->registers[0];
#endif
}

/* Whether this thread is to write the record.  Another that crashes at the same time waits for it, a little, so that
 * it does not end the process in the middle; one that crashes again while it writes goes on to its end. */
static bool begin_record(os_record *record)
{
    os_record_head *head = &record->head;
    enum { PATIENCE_MS = 500 };
    uint32_t none = OS_RECORD_NONE, stale = OS_RECORD_STALE;

    if (atomic_compare_exchange_strong(&head->state, &none, OS_RECORD_BEGUN) ||
        atomic_compare_exchange_strong(&head->state, &stale, OS_RECORD_BEGUN)) {
        head->thread = gettid();
        record->stack_size = record->maps_size = 0;
        return true;
    }
    for (int i = 0; i < PATIENCE_MS && atomic_load(&head->state) == OS_RECORD_BEGUN && head->thread != gettid(); i++)
        poll(NULL, 0, 1);
    return false;
}

static void record(int number, int detail, int error, uint64_t address, const ucontext_t *context)
{
    os_record_head *head = &guard.record->head;
    uintptr_t stack;

    if (!begin_record(guard.record))
        return;
    head->system = number;
    head->detail = detail;
    head->error = error;
    head->fault_address = address;
    stack = record_registers(head, context);
    record_stack(guard.record, getpid(), stack);
    record_maps(guard.record, "/proc/self/maps");
    atomic_store(&head->state, OS_RECORD_WHOLE);
}

void crash_record_exit(void)
{
    ucontext_t context;

    if (guard.record && getcontext(&context) == 0)
        record(0, 0, errno, 0, &context);
}

/* ---- The handler ------------------------------------------------------------------------------------------------ */

/* A fault within 64 KiB of the stack pointer can only be the end of the stack: the stack itself is mapped. */
static bool is_stack_overflow(int number, const siginfo_t *info, uintptr_t stack)
{
    enum { NEAR = 65536 };
    uintptr_t fault = (uintptr_t)info->si_addr;

    return (number == SIGSEGV || number == SIGBUS) && info->si_code > 0 && stack &&
           fault - stack + NEAR < 2 * (uintptr_t)NEAR;
}

/* Runs what stood there before, as if it had come first.  Without such a handler the system's default is put back, and
 * the fault happens again, so that exit status and core dump are the true ones. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    const struct sigaction *previous = &guard.previous[index_of(number)];

    if (previous->sa_flags & SA_SIGINFO) {
        previous->sa_sigaction(number, info, context);
    } else if (previous->sa_handler == SIG_IGN && info->si_code <= 0) {
        return;
    } else if (previous->sa_handler == SIG_DFL || previous->sa_handler == SIG_IGN) {
        if (guard.dumps && mkdir(guard.dumps, 0700) == 0 && chdir(guard.dumps) < 0)
            rmdir(guard.dumps);
        sigaction(number, previous, NULL);
        if (info->si_code <= 0 || number == SIGXCPU)
            raise(number); /* it was sent, and does not come again by itself */
    } else {
        previous->sa_handler(number);
    }
}

/* A program whose own handler mends the fault goes on; or it dies of it after all, when that handler only looked. */
static void grow_stale(void)
{
    if (guard.record && guard.record->head.thread == gettid())
        atomic_store(&guard.record->head.state, OS_RECORD_STALE);
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    os_record_head unused;
    int error = errno;
    bool is_handled = guard.previous[index_of(number)].sa_handler != SIG_DFL;
    bool is_overflow = is_stack_overflow(number, info, record_registers(&unused, context));

    atomic_store(&guard.note->crash, is_overflow ? XF_CRASH_STACK_OVERFLOW + 1 : 0);
    if (guard.record)
        record(number, info->si_code, error, info->si_code > 0 ? (uintptr_t)info->si_addr : 0, context);
    errno = error;
    pass_on(number, info, context);
    if (is_handled)
        grow_stale();
}

/* As large a core file as somebody has not forbidden. */
static void allow_core(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_CORE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
}

void child_catch_faults(os_note *note)
{
    struct sigaction crash = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigset_t none;

    guard.note = note;
    guard.record = note->record_at ? (os_record *)((char *)note + note->record_at) : NULL;
    guard.dumps = note->dump_at ? (const char *)note + note->dump_at : NULL;
    if (guard.dumps)
        allow_core();
    sigaltstack(&(stack_t){.ss_sp = guard.stack, .ss_size = sizeof guard.stack}, NULL);
    for (int i = 0; i < FAULTS; i++)
        sigaction(faults[i], &crash, &guard.previous[i]);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    atomic_store(&note->armed, 1);
}
