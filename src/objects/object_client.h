/* Requests of a child to its parent: to open objects, to share them, and to close them. */
#ifndef OBJECT_CLIENT_H
#define OBJECT_CLIENT_H

#include "objects/object_table.h"

typedef struct channel channel;

/* Sets the channel on which a child asks its parent.  A process without one is not a child. */
void object_client_open(channel *parent);

/* The answer of the parent to a request. */
typedef struct object_answer {
    int code;
    int flags;       /* of the segment */
    uint64_t size;   /* of the segment */
    intptr_t handle; /* belongs to the caller; -1: none came */
} object_answer;

/* Asks the parent for an object. XF_ENOENT when no process has it open, or this process is not a child; XF_EEND when
 * the parent has exited; the parent's code when it refused. */
int object_client_ask(const xf_ref *ref, object_answer *answer);

/* Gives the parent the object, so that other processes can open it, and counts that in the entry.  Does nothing in a
 * process that is not a child.  As object_client_ask; XF_EHANDLES. */
int object_client_offer(object_entry *entry);

/* Tells the parent that this process has closed an object, which the parent has counted so many times. */
void object_client_drop(const xf_ref *ref, uint32_t times);

#endif
