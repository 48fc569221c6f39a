/* The machine: its processors, what they share, and which of them this process may use. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_SIZE = 4096, SYSTEM_CPUS = 65536, NODES_MAX = 1024 };

/* ---- Lists of processors --------------------------------------------------------------------- */

/* Takes the next range off a list such as "0-3,8,10-11".  Returns false at the list's end, and at text that is not a
 * range. */
static bool next_range(const char **list, unsigned long *first, unsigned long *last)
{
    char *end;

    *list += **list == ',';
    if (**list < '0' || **list > '9')
        return false;
    *first = *last = strtoul(*list, &end, 10);
    if (*end == '-')
        *last = strtoul(end + 1, &end, 10);
    *list = end;
    return *first <= *last;
}

static bool is_listed(const char *list, uint32_t number)
{
    unsigned long first, last;

    while (next_range(&list, &first, &last))
        if (number >= first && number <= last)
            return true;
    return false;
}

/* The least number of a list.  It stands for what the listed processors share. */
static uint32_t least_of(const char *list, uint32_t otherwise)
{
    unsigned long first, last, least = otherwise;

    while (next_range(&list, &first, &last))
        least = first < least ? first : least;
    return (uint32_t)least;
}

/* ---- What they share ------------------------------------------------------------------------- */

static void find_core(os_cpu *cpu, const char *root)
{
    char list[LIST_SIZE];

    cpu->core = cpu->number;
    if (file_read_line(list, sizeof list, "%s/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", root,
                       cpu->number))
        cpu->core = least_of(list, cpu->number);
}

/* Parses "512K", "32M", or a number of bytes. */
static uint64_t parse_size(const char *text)
{
    char *end;
    uint64_t size = strtoull(text, &end, 10);

    return size * (*end == 'K' ? 1024 : *end == 'M' ? 1024 * 1024 : 1);
}

typedef struct cpu_cache {
    int level;
    uint64_t size;
    char shared[LIST_SIZE];
} cpu_cache;

static bool read_cache(cpu_cache *cache, const char *root, uint32_t cpu, int index)
{
    char directory[4200], line[64];

    snprintf(directory, sizeof directory, "%s/sys/devices/system/cpu/cpu%u/cache/index%d", root, cpu, index);
    if (!file_read_line(line, sizeof line, "%s/level", directory))
        return false;
    cache->level = atoi(line);
    if (file_read_line(line, sizeof line, "%s/type", directory) && strcmp(line, "Instruction") == 0)
        cache->level = 0;
    cache->size = file_read_line(line, sizeof line, "%s/size", directory) ? parse_size(line) : 0;
    if (!file_read_line(cache->shared, sizeof cache->shared, "%s/shared_cpu_list", directory))
        cache->level = 0;
    return true;
}

/* Finds the last cache of a processor, and the size of the one before it; level 0: none is known. */
static cpu_cache last_cache(const char *root, uint32_t cpu, uint64_t *before)
{
    cpu_cache last = {.level = 0}, cache;

    *before = 0;
    for (int i = 0; read_cache(&cache, root, cpu, i); i++) {
        if (cache.level > last.level) {
            *before = last.size;
            last = cache;
        } else if (cache.level > 0 && cache.level == last.level - 1) {
            *before = cache.size;
        }
    }
    return last;
}

/* Finds the caches of all processors.  Processors that share a cache are read once. */
static void find_caches(os_machine *machine, const char *root)
{
    bool known[OS_CPUS_MAX] = {false};

    for (uint32_t i = 0; i < machine->count; i++) {
        uint64_t before;
        cpu_cache last;
        if (known[i])
            continue;
        last = last_cache(root, machine->cpus[i].number, &before);
        if (last.level == 0)
            continue;
        if (machine->cache == 0 || last.size < machine->cache) {
            machine->cache = last.size;
            machine->core_cache = before;
        }
        for (uint32_t j = i; j < machine->count; j++) {
            if (j > i && !is_listed(last.shared, machine->cpus[j].number))
                continue;
            machine->cpus[j].cache = least_of(last.shared, machine->cpus[i].number);
            known[j] = true;
        }
    }
}

static void find_nodes(os_machine *machine, const char *root)
{
    char online[LIST_SIZE], list[LIST_SIZE];
    const char *nodes = online;
    unsigned long first, last;

    if (!file_read_line(online, sizeof online, "%s/sys/devices/system/node/online", root))
        return;
    while (next_range(&nodes, &first, &last))
        for (unsigned long node = first; node <= last && node < NODES_MAX; node++) {
            if (!file_read_line(list, sizeof list, "%s/sys/devices/system/node/node%lu/cpulist", root, node))
                continue;
            for (uint32_t i = 0; i < machine->count; i++)
                if (is_listed(list, machine->cpus[i].number))
                    machine->cpus[i].node = (uint32_t)node;
        }
}

void machine_describe(os_machine *machine, const char *root)
{
    for (uint32_t i = 0; i < machine->count; i++)
        find_core(&machine->cpus[i], root);
    find_caches(machine, root);
    find_nodes(machine, root);
    quota_describe(machine, root);
}

/* ---- This process ---------------------------------------------------------------------------- */

/* Where the system does not say which processors this process may use, because a container's profile does not know the
 * call, takes all that there are. */
static bool take_online(size_t size, cpu_set_t *set, int error)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);

    if (error != EPERM && error != ENOSYS)
        return false;
    for (long i = 0; i < count && i < OS_CPUS_MAX; i++)
        CPU_SET_S((size_t)i, size, set);
    return count > 0;
}

/* The set has room for as many processors as a kernel can be built for, because the system call demands room for as
 * many as this one was built for. */
int os_machine_read(os_machine *machine)
{
    size_t size = CPU_ALLOC_SIZE(SYSTEM_CPUS);
    cpu_set_t set[CPU_ALLOC_SIZE(SYSTEM_CPUS) / sizeof(cpu_set_t)];

    memset(machine, 0, sizeof *machine);
    CPU_ZERO_S(size, set);
    if (sched_getaffinity(0, size, set) < 0 && !take_online(size, set, errno))
        return os_error(errno, "sched_getaffinity");
    for (uint32_t i = 0; i < OS_CPUS_MAX; i++)
        if (CPU_ISSET_S(i, size, set))
            machine->cpus[machine->count++].number = i;
    if (machine->count == 0)
        return error_detail(XF_ESYSTEM, "sched_getaffinity reports no processor below %d", OS_CPUS_MAX);
    machine_describe(machine, "");
    return 0;
}

/* The numbers of meminfo are in KiB: proc(5). */
uint64_t os_machine_spare(bool limited)
{
    uint64_t spare = 0, group = limited ? quota_spare("") : UINT64_MAX;

    if (!limit_read_number("/proc/meminfo", "MemAvailable:", &spare))
        return group == UINT64_MAX ? 0 : group;
    spare *= 1024;
    return group < spare ? group : spare;
}

/* The kernel leaves out the processors that this process may not use. */
int os_self_bind(const os_cpu_set *set)
{
    cpu_set_t cpus[OS_CPUS_MAX / CPU_SETSIZE];
    int rc;

    CPU_ZERO_S(sizeof cpus, cpus);
    for (uint32_t i = 0; i < OS_CPUS_MAX; i++)
        if (set->words[i / 64] >> i % 64 & 1)
            CPU_SET_S(i, sizeof cpus, cpus);
    if (sched_setaffinity(0, sizeof cpus, cpus) == 0)
        return 0;
    rc = errno;
    return rc == EINVAL ? error_detail(XF_EINVAL, "sched_setaffinity: this process may use none of these processors")
                        : os_error(rc, "sched_setaffinity");
}

/* The sixth number of statm counts what RLIMIT_DATA counts, in pages: proc(5). */
size_t os_self_memory(void)
{
    unsigned long long pages;
    char line[256];

    if (!file_read_line(line, sizeof line, "/proc/self/statm") || sscanf(line, "%*u %*u %*u %*u %*u %llu", &pages) != 1)
        return 0;
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

bool os_terminal_colours(int descriptor)
{
    const char *terminal = getenv("TERM");

    return isatty(descriptor) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}
