/* Answers to the requests of children: to open objects, to share them, and to close them. */
#ifndef OBJECT_SERVER_H
#define OBJECT_SERVER_H

#include "objects/object_table.h"
#include "os/child.h"

typedef struct frame frame;

/* Does what a frame of a child asks for, when it is about objects.
 * XF_EPROTO when the child is broken or hostile: the frame is malformed, or the child does not read its answers. */
int object_server_receive(object_child *child, os_child *process, const frame *frame);

/* Closes everything that a child had open, after it has ended. */
void object_server_forget(object_child *child);

#endif
