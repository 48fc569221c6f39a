/* Shared memory.
 *
 *     xf_shm *shm;
 *     xf_ref ref;
 *     xf_shm_create(&shm, 1 << 20, NULL);
 *     xf_shm_ref(shm, &ref);                               // to be handed over: see ref.h
 *     ((double *)xf_shm_data(shm))[7] = 1.5;
 *
 *     xf_shm_open(&shm, &ref, XF_SHM_READ);                // in another process
 *
 * No process owns it: it exists as long as some process has it open, and ends with the last one, on every system, also
 * when all of them are killed.  Each process sees it at an address of its own, so data in it refers to other data in it
 * by offsets.
 *
 * It has no name unless a process publishes one, by which unrelated programs find it:
 *
 *     xf_shm *prices;
 *     xf_shm_create(&prices, 1 << 20, NULL);
 *     xf_shm_publish(prices, "prices", NULL);
 *
 *     xf_shm *theirs;                                      // in another program of the same user
 *     xf_shm_find(&theirs, "prices", &(xf_shm_find_options){.access = XF_SHM_READ}, 5000);
 *
 * The name exists until the process that published it frees the memory or ends, in whatever way.  The memory exists, as
 * always, until the last process has freed it or ended: processes that have found it keep it when the name ends. */
#ifndef CROSSFORK_SHM_H
#define CROSSFORK_SHM_H

#include "key.h"
#include "ref.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Shared memory that this process has open. */
typedef struct xf_shm xf_shm;

typedef struct xf_shm_options {
    size_t limit;    /* how large it may grow: addresses are reserved for that much, memory is not; 0: it does not */
    bool huge_pages; /* use few large pages, where the system has them for shared memory: Linux's transparent ones */
} xf_shm_options;

/* How this process uses it. */
typedef enum xf_shm_access {
    XF_SHM_WRITE = 0,
    XF_SHM_READ /* writing to it is an access violation */
} xf_shm_access;

/* Creates shared memory, and opens it for writing.
 *   size     Bytes, not 0; they are zero, and committed: a shortage is an error here, and not when they are first
 *            touched (on Linux from 5.14 on).
 *   options  Borrowed for the call; may be NULL.
 * Returns 0; XF_EINVAL for a size of 0, or a limit below it; XF_ENOMEM; XF_EHANDLES. */
XF_API int xf_shm_create(xf_shm **shm, size_t size, const xf_shm_options *options);

/* Opens the shared memory that a reference names; any process of the process tree may do so, any number of times.
 * Returns 0; XF_EINVAL when the reference names something else; XF_ENOENT when no process has it open any more;
 * XF_ENOMEM; XF_EHANDLES; XF_ELIMIT when this is a child that has too much open; XF_EEND when this is a child and its
 * parent has ended. */
XF_API int xf_shm_open(xf_shm **shm, const xf_ref *ref, xf_shm_access access);

/* Names it, for other processes to open while any process has it open.
 * Returns 0; XF_EHANDLES, XF_ENOMEM; XF_ELIMIT when this is a child that has named too many; XF_EEND when this is a
 * child and its parent has ended. */
XF_API int xf_shm_ref(xf_shm *shm, xf_ref *ref);

/* Its address in this process, at the start of a page; the same until xf_shm_free, also when it grows. */
XF_API void *xf_shm_data(const xf_shm *shm);

/* How many bytes it has now, whichever process has made it grow. */
XF_API size_t xf_shm_size(const xf_shm *shm);

/* Makes it at least that large, in all processes that have it open; they see the new size when they ask for it.  New
 * bytes are zero.  It never shrinks.
 * Returns 0; XF_ELIMIT for more than the limit that it was created with; XF_ESTATE when it is open for reading only;
 * XF_ENOMEM.
 * Threads: any, in any process. */
XF_API int xf_shm_grow(xf_shm *shm, size_t size);

/* Publishes it under a name, by which other programs of this user find it, until this process frees it or ends; nothing
 * of the name stays behind.  An xf_shm can have one name.
 *   name  1 to 63 letters, digits, '-', '_', '.'; large and small letters are the same.  Listeners (listener.h) share
 *         the name space.
 *   key   The key that programs need to find it, copied; NULL or all zero: every program of this user finds it.
 * Returns 0; XF_EEXIST when the name is taken; XF_ESTATE when this xf_shm has a name; XF_EPROCESSES when the system
 * allows no more threads; as xf_listener_create for the name and the key; XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM.
 * Threads: a thread of its own exists while the name does, and sleeps until a program looks the name up.  No other call
 * that publishes or frees this xf_shm may be under way.
 * Systems: Windows: while a process that looks the name up is suspended in the middle of that, the name can stay
 * taken. */
XF_API int xf_shm_publish(xf_shm *shm, const char *name, const xf_key *key);

/* How to find shared memory.  {0} is the default in every member. */
typedef struct xf_shm_find_options {
    const xf_key *key; /* the key that it was published with; NULL or all zero: none */
    xf_shm_access access;
} xf_shm_find_options;

/* Opens the shared memory that any program of this user has published under that name.  It can be handed on
 * (xf_shm_ref), grown and published like any other; and locks and the other objects of sync.h that lie in it are opened
 * by their references.
 *   options     Borrowed for the call; NULL for the default.
 *   timeout_ms  How long the other process may take to answer.
 * Returns 0; XF_ENOENT when nothing has that name; XF_EINVAL when a listener has it, or for an invalid name, key or
 * access; XF_ETIMEDOUT; XF_EACCESS when the keys differ, or one side has none, or another user has taken the name;
 * XF_EEND when the name ended meanwhile; XF_EPROTO when its owner is not crossfork, or of another version; XF_ENOTSUP
 * when the processes cannot see each other, as in different containers, or for a key where crossfork was built without
 * nettle; as xf_listener_create for a key in a file; XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
XF_API int xf_shm_find(xf_shm **shm, const char *name, const xf_shm_find_options *options, int timeout_ms);

/* Ends it in this process, and its name; the memory ends with the last process that has it open.  NULL is harmless.
 * Threads: no other call on it may be under way or follow. */
XF_API void xf_shm_free(xf_shm *shm);

#ifdef __cplusplus
}
#endif

#endif
