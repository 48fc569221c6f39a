/* When a child leaves a record of where it is: handlers of faults, and the end by exit().
 *
 * This and os_record.c run in a signal handler of a process whose heap and locks may be in any state, so they call
 * async-signal-safe functions only (tests/crash_symbols.cmake checks their undefined symbols), and all else is left to
 * the parent. */
#include "os_private.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGXCPU};

enum { FAULTS = sizeof faults / sizeof *faults };

/* In this order, as a forked child pays for each page that it writes to, and seldom writes to the stack. */
static struct {
    os_status *status;
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

/* ---- The record ------------------------------------------------------------------------------ */

/* Whether this thread is to write the record.  Another that crashes at the same time waits for it, a little, so that
 * it does not end the process in the middle; a thread that crashes again while it writes is not held up. */
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

/* context: NULL: this place is meant. */
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
    stack = context ? record_registers(head, context) : record_registers_here(head, record_pc());
    record_stack(guard.record, getpid(), stack);
    record_maps(guard.record, "/proc/self/maps");
    atomic_store(&head->state, OS_RECORD_WHOLE);
}

void crash_record_exit(void)
{
    limit_mark_refused(guard.status, errno);
    if (guard.record)
        record(0, 0, errno, 0, NULL);
}

/* ---- The handler ----------------------------------------------------------------------------- */

/* A fault within 64 KiB of the stack pointer can only be the end of the stack: the stack itself is mapped. */
static bool is_stack_overflow(int number, const siginfo_t *info, uintptr_t stack)
{
    enum { NEAR = 65536 };
    uintptr_t fault = (uintptr_t)info->si_addr;

    return (number == SIGSEGV || number == SIGBUS) && info->si_code > 0 && stack &&
           fault - stack + NEAR < 2 * (uintptr_t)NEAR;
}

/* Whether the instruction that caused it is executed again when the handler returns; others are sent, or past it. */
static bool comes_again(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE;
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
        if (info->si_code <= 0 || !comes_again(number))
            raise(number);
    } else {
        previous->sa_handler(number);
    }
}

/* Called when a handler of the program's own has returned.  The program continues if that handler has mended the fault;
 * else it crashes again, and the next record may replace this one. */
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

    atomic_store(&guard.status->crash, is_overflow ? XF_CRASH_STACK_OVERFLOW + 1 : 0);
    if (guard.record)
        record(number, info->si_code, error, info->si_code > 0 ? (uintptr_t)info->si_addr : 0, context);
    limit_mark_refused(guard.status, error);
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

void child_catch_faults(os_status *status)
{
    struct sigaction crash = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigset_t none;

    guard.status = status;
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
