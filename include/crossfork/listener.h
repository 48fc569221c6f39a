/* Pipes between unrelated programs that know one name, on one machine and of one user.
 *
 *     // In one program:
 *     xf_listener_options options = {.key.file = "/home/me/.build-cache.key"};
 *     xf_listener *listener;
 *     xf_listener_create(&listener, "build-cache", &options);
 *     xf_pipe *pipe;
 *     while ((rc = xf_listener_accept(listener, &pipe, XF_FOREVER)) == 0 || rc == XF_EACCESS)
 *         if (rc == 0)
 *             serve(pipe); // XF_EACCESS: a program without the key was refused
 *
 *     // In another:
 *     xf_connect_options to = {.key.file = "/home/me/.build-cache.key"};
 *     xf_pipe *there;
 *     xf_connect(&there, "build-cache", &to, 5000);
 *     xf_pipe_send(there, "hello", 5, XF_FOREVER);
 *
 * Each program gets one end of a pipe (pipe.h), which can be handed to children like any other.  When the other program
 * ends in whatever way, XF_EEND comes within a moment, as for any other pipe.
 *
 * Each user has names of their own, and neither side deals with a program of another user.  A name is not secret,
 * though, and not reserved: other users of the machine can list it, and a program of theirs that takes it first keeps
 * it: xf_listener_create returns XF_EEXIST then, and xf_connect XF_EACCESS.  On Linux such a program can also connect;
 * it is refused, but one that does so without end can fill the queue, so that others wait longer.  A name is free again
 * as soon as its listener has ended, in whatever way, and nothing in the file system can stay behind.
 *
 * With a key each side proves to the other that it has the same one, without sending it; without one, every program of
 * the same user may connect.  Messages are not encrypted: they are in memory that no other program can access. */
#ifndef CROSSFORK_LISTENER_H
#define CROSSFORK_LISTENER_H

#include "export.h"
#include "key.h"
#include "pipe.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a listener works.  {0} is the default in every member. */
typedef struct xf_listener_options {
    xf_key key;           /* the key that programs need to connect */
    int handshake_ms;     /* how long a connecting program may take for each step of the handshake; default 5,000 */
    xf_pipe_options pipe; /* of all pipes that it creates, whose first end is the listener's; memory_limit: default
                             1 GiB, and not more than the other side wants */
} xf_listener_options;

typedef struct xf_connect_options {
    xf_key key;
    size_t memory_limit; /* bytes of shared memory for longer messages in each direction: no message is longer; the
                            smaller one of both sides counts; default 1 GiB */
} xf_connect_options;

/* A name that other programs connect to. */
typedef struct xf_listener xf_listener;

/* Takes a name.
 *   name     1 to 63 letters, digits, '-', '_', '.'; large and small letters are the same.
 *   options  Borrowed for the call; NULL for the default.
 * Returns 0; XF_EEXIST when the name is taken; XF_EINVAL for an invalid name, key or option; XF_ENOENT,
 * XF_EACCESS, XF_EIO, XF_ELIMIT (larger than a key can be) for the key's file; XF_ENOTSUP for a key where crossfork was
 * built without nettle; XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM. */
XF_API int xf_listener_create(xf_listener **listener, const char *name, const xf_listener_options *options);

/* Waits for the next program that connects and has the key.  A program that sends nothing, or sends invalid data, or
 * ends during the handshake is dropped.  32 handshakes can be in progress at the same time, so it delays no other
 * unless there are 32 of its kind at once: then others wait for handshake_ms at most.
 *   pipe        Set to this side's end of a pipe, which the caller frees with xf_pipe_free.
 *   timeout_ms  Holds whatever other programs do.  0 does not wait: the handshakes advance with each call.
 * Returns 0; XF_ETIMEDOUT; XF_EACCESS when a program without the key was refused; XF_EHANDLES, XF_ENOMEM, XF_EPROTO or
 * XF_ESYSTEM when a program was refused because this side lacks something: after each of these it can be called again,
 * and may fail at once as long as that is missing; XF_EEND when the listener was stopped.
 * Threads: several may wait; one of them gets the pipe. */
XF_API int xf_listener_accept(xf_listener *listener, xf_pipe **pipe, int timeout_ms);

/* Ends all waits in xf_listener_accept, and later ones, with XF_EEND; the name stays taken. */
XF_API void xf_listener_stop(xf_listener *listener);

/* Ends the listener, and frees its name.  Pipes that were accepted stay as they are.  NULL is harmless.
 * Threads: no other call on the listener may be under way or follow. */
XF_API void xf_listener_free(xf_listener *listener);

/* Connects to the listener of that name.
 *   pipe        Set to this side's end of a pipe, which the caller frees with xf_pipe_free.
 *   options     Borrowed for the call; NULL for the default.
 *   timeout_ms  How long the other side may take to accept.
 * Returns 0; XF_ENOENT when no listener has the name; XF_ETIMEDOUT; XF_EACCESS when the keys differ, or one side has
 * none, or another user has taken the name; XF_EEND when the listener ended meanwhile; XF_EPROTO when it is not
 * crossfork, or of another version; XF_ENOTSUP when the processes cannot see each other, as in different containers; as
 * xf_listener_create for the name, the options and the key. */
XF_API int xf_connect(xf_pipe **pipe, const char *name, const xf_connect_options *options, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
