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
 * It belongs to nobody in particular: it is there as long as some process has it open, and gone with the last, on every
 * system, also when all of them are killed.  Each process sees it at an address of its own, so what is kept in it
 * refers to other parts of it by offsets.
 *
 * It has no name unless one is asked for, so that programs that are not of the family find it:
 *
 *     xf_shm *prices;
 *     xf_shm_create(&prices, 1 << 20, NULL);
 *     xf_shm_publish(prices, "prices", NULL);
 *
 *     xf_shm *theirs;                                      // in another program of the same user
 *     xf_shm_find(&theirs, "prices", NULL, XF_SHM_READ, 5000);
 *
 * The name is there until the hold that was published is closed or its process ends, in whatever way.  The memory is
 * there, as ever, until the last process has closed it or ended: those who have found it keep it when the name goes. */
#ifndef CROSSFORK_SHM_H
#define CROSSFORK_SHM_H

#include "key.h"
#include "ref.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* This process's hold of some shared memory. */
typedef struct xf_shm xf_shm;

typedef struct xf_shm_options {
    size_t limit;    /* how large it may grow: addresses are set aside for that much, memory is not; 0: it does not */
    bool huge_pages; /* few large pages, where the system has them for shared memory: Linux's transparent ones */
} xf_shm_options;

/* What a hold is for. */
typedef enum xf_shm_access {
    XF_SHM_WRITE = 0,
    XF_SHM_READ /* writing to it is an access violation */
} xf_shm_access;

/* Makes shared memory, and opens it for writing.
 *   size     Bytes, not 0; they are zero, and there: a shortage is told here and not when they are first touched (on
 *            Linux from 5.14 on).
 *   options  Borrowed for the call; may be NULL.
 * Returns 0; XF_EINVAL for a size of 0, or a limit below it; XF_ENOMEM; XF_EHANDLES. */
XF_API int xf_shm_create(xf_shm **shm, size_t size, const xf_shm_options *options);

/* Opens what a reference names, which any process of the family may do, as often as it likes.
 * Returns 0; XF_EINVAL when the reference is of something else; XF_ENOENT when no process has it open any more;
 * XF_ENOMEM; XF_EHANDLES; XF_ELIMIT when this is a child that has too much open; XF_EEND when this is a child and its
 * parent has gone. */
XF_API int xf_shm_open(xf_shm **shm, const xf_ref *ref, xf_shm_access access);

/* Names it, for others to open it while this process, or another, has it open.
 * Returns 0; XF_EHANDLES, XF_ENOMEM; XF_ELIMIT when this is a child that has given out too many; XF_EEND when this is a
 * child and its parent has gone. */
XF_API int xf_shm_ref(xf_shm *shm, xf_ref *ref);

/* Where it is in this process: at the start of a page, the same until xf_shm_free, also when it grows. */
XF_API void *xf_shm_data(const xf_shm *shm);

/* How many bytes it has now, whoever has made it grow. */
XF_API size_t xf_shm_size(const xf_shm *shm);

/* Makes it at least that large, for all who have it open; they see the new size when they ask for it.  New bytes are
 * zero.  It never shrinks.
 * Returns 0; XF_ELIMIT for more than the limit it was made with; XF_ESTATE for a hold that is for reading; XF_ENOMEM.
 * Threads: any, in any process. */
XF_API int xf_shm_grow(xf_shm *shm, size_t size);

/* Gives it a name, by which other programs of this user find it, until this hold is closed or this process ends; and
 * nothing of the name stays behind.  A hold can have one name.
 *   name  1 to 63 letters, digits, '-', '_', '.'; large and small letters are the same.  Listeners (listener.h) take
 *         their names out of the same ones.
 *   key   What those who look for it have to have, copied; NULL or all zero: being of the same user is enough.
 * Returns 0; XF_EEXIST when the name is taken; XF_ESTATE when this hold has a name; XF_EPROCESSES when there can be no
 * more threads; as xf_listener_create for the name and the key; XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM.
 * Threads: a thread of its own exists while the hold has the name, and sleeps until somebody comes.  No other call
 * that publishes or closes this hold may be under way.
 * Systems: Windows: while a process that looks for it is stopped in the middle of that, the name can stay taken. */
XF_API int xf_shm_publish(xf_shm *shm, const char *name, const xf_key *key);

/* Opens the shared memory that a program of this user, of the family or not, has published under that name.  It can be
 * handed on (xf_shm_ref), grown and published like any other; and locks and their kin that lie in it (sync.h) are
 * opened by their references.
 *   key         As it was published with; NULL or all zero: none.
 *   access      What this hold is for.
 *   timeout_ms  How long the other process may take to answer.
 * Returns 0; XF_ENOENT when nothing has that name; XF_EINVAL when it is a listener's, or for a name, key or access that
 * cannot be; XF_ETIMEDOUT; XF_EACCESS when the keys differ, or one side has none, or another user has taken the name;
 * XF_EEND when the name has gone meanwhile; XF_EPROTO when it is no crossfork's, or another version's; XF_ENOTSUP when
 * the processes cannot see each other, as in different containers, or for a key where crossfork was built without
 * nettle; as xf_listener_create for a key in a file; XF_ENOMEM, XF_EHANDLES, XF_ESYSTEM. */
XF_API int xf_shm_find(xf_shm **shm, const char *name, const xf_key *key, xf_shm_access access, int timeout_ms);

/* Ends this hold, and its name; the memory goes with the last hold of all processes.  NULL is harmless.
 * Threads: no other call on the hold may be under way or follow. */
XF_API void xf_shm_free(xf_shm *shm);

#ifdef __cplusplus
}
#endif

#endif
