/* This process as a child, and facts about it. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

const os_traits os = {
    .has_fork = true, .has_server = true, .attach_needs_ack = false, .register_names = record_register_names};

/* ---- Signals --------------------------------------------------------------------------------- */

/* The system call itself takes half as long, and there are many signals.  All zero is SIG_DFL without flags, whatever
 * the order of the kernel's members. */
void child_reset_signal(int number)
{
    static const char standard[64];

    syscall(SYS_rt_sigaction, number, standard, NULL, _NSIG / 8);
}

void child_reset_signals(void)
{
    for (int number = 1; number < NSIG; number++)
        if (!crash_is_fault(number))
            child_reset_signal(number);
    crash_reset_faults();
}

/* ---- Leaving a task by exit ------------------------------------------------------------------ */

static _Noreturn void leave(int code)
{
    crash_record_exit();
    fflush(stdout);
    fflush(stderr);
    _exit(code);
}

/* What is registered here runs before what was registered earlier, and does not return. */
#ifdef XF_ON_EXIT
static void leave_by_exit(int code, void *arg)
{
    (void)arg;
    leave(code);
}

void child_catch_exit(void)
{
    on_exit(leave_by_exit, NULL);
}
#else
/* Handlers of atexit are not told the code.  The linker leads calls of exit here (its option --wrap), except those from
 * shared libraries, and from the C library itself where the last thread ends: the code is 0 then. */
static _Atomic int exit_code;

_Noreturn void __real_exit(int code);
XF_API _Noreturn void __wrap_exit(int code);

_Noreturn void __wrap_exit(int code)
{
    exit_code = code;
    __real_exit(code);
}

static void leave_by_exit(void)
{
    leave(exit_code);
}

void child_catch_exit(void)
{
    atexit(leave_by_exit);
}
#endif

/* ---- Becoming a child ------------------------------------------------------------------------ */

static os_shm map_all(int fd)
{
    os_shm none = OS_SHM_NONE;
    struct stat facts;
    void *address;

    if (fstat(fd, &facts) < 0 || facts.st_size <= 0)
        return none;
    address = mmap(NULL, (size_t)facts.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return address == MAP_FAILED ? none : (os_shm){address, (size_t)facts.st_size, -1, 0};
}

static int not_for_people(void)
{
    return error_detail(XF_EPROTO, "%s is crossfork's own and needs a parent", CHILD_ARGUMENT);
}

static int become_child(const char *token, os_parent **out)
{
    static os_parent parent;
    unsigned long long nonce;
    int has_input;
    os_given *given = &parent.given;
    struct stat facts;

    if (sscanf(token, "%llx,%d", &nonce, &has_input) != 2 || fstat(EXEC_CHANNEL, &facts) < 0 ||
        !S_ISSOCK(facts.st_mode) || fstat(EXEC_LIFELINE, &facts) < 0 || !S_ISFIFO(facts.st_mode))
        return not_for_people();
    given->box = map_all(EXEC_BOX);
    if (given->box.size < sizeof(os_note) || ((os_note *)given->box.address)->nonce != nonce)
        return not_for_people();
    given->input = has_input ? map_all(EXEC_INPUT) : OS_SHM_NONE;
    if (has_input && !given->input.address)
        return os_error(ENOMEM, "mmap of the input");
    parent.channel = EXEC_CHANNEL;
    parent.attached.fd = -1;
    fcntl(EXEC_CHANNEL, F_SETFD, FD_CLOEXEC);
    fcntl(EXEC_LIFELINE, F_SETFD, FD_CLOEXEC);
    close(EXEC_BOX);
    if (has_input)
        close(EXEC_INPUT);
    child_arm_lifeline(EXEC_LIFELINE, getpid());
    limit_self(given->box.address);
    child_reset_signals();
    child_catch_exit();
    child_catch_faults(given->box.address);
    *out = &parent;
    return 0;
}

/* Copies the second string of this process's command line; false when there is none that fits. */
static bool second_argument(char *argument, size_t size)
{
    char line[8192];
    ssize_t count;
    size_t first;
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    count = read(fd, line, sizeof line - 1);
    close(fd);
    if (count <= 0)
        return false;
    line[count] = 0;
    first = strlen(line) + 1;
    return first < (size_t)count && (size_t)snprintf(argument, size, "%s", line + first) < size;
}

int os_self_child(int argc, char **argv, os_entry entry, os_parent **parent)
{
    char asked[128] = "";
    const char *argument = asked;

    if (argc > 1)
        argument = argv[1];
    else if (argc == 0)
        second_argument(asked, sizeof asked);
    *parent = NULL;
    crash_remember_faults();
    if (strcmp(argument, SERVER_ARGUMENT) == 0) {
        fcntl(EXEC_CHANNEL, F_SETFD, FD_CLOEXEC);
        server_run(EXEC_CHANNEL, entry);
    }
    if (strncmp(argument, CHILD_ARGUMENT, strlen(CHILD_ARGUMENT)) != 0)
        return 0;
    return become_child(argument + strlen(CHILD_ARGUMENT), parent);
}

/* ---- The channel ----------------------------------------------------------------------------- */

int os_parent_read(os_parent *parent, void *data, size_t size, int timeout_ms, size_t *count)
{
    struct pollfd waiting = {.fd = parent->channel, .events = POLLIN};
    uint64_t deadline = timeout_ms > 0 ? uv_hrtime() + (uint64_t)timeout_ms * 1000000 : 0;
    ssize_t got;

    for (;;) {
        got = receive_attached(parent->channel, data, size, timeout_ms < 0 ? 0 : MSG_DONTWAIT, &parent->attached);
        if (got > 0)
            break;
        if (got == 0)
            return XF_EEND;
        if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
            return os_error(errno, "recvmsg from the parent");
        if (timeout_ms > 0) {
            uint64_t now = uv_hrtime();
            timeout_ms = now < deadline ? (int)((deadline - now + 999999) / 1000000) : 0;
        }
        if (timeout_ms == 0)
            return XF_ETIMEDOUT;
        poll(&waiting, 1, timeout_ms);
    }
    *count = (size_t)got;
    return 0;
}

int os_parent_write(os_parent *parent, const void *data, size_t size, intptr_t attached)
{
    const char *left = data;

    while (size > 0) {
        ssize_t sent = attached >= 0 ? send_attached(parent->channel, left, size, (int)attached, 0)
                                     : send(parent->channel, left, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return os_error(errno, "send to the parent");
        if (sent < 0)
            continue;
        if (attached >= 0)
            os_handle_close(attached); /* it went with the first byte */
        attached = -1;
        left += sent;
        size -= (size_t)sent;
    }
    return 0;
}

int os_parent_take(os_parent *parent, uint64_t token, intptr_t *handle)
{
    (void)token;
    return take_attached(&parent->attached, handle);
}

const os_given *os_parent_given(const os_parent *parent)
{
    return &parent->given;
}

_Noreturn void os_self_exit(int code)
{
    _exit(code);
}

/* ---- Facts ----------------------------------------------------------------------------------- */

/* What is known of the program, and of the library where that is shared. */
static uint8_t own_build[OS_BUILD_ID_SIZE];

/* Adds the build id of an object; false when it has none. */
static bool add_build(const struct dl_phdr_info *object)
{
    size_t size = 0;
    const uint8_t *id = NULL;

    for (int i = 0; i < object->dlpi_phnum && !id; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_NOTE)
            id = find_build_id((const void *)(object->dlpi_addr + part->p_vaddr), part->p_memsz, &size);
    }
    for (size_t i = 0; id && i < size && i < OS_BUILD_ID_SIZE; i++)
        own_build[i] ^= id[i];
    return id;
}

static bool has_this_code(const struct dl_phdr_info *object)
{
    uintptr_t offset = (uintptr_t)own_build - object->dlpi_addr;
    const ElfW(Phdr) *part = object->dlpi_phdr;

    for (; part < object->dlpi_phdr + object->dlpi_phnum; part++)
        if (part->p_type == PT_LOAD && offset >= part->p_vaddr && offset - part->p_vaddr < part->p_memsz)
            return true;
    return false;
}

/* The first object is the program itself. */
static int look_at_builds(struct dl_phdr_info *object, size_t size, void *arg)
{
    bool *is_program = arg;
    bool known = (!*is_program && !has_this_code(object)) || add_build(object);

    (void)size;
    *is_program = false;
    return known ? 0 : -1;
}

/* Adds what the file is that is running. */
static void add_file(void)
{
    struct stat facts = {0};
    int64_t identity[2];

    stat("/proc/self/exe", &facts);
    identity[0] = (int64_t)facts.st_ino ^ ((int64_t)facts.st_dev << 40);
    identity[1] = (int64_t)facts.st_mtim.tv_sec * 1000000000 + facts.st_mtim.tv_nsec;
    memcpy(own_build, identity, sizeof identity);
}

static void find_build(void)
{
    bool is_program = true;

    if (dl_iterate_phdr(look_at_builds, &is_program) < 0) /* built without --build-id */
        add_file();
}

void os_self_build(uint8_t build[OS_BUILD_ID_SIZE])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_build);
    memcpy(build, own_build, OS_BUILD_ID_SIZE);
}

/* proc(5): a directory has two links and one for each directory in it. */
bool os_self_colours(int descriptor)
{
    const char *terminal = getenv("TERM");

    return isatty(descriptor) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

int os_self_threads(void)
{
    struct stat facts;

    return stat("/proc/self/task", &facts) < 0 ? 0 : (int)facts.st_nlink - 2;
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* When a thread started, in clock ticks since the system did: 0 when that cannot be read.
 *   state  Set to the letter for what it does: see proc(5).
 * The name of the program, in parentheses, may hold anything. */
static uint64_t thread_start(pid_t id, char *state)
{
    char path[40], text[1024], *fields;
    unsigned long long start = 0;
    ssize_t size;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)id);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size > 0 ? size : 0] = 0;
    fields = strrchr(text, ')');
    if (!fields || sscanf(fields, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                          state, &start) != 2)
        return 0;
    return start;
}

enum { THREAD_STAMP_BITS = OS_THREAD_BITS - 32, ID_BITS = 22, STAMP_BITS = OS_PROCESS_BITS - ID_BITS };

/* Some bits of a start; 0 stands for one that is not known. */
static uint64_t stamp_of(uint64_t start, int bits)
{
    uint64_t stamp = start & ((UINT64_C(1) << bits) - 1);

    return start && !stamp ? 1 : stamp;
}

/* A forked child's only thread has taken over its parent's memory, but not its name. */
static _Thread_local uint64_t own_thread;

static void forget_thread(void)
{
    own_thread = 0;
}

XF_BEFORE_MAIN(register_thread_handler)
{
    pthread_atfork(NULL, NULL, forget_thread);
}

uint64_t os_self_thread(void)
{
    pid_t id;
    char state;

    if (own_thread)
        return own_thread;
    id = (pid_t)syscall(SYS_gettid);
    return own_thread = stamp_of(thread_start(id, &state), THREAD_STAMP_BITS) << 32 | (uint32_t)id;
}

/* What cannot be found out reads as life. */
bool os_thread_lives(uint64_t thread)
{
    pid_t id = (pid_t)(uint32_t)thread;
    uint64_t stamp = thread >> 32, now;
    char state = 0;

    if (syscall(SYS_tkill, id, 0) < 0 && errno == ESRCH)
        return false;
    now = stamp_of(thread_start(id, &state), THREAD_STAMP_BITS);
    return now == 0 || (state != 'Z' && state != 'X' && (stamp == 0 || stamp == now));
}

/* A process has the name of its first thread. */
uint64_t os_self_process(void)
{
    pid_t id = getpid();
    char state;

    return stamp_of(thread_start(id, &state), STAMP_BITS) << ID_BITS | (uint32_t)id;
}

/* A first thread that has ended stays as a zombie for as long as others run. */
static bool has_threads(pid_t id)
{
    char path[32];
    struct stat facts;

    snprintf(path, sizeof path, "/proc/%d/task", (int)id);
    return stat(path, &facts) == 0 && facts.st_nlink > 2 + 1;
}

bool os_process_lives(uint64_t process)
{
    pid_t id = (pid_t)(process & ((1U << ID_BITS) - 1));
    uint64_t stamp = process >> ID_BITS, now;
    char state = 0;

    if (kill(id, 0) < 0 && errno == ESRCH)
        return false;
    now = stamp_of(thread_start(id, &state), STAMP_BITS);
    if (now == 0 || (stamp != 0 && stamp != now))
        return now == 0;
    return state != 'X' && (state != 'Z' || has_threads(id));
}

/* ---- Handles --------------------------------------------------------------------------------- */

int os_handle_copy(intptr_t handle, intptr_t *copy)
{
    int fd = fcntl((int)handle, F_DUPFD_CLOEXEC, 3);

    if (fd < 0)
        return os_error(errno, "fcntl F_DUPFD_CLOEXEC");
    *copy = fd;
    return 0;
}

void os_handle_close(intptr_t handle)
{
    close((int)handle);
}
