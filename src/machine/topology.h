/* Caches and memory nodes, where the system itself does not tell of them. */
#ifndef TOPOLOGY_H
#define TOPOLOGY_H

#include "os/os.h"

/* Fills in caches and nodes; leaves all as it was when nothing is known, or crossfork was built without hwloc.  Takes
 * some 10 ms. */
void topology_complete(os_machine *machine);

#endif
