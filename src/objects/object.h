/* Objects that processes share: a segment each, found by a random id, and handed over by the parent.
 *
 * Each process has a table of the objects that it has open, or that a child of its has open.  A child that opens a
 * reference it does not know asks its parent, which looks in its table or asks its own parent in turn; a child that
 * gives out a reference tells its parent first.  So the program knows every object that more than one process can know
 * of, and each process in between those that are open below it.  An object leaves a table when neither the process nor
 * any child of its has it open; the end of a child closes what it had open. */
#ifndef OBJECT_H
#define OBJECT_H

#include "crossfork/ref.h"
#include "os/os.h"

enum { OBJECT_HEAD = 128 }; /* bytes before the body, which is aligned to as many */

/* This process's hold of an object.  In a forked child none of its parent's are valid, nor mapped. */
typedef struct object {
    os_shm shm;  /* all of it; for os_shm_wait, os_shm_ring, os_shm_commit */
    void *body;  /* what the kind makes of it; zero-filled when the object is created */
    size_t size; /* of the body */
    xf_ref ref;
} object;

/* Makes an object, and opens it.
 *   version  Of the body's layout.
 *   flags    OS_SHM_RESERVED, or 0; processes can always sleep on its words.  The head is committed, the body is not.
 * XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
int object_create(object **object, xf_object_kind kind, uint32_t version, size_t size, int flags);

/* Opens what a reference names; the same object again when this process has it open already.
 * XF_EINVAL (of another kind), XF_ENOENT (no process has it open any more), XF_EEND (the parent has gone), XF_EPROTO,
 * XF_ENOMEM, XF_EHANDLES, XF_ELIMIT (a child has opened too many).  Threads: any. */
int object_open(object **object, const xf_ref *ref, xf_object_kind kind, uint32_t version);

/* Sees to it that other processes can open it, and names it.
 * XF_EEND, XF_EHANDLES, XF_ENOMEM, XF_ELIMIT. */
int object_ref(object *object, xf_ref *ref);

/* Opens whatever kind of object a reference names. */
int object_hold(object **object, const xf_ref *ref);

/* Opens an object of a process that is not of the family, and puts it where this process finds it by its reference.
 *   handle, size, flags  Its segment, as the other says; the handle is the object's from then on, also on failure.
 * XF_EPROTO when it is not what it is said to be; XF_ENOMEM. */
int object_adopt(object **object, const xf_ref *ref, intptr_t handle, uint64_t size, int flags);

/* Closes it, once for each object_create, object_open, object_hold and object_adopt.  NULL is harmless. */
void object_close(object *object);

/* ---- Handing over ---------------------------------------------------------------------------- */

typedef struct channel channel;
typedef struct wire_frame wire_frame;

/* What a child of this process has open, as this process counts it; starts as {NULL}. */
typedef struct object_child {
    struct holding *first;
    uint32_t count;   /* of the list */
    uint32_t brought; /* how many of them it has made */
} object_child;

enum {
    OBJECT_OPEN_MAX = 65536,  /* objects that a child may have open, */
    OBJECT_BROUGHT_MAX = 1024 /* and of these, objects of its own making that it has given out references of */
};

/* Says in a child that its parent is to be asked. */
void object_begin(channel *above);

/* Does what a frame of a child asks for, if it is about objects.
 * XF_EPROTO when the child is broken or hostile: it does not say what it should, or does not read what it is told. */
int object_serve(object_child *child, os_child *process, const wire_frame *frame);

/* Closes what a child had open, for it has ended. */
void object_forget_child(object_child *child);

/* What is at that offset in the body, and back: how objects refer to parts of themselves. */
static inline void *object_at(const object *object, uint64_t offset)
{
    return (char *)object->body + offset;
}

static inline uint64_t object_offset(const object *object, const void *address)
{
    return (uint64_t)((const char *)address - (const char *)object->body);
}

#endif
