#include "lockfree/liveness.h"

#include "os/identity.h"

/* Where the process is remembered. */
static unsigned liveness_find(liveness *cache, uint64_t process)
{
    unsigned at;

    for (at = 0; at < LIVENESS_PROCESSES; at++)
        if (cache->processes[at] == process)
            return at;
    at = cache->next++ % LIVENESS_PROCESSES;
    cache->processes[at] = process;
    cache->dead[at] = !os_process_lives(process);
    return at;
}

bool liveness_is_dead(liveness *cache, uint64_t process)
{
    return process != 0 && cache->dead[liveness_find(cache, process)];
}

bool liveness_take_dead(liveness *cache, uint64_t process)
{
    bool *dead = process == 0 ? NULL : &cache->dead[liveness_find(cache, process)];
    bool found = dead && *dead;

    if (found)
        *dead = false;
    return found;
}
