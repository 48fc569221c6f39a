/* Watching many children: the loop polls one epoll set of our own, which any thread may change. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

struct os_watcher {
    uv_poll_t poll; /* first: the handle is the watcher */
    int set;
    os_ready ready;
    void *arg;
};

static void on_ready(uv_poll_t *poll, int status, int events)
{
    os_watcher *watcher = (os_watcher *)poll;
    struct epoll_event ready[64];
    int count = epoll_wait(watcher->set, ready, 64, 0);

    (void)status, (void)events;
    for (int i = 0; i < count; i++)
        watcher->ready(ready[i].data.u64, watcher->arg);
}

int os_loop_open(uv_loop_t *loop)
{
    enum { NEEDED = 12 };
    int held[NEEDED], count = 0, rc = 0;

    while (count < NEEDED && rc == 0) {
        held[count] = open("/dev/null", O_RDWR | O_CLOEXEC);
        rc = held[count] < 0 ? os_error(errno, "/dev/null") : 0;
        count += rc == 0;
    }
    for (int i = 0; i < count; i++)
        if (held[i] > 2)
            fd_close(&held[i]);
    if (rc == 0) {
        rc = uv_loop_init(loop);
        if (rc < 0)
            rc = error_from_uv(rc, "uv_loop_init");
    }
    for (int i = 0; i < count; i++)
        fd_close(&held[i]);
    return rc;
}

int os_watcher_open(os_watcher **out, uv_loop_t *loop, os_ready ready, void *arg)
{
    int rc;
    os_watcher *watcher = malloc(sizeof *watcher);

    if (!watcher)
        return os_error(ENOMEM, "malloc");
    watcher->ready = ready;
    watcher->arg = arg;
    watcher->set = epoll_create1(EPOLL_CLOEXEC);
    if (watcher->set < 0) {
        rc = os_error(errno, "epoll_create1");
        goto free_watcher;
    }
    rc = uv_poll_init(loop, &watcher->poll, watcher->set);
    if (rc < 0) {
        rc = error_from_uv(rc, "uv_poll_init");
        goto close_set;
    }
    uv_poll_start(&watcher->poll, UV_READABLE, on_ready);
    *out = watcher;
    return 0;

close_set:
    close(watcher->set);
free_watcher:
    free(watcher);
    return rc;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void os_watcher_close(os_watcher *watcher)
{
    uv_poll_stop(&watcher->poll);
    uv_close((uv_handle_t *)&watcher->poll, on_closed);
    close(watcher->set);
}

static int watch_fd(os_child *child, int fd, uint64_t key)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = key};

    if (fd < 0)
        return 0;
    return epoll_ctl(child->watched_by, EPOLL_CTL_ADD, fd, &event) < 0 ? os_error(errno, "epoll_ctl") : 0;
}

int os_child_watch(os_child *child, os_watcher *watcher, uint64_t key)
{
    int rc;

    child->watched_by = watcher->set;
    rc = watch_fd(child, child->ended ? -1 : child->exit_fd, key);
    for (int i = 0; i < OS_STREAMS && rc == 0; i++)
        rc = watch_fd(child, child->stream[i].ended ? -1 : child->stream[i].fd, key);
    if (rc < 0)
        os_child_unwatch(child);
    return rc;
}

void os_child_unwatch(os_child *child)
{
    struct epoll_event none = {0};

    if (child->watched_by < 0)
        return;
    if (child->exit_fd >= 0)
        epoll_ctl(child->watched_by, EPOLL_CTL_DEL, child->exit_fd, &none);
    for (int i = 0; i < OS_STREAMS; i++)
        if (child->stream[i].fd >= 0)
            epoll_ctl(child->watched_by, EPOLL_CTL_DEL, child->stream[i].fd, &none);
    child->watched_by = -1;
}
