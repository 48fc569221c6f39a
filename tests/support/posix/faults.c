/* Failures on demand: system calls. */
#include "faults.h"

#include "posix/os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

/* clang-format off */
#define SYSTEM_CALLS(X)                                                                                                \
    X(socketpair, int, (int family, int type, int protocol, int ends[2]), (family, type, protocol, ends),              \
      fail(EMFILE), XF_EHANDLES)                                                                                       \
    X(socket, int, (int family, int type, int protocol), (family, type, protocol), fail(EMFILE), XF_EHANDLES)          \
    X(bind, int, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), fail(ENOMEM),          \
      XF_ENOMEM)                                                                                                       \
    X(listen, int, (int fd, int count), (fd, count), fail(ENOMEM), XF_ENOMEM)                                          \
    X(accept4, int, (int fd, struct sockaddr *address, socklen_t *size, int flags), (fd, address, size, flags),        \
      fail(EMFILE), XF_EHANDLES)                                                                                       \
    X(connect, int, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), fail(ENOMEM),       \
      XF_ENOMEM)                                                                                                       \
    X(pipe2, int, (int ends[2], int flags), (ends, flags), fail(EMFILE), XF_EHANDLES)                                  \
    X(memfd_create, int, (const char *name, unsigned flags), (name, flags), fail(EMFILE), XF_EHANDLES)                 \
    X(ftruncate, int, (int fd, off_t size), (fd, size), fail(ENOSPC), XF_ENOSPACE)                                     \
    X(mmap, void *, (void *address, size_t size, int protection, int flags, int fd, off_t offset),                     \
      (address, size, protection, flags, fd, offset), (errno = ENOMEM, MAP_FAILED), XF_ENOMEM)                         \
    X(fork, pid_t, (void), (), fail(EAGAIN), XF_EPROCESSES)                                                            \
    X(posix_spawn, int,                                                                                                \
      (pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,   \
       char *const *arguments, char *const *environment),                                                              \
      (pid, path, actions, attributes, arguments, environment), EAGAIN, XF_EPROCESSES)                                 \
    X(posix_spawn_file_actions_adddup2, int, (posix_spawn_file_actions_t *actions, int fd, int target),                \
      (actions, fd, target), ENOMEM, XF_ENOMEM)                                                                        \
    X(epoll_create1, int, (int flags), (flags), fail(EMFILE), XF_EHANDLES)                                             \
    X(uv_poll_init, int, (uv_loop_t *loop, uv_poll_t *poll, int fd), (loop, poll, fd), UV_ENOMEM, XF_ENOMEM)           \
    X(sendmsg, ssize_t, (int fd, const struct msghdr *message, int flags), (fd, message, flags),                       \
      fail(ETOOMANYREFS), XF_EHANDLES)                                                                                 \
    X(send, ssize_t, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags), fail(ENOMEM),        \
      XF_ENOMEM)
/* clang-format on */

SYSTEM_CALLS(FAULTS_WRAPPER)

ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
int __real_epoll_ctl(int set, int action, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int set, int action, int fd, struct epoll_event *event);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

/* A process that has too many descriptors gets the bytes, but not what is attached: recvmsg(2), MSG_CTRUNC. */
static void drop_attached(struct msghdr *message)
{
    int fd;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header))
        for (unsigned char *at = CMSG_DATA(header); at + sizeof fd <= (unsigned char *)header + header->cmsg_len;
             at += sizeof fd) {
            memcpy(&fd, at, sizeof fd);
            close(fd);
        }
    message->msg_controllen = 0;
    message->msg_flags |= MSG_CTRUNC;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t size;

    if (faults_due("recvmsg", XF_ENOMEM))
        return fail(ENOMEM);
    size = __real_recvmsg(fd, message, flags);
    if (size > 0 && message->msg_controllen > 0 && faults_due("recvmsg of descriptors", XF_EHANDLES))
        drop_attached(message);
    return size;
}

/* Only what is added can be too much. */
int __wrap_epoll_ctl(int set, int action, int fd, struct epoll_event *event)
{
    if (action == EPOLL_CTL_ADD && faults_due("epoll_ctl", XF_ENOSPACE))
        return fail(ENOSPC);
    return __real_epoll_ctl(set, action, fd, event);
}

/* ---- Those with arguments of any number; nobody passes more than these ----------------------- */

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    int mode;

    va_start(arguments, flags);
    mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
    va_end(arguments);
    return faults_due("open", XF_EHANDLES) ? fail(EMFILE) : __real_open(path, flags, mode);
}

/* Only what makes something can fail for the lack of it. */
int __wrap_fcntl(int fd, int command, ...)
{
    va_list arguments;
    long argument;

    va_start(arguments, command);
    argument = va_arg(arguments, long);
    va_end(arguments);
    if ((command == F_DUPFD_CLOEXEC || command == F_ADD_SEALS) && faults_due("fcntl", XF_EHANDLES))
        return fail(EMFILE);
    return __real_fcntl(fd, command, argument);
}

/* Takes as many arguments as any system call has, as the C library does, whether or not they were given. */
__attribute__((no_sanitize("address"))) long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long argument[6];

    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_pidfd_open && faults_due("pidfd_open", XF_EHANDLES))
        return fail(EMFILE);
    return __real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}

/* ---- The server's own faults ----------------------------------------------------------------- */

_Noreturn void REAL(server_run)(int requests, os_entry entry);
_Noreturn void WRAP(server_run)(int requests, os_entry entry);

_Noreturn void WRAP(server_run)(int requests, os_entry entry)
{
    faults_obey(FAULTS_IN_SERVER);
    REAL(server_run)(requests, entry);
}
