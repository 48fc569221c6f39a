/* This process as a child, and facts about it. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

const os_traits os = {
    .has_fork = true, .has_server = true, .attach_needs_ack = false, .register_names = record_register_names};

/* ---- Becoming a child ------------------------------------------------------------------------ */

static os_shm map_all(int fd)
{
    os_shm none = OS_SHM_NONE;
    struct stat facts;
    void *address;

    if (fstat(fd, &facts) < 0 || facts.st_size <= 0)
        return none;
    address = mmap(NULL, (size_t)facts.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return address == MAP_FAILED ? none : (os_shm){address, (size_t)facts.st_size, -1, 0};
}

static int not_for_people(void)
{
    return error_detail(XF_EPROTO, "%s is crossfork's own and needs a parent", CHILD_ARGUMENT);
}

static int become_child(const char *token, os_parent **out)
{
    static os_parent parent;
    unsigned long long nonce;
    int has_input;
    os_given *given = &parent.given;
    struct stat facts;

    if (sscanf(token, "%llx,%d", &nonce, &has_input) != 2 || fstat(EXEC_CHANNEL, &facts) < 0 ||
        !S_ISSOCK(facts.st_mode) || fstat(EXEC_LIFELINE, &facts) < 0 || !S_ISFIFO(facts.st_mode))
        return not_for_people();
    given->box = map_all(EXEC_BOX);
    if (given->box.size < sizeof(os_note) || ((os_note *)given->box.address)->nonce != nonce)
        return not_for_people();
    given->input = has_input ? map_all(EXEC_INPUT) : OS_SHM_NONE;
    if (has_input && !given->input.address)
        return os_error(ENOMEM, "mmap of the input");
    parent.channel = EXEC_CHANNEL;
    parent.attached.fd = -1;
    fcntl(EXEC_CHANNEL, F_SETFD, FD_CLOEXEC);
    fcntl(EXEC_LIFELINE, F_SETFD, FD_CLOEXEC);
    close(EXEC_BOX);
    if (has_input)
        close(EXEC_INPUT);
    child_arm_lifeline(EXEC_LIFELINE, getpid());
    limit_self(given->box.address);
    child_reset_signals();
    child_catch_exit();
    child_catch_faults(given->box.address);
    *out = &parent;
    return 0;
}

/* Copies the second string of this process's command line; false when there is none that fits. */
static bool second_argument(char *argument, size_t size)
{
    char line[8192];
    ssize_t count;
    size_t first;
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    count = read(fd, line, sizeof line - 1);
    close(fd);
    if (count <= 0)
        return false;
    line[count] = 0;
    first = strlen(line) + 1;
    return first < (size_t)count && (size_t)snprintf(argument, size, "%s", line + first) < size;
}

int os_self_child(int argc, char **argv, os_entry entry, os_parent **parent)
{
    char asked[128] = "";
    const char *argument = asked;

    if (argc > 1)
        argument = argv[1];
    else if (argc == 0)
        second_argument(asked, sizeof asked);
    *parent = NULL;
    crash_remember_faults();
    if (strcmp(argument, SERVER_ARGUMENT) == 0) {
        fcntl(EXEC_CHANNEL, F_SETFD, FD_CLOEXEC);
        server_run(EXEC_CHANNEL, entry);
    }
    if (strncmp(argument, CHILD_ARGUMENT, strlen(CHILD_ARGUMENT)) != 0)
        return 0;
    return become_child(argument + strlen(CHILD_ARGUMENT), parent);
}

/* ---- The channel ----------------------------------------------------------------------------- */

int os_parent_read(os_parent *parent, void *data, size_t size, int timeout_ms, size_t *count)
{
    struct pollfd waiting = {.fd = parent->channel, .events = POLLIN};
    uint64_t deadline = timeout_ms > 0 ? uv_hrtime() + (uint64_t)timeout_ms * 1000000 : 0;
    ssize_t got;

    for (;;) {
        got = receive_attached(parent->channel, data, size, timeout_ms < 0 ? 0 : MSG_DONTWAIT, &parent->attached);
        if (got > 0)
            break;
        if (got == 0)
            return XF_EEND;
        if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
            return os_error(errno, "recvmsg from the parent");
        if (timeout_ms > 0) {
            uint64_t now = uv_hrtime();
            timeout_ms = now < deadline ? (int)((deadline - now + 999999) / 1000000) : 0;
        }
        if (timeout_ms == 0)
            return XF_ETIMEDOUT;
        poll(&waiting, 1, timeout_ms);
    }
    *count = (size_t)got;
    return 0;
}

int os_parent_write(os_parent *parent, const void *data, size_t size, intptr_t attached)
{
    const char *left = data;

    while (size > 0) {
        ssize_t sent = attached >= 0 ? send_attached(parent->channel, left, size, (int)attached, 0)
                                     : send(parent->channel, left, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return os_error(errno, "send to the parent");
        if (sent < 0)
            continue;
        if (attached >= 0)
            os_handle_close(attached); /* it went with the first byte */
        attached = -1;
        left += sent;
        size -= (size_t)sent;
    }
    return 0;
}

int os_parent_take(os_parent *parent, uint64_t token, intptr_t *handle)
{
    (void)token;
    return take_attached(&parent->attached, handle);
}

const os_given *os_parent_given(const os_parent *parent)
{
    return &parent->given;
}

_Noreturn void os_self_exit(int code)
{
    _exit(code);
}
