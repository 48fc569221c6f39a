/* References: how an object that processes share is handed over.
 *
 *     xf_ref ref;
 *     xf_lock_ref(lock, &ref);                             // in one process
 *     xf_process_start(&process, &task, &ref, sizeof ref, NULL);
 *
 *     xf_lock_open(&lock, &ref);                           // in the task, whose input is the xf_ref
 *
 * A reference is a few plain bytes without a pointer or a handle in it.  It can be copied, be a member of a task's
 * input, be sent in a message, a queue or a pipe.  Any process of the process tree (the program, its children, their
 * children, and so on) can open it; it gets the system's handles for that from its parent.
 *
 * An object exists as long as some process has it open, however the other processes end.  When the last one frees it or
 * ends, in whatever way, the object ends, and nothing of it stays behind in the system.  So a process that hands a
 * reference over keeps the object open until the receiver has opened it. */
#ifndef CROSSFORK_REF_H
#define CROSSFORK_REF_H

#include "export.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The kinds of object that a reference can name. */
typedef enum xf_object_kind {
    XF_KIND_NONE = 0,
    XF_KIND_HANDLE, /* an open file, socket or HANDLE, which can be taken once */
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

/* Names an object; all zero names none.  Two references name the same object when their bytes are the same. */
typedef struct xf_ref {
    uint64_t id[2];
    uint32_t kind;     /* an xf_object_kind */
    uint32_t reserved; /* crossfork's own */
} xf_ref;

/* Hands over an open file, socket or other handle of the system, once: it makes a copy, which the first process that
 * asks takes.  The copy is closed when this process ends before that; until then this process can take it back.
 *   handle  An fd, or a HANDLE; it stays the caller's.  Of a libuv handle: the result of uv_fileno.
 *   ref     Set to the name of the copy.
 * Returns 0; XF_EINVAL for an invalid handle; XF_EHANDLES, XF_ENOMEM; XF_ELIMIT when this is a child that has named too
 * many; XF_EEND when this is a child and its parent has ended.
 * Systems: Windows hands over handles that DuplicateHandle can copy; sockets of the system's own providers are such. */
XF_API int xf_handle_ref(intptr_t handle, xf_ref *ref);

/* Takes a handle that xf_handle_ref has named, in any process of the process tree.
 *   handle  Set to the fd or HANDLE, which is the caller's then; processes that the caller starts do not inherit it.
 * Returns 0; XF_EINVAL when the reference names something else; XF_ENOENT when the handle was taken, or its owner
 * ended; XF_EHANDLES, XF_ENOMEM; XF_EEND when this is a child and its parent has ended. */
XF_API int xf_handle_take(const xf_ref *ref, intptr_t *handle);

#ifdef __cplusplus
}
#endif

#endif
