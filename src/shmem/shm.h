/* The user's shared memory, as other parts of the library see it. */
#ifndef SHM_H
#define SHM_H

#include "crossfork/shm.h"
#include "objects/object.h"
#include "rendezvous/publication.h"

enum { SHM_VERSION = 1 };

/* Where the data ends now, as an offset in the object's body.  Never behind the body, whatever a peer has written. */
uint64_t shm_end(const object *object);

struct xf_shm {
    object *object;
    os_shm view; /* a mapping for reading only; no address: data is in the mapping of the object */
    char *data;
    publication *publication; /* its name for unrelated processes; NULL: it has none */
};

#endif
