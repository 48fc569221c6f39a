#include "machine/machine.h"

#include "base/error.h"
#include "machine/topology.h"

#include <stddef.h>
#include <stdlib.h>
#include <uv.h>

int machine_read(os_machine *machine)
{
    int rc = os_machine_read(machine);

    if (rc == 0 && machine->cache == 0)
        topology_complete(machine);
    return rc;
}

/* ---- What there is --------------------------------------------------------------------------- */

/* What several processors share: a member of os_cpu. */
typedef size_t share;

static const share CORE = offsetof(os_cpu, core), CACHE = offsetof(os_cpu, cache), NODE = offsetof(os_cpu, node);

static uint32_t shared_by(const os_machine *machine, uint32_t cpu, share what)
{
    return *(const uint32_t *)((const char *)&machine->cpus[cpu] + what);
}

/* Whether it is the first that has that share. */
static bool is_first(const os_machine *machine, uint32_t cpu, share what)
{
    uint32_t i = 0;

    while (shared_by(machine, i, what) != shared_by(machine, cpu, what))
        i++;
    return i == cpu;
}

static int count_shares(const os_machine *machine, share what)
{
    int count = 0;

    for (uint32_t i = 0; i < machine->count; i++)
        count += is_first(machine, i, what);
    return count;
}

int machine_cores(const os_machine *machine)
{
    return count_shares(machine, CORE);
}

int machine_caches(const os_machine *machine)
{
    return count_shares(machine, CACHE);
}

int machine_nodes(const os_machine *machine)
{
    return count_shares(machine, NODE);
}

/* Part of a processor is worth a worker: one that rests now and then does more than one that is not there. */
int machine_workers(const os_machine *machine)
{
    int cores = machine_cores(machine);
    int whole = machine->quota < cores ? (int)machine->quota : cores;

    if (machine->quota == 0 || machine->quota >= cores)
        return cores;
    return whole < machine->quota ? whole + 1 : whole;
}

uint64_t machine_memory(const os_machine *machine)
{
    uint64_t all = uv_get_total_memory();

    return machine->group != 0 && machine->group < all ? machine->group : all;
}

int machine_outline(int *workers, uint64_t *memory)
{
    static _Atomic uint64_t known_workers, known_memory; /* workers, and above them the processors that there were */
    uint64_t processors = uv_available_parallelism(), known = atomic_load(&known_workers);
    os_machine machine;
    int rc;

    if (known >> 32 != processors) {
        rc = os_machine_read(&machine);
        if (rc < 0)
            return rc;
        known = processors << 32 | (uint32_t)machine_workers(&machine);
        atomic_store(&known_memory, machine_memory(&machine));
        atomic_store(&known_workers, known);
    }
    *workers = (int)(uint32_t)known;
    *memory = atomic_load(&known_memory);
    return 0;
}

/* ---- Places ---------------------------------------------------------------------------------- */

/* How many of what comes before it are in the same larger share. */
static uint32_t rank_of(const os_machine *machine, uint32_t cpu, share what, share within)
{
    uint32_t rank = 0;

    for (uint32_t i = 0; i < cpu && !(shared_by(machine, i, what) == shared_by(machine, cpu, what)); i++)
        rank += is_first(machine, i, what) && shared_by(machine, i, within) == shared_by(machine, cpu, within);
    return rank;
}

/* The first core of each cache comes before the second of any, and the first cache of each node likewise. */
static uint64_t turn_of(const os_machine *machine, uint32_t cpu)
{
    uint64_t core = rank_of(machine, cpu, CORE, CACHE), cache = rank_of(machine, cpu, CACHE, NODE);

    return core << 40 | cache << 20 | cpu;
}

static int in_order(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

static os_cpu_set all_that_share(const os_machine *machine, uint32_t cpu, share what)
{
    os_cpu_set set = {{0}};

    for (uint32_t i = 0; i < machine->count; i++) {
        uint32_t number = machine->cpus[i].number;
        if (shared_by(machine, i, what) == shared_by(machine, cpu, what))
            set.words[number / 64] |= UINT64_C(1) << number % 64;
    }
    return set;
}

int machine_places(xf_placement placement, os_cpu_set **places, uint32_t *count)
{
    share what = placement == XF_PLACEMENT_CORES ? CORE : NODE;
    uint64_t turns[OS_CPUS_MAX];
    os_machine machine;
    uint32_t length = 0;
    int rc = 0;

    *places = NULL;
    *count = 0;
    if (placement == XF_PLACEMENT_NONE)
        return 0;
    rc = machine_read(&machine);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < machine.count; i++)
        if (is_first(&machine, i, what))
            turns[length++] = turn_of(&machine, i);
    qsort(turns, length, sizeof *turns, in_order);
    *places = malloc(length * sizeof **places);
    if (!*places)
        return error_detail(XF_ENOMEM, "the places of workers");
    for (uint32_t i = 0; i < length; i++)
        (*places)[i] = all_that_share(&machine, turns[i] & 0xFFFFF, what);
    *count = length;
    return 0;
}
