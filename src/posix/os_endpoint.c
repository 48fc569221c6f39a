/* Endpoints: AF_UNIX sockets with abstract names.  A name in the file system would stay behind when its process is
 * killed, and the next process would have to find out whether it may take the name over; the kernel drops an abstract
 * name with its last descriptor.  An abstract name has no owner, so each side asks the kernel for the other side's
 * user. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

enum { BACKLOG = 64 };

struct os_endpoint {
    int socket;
    _Atomic bool shut;
};

/* Makes an abstract address: the first byte of the path is 0, and the bytes after it count up to the address's
 * length. */
static socklen_t endpoint_address(const char *name, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "crossfork-%lu-%s", (unsigned long)geteuid(), name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address->sun_path + 1));
}

static int endpoint_make_socket(int flags, int *made)
{
    *made = fd_above_stdio(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    return *made < 0 ? os_error(errno, "socket") : 0;
}

static bool endpoint_is_of_this_user(int socket)
{
    struct ucred other;
    socklen_t size = sizeof other;

    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &other, &size) == 0 && other.uid == geteuid();
}

/* ---- Endpoints ------------------------------------------------------------------------------- */

int os_endpoint_open(os_endpoint **out, const char *name)
{
    struct sockaddr_un address;
    socklen_t size = endpoint_address(name, &address);
    os_endpoint *endpoint = calloc(1, sizeof *endpoint);
    int rc;

    if (!endpoint)
        return os_error(ENOMEM, "malloc");
    rc = endpoint_make_socket(SOCK_NONBLOCK, &endpoint->socket);
    if (rc < 0)
        goto free_endpoint;
    if (bind(endpoint->socket, (struct sockaddr *)&address, size) < 0) {
        rc = errno == EADDRINUSE ? error_detail(XF_EEXIST, "a process listens as %s", name) : os_error(errno, "bind");
        goto close_socket;
    }
    if (listen(endpoint->socket, BACKLOG) < 0) {
        rc = os_error(errno, "listen");
        goto close_socket;
    }
    *out = endpoint;
    return 0;

close_socket:
    close(endpoint->socket);
free_endpoint:
    free(endpoint);
    return rc;
}

/* Makes a channel of a socket.  The socket belongs to this function even when it fails, and is closed then. */
static int endpoint_make_channel(os_channel **out, int socket)
{
    os_channel *channel = malloc(sizeof *channel);

    if (!channel) {
        close(socket);
        return os_error(ENOMEM, "malloc");
    }
    *channel = CHANNEL_OF(socket);
    *out = channel;
    return 0;
}

/* Rejects no more than the queue holds at a time: other users can refill it for as long as they want. */
int os_endpoint_accept(os_endpoint *endpoint, os_channel **channel)
{
    int socket;

    for (int rejected = 0; rejected < BACKLOG; rejected++) {
        if (atomic_load(&endpoint->shut))
            return error_detail(XF_EEND, "the endpoint was shut down");
        socket = accept4(endpoint->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (socket < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? XF_EAGAIN : os_error(errno, "accept4");
        socket = fd_above_stdio(socket);
        if (socket < 0)
            return os_error(errno, "fcntl F_DUPFD_CLOEXEC");
        if (endpoint_is_of_this_user(socket))
            return endpoint_make_channel(channel, socket);
        close(socket);
    }
    return XF_EAGAIN;
}

/* After shutdown, poll returns at once for the socket, so a thread in os_endpoint_wait returns. */
void os_endpoint_shutdown(os_endpoint *endpoint)
{
    atomic_store(&endpoint->shut, true);
    shutdown(endpoint->socket, SHUT_RDWR);
}

void os_endpoint_close(os_endpoint *endpoint)
{
    close(endpoint->socket);
    free(endpoint);
}

void os_endpoint_let_go(os_endpoint *endpoint)
{
    if (child_has_others())
        os_endpoint_close(endpoint);
}

int os_endpoint_wait(os_endpoint *endpoint, os_channel *const *channels, size_t count, int timeout_ms)
{
    struct pollfd fds[OS_CHANNELS_MAX + 1];

    fds[0] = (struct pollfd){.fd = endpoint ? endpoint->socket : -1, .events = POLLIN}; /* poll passes over -1 */
    for (size_t i = 0; i < count; i++)
        fds[i + 1] = (struct pollfd){.fd = channels[i]->ended ? -1 : channels[i]->fd, .events = POLLIN};
    return fd_poll(fds, (nfds_t)count + 1, timeout_ms);
}

/* ---- Connecting ------------------------------------------------------------------------------ */

/* Connects.  When the endpoint's queue is full, connect() waits for as long as SO_SNDTIMEO allows. */
static int endpoint_connect(int socket, const struct sockaddr_un *address, socklen_t size, int timeout_ms)
{
    uint64_t now = uv_hrtime(), deadline = now + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000000;
    struct timeval left = {0, 0};

    for (;;) {
        uint64_t left_us = timeout_ms < 0 ? 0 : now < deadline ? (deadline - now) / 1000 + 1 : 1; /* 0: no limit */
        left = (struct timeval){(time_t)(left_us / 1000000), (suseconds_t)(left_us % 1000000)};
        if (setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof left) < 0)
            return os_error(errno, "setsockopt SO_SNDTIMEO");
        if (connect(socket, (const struct sockaddr *)address, size) == 0)
            return 0;
        if (errno != EINTR)
            break;
        now = uv_hrtime();
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return error_detail(XF_ETIMEDOUT, "%s does not accept connections", address->sun_path + 1);
    return errno == ECONNREFUSED ? error_detail(XF_ENOENT, "no process listens as %s", address->sun_path + 1)
                                 : os_error(errno, "connect");
}

int os_endpoint_connect(os_channel **channel, const char *name, int timeout_ms)
{
    struct sockaddr_un address;
    socklen_t size = endpoint_address(name, &address);
    int socket, rc = endpoint_make_socket(0, &socket);

    if (rc < 0)
        return rc;
    rc = endpoint_connect(socket, &address, size, timeout_ms);
    if (rc == 0 && !endpoint_is_of_this_user(socket))
        rc = error_detail(XF_EACCESS, "another user listens as %s", name);
    if (rc == 0)
        return endpoint_make_channel(channel, socket);
    close(socket);
    return rc;
}
