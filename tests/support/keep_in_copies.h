/* An object that copies of a test's process use, which the test forks (POSIX). */
#ifndef KEEP_IN_COPIES_H
#define KEEP_IN_COPIES_H

#include "objects/object_table.h"
#include "os/identity.h"
#include "unit.h"

#include <pthread.h>
#include <sys/mman.h>

static object_entry *kept_in_copies; /* not closed when the test forks */

static inline void own_kept_object(void)
{
    kept_in_copies->generation = os_self_generation();
}

/* A copy does not have a process's objects mapped, and its calls on them are refused: except for the last one here. */
static inline void keep_in_copies(object *object)
{
    assert_int_equal(madvise(object->shm.address, object->shm.size, MADV_DOFORK), 0);
    if (!kept_in_copies)
        assert_int_equal(pthread_atfork(NULL, NULL, own_kept_object), 0);
    kept_in_copies = (object_entry *)object;
}

#endif
