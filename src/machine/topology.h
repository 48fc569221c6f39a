/* Caches and memory nodes, on systems that do not report them. */
#ifndef TOPOLOGY_H
#define TOPOLOGY_H

#include "os/machine.h"

/* Fills in caches and nodes.  Changes nothing when they are not known, or when crossfork was built without hwloc.
 * Takes about 10 ms. */
void topology_complete(os_machine *machine);

#endif
