/* THE SEAM: unrelated processes of this user.  A new system may leave it out; rules: traits.h. */
#ifndef OS_ENDPOINT_H
#define OS_ENDPOINT_H

#include "os/channel.h"

typedef struct os_endpoint os_endpoint; /* a name that other processes connect to */

enum { OS_NAME_MAX = 63, OS_CHANNELS_MAX = 32 };

/* Takes a name, until os_endpoint_close or the end of this process, however it ends; nothing stays in the file system.
 *   name  1 to OS_NAME_MAX of a-z, 0-9, '-', '_', '.'.  Each user has names of their own.
 * Windows: a named pipe that admits this user only and no remote clients.  Linux: a socket with an abstract name, which
 * the kernel drops with its last descriptor.  Left out: XF_ENOTSUP.
 * XF_EEXIST when a process has the name; XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM. */
int os_endpoint_open(os_endpoint **endpoint, const char *name);

/* Accepts a process that has connected, without waiting.  Processes of other users are rejected.
 * XF_EAGAIN when there is none, or as many of other users came first as it rejects at a time; XF_EEND after
 * os_endpoint_shutdown; XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM. */
int os_endpoint_accept(os_endpoint *endpoint, os_channel **channel);

/* Accepts no process any more, from any thread: os_endpoint_wait returns, and os_endpoint_accept returns XF_EEND from
 * then on.  The name stays taken. */
void os_endpoint_shutdown(os_endpoint *endpoint);

/* Gives the name up; a process that has connected and was not accepted sees XF_EEND. */
void os_endpoint_close(os_endpoint *endpoint);

/* In a forked copy of the process that opened it: closes what the copy has of it.  The endpoint stays as it is.
 * Windows: never called, as os_self_generation says. */
void os_endpoint_let_go(os_endpoint *endpoint);

/* Waits until a process has connected to the endpoint (NULL: none), os_channel_read of a channel has something to
 * return, or timeout_ms (-1: no limit) has passed: XF_ETIMEDOUT.
 *   channels  count of them, at most OS_CHANNELS_MAX, made by os_endpoint_accept or os_endpoint_connect. */
int os_endpoint_wait(os_endpoint *endpoint, os_channel *const *channels, size_t count, int timeout_ms);

/* Connects to the endpoint of that name, and waits until it has room for up to timeout_ms (-1: no limit).
 * XF_ENOENT when no process has the name; XF_ETIMEDOUT; XF_EACCESS when another user has it; XF_EHANDLES, XF_ENOMEM.
 * Left out: XF_ENOTSUP. */
int os_endpoint_connect(os_channel **channel, const char *name, int timeout_ms);

/* Reads a whole file that no other user can read.
 *   size   Room; a larger file is XF_ELIMIT.
 *   count  Set to its size.
 * XF_ENOENT; XF_EACCESS when this process may not read it, or it is not this user's alone: POSIX: its owner is another,
 * or its mode has rights for group or others; Windows: not checked.  XF_EINVAL when it is not a plain file;
 * XF_EHANDLES, XF_EIO.  Left out: XF_ENOTSUP. */
int os_file_read_private(const char *path, void *room, size_t size, size_t *count);

#endif
