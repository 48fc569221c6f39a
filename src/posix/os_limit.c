/* Limits of a child, and how the parent recognizes that a child has ended by one of them. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- This process ---------------------------------------------------------------------------- */

static uint64_t limit_value(int resource)
{
    struct rlimit limit;

    return getrlimit(resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

/* The first number of statm is the size of all mappings, in pages: proc(5). */
static uint64_t own_address_space(void)
{
    unsigned long long pages;
    char line[256];

    if (!file_read_line(line, sizeof line, "/proc/self/statm") || sscanf(line, "%llu", &pages) != 1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* With MCL_FUTURE a new page is there although nobody has used it. */
int limit_locks_mappings(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char is_there = 0;
    void *probe = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (probe == MAP_FAILED)
        return errno == EAGAIN ? 1 : -1;
    if (mincore(probe, page, &is_there) < 0)
        is_there = 0;
    munmap(probe, page);
    return is_there & 1;
}

/* Whether a mapping of that size can be locked.  Nothing is used of it. */
static bool can_lock(uint64_t size)
{
    void *probe = mmap(NULL, (size_t)size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (probe == MAP_FAILED)
        return errno != EAGAIN;
    munmap(probe, (size_t)size);
    return true;
}

uint64_t os_self_room(void)
{
    uint64_t room = limit_value(RLIMIT_AS), taken = own_address_space(), lockable = limit_value(RLIMIT_MEMLOCK);

    if (room != UINT64_MAX)
        room = room > taken ? (room - taken) / 2 : 0;
    if (limit_value(RLIMIT_FSIZE) < room)
        room = limit_value(RLIMIT_FSIZE);
    if (lockable / 2 < room && limit_locks_mappings() > 0 && !can_lock(lockable + OS_PAGE))
        room = lockable / 2;
    return room;
}

int limit_explain_map(int error, size_t size)
{
    uint64_t space = limit_value(RLIMIT_AS);

    if (error == EAGAIN)
        return error_detail(XF_ENOMEM,
                            "mlockall locks each mapping, RLIMIT_MEMLOCK is %llu bytes, and %zu more are needed",
                            (unsigned long long)limit_value(RLIMIT_MEMLOCK), size);
    if (error == ENOMEM && space != UINT64_MAX)
        return error_detail(XF_ENOMEM, "RLIMIT_AS allows %llu bytes of address space, and %zu more are needed",
                            (unsigned long long)space, size);
    return os_error(error, "mmap");
}

/* A thread that changes the limit between this and the attempt is not reckoned with. */
int os_self_check_file_size(uint64_t size)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur)
        return 0;
    return error_detail(XF_ELIMIT, "RLIMIT_FSIZE allows %llu bytes, and %llu are needed",
                        (unsigned long long)limit.rlim_cur, (unsigned long long)size);
}

/* ---- In the child ---------------------------------------------------------------------------- */

/* Lowers a limit of this process; it never raises one. */
static void set_limit(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) < 0)
        return;
    if (hard < limit.rlim_max)
        limit.rlim_max = hard;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    setrlimit(resource, &limit);
}

static rlim_t cpu_seconds(const xf_limits *limits)
{
    return ((rlim_t)limits->cpu_ms + 999) / 1000;
}

/* Memory is limited by RLIMIT_DATA and not by RLIMIT_AS, which would also count shared memory and address space that is
 * only reserved. */
void limit_self(const os_status *status)
{
    const xf_limits *limits = &status->limits;

    if (limits->memory)
        set_limit(RLIMIT_DATA, limits->memory, limits->memory);
    if (limits->cpu_ms)
        set_limit(RLIMIT_CPU, cpu_seconds(limits), cpu_seconds(limits) + 1);
    if (limits->files)
        set_limit(RLIMIT_NOFILE, (rlim_t)limits->files, (rlim_t)limits->files);
    if (limits->processes)
        set_limit(RLIMIT_NPROC, (rlim_t)limits->processes + 1, (rlim_t)limits->processes + 1);
}

/* Whether so much can still be allocated. */
static bool has_memory_left(size_t part)
{
    void *probe = mmap(NULL, part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (probe == MAP_FAILED)
        return errno != ENOMEM;
    munmap(probe, part);
    return true;
}

void limit_mark_refused(os_status *status, int error)
{
    if (status && status->limits.memory)
        atomic_store(&status->refused, !has_memory_left(twins_memory_of_sign(status, error)));
}

/* ---- Kills for lack of memory ---------------------------------------------------------------- */

bool limit_read_number(const char *path, const char *key, uint64_t *number)
{
    char line[512];
    unsigned long long found;
    size_t length = strlen(key);
    bool is_there = false;
    FILE *file = fopen(path, "re");

    if (!file)
        return false;
    while (!is_there && fgets(line, sizeof line, file))
        is_there = strncmp(line, key, length) == 0 && line[length] == ' ' && sscanf(line + length, "%llu", &found) == 1;
    fclose(file);
    if (is_there)
        *number = found;
    return is_there;
}

/* Reads how often the kernel has killed in a cgroup, by one line of /proc/self/cgroup: cgroups(7),
 * "number:controllers:path". */
static bool count_in_group(const char *line, uint64_t *count)
{
    char path[4200], group[4000], controllers[64] = "";
    bool is_second = sscanf(line, "0::%3999[^\n]", group) == 1;

    if (!is_second &&
        (sscanf(line, "%*d:%63[^:]:%3999[^\n]", controllers, group) != 2 || !strstr(controllers, "memory")))
        return false;
    snprintf(path, sizeof path,
             is_second ? "/sys/fs/cgroup%s/memory.events" : "/sys/fs/cgroup/memory%s/memory.oom_control", group);
    return limit_read_number(path, "oom_kill", count);
}

/* Counts the kills in this process's own cgroup: its children are in it, and kills in other cgroups do not count.  If
 * there is no such count, takes that of the whole system. */
static uint64_t count_kills(void)
{
    char line[4200];
    uint64_t count = 0;
    bool is_known = false;
    FILE *groups = fopen("/proc/self/cgroup", "re");

    while (groups && !is_known && fgets(line, sizeof line, groups))
        is_known = count_in_group(line, &count);
    if (groups)
        fclose(groups);
    if (!is_known)
        (void)limit_read_number("/proc/vmstat", "oom_kill", &count);
    return count;
}

/* The kernel's count is read before the first child starts, and whenever a child was killed.  Reading it at each start
 * would cost more than the rest of the start. */
static struct {
    pthread_once_t once;
    uint64_t first;
    _Atomic uint64_t last;
    _Atomic uint64_t counted; /* kills since the first count that were attributed to a child */
} kills = {.once = PTHREAD_ONCE_INIT};

static void count_first(void)
{
    kills.first = count_kills();
    atomic_store(&kills.last, kills.first);
}

uint64_t limit_kills(void)
{
    pthread_once(&kills.once, count_first);
    return atomic_load(&kills.last);
}

/* Whether the kernel has killed a child for lack of memory.  The kernel counts before it kills, so a kill that ended
 * the child is in the count.  A kill of another process since the count before the child's start is in the count as
 * well. */
static bool was_for_memory(const os_child *child)
{
    uint64_t count = count_kills(), counted = atomic_load(&kills.counted);

    atomic_store(&kills.last, count);
    if (count <= child->kills_before)
        return false;
    while (counted < count - kills.first)
        if (atomic_compare_exchange_weak(&kills.counted, &counted, counted + 1))
            return true;
    return false;
}

/* ---- The end --------------------------------------------------------------------------------- */

static double limit_seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Whether a child has used up its processor time.  A task that ignores SIGXCPU continues to the hard limit.  For that
 * limit the kernel counts whole ticks, which on a busy virtual machine add up to more than the time that it reports; so
 * half of the limit is enough here. */
static bool used_up_cpu(const os_child *child, const os_end *end)
{
    if (!child->limits.cpu_ms)
        return false;
    return end->system == SIGXCPU ||
           (end->system == SIGKILL && !child->killed && end->cpu_time >= ((double)cpu_seconds(&child->limits) + 1) / 2);
}

void limit_judge(const os_child *child, const struct rusage *usage, os_end *end)
{
    end->cpu_time = limit_seconds(usage->ru_utime) + limit_seconds(usage->ru_stime);
    end->memory_peak = (uint64_t)usage->ru_maxrss * 1024;
    end->refused = child->limits.memory && atomic_load(&child->status->refused);
    if (end->kind == OS_EXITED)
        return;
    if (used_up_cpu(child, end))
        end->kind = OS_CPU_LIMIT;
    else if (end->kind == OS_KILLED && end->system == SIGKILL && !child->killed && was_for_memory(child))
        end->kind = OS_OUT_OF_MEMORY;
    if (end->kind == OS_CPU_LIMIT)
        end->code = 0;
}
