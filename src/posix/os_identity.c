/* Facts about this process, its threads, and other processes. */
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Facts ----------------------------------------------------------------------------------- */

/* The build ids of the program and, where this library is shared, of the library, combined into one. */
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

static bool object_holds(const struct dl_phdr_info *object, uintptr_t address)
{
    uintptr_t offset = address - object->dlpi_addr;
    const ElfW(Phdr) *part = object->dlpi_phdr;

    for (; part < object->dlpi_phdr + object->dlpi_phnum; part++)
        if (part->p_type == PT_LOAD && offset >= part->p_vaddr && offset - part->p_vaddr < part->p_memsz)
            return true;
    return false;
}

/* Adds the build ids of the program, which dl_iterate_phdr reports first, and of the object that has this code. */
static int visit_build(struct dl_phdr_info *object, size_t size, void *arg)
{
    bool *is_program = arg;
    bool known = (!*is_program && !object_holds(object, (uintptr_t)own_build)) || add_build(object);

    (void)size;
    *is_program = false;
    return known ? 0 : -1;
}

/* Stands in for build ids: adds the identity of the file that is running. */
static void add_file_identity(void)
{
    struct stat facts = {0};
    int64_t identity[2];

    stat("/proc/self/exe", &facts);
    identity[0] = (int64_t)facts.st_ino ^ ((int64_t)facts.st_dev << 40);
    identity[1] = (int64_t)facts.st_mtim.tv_sec * 1000000000 + facts.st_mtim.tv_nsec;
    memcpy(own_build, identity, sizeof identity);
}

static void find_own_build(void)
{
    bool is_program = true;

    if (dl_iterate_phdr(visit_build, &is_program) < 0) /* built without --build-id */
        add_file_identity();
}

void os_self_build(uint8_t build[OS_BUILD_ID_SIZE])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_own_build);
    memcpy(build, own_build, OS_BUILD_ID_SIZE);
}

typedef struct code_search {
    uintptr_t code;
    char *path;
    size_t size;
    uint64_t offset;
} code_search;

/* Whether the path of an object fits; the program's name is "" there. */
static bool copy_path(const struct dl_phdr_info *object, code_search *search)
{
    ssize_t length;

    if (*object->dlpi_name)
        return (size_t)snprintf(search->path, search->size, "%s", object->dlpi_name) < search->size;
    length = readlink("/proc/self/exe", search->path, search->size);
    if (length < 0 || (size_t)length == search->size)
        return false;
    search->path[length] = 0;
    return true;
}

static int visit_holder(struct dl_phdr_info *object, size_t size, void *arg)
{
    code_search *search = arg;

    (void)size;
    if (!object_holds(object, search->code))
        return 0;
    search->offset = search->code - object->dlpi_addr;
    return copy_path(object, search) ? 1 : -1;
}

bool os_self_locate(uintptr_t code, char *path, size_t size, uint64_t *offset)
{
    code_search search = {.code = code, .path = path, .size = size};
    bool found = dl_iterate_phdr(visit_holder, &search) > 0;

    if (found)
        *offset = search.offset;
    return found;
}

bool os_self_is_privileged(void)
{
    return getauxval(AT_SECURE) != 0;
}

/* The task's name has room first, but for some letters of the program's. */
void os_self_show(const char *task)
{
    enum { ROOM = 15, LETTERS = 5 };
    const char *program = program_invocation_short_name;
    size_t all = strlen(program), least = all < LETTERS ? all : LETTERS, size = strlen(task);
    char name[ROOM + 1];

    if (size > ROOM - 1 - least)
        size = ROOM - 1 - least;
    snprintf(name, sizeof name, "%.*s:%.*s", (int)(ROOM - 1 - size), program, (int)size, task);
    prctl(PR_SET_NAME, name);
}

/* Counted in each forked child. */
static uint32_t generation;

uint32_t os_self_generation(void)
{
    return generation;
}

const volatile uint32_t *os_self_generation_at(void)
{
    return &generation;
}

/* Counts the directories in /proc/self/task by its links.  proc(5): a directory has two links and one for each
 * directory in it. */
int os_self_threads(void)
{
    struct stat facts;

    return stat("/proc/self/task", &facts) < 0 ? 0 : (int)facts.st_nlink - 2;
}

/* ---- Threads --------------------------------------------------------------------------------- */

bool proc_is_own(void)
{
    char text[16];
    ssize_t size = readlink("/proc/self", text, sizeof text);
    pid_t pid = 0;

    for (ssize_t i = 0; i < size && text[i] >= '0' && text[i] <= '9'; i++)
        pid = 10 * pid + (text[i] - '0');
    return pid == getpid();
}

/* When a thread started, in clock ticks since the system's start; 0 when that cannot be read.
 *   state  Set to the letter for what the thread does: see proc(5).
 * The program's name, in parentheses, may hold any characters, so the fields are counted from its last parenthesis. */
static uint64_t thread_start(pid_t id, char *state)
{
    OS_HOLD_CANCEL;
    char path[40], text[1024], *fields;
    unsigned long long start = 0;
    ssize_t size;
    int fd;

    if (!proc_is_own())
        return 0;
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

/* Reduces a start time to some bits.  0 stands for a time that is not known, so a known time never gives 0. */
static uint64_t stamp_from(uint64_t start, int bits)
{
    uint64_t stamp = start & ((UINT64_C(1) << bits) - 1);

    return start && !stamp ? 1 : stamp;
}

/* Cached by os_self_thread.  The only thread of a forked child has its parent's memory, but another name, so forking
 * clears it. */
static _Thread_local uint64_t own_thread;

static void become_copy(void)
{
    own_thread = 0;
    generation++;
}

XF_BEFORE_MAIN(register_copy_handler)
{
    pthread_atfork(NULL, NULL, become_copy);
}

uint64_t os_self_thread(void)
{
    pid_t id;
    char state;

    if (own_thread)
        return own_thread;
    id = (pid_t)syscall(SYS_gettid);
    return own_thread = stamp_from(thread_start(id, &state), THREAD_STAMP_BITS) << 32 | (uint32_t)id;
}

/* A thread about which nothing can be found out counts as living. */
bool os_thread_lives(uint64_t thread)
{
    pid_t id = (pid_t)(uint32_t)thread;
    uint64_t stamp = thread >> 32, now;
    char state = 0;

    if (syscall(SYS_tkill, id, 0) < 0 && errno == ESRCH)
        return false;
    now = stamp_from(thread_start(id, &state), THREAD_STAMP_BITS);
    return now == 0 || (state != 'Z' && state != 'X' && (stamp == 0 || stamp == now));
}

/* A process is named after its first thread. */
uint64_t os_self_process(void)
{
    pid_t id = getpid();
    char state;

    return stamp_from(thread_start(id, &state), STAMP_BITS) << ID_BITS | (uint32_t)id;
}

/* Whether other threads of the process still run.  A first thread that has ended stays as a zombie for as long as they
 * do. */
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
    now = stamp_from(thread_start(id, &state), STAMP_BITS);
    if (now == 0 || (stamp != 0 && stamp != now))
        return now == 0;
    return state != 'X' && (state != 'Z' || has_threads(id));
}
