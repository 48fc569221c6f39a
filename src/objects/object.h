/* Objects that processes share: each has a segment and a random id, and is handed from process to process.
 *
 * Each process has a table of the objects that it or one of its children has open.  A child that opens a reference
 * which it does not know asks its parent, which looks in its table or asks its own parent in turn.  A child that makes
 * a reference to an object first gives the object to its parent.  So the root of a process tree knows every object that
 * more than one process can know, and each process below it knows the objects that are open below itself.  An object
 * leaves a table when neither the process nor any of its children has it open; a child that ends has nothing open. */
#ifndef OBJECT_H
#define OBJECT_H

#include "crossfork/ref.h"
#include "os/memory.h"

enum { OBJECT_HEAD = 128 }; /* bytes before the body, which is aligned to as many */

/* An object that this process has open.  A forked child has none of its parent's open, and does not have them
 * mapped. */
typedef struct object {
    os_shm shm;  /* the whole segment; for the functions of the seam */
    void *body;  /* belongs to the kind of object; zero-filled when the object is created */
    size_t size; /* of the body */
    xf_ref ref;
} object;

/* Creates an object, and opens it.
 *   version  Of the body's layout.
 *   flags    OS_SHM_RESERVED, or 0.  Processes can always sleep on words of the object.  Only the head is committed.
 * XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
int object_create(object **object, xf_object_kind kind, uint32_t version, size_t size, int flags);

/* Opens the object of a reference, which is the same object again when this process has it open already.
 * XF_EINVAL when it is of another kind; XF_ENOENT when no process has it open any more; XF_EEND when the parent has
 * exited; XF_ELIMIT when a child has opened too many; XF_EPROTO, XF_ENOMEM, XF_EHANDLES.  Threads: any. */
int object_open(object **object, const xf_ref *ref, xf_object_kind kind, uint32_t version);

/* Opens the object of a reference, whatever kind it is of. */
int object_open_any(object **object, const xf_ref *ref);

/* Opens an object of an unrelated process, and enters it into the table, so that this process can open its reference.
 *   handle, size, flags  Its segment, as the other process describes it.  The object owns the handle then, and on
 *                        failure it is closed.
 * XF_EPROTO when the segment is not that object; XF_ENOMEM. */
int object_adopt(object **object, const xf_ref *ref, intptr_t handle, uint64_t size, int flags);

/* Makes a reference with which other processes can open the object.  XF_EEND, XF_EHANDLES, XF_ENOMEM, XF_ELIMIT. */
int object_ref(object *object, xf_ref *ref);

/* Whether this process opened the object: false in a forked copy of the process that did, where it is not mapped. */
bool object_is_own(const object *object);

/* XF_ESTATE, for calls on an object that is not. */
int object_not_own(void);

/* Closes an object, once for each time that it was created, opened or adopted.  NULL is harmless. */
void object_close(object *object);

/* The address of an offset in the body, and back: objects refer to parts of themselves by offsets. */
static inline void *object_at(const object *object, uint64_t offset)
{
    return (char *)object->body + offset;
}

static inline uint64_t object_offset(const object *object, const void *address)
{
    return (uint64_t)((const char *)address - (const char *)object->body);
}

#endif
