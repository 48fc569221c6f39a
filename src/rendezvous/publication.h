/* A publication: a name for an object, and the thread that hands the object to processes that look the name up. */
#ifndef PUBLICATION_H
#define PUBLICATION_H

#include "crossfork/key.h"
#include "objects/object.h"

typedef struct publication publication;

/* Publishes an object under a name, until publication_close or the end of this process.  The caller keeps the object
 * open meanwhile. XF_EEXIST when the name is taken; XF_EPROCESSES when no thread can be started; as
 * xf_listener_create. */
int publication_open(publication **publication, object *object, const char *name, const xf_key *key);

/* Gives up the name: no process gets the object any more.  NULL is harmless. */
void publication_close(publication *publication);

/* The number of threads of this process that serve publications. */
int publication_threads(void);

#endif
