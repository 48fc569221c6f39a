/* Facts about this process, its threads, and others. */
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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

bool os_self_is_privileged(void)
{
    return getauxval(AT_SECURE) != 0;
}

/* proc(5): a directory has two links and one for each directory in it. */
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
