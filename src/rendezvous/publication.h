/* A name that an object has for programs that are not of the family, and the thread that gives the object to those who
 * come for it. */
#ifndef NOTICE_H
#define NOTICE_H

#include "crossfork/key.h"
#include "objects/object.h"

typedef struct notice notice;

/* Gives the object a name, until notice_close, or until this process ends.  The caller has the object open meanwhile.
 * XF_EEXIST when the name is taken; XF_EPROCESSES when there can be no more threads; as xf_listener_create. */
int notice_open(notice **notice, object *object, const char *name, const xf_key *key);

/* Takes the name away; nobody is given the object any more.  NULL is harmless. */
void notice_close(notice *notice);

/* How many threads of this process do that. */
int notice_threads(void);

#endif
