/* Channels.  A channel is a socket, which carries descriptors beside the bytes, or a pipe, which only carries what a
 * child prints. */
#include "base/clock.h"
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void stream_release(os_channel *channel)
{
    fd_close(&channel->fd);
    fd_close(&channel->attached.fd);
}

/* Whether a call on a channel has failed only because it would have had to wait. */
static bool stream_would_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static int stream_wait(const os_channel *channel, short events, uint64_t deadline)
{
    struct pollfd waiting = {.fd = channel->fd, .events = events};

    return fd_poll(&waiting, 1, clock_left_ms(deadline));
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Keeps a descriptor that came with the bytes.  Our own processes send one at a time, and the next only after the first
 * was taken.  If another process sends several, the last is kept and the others are closed. */
static void stream_keep(attachment *attached, struct msghdr *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        int fds[8];
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        memcpy(fds, CMSG_DATA(header), count * sizeof *fds);
        for (size_t i = 0; i < count; i++) {
            fd_close(&attached->fd);
            attached->fd = fds[i];
        }
    }
}

static ssize_t stream_receive_attached(os_channel *channel, void *data, size_t size, int flags)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct iovec part = {data, size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(channel->fd, &message, flags | MSG_CMSG_CLOEXEC);

    if (count > 0 && message.msg_controllen > 0)
        stream_keep(&channel->attached, &message);
    if (count > 0 && message.msg_flags & MSG_CTRUNC)
        channel->attached.lost = true;
    return count;
}

static ssize_t stream_receive(os_channel *channel, void *data, size_t size, int flags)
{
    ssize_t got;

    do
        got = channel->is_pipe ? read(channel->fd, data, size) : stream_receive_attached(channel, data, size, flags);
    while (got < 0 && errno == EINTR);
    return got;
}

/* A reset counts as the end, too: the other side has closed its end without reading everything. */
int os_channel_read(os_channel *channel, void *data, size_t size, size_t *count, int timeout_ms)
{
    uint64_t deadline = timeout_ms ? clock_deadline(timeout_ms) : 0;
    ssize_t got;
    int rc;

    if (channel->fd < 0 || channel->ended)
        return XF_EEND;
    while ((got = stream_receive(channel, data, size, timeout_ms < 0 ? 0 : MSG_DONTWAIT)) < 0 && stream_would_wait()) {
        if (timeout_ms == 0)
            return XF_EAGAIN;
        rc = stream_wait(channel, POLLIN, deadline);
        if (rc < 0)
            return rc;
    }
    if (got < 0 && errno != ECONNRESET)
        return os_error(errno, channel->is_pipe ? "read" : "recvmsg");
    channel->ended = got <= 0;
    if (channel->ended)
        return XF_EEND;
    *count = (size_t)got;
    return 0;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static ssize_t stream_send_attached(int fd, const void *data, size_t size, int attached, int flags)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}}; /* whole, as the kernel reads what is between its parts, too */
    struct iovec part = {(void *)data, size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

    control.header =
        (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof attached), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), &attached, sizeof attached);
    return sendmsg(fd, &message, flags);
}

/* Linux takes a few bytes as a whole or not at all.  If the bytes go in several parts, the descriptor goes with the
 * first. */
int os_channel_write(os_channel *channel, const void *data, size_t size, intptr_t handle, int timeout_ms)
{
    const char *left = data;
    uint64_t deadline = timeout_ms ? clock_deadline(timeout_ms) : 0;
    int rc, flags = MSG_NOSIGNAL | (timeout_ms < 0 ? 0 : MSG_DONTWAIT);

    if (channel->fd < 0)
        return XF_EEND;
    while (size > 0) {
        ssize_t sent = handle == -1 ? send(channel->fd, left, size, flags)
                                    : stream_send_attached(channel->fd, left, size, (int)handle, flags);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && !stream_would_wait())
            return os_error(errno, handle == -1 ? "send" : "sendmsg");
        if (sent < 0 && timeout_ms == 0)
            return XF_EAGAIN;
        if (sent < 0) {
            rc = stream_wait(channel, POLLOUT, deadline);
            if (rc < 0)
                return rc;
            continue;
        }
        handle = -1;
        left += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* ---- Attached descriptors -------------------------------------------------------------------- */

int os_channel_take(os_channel *channel, uint64_t token, intptr_t *handle)
{
    int fd = fd_above_stdio(channel->attached.fd);
    bool lost = channel->attached.lost;

    (void)token;
    channel->attached = (attachment){-1, false};
    if (fd < 0)
        return lost ? os_error(EMFILE, "recvmsg of a descriptor")
                    : error_detail(XF_EPROTO, "no handle came with the bytes");
    *handle = fd;
    return 0;
}

void os_channel_close(os_channel *channel)
{
    stream_release(channel);
    free(channel);
}
