/* Has a pool's books made as they are where the system cannot seal them: workers can write to them. */
#include "faults.h"
#include "os/memory.h"

int REAL(os_shm_create)(os_shm *shm, size_t size, int flags);
int WRAP(os_shm_create)(os_shm *shm, size_t size, int flags);

int WRAP(os_shm_create)(os_shm *shm, size_t size, int flags)
{
    if (flags & OS_SHM_OWNED)
        flags = (flags & ~OS_SHM_OWNED) | OS_SHM_PRIVATE;
    return REAL(os_shm_create)(shm, size, flags);
}
