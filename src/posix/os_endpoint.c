/* Doors and links: AF_UNIX sockets with abstract names.  A name in the file system would stay behind when its process
 * is killed, and somebody would have to find out whether it can be taken over; an abstract one is gone with the last
 * descriptor.  It has no owner, though, so each side asks the kernel for the other's user. */
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

struct os_door {
    int socket;
    _Atomic bool shut;
};

struct os_link {
    int socket;
    attachment attached;
    bool ended;
};

/* The first byte of the path is 0, and what follows counts up to the length. */
static socklen_t address_of(const char *name, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "crossfork-%lu-%s", (unsigned long)geteuid(), name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address->sun_path + 1));
}

static int make_socket(int flags, int *made)
{
    *made = fd_above_stdio(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    return *made < 0 ? os_error(errno, "socket") : 0;
}

static bool is_of_this_user(int socket)
{
    struct ucred other;
    socklen_t size = sizeof other;

    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &other, &size) == 0 && other.uid == geteuid();
}

/* ---- Doors ----------------------------------------------------------------------------------- */

int os_door_open(os_door **out, const char *name)
{
    struct sockaddr_un address;
    socklen_t size = address_of(name, &address);
    os_door *door = calloc(1, sizeof *door);
    int rc;

    if (!door)
        return os_error(ENOMEM, "malloc");
    rc = make_socket(SOCK_NONBLOCK, &door->socket);
    if (rc < 0)
        goto free_door;
    if (bind(door->socket, (struct sockaddr *)&address, size) < 0) {
        rc = errno == EADDRINUSE ? error_detail(XF_EEXIST, "a process listens as %s", name) : os_error(errno, "bind");
        goto close_socket;
    }
    if (listen(door->socket, BACKLOG) < 0) {
        rc = os_error(errno, "listen");
        goto close_socket;
    }
    *out = door;
    return 0;

close_socket:
    close(door->socket);
free_door:
    free(door);
    return rc;
}

/* A link of a socket, which is the link's from then on, also on failure. */
static int make_link(os_link **out, int socket)
{
    os_link *link = malloc(sizeof *link);

    if (!link) {
        close(socket);
        return os_error(ENOMEM, "malloc");
    }
    *link = (os_link){.socket = socket, .attached = {-1, false}};
    *out = link;
    return 0;
}

int os_door_admit(os_door *door, os_link **link)
{
    int socket;

    for (;;) {
        if (atomic_load(&door->shut))
            return error_detail(XF_EEND, "the door is shut");
        socket = accept4(door->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (socket < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? XF_EAGAIN : os_error(errno, "accept4");
        socket = fd_above_stdio(socket);
        if (socket < 0)
            return os_error(errno, "fcntl F_DUPFD_CLOEXEC");
        if (is_of_this_user(socket))
            return make_link(link, socket);
        close(socket);
    }
}

/* Which poll sees at once. */
void os_door_shut(os_door *door)
{
    atomic_store(&door->shut, true);
    shutdown(door->socket, SHUT_RDWR);
}

void os_door_close(os_door *door)
{
    close(door->socket);
    free(door);
}

int os_door_wait(os_door *door, os_link *const *links, size_t count, int timeout_ms)
{
    uint64_t deadline = timeout_ms > 0 ? uv_hrtime() + (uint64_t)timeout_ms * 1000000 : 0;
    struct pollfd fds[OS_LINKS_MAX + 1];
    int ready;

    fds[0] = (struct pollfd){.fd = door ? door->socket : -1, .events = POLLIN}; /* which is passed over */
    for (size_t i = 0; i < count; i++)
        fds[i + 1] = (struct pollfd){.fd = links[i]->socket, .events = POLLIN};
    while ((ready = poll(fds, (nfds_t)count + 1, timeout_ms)) < 0 && errno == EINTR) {
        uint64_t now = uv_hrtime();
        if (timeout_ms > 0)
            timeout_ms = now < deadline ? (int)((deadline - now) / 1000000) : 0;
    }
    return ready > 0 ? 0 : ready < 0 ? os_error(errno, "poll") : XF_ETIMEDOUT;
}

/* ---- Links ----------------------------------------------------------------------------------- */

/* Where the door has no place, connect waits, for as long as the socket may take to send. */
static int connect_within(int socket, const struct sockaddr_un *address, socklen_t size, int timeout_ms)
{
    uint64_t now = uv_hrtime(), deadline = now + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000000;
    struct timeval left = {0, 0};

    for (;;) {
        uint64_t left_us = timeout_ms < 0 ? 0 : now < deadline ? (deadline - now) / 1000 + 1 : 1; /* 0: for ever */
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
        return error_detail(XF_ETIMEDOUT, "nobody takes in who arrives at %s", address->sun_path + 1);
    return errno == ECONNREFUSED ? error_detail(XF_ENOENT, "nobody listens as %s", address->sun_path + 1)
                                 : os_error(errno, "connect");
}

int os_link_open(os_link **link, const char *name, int timeout_ms)
{
    struct sockaddr_un address;
    socklen_t size = address_of(name, &address);
    int socket, rc = make_socket(0, &socket);

    if (rc < 0)
        return rc;
    rc = connect_within(socket, &address, size, timeout_ms);
    if (rc == 0 && !is_of_this_user(socket))
        rc = error_detail(XF_EACCESS, "another user listens as %s", name);
    if (rc == 0)
        return make_link(link, socket);
    close(socket);
    return rc;
}

int os_link_read(os_link *link, void *data, size_t size, size_t *count)
{
    ssize_t got;

    if (link->ended)
        return XF_EEND;
    do
        got = receive_attached(link->socket, data, size, MSG_DONTWAIT, &link->attached);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        *count = (size_t)got;
        return 0;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return XF_EAGAIN;
    if (got < 0 && errno != ECONNRESET) /* which is an end too, with bytes of ours unread */
        return os_error(errno, "recvmsg");
    link->ended = true;
    return XF_EEND;
}

int os_link_write(os_link *link, void *data, size_t size, intptr_t handle)
{
    ssize_t sent;

    if (handle == -1) {
        sent = send(link->socket, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        memset((char *)data + OS_TOKEN_AT, 0, OS_TOKEN_SIZE);
        sent = send_attached(link->socket, data, size, (int)handle, MSG_DONTWAIT);
    }
    if (sent == (ssize_t)size)
        return 0;
    return sent >= 0 || errno == EAGAIN || errno == EWOULDBLOCK ? XF_EAGAIN : os_error(errno, "sendmsg");
}

int os_link_take(os_link *link, uint64_t token, intptr_t *handle)
{
    (void)token;
    return take_attached(&link->attached, handle);
}

void os_link_close(os_link *link)
{
    close(link->socket);
    fd_close(&link->attached.fd);
    free(link);
}
