#include "machine.h"

#include <uv.h>

int machine_cores(const os_machine *machine)
{
    int cores = 0;

    for (uint32_t i = 0; i < machine->count; i++) {
        uint32_t j = 0;
        while (machine->cpus[j].core != machine->cpus[i].core)
            j++;
        cores += j == i;
    }
    return cores;
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
