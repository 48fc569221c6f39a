/* A child leaves a record of where it is when a fault is signalled, and when the task calls exit().
 *
 * This file and os_record.c run in a signal handler of a process whose heap and locks may be in any state.  So they
 * call async-signal-safe functions only (tests/crash_symbols.cmake checks their undefined symbols), and leave
 * everything else to the parent. */
#include "os_private.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGXCPU, SIGXFSZ};

enum { FAULTS = sizeof faults / sizeof *faults };

/* The members are in this order because a forked child pays for each page that it writes to, and seldom writes to the
 * stack, which is last. */
static struct {
    os_status *status;
    pid_t owner;       /* the child: a copy of it that its task has forked records nothing */
    os_record *record; /* NULL: nothing is recorded */
    const char *dumps; /* directory for a core file; NULL: wherever the system puts it, if anywhere */
    struct sigaction previous[FAULTS];
    _Alignas(16) char stack[65536]; /* the handlers run on it, as the thread's own may be full */
} guard;

static struct sigaction at_main[FAULTS];
static bool know_main; /* false: this process has not come to xf_main, and starts no children */

static int fault_index(int number)
{
    int i = 0;

    while (i < FAULTS && faults[i] != number)
        i++;
    return i;
}

bool crash_is_fault(int number)
{
    return fault_index(number) < FAULTS;
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

/* ---- The record ------------------------------------------------------------------------------ */

/* Whether this thread is to write the record.  A thread that crashes while another writes the record waits for that one
 * a little, so that it does not end the process in the middle.  A thread that crashes again while it writes is not
 * delayed. */
static bool begin_record(os_record *record)
{
    os_record_head *head = &record->head;
    enum { PATIENCE_MS = 500 };

    if (twins_claim_record(head)) {
        head->thread = gettid();
        record->stack_size = record->maps_size = 0;
        return true;
    }
    for (int i = 0; i < PATIENCE_MS && atomic_load(&head->state) == OS_RECORD_BEGUN && head->thread != gettid(); i++)
        poll(NULL, 0, 1);
    return false;
}

/* Records where the thread is: at the place in context, or, when context is NULL, at this call. */
static void write_record(int number, int detail, int error, uint64_t address, const ucontext_t *context)
{
    os_record_head *head = &guard.record->head;
    uintptr_t stack;

    if (!begin_record(guard.record))
        return;
    head->system = number;
    head->detail = detail;
    head->error = error;
    head->fault_address = address;
    stack = context ? record_registers(head, context) : record_registers_here(head, record_pc());
    record_stack(guard.record, getpid(), stack);
    record_maps(guard.record, "/proc/self/maps");
    atomic_store(&head->state, OS_RECORD_WHOLE);
}

bool crash_guards_child(void)
{
    return guard.status;
}

/* Also false after vfork, where the memory is the child's. */
static bool is_guarded_child(void)
{
    return guard.owner == getpid();
}

void crash_record_exit(void)
{
    if (!is_guarded_child())
        return;
    limit_mark_refused(guard.status, errno);
    if (guard.record)
        write_record(0, 0, errno, 0, NULL);
}

/* ---- The handler ----------------------------------------------------------------------------- */

/* Whether a fault is a stack overflow.  The stack itself is mapped, so a fault within 64 KiB of the stack pointer can
 * only be beyond the stack's end. */
static bool is_stack_overflow(int number, const siginfo_t *info, uintptr_t stack)
{
    enum { NEAR = 65536 };
    uintptr_t fault = (uintptr_t)info->si_addr;

    return (number == SIGSEGV || number == SIGBUS) && info->si_code > 0 && stack &&
           fault - stack + NEAR < 2 * (uintptr_t)NEAR;
}

/* Whether the instruction that caused the signal is executed again when the handler returns.  Other signals are sent by
 * a process, or are delivered after the instruction. */
static bool fault_repeats(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE;
}

/* Runs the handler that was installed before ours, as if it had been called first.  If there was none, restores the
 * system's default and lets the fault happen again, so that the exit status and the core dump are the true ones. */
static void call_previous_handler(int number, siginfo_t *info, void *context)
{
    const struct sigaction *previous = &guard.previous[fault_index(number)];

    if (previous->sa_flags & SA_SIGINFO) {
        previous->sa_sigaction(number, info, context);
    } else if (previous->sa_handler == SIG_IGN && info->si_code <= 0) {
        return;
    } else if (previous->sa_handler == SIG_DFL || previous->sa_handler == SIG_IGN) {
        if (guard.dumps && is_guarded_child() && mkdir(guard.dumps, 0700) == 0 && chdir(guard.dumps) < 0)
            rmdir(guard.dumps);
        sigaction(number, previous, NULL);
        if (info->si_code <= 0 || !fault_repeats(number))
            raise(number);
    } else {
        previous->sa_handler(number);
    }
}

/* Marks the record as stale after a handler of the program's own has returned.  If that handler has mended the fault,
 * the program continues; if not, it crashes again, and the next record may replace this one. */
static void mark_stale(void)
{
    if (guard.record && guard.record->head.thread == gettid())
        atomic_store(&guard.record->head.state, OS_RECORD_STALE);
}

static void record_crash(int number, const siginfo_t *info, const ucontext_t *context)
{
    os_record_head unused;
    int error = errno;
    bool is_overflow = is_stack_overflow(number, info, record_registers(&unused, context));

    atomic_store(&guard.status->crash, is_overflow ? XF_CRASH_STACK_OVERFLOW + 1 : 0);
    if (guard.record)
        write_record(number, info->si_code, error, info->si_code > 0 ? (uintptr_t)info->si_addr : 0, context);
    limit_mark_refused(guard.status, error);
    errno = error;
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    bool is_own = is_guarded_child(), is_handled = guard.previous[fault_index(number)].sa_handler != SIG_DFL;

    if (is_own)
        record_crash(number, info, context);
    call_previous_handler(number, info, context);
    if (is_own && is_handled)
        mark_stale();
}

/* Raises the size of core files to what the hard limit allows. */
static void allow_core(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_CORE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
}

void child_catch_faults(os_status *status)
{
    struct sigaction crash = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigset_t none;

    guard.status = status;
    guard.owner = getpid();
    guard.record = status->record_at ? (os_record *)((char *)status + status->record_at) : NULL;
    guard.dumps = status->dump_at ? (const char *)status + status->dump_at : NULL;
    if (guard.dumps)
        allow_core();
    sigaltstack(&(stack_t){.ss_sp = guard.stack, .ss_size = sizeof guard.stack}, NULL);
    for (int i = 0; i < FAULTS; i++)
        sigaction(faults[i], &crash, &guard.previous[i]);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    atomic_store(&status->armed, 1);
}
