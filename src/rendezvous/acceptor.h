/* An acceptor: a named endpoint, and the handshakes in progress on it. */
#ifndef ACCEPTOR_H
#define ACCEPTOR_H

#include "rendezvous/handshake.h"

enum { ACCEPTOR_STEP_TIMEOUT_MS = 5000 }; /* unless the user sets another */

/* A handshake in progress. */
typedef struct acceptor_pending {
    handshake_session session;
    handshake_kind expected;
    uint64_t deadline;   /* for that message */
    uint64_t memory_max; /* the most memory that the other side accepts for a pipe */
    void *granted;       /* this side's part of the object that the other side gets; NULL: nothing is granted yet */
} acceptor_pending;

typedef struct acceptor {
    char name[OS_NAME_MAX + 1];
    os_endpoint *endpoint;
    handshake_key key;
    int step_timeout_ms; /* for each message of the other side */
    acceptor_pending pending[OS_CHANNELS_MAX];
    size_t count;

    /* The owner sets the following before acceptor_open. */
    xf_object_kind kind; /* of the objects that are granted here */

    /* Makes the object for a process that has proved the key.
     *   ref      Set to a reference to it.
     *   granted  Set to this side's part, which keeps the object open; not NULL. */
    int (*grant)(struct acceptor *acceptor, const acceptor_pending *pending, xf_ref *ref, void **granted);

    /* Takes it back when the other side closes the connection before it has opened the object. */
    void (*revoke)(void *granted);
} acceptor;

/* Takes the name.  As xf_listener_create. */
int acceptor_open(acceptor *acceptor, const char *name, const xf_key *key);

/* Continues the handshakes until one of the other processes has opened its object.
 *   granted  Set to this side's part of it.
 * XF_ETIMEDOUT; XF_EEND after acceptor_stop; XF_EACCESS when a process was rejected for its key; XF_EHANDLES, XF_ENOMEM
 * and others when a process was rejected for a reason on this side. Threads: one at a time. */
int acceptor_accept(acceptor *acceptor, void **granted, uint64_t deadline);

/* Makes acceptor_accept return XF_EEND, in any thread, now and from now on. */
void acceptor_stop(acceptor *acceptor);

void acceptor_close(acceptor *acceptor);

/* In a forked copy of the process that opened it: the handshakes in progress are the parent's, and stay as they are. */
void acceptor_let_go(acceptor *acceptor);

#endif
