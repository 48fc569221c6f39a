/* References: how an object that processes share is handed over.
 *
 *     xf_ref ref;
 *     xf_lock_ref(lock, &ref);                             // in one process
 *     xf_process_start(&process, &task, &ref, sizeof ref, NULL);
 *
 *     xf_lock_open(&lock, &ref);                           // in the task, whose input is the xf_ref
 *
 * A reference is a few plain bytes without a pointer or a handle in it.  It can be copied, be a member of a task's
 * input, be sent in a message, a queue or a pipe.  Any process of the family (the program, its children, theirs, and so
 * on) opens it; what it needs for that, it asks its parent for.
 *
 * An object is there as long as some process has it open, however the others end: the last one that closes it or ends,
 * in whatever way, takes it along, and nothing of it stays behind in the system.  So whoever hands a reference over
 * keeps the object open until the receiver has opened it. */
#ifndef CROSSFORK_REF_H
#define CROSSFORK_REF_H

#include "export.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a reference is of. */
typedef enum xf_object_kind {
    XF_KIND_NONE = 0,
    XF_KIND_HANDLE, /* an open file, socket or HANDLE, to be taken once */
    XF_KIND_SHM,
    XF_KIND_LOCK,
    XF_KIND_RWLOCK,
    XF_KIND_SEMAPHORE,
    XF_KIND_CONDITION,
    XF_KIND_EVENT,
    XF_KIND_BARRIER,
    XF_KIND_ONCE,
    XF_KIND_QUEUE,
    XF_KIND_PIPE,
    XF_KIND_HEAP
} xf_object_kind;

/* Names an object.  All zero names none.  Two are of the same object when their bytes are the same. */
typedef struct xf_ref {
    uint64_t id[2];
    uint32_t kind;     /* an xf_object_kind */
    uint32_t reserved; /* crossfork's own */
} xf_ref;

/* Hands over an open file, socket or other handle of the system, once: names a copy of it, which the first process that
 * asks for it takes.  The copy is closed when this process ends before that; until then it can be taken back.
 *   handle  An fd, or a HANDLE; it stays the caller's.  Of a libuv handle: what uv_fileno gives.
 *   ref     Set to what names the copy.
 * Returns 0; XF_EINVAL when it is none; XF_EHANDLES, XF_ENOMEM; XF_ELIMIT when this is a child that has given out too
 * many; XF_EEND when this is a child and its parent has gone.
 * Systems: Windows hands over what DuplicateHandle can copy, which sockets are with the system's own providers. */
XF_API int xf_handle_ref(intptr_t handle, xf_ref *ref);

/* Takes what xf_handle_ref has named, in any process of the family.
 *   handle  Set to the fd or HANDLE, which is the caller's then, and not inherited by what the caller starts.
 * Returns 0; XF_EINVAL when the reference is of something else; XF_ENOENT when it has been taken, or has gone;
 * XF_EHANDLES, XF_ENOMEM; XF_EEND when this is a child and its parent has gone. */
XF_API int xf_handle_take(const xf_ref *ref, intptr_t *handle);

#ifdef __cplusplus
}
#endif

#endif
