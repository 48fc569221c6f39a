/* Keys, by which unrelated programs prove to each other that they belong together: see listener.h and
 * xf_shm_publish. */
#ifndef CROSSFORK_KEY_H
#define CROSSFORK_KEY_H

#include <stddef.h>

/* A secret that two programs share: 16 to 1,024 random bytes.  All zero: none.  Do not put it on a command line
 * or into the environment, where others can read it. */
typedef struct xf_key {
    const void *bytes; /* size bytes, copied */
    size_t size;
    const char *file; /* in place of bytes: the path of a file whose whole content is the key.  On POSIX this user must
                         own it, and others must have no rights to it (mode 600); Windows does not check that */
} xf_key;

#endif
