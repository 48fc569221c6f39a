/* A name, its door, and those who have arrived there and are not through with what is to be said (handshake.h). */
#ifndef HOST_H
#define HOST_H

#include "rendezvous/handshake.h"

enum { HOST_PATIENCE_MS = 5000 }; /* unless a user says otherwise */

typedef struct guest {
    talk talk;
    hello_kind expected;
    uint64_t deadline; /* for saying that */
    uint64_t memory;   /* that it wants a pipe to have at most */
    void *given;       /* what grant has made for it; NULL: nothing yet */
} guest;

typedef struct host {
    char name[OS_NAME_MAX + 1];
    os_door *door;
    hello_key key;
    int patience_ms; /* for each thing that a guest has to say */
    guest guests[OS_LINKS_MAX];
    size_t count;

    /* Set by whoever opens it. */
    xf_object_kind kind; /* what can be had here */

    /* Makes what a guest gets that has proved itself.
     *   ref    Set to what names it.
     *   given  Set to what this side keeps of it, not NULL, which has the object open. */
    int (*grant)(struct host *host, const guest *guest, xf_ref *ref, void **given);

    /* Takes it back: the guest has gone before it had opened it. */
    void (*regret)(void *given);
} host;

/* Takes the name.  As xf_listener_create. */
int host_open(host *host, const char *name, const xf_key *key);

/* Looks after the guests until one of them has opened what it was given.
 *   given  Set to this side's part.
 * XF_ETIMEDOUT; XF_EEND after host_stop; XF_EACCESS when one was refused for its key; XF_EHANDLES, XF_ENOMEM and others
 * when one was refused because of this side.
 * Threads: one at a time. */
int host_serve(host *host, void **given, uint64_t deadline);

/* Ends host_serve, now or when it is called, in whichever thread. */
void host_stop(host *host);

void host_close(host *host);

#endif
