#include "machine/machine.h"

#include "base/error.h"
#include "machine/topology.h"

#include <stdlib.h>
#include <uv.h>

int machine_read(os_machine *machine)
{
    int rc = os_machine_read(machine);

    if (rc == 0 && machine->cache == 0)
        topology_complete(machine);
    return rc;
}

/* ---- Counts ---------------------------------------------------------------------------------- */

/* What several processors share. */
typedef enum share_kind { SHARE_CORE, SHARE_CACHE, SHARE_NODE } share_kind;

/* The number of the core, cache or node that a processor belongs to. */
static uint32_t number_of(const os_machine *machine, uint32_t cpu, share_kind kind)
{
    switch (kind) {
    case SHARE_CORE:
        return machine->cpus[cpu].core;
    case SHARE_CACHE:
        return machine->cpus[cpu].cache;
    default:
        return machine->cpus[cpu].node;
    }
}

/* Whether no processor before this one belongs to the same core, cache or node. */
static bool is_first_of_share(const os_machine *machine, uint32_t cpu, share_kind kind)
{
    uint32_t i = 0;

    while (number_of(machine, i, kind) != number_of(machine, cpu, kind))
        i++;
    return i == cpu;
}

static int count_shares(const os_machine *machine, share_kind kind)
{
    int count = 0;

    for (uint32_t i = 0; i < machine->count; i++)
        count += is_first_of_share(machine, i, kind);
    return count;
}

int machine_cores(const os_machine *machine)
{
    return count_shares(machine, SHARE_CORE);
}

int machine_caches(const os_machine *machine)
{
    return count_shares(machine, SHARE_CACHE);
}

int machine_nodes(const os_machine *machine)
{
    return count_shares(machine, SHARE_NODE);
}

/* Rounds the quota up: a worker that is throttled part of the time still does more than none. */
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

    return machine->memory_limit != 0 && machine->memory_limit < all ? machine->memory_limit : all;
}

int machine_outline(int *workers, uint64_t *memory)
{
    /* known_workers has the workers in its low half, and in the high half the processors that they were computed
     * for. */
    static _Atomic uint64_t known_workers, known_memory;
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

uint64_t machine_pool_memory(uint64_t memory)
{
    enum { PERCENT = 60 };
    uint64_t spare = os_machine_spare(memory < uv_get_total_memory());

    if (spare == 0 || spare > memory)
        spare = memory;
    return spare / 100 * PERCENT;
}

/* ---- Places ---------------------------------------------------------------------------------- */

/* Counts the cores (or caches) before this processor's own that belong to the same larger share. */
static uint32_t rank_of(const os_machine *machine, uint32_t cpu, share_kind kind, share_kind within)
{
    uint32_t rank = 0;

    for (uint32_t i = 0; i < cpu && !(number_of(machine, i, kind) == number_of(machine, cpu, kind)); i++)
        rank += is_first_of_share(machine, i, kind) && number_of(machine, i, within) == number_of(machine, cpu, within);
    return rank;
}

/* The first core of each cache comes before the second of any, and the first cache of each node likewise. */
static uint64_t placing_order(const os_machine *machine, uint32_t cpu)
{
    uint64_t core = rank_of(machine, cpu, SHARE_CORE, SHARE_CACHE),
             cache = rank_of(machine, cpu, SHARE_CACHE, SHARE_NODE);

    return core << 40 | cache << 20 | cpu;
}

static int compare_order(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

static os_cpu_set cpus_that_share(const os_machine *machine, uint32_t cpu, share_kind kind)
{
    os_cpu_set set = {{0}};

    for (uint32_t i = 0; i < machine->count; i++) {
        uint32_t number = machine->cpus[i].number;
        if (number_of(machine, i, kind) == number_of(machine, cpu, kind))
            set.words[number / 64] |= UINT64_C(1) << number % 64;
    }
    return set;
}

int machine_places(xf_placement placement, os_cpu_set **places, uint32_t *count)
{
    share_kind kind = placement == XF_PLACEMENT_CORES ? SHARE_CORE : SHARE_NODE;
    uint64_t orders[OS_CPUS_MAX];
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
        if (is_first_of_share(&machine, i, kind))
            orders[length++] = placing_order(&machine, i);
    qsort(orders, length, sizeof *orders, compare_order);
    *places = malloc(length * sizeof **places);
    if (!*places)
        return error_detail(XF_ENOMEM, "the places of workers");
    for (uint32_t i = 0; i < length; i++)
        (*places)[i] = cpus_that_share(&machine, orders[i] & 0xFFFFF, kind);
    *count = length;
    return 0;
}
