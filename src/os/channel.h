/* THE SEAM: bytes with handles beside them, between two processes.  Core port; rules: traits.h.
 *
 * A channel leads from a parent to its child (os_child_channel), from a child to its parent (os_inherited), or between
 * two unrelated processes (endpoint.h).  One thread may read and take while another writes. */
#ifndef OS_CHANNEL_H
#define OS_CHANNEL_H

#include "os/traits.h"

typedef struct os_channel os_channel;

enum {
    OS_CHANNEL_WRITE_MAX = 4096, /* bytes that os_channel_write takes without waiting */
    OS_TOKEN_AT = 16,            /* where a message has the number of the handle beside it; */
    OS_TOKEN_SIZE = 8            /* little-endian */
};

/* Reads at least one byte.
 *   count       Set to the number of bytes.
 *   timeout_ms  0 does not wait: XF_EAGAIN when nothing is there; XF_ETIMEDOUT after that time; -1: no limit.
 * XF_EEND when the other side has closed the channel or ended and nothing is left to read, and from then on. */
int os_channel_read(os_channel *channel, void *data, size_t size, size_t *count, int timeout_ms);

/* Writes all of data.
 *   size        At most OS_CHANNEL_WRITE_MAX, unless timeout_ms is -1.
 *   handle      -1: none.  A copy of the handle goes with the bytes.  The token that the other side needs for
 *               os_channel_take arrives in place of the OS_TOKEN_SIZE bytes of data at OS_TOKEN_AT.
 *   timeout_ms  0 does not wait: XF_EAGAIN when there is no room; XF_ETIMEDOUT after that time; -1: no limit.
 * Where it fails, nothing was written; except for XF_EEND, when the other side has closed the channel or ended.
 * XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM.
 * POSIX: SCM_RIGHTS.  Windows: a copy for a child is made in the child; any other copy stays here until the other side
 * takes it, and is lost when this process ends (os.attach_needs_ack), or closes the channel, before that. */
int os_channel_write(os_channel *channel, const void *data, size_t size, intptr_t handle, int timeout_ms);

/* Takes the handle that came with the bytes that were read last.
 *   token  From those bytes.  It is not trusted.  POSIX ignores it.
 * XF_EPROTO when no handle came with them, or it was lost (os.attach_needs_ack); XF_EHANDLES, XF_ENOMEM; XF_EACCESS
 * when this process has no right to it.
 * Windows: DuplicateHandle out of the other side's process, or, in a child, the token itself. */
int os_channel_take(os_channel *channel, uint64_t token, intptr_t *handle);

/* Closes this side of a channel that endpoint.h has made.  The other side can still read what was written before. */
void os_channel_close(os_channel *channel);

#endif
