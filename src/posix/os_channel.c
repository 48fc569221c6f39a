/* What goes through a channel: bytes, and descriptors beside them. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Descriptors that go with the bytes of a channel ----------------------------------------- */

/* Keeps one; more than one, or a second before the first was taken, is nothing that our own processes send. */
static void keep(attachment *attached, struct msghdr *message)
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

ssize_t receive_attached(int channel, void *data, size_t size, int flags, attachment *attached)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct iovec part = {data, size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(channel, &message, flags | MSG_CMSG_CLOEXEC);

    if (count > 0 && message.msg_controllen > 0)
        keep(attached, &message);
    if (count > 0 && message.msg_flags & MSG_CTRUNC)
        attached->lost = true;
    return count;
}

ssize_t send_attached(int channel, const void *data, size_t size, int fd, int flags)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {(void *)data, size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    return sendmsg(channel, &message, flags | MSG_NOSIGNAL);
}

int take_attached(attachment *attached, intptr_t *handle)
{
    int fd = fd_above_stdio(attached->fd);
    bool lost = attached->lost;

    *attached = (attachment){-1, false};
    if (fd < 0)
        return lost ? os_error(EMFILE, "recvmsg of a descriptor")
                    : error_detail(XF_EPROTO, "no segment came with the frame");
    *handle = fd;
    return 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

int stream_read(os_child *child, int stream, void *data, size_t size, size_t *count)
{
    ssize_t got;

    if (child->stream[stream] < 0)
        return XF_EEND;
    do
        got = stream == OS_CHANNEL ? receive_attached(child->stream[stream], data, size, MSG_DONTWAIT, &child->attached)
                                   : read(child->stream[stream], data, size);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        *count = (size_t)got;
        return 0;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return XF_EAGAIN;
    if (got < 0 && errno != ECONNRESET) /* which is an end too, with bytes of ours unread */
        return os_error(errno, stream == OS_CHANNEL ? "recvmsg" : "read");
    fd_close(&child->stream[stream]);
    return XF_EEND;
}
