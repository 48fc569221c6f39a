/* The parts of a record: registers, the top of the stack, and where code was mapped.
 *
 * This runs in a signal handler of a process that crashed (see os_crash.c), or in its parent while the process is
 * stopped. */
#include "os_private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Copies memory from an address on, up to the first page that cannot be read, and returns how many bytes those are.
 * The system call fails where a load would fault. */
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

/* Copies the top of the stack.  After an overflow the stack pointer is below what can be read, so the pages above it
 * are tried.  The copy begins below the stack pointer: at the end of a function, its call frame information still
 * refers to words that are already below the pointer, in the red zone, which handlers of signals leave alone (System V
 * ABI, AMD64 supplement, 3.2.2). */
void record_stack(os_record *record, pid_t pid, uintptr_t stack_pointer)
{
    enum { PAGES_BELOW = 16, RED_ZONE = 128 };

    record->stack_size = 0;
    stack_pointer -= RED_ZONE;
    for (int i = 0; i < PAGES_BELOW && record->stack_size == 0 && stack_pointer < UINTPTR_MAX - RECORD_STACK; i++) {
        record->stack_at = stack_pointer;
        record->stack_size = (uint32_t)copy_memory(record->stack, RECORD_STACK, pid, stack_pointer);
        stack_pointer = (stack_pointer | (OS_PAGE - 1)) + 1;
    }
}

/* Whether to keep a line of maps: unwinding needs the mappings of code only, and there are many of data. */
static bool is_code_of_file(const char *line, size_t size)
{
    const char *rights = memchr(line, ' ', size); /* " r-xp" */

    return rights && size - (size_t)(rights - line) > 3 && rights[3] == 'x' && memchr(line, '/', size);
}

/* Appends a byte of maps.  At the end of a line, removes the line again if it is not needed or did not fit whole.
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
    char part[4096]; /* as much as the kernel gives at a time */
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
const char *const record_register_names[] = {"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rdi",
                                             "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp", "rip", "eflags"};
#elif defined(__aarch64__)
const char *const record_register_names[] = {"x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",
                                             "x9",  "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
                                             "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
                                             "x27", "x28", "x29", "x30", "sp",  "pc"};
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
#else /* without a stack pointer, a stack overflow reads as an access violation */
#define STACK_POINTER(machine) ((void)(machine), 0)
#define PROGRAM_COUNTER(machine) ((void)(machine), 0)
#endif
const char *const record_register_names[] = {"sp", "pc"};
#endif

__attribute__((noinline)) uintptr_t record_pc(void)
{
    return (uintptr_t)__builtin_return_address(0) -
           1; /* the call itself; the address after it may be of another line or function */
}

/* Copies the registers of the context, and returns the stack pointer. */
uintptr_t record_registers(os_record_head *head, const ucontext_t *context)
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
