/* The machine, as those see it who have workers to start. */
#ifndef MACHINE_H
#define MACHINE_H

#include "os.h"

/* How many cores there are; second threads of cores do not count. */
int machine_cores(const os_machine *machine);

/* How many workers can be busy at a time: one for each core, but no more than the quota allows, rounded up. */
int machine_workers(const os_machine *machine);

/* Bytes of memory that this process and its children can have. */
uint64_t machine_memory(const os_machine *machine);

/* What pools go by: machine_workers and machine_memory, which are looked up again when this process may use more or
 * fewer processors than it did: that takes many files.  As os_machine_read. */
int machine_outline(int *workers, uint64_t *memory);

#endif
