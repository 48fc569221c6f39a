#include "base/per_process.h"

#include <uv.h>

/* A thread that was initializing in the parent when this process was forked does not run here.  Its mark has the
 * parent's id, and is overwritten. */
void per_process_set_up(_Atomic int64_t *ready_in, void (*initialize)(void))
{
    int64_t own = uv_os_getpid(), seen;

    while ((seen = atomic_load(ready_in)) != own) {
        if (seen == -own || !atomic_compare_exchange_strong(ready_in, &seen, -own))
            continue;
        initialize();
        atomic_store(ready_in, own);
    }
}
