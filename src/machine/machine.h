/* The machine, and how many workers it can keep busy. */
#ifndef MACHINE_H
#define MACHINE_H

#include "crossfork/advise.h"
#include "os/machine.h"

/* Does what os_machine_read does.  Where the system does not report caches, hwloc finds them. */
int machine_read(os_machine *machine);

/* The numbers of cores (without second hardware threads), of last-level caches, and of memory nodes. */
int machine_cores(const os_machine *machine);
int machine_caches(const os_machine *machine);
int machine_nodes(const os_machine *machine);

/* How many workers can be busy at a time: one for each core, but no more than the quota allows, rounded up. */
int machine_workers(const os_machine *machine);

/* The bytes of memory that this process and its children can have. */
uint64_t machine_memory(const os_machine *machine);

/* machine_workers and machine_memory, as pools need them.  They are kept, because reading them takes many files, and
 * read again when the number of processors that this process may use has changed.  As os_machine_read. */
int machine_outline(int *workers, uint64_t *memory);

/* The bytes of memory that a pool may take by default: a share of what is left, with which the machine and the group go
 * on.
 *   memory  Of machine_outline. */
uint64_t machine_pool_memory(uint64_t memory);

/* The places of workers, in the order in which workers get them; after the last place comes the first again.
 *   places  Set to an array that the caller frees with free; NULL for XF_PLACEMENT_NONE.
 *   count   Set to its length.
 * XF_ENOMEM; as os_machine_read. */
int machine_places(xf_placement placement, os_cpu_set **places, uint32_t *count);

#endif
