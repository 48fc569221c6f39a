/* The other side of a host: fetching what can be had at a name. */
#ifndef VISIT_H
#define VISIT_H

#include "objects/object.h"
#include "rendezvous/handshake.h"

typedef struct visit {
    char name[OS_NAME_MAX + 1];
    hello_key key;
    talk talk;
    object *object; /* what was granted, open until visit_end */
    xf_ref ref;     /* which opens it in this process meanwhile */
} visit;

/* Goes to a name, and asks for what is there.
 *   memory  For XF_KIND_PIPE: how many bytes it may have for long messages.
 * As xf_connect. */
int visit_begin(visit *visit, const char *name, const xf_key *key, xf_object_kind kind, uint64_t memory,
                uint64_t deadline);

/* Ends that.
 *   rc  Whether it could be opened: 0 is told to the host.
 * Returns rc, or what went wrong with telling. */
int visit_end(visit *visit, int rc);

#endif
