/* The machine, as those see it who have workers to start. */
#ifndef MACHINE_H
#define MACHINE_H

#include "crossfork/advise.h"
#include "os/os.h"

/* As os_machine_read, and asks hwloc where the system does not tell of caches. */
int machine_read(os_machine *machine);

/* How many cores there are, second threads aside; last caches; memory nodes. */
int machine_cores(const os_machine *machine);
int machine_caches(const os_machine *machine);
int machine_nodes(const os_machine *machine);

/* How many workers can be busy at a time: one for each core, but no more than the quota allows, rounded up. */
int machine_workers(const os_machine *machine);

/* Bytes of memory that this process and its children can have. */
uint64_t machine_memory(const os_machine *machine);

/* What pools go by: machine_workers and machine_memory, which are looked up again when this process may use more or
 * fewer processors than it did: that takes many files.  As os_machine_read. */
int machine_outline(int *workers, uint64_t *memory);

/* The places of workers, one after the other, and from the first again.
 *   places  Set to an array that the caller frees with free; NULL for XF_PLACEMENT_NONE.
 *   count   Set to its length.
 * XF_ENOMEM; as os_machine_read. */
int machine_places(xf_placement placement, os_cpu_set **places, uint32_t *count);

#endif
