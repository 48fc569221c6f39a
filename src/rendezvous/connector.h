/* A connector: the side of a handshake that connects to an acceptor and gets an object. */
#ifndef CONNECTOR_H
#define CONNECTOR_H

#include "objects/object.h"
#include "rendezvous/handshake.h"

typedef struct connector {
    char name[OS_NAME_MAX + 1];
    handshake_key key;
    handshake_session session;
    object *object; /* the granted object, open until connector_close */
    xf_ref ref;     /* opens the object in this process meanwhile */
} connector;

/* Connects to a name, and gets the object that is granted there.
 *   memory_max  For XF_KIND_PIPE: the most memory that the pipe may have for long messages, in bytes.
 * As xf_connect. */
int connector_open(connector *connector, const char *name, const xf_key *key, xf_object_kind kind, uint64_t memory_max,
                   uint64_t deadline);

/* Ends the handshake.
 *   rc  0: the object has been opened, which the acceptor is informed of; otherwise why it has not.
 * Returns rc, or the error of informing the acceptor. */
int connector_close(connector *connector, int rc);

#endif
