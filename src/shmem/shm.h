/* Shared memory of the user's, inside. */
#ifndef SHM_H
#define SHM_H

#include "crossfork/shm.h"
#include "objects/object.h"
#include "rendezvous/publication.h"

enum { SHM_VERSION = 1 };

/* Where the data end now, as an offset in the object's body; inside it, whatever others have written there. */
uint64_t shm_end(const object *object);

struct xf_shm {
    object *object;
    os_shm view; /* for reading only; no address: the object's own mapping is used */
    char *data;
    publication *publication; /* its name for unrelated processes; NULL: it has none */
};

#endif
