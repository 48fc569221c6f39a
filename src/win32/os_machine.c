/* The machine: its processors, what they share, and which of them this process may use. */
#include "base/error.h"
#include "os_private.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP_CPUS = 64, GROUPS_MAX = OS_CPUS_MAX / GROUP_CPUS };

typedef SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX fact;

/* ---- Sets of processors ---------------------------------------------------------------------- */

static void add_group(os_machine *machine, WORD group, KAFFINITY mask)
{
    for (uint32_t i = 0; i < GROUP_CPUS && group < GROUPS_MAX; i++)
        if (mask >> i & 1)
            machine->cpus[machine->count++].number = group * GROUP_CPUS + i;
}

static bool masks_have(const os_cpu *cpu, const GROUP_AFFINITY *masks, WORD count)
{
    for (WORD i = 0; i < count; i++)
        if (masks[i].Group == cpu->number / GROUP_CPUS && masks[i].Mask >> cpu->number % GROUP_CPUS & 1)
            return true;
    return false;
}

/* The least number of a set.  It stands for what the processors in the set share. */
static uint32_t least_of(const GROUP_AFFINITY *masks, WORD count)
{
    uint32_t least = UINT32_MAX;

    for (WORD i = 0; i < count; i++)
        for (uint32_t bit = 0; bit < GROUP_CPUS; bit++)
            if (masks[i].Mask >> bit & 1 && masks[i].Group * GROUP_CPUS + bit < least)
                least = masks[i].Group * GROUP_CPUS + bit;
    return least;
}

/* ---- What they share ------------------------------------------------------------------------- */

/* What is known so far about caches. */
typedef struct view_of_caches {
    BYTE level[OS_CPUS_MAX]; /* of the processor's last cache so far */
    BYTE last;
    uint64_t size[256]; /* of the smallest cache of a level; 0: none */
} view_of_caches;

static void take_core(os_machine *machine, const PROCESSOR_RELATIONSHIP *core)
{
    for (uint32_t i = 0; i < machine->count; i++)
        if (masks_have(&machine->cpus[i], core->GroupMask, core->GroupCount))
            machine->cpus[i].core = least_of(core->GroupMask, core->GroupCount);
}

static void take_cache(os_machine *machine, const CACHE_RELATIONSHIP *cache, view_of_caches *view)
{
    bool is_used = false;

    if (cache->Type == CacheInstruction || cache->Type == CacheTrace)
        return;
    for (uint32_t i = 0; i < machine->count; i++) {
        if (!masks_have(&machine->cpus[i], &cache->GroupMask, 1))
            continue;
        is_used = true;
        if (cache->Level > view->level[i]) {
            view->level[i] = cache->Level;
            machine->cpus[i].cache = least_of(&cache->GroupMask, 1);
        }
    }
    if (!is_used)
        return;
    if (view->size[cache->Level] == 0 || cache->CacheSize < view->size[cache->Level])
        view->size[cache->Level] = cache->CacheSize;
    if (cache->Level > view->last)
        view->last = cache->Level;
}

static void take_node(os_machine *machine, const NUMA_NODE_RELATIONSHIP *node)
{
    for (uint32_t i = 0; i < machine->count; i++)
        if (masks_have(&machine->cpus[i], &node->GroupMask, 1))
            machine->cpus[i].node = node->NodeNumber;
}

static void take_facts(os_machine *machine, const char *facts, DWORD size)
{
    view_of_caches view = {.last = 0};
    const fact *fact;

    for (DWORD at = 0; at < size; at += fact->Size) {
        fact = (const void *)(facts + at);
        if (fact->Relationship == RelationProcessorCore)
            take_core(machine, &fact->Processor);
        else if (fact->Relationship == RelationCache)
            take_cache(machine, &fact->Cache, &view);
        else if (fact->Relationship == RelationNumaNode)
            take_node(machine, &fact->NumaNode);
    }
    machine->cache = view.size[view.last];
    machine->core_cache = view.last > 0 ? view.size[view.last - 1] : 0;
}

static int machine_describe(os_machine *machine)
{
    DWORD size = 0;
    char *facts;
    int rc = 0;

    for (uint32_t i = 0; i < machine->count; i++)
        machine->cpus[i].core = machine->cpus[i].number;
    GetLogicalProcessorInformationEx(RelationAll, NULL, &size);
    facts = malloc(size);
    if (!facts)
        return error_detail(XF_ENOMEM, "%lu bytes for facts about processors", (unsigned long)size);
    if (GetLogicalProcessorInformationEx(RelationAll, (fact *)facts, &size))
        take_facts(machine, facts, size);
    else
        rc = os_error(GetLastError(), "GetLogicalProcessorInformationEx");
    free(facts);
    quota_describe(machine);
    return rc;
}

/* ---- This process ---------------------------------------------------------------------------- */

/* Finds the processors that this process may use.  A process in several groups has the mask 0, and may run on all
 * processors; any other process is in its threads' group.  GetProcessGroupAffinity would tell more, but Wine does not
 * have it. */
static int find_cpus(os_machine *machine)
{
    GROUP_AFFINITY thread;
    DWORD_PTR own = 0, system = 0;

    if (!GetProcessAffinityMask(GetCurrentProcess(), &own, &system))
        return os_error(GetLastError(), "GetProcessAffinityMask");
    if (!GetThreadGroupAffinity(GetCurrentThread(), &thread))
        return os_error(GetLastError(), "GetThreadGroupAffinity");
    if (own != 0)
        add_group(machine, thread.Group, own & thread.Mask);
    for (WORD i = 0; i < GetActiveProcessorGroupCount() && own == 0; i++)
        add_group(machine, i, (KAFFINITY)-1 >> (GROUP_CPUS - GetActiveProcessorCount(i)));
    return machine->count > 0 ? 0 : error_detail(XF_ESYSTEM, "GetProcessAffinityMask reports no processor");
}

int os_machine_read(os_machine *machine)
{
    int rc;

    memset(machine, 0, sizeof *machine);
    rc = find_cpus(machine);
    return rc < 0 ? rc : machine_describe(machine);
}

static int bind_error(const char *call)
{
    DWORD system = GetLastError();

    return system == ERROR_INVALID_PARAMETER
               ? error_detail(XF_EINVAL, "%s: this process may use none of these processors", call)
               : os_error(system, call);
}

uint64_t os_machine_spare(bool limited)
{
    MEMORYSTATUSEX memory = {.dwLength = sizeof memory};
    os_machine machine = {0};
    uint64_t spare;

    if (!GlobalMemoryStatusEx(&memory))
        return 0;
    spare = memory.ullAvailPhys < memory.ullAvailPageFile ? memory.ullAvailPhys : memory.ullAvailPageFile;
    if (limited)
        quota_describe(&machine);
    return machine.memory_limit && machine.memory_limit < spare ? machine.memory_limit : spare;
}

/* SetProcessAffinityMask works for a process in one group, and refuses bits that the process may not have. */
int os_self_bind(const os_cpu_set *set)
{
    GROUP_AFFINITY wanted = {0}, now;
    DWORD_PTR own = 0, system = 0;

    while (wanted.Group + 1 < GROUPS_MAX && !set->words[wanted.Group])
        wanted.Group++;
    wanted.Mask = (KAFFINITY)set->words[wanted.Group];
    if (!GetThreadGroupAffinity(GetCurrentThread(), &now) ||
        !GetProcessAffinityMask(GetCurrentProcess(), &own, &system))
        return os_error(GetLastError(), "GetProcessAffinityMask");
    if (own != 0 && now.Group == wanted.Group)
        return SetProcessAffinityMask(GetCurrentProcess(), wanted.Mask & system) ? 0
                                                                                 : bind_error("SetProcessAffinityMask");
    return SetThreadGroupAffinity(GetCurrentThread(), &wanted, NULL) ? 0 : bind_error("SetThreadGroupAffinity");
}

size_t os_self_memory(void)
{
    return 0;
}

bool os_terminal_colours(int descriptor)
{
    HANDLE console = GetStdHandle(descriptor == 1 ? STD_OUTPUT_HANDLE : STD_ERROR_HANDLE);
    DWORD mode;

    return GetConsoleMode(console, &mode) && SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}
