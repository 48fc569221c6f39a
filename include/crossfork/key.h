/* Keys, by which programs that are not of one family prove to each other that they belong together: see listener.h and
 * xf_shm_publish. */
#ifndef CROSSFORK_KEY_H
#define CROSSFORK_KEY_H

#include <stddef.h>

/* A secret that two programs share: 16 to 1,024 random bytes.  All zero: none.  It belongs neither on a command line
 * nor into the environment, where others can read it. */
typedef struct xf_key {
    const void *bytes; /* size bytes, copied */
    size_t size;
    const char *file; /* instead: the path of a file whose content it is, all bytes of it.  On POSIX the file must be
                         this user's own and have no rights for others (mode 600); Windows: that is not looked at */
} xf_key;

#endif
