/* Failures on demand: memory, and calls across the seam and into libuv. */
#include "faults.h"

#include "base/error.h"
#include "os/server.h"
#include "protocol/channel.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static _Atomic int calls_left; /* until the call that fails; 0 or less: no call fails */
static uv_pid_t owner;         /* a forked child has a copy of an armed counter, but only the owner's calls fail */
static bool prints_failure;    /* on standard error */
static fault failed;
static _Atomic bool has_failed;
static _Atomic long blocks;
static _Atomic int pauses;

void faults_arm(int n)
{
    owner = uv_os_getpid();
    atomic_store(&has_failed, false);
    atomic_store(&calls_left, n);
}

const fault *faults_disarm(void)
{
    atomic_store(&calls_left, 0);
    return atomic_load(&has_failed) ? &failed : NULL;
}

void faults_obey(const char *variable)
{
    char text[16];
    size_t size = sizeof text;

    if (owner == uv_os_getpid() || uv_os_getenv(variable, text, &size) != 0)
        return;
    prints_failure = true;
    faults_arm(atoi(text));
}

long faults_blocks(void)
{
    return atomic_load(&blocks);
}

void faults_forget_detail(void)
{
    (void)error_detail(0, "%s", "");
}

void faults_pause(int more)
{
    atomic_fetch_add(&pauses, more);
}

bool faults_due(const char *name, int code)
{
    if (atomic_load(&pauses) > 0 || atomic_load(&calls_left) <= 0 || owner != uv_os_getpid() ||
        atomic_fetch_sub(&calls_left, 1) != 1)
        return false;
    failed = (fault){name, code};
    atomic_store(&has_failed, true);
    if (prints_failure) {
        fputs(name, stderr);
        fflush(stderr);
    }
    return true;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __real_free(void *block);
void __wrap_free(void *block);

static void *count_block(void *block)
{
    if (block)
        atomic_fetch_add(&blocks, 1);
    return block;
}

void *__wrap_malloc(size_t size)
{
    return faults_due("malloc", XF_ENOMEM) ? NULL : count_block(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return faults_due("calloc", XF_ENOMEM) ? NULL : count_block(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    if (faults_due("realloc", XF_ENOMEM))
        return NULL;
    return block ? __real_realloc(block, size) : count_block(__real_realloc(NULL, size));
}

void __wrap_free(void *block)
{
    if (block)
        atomic_fetch_sub(&blocks, 1);
    __real_free(block);
}

/* libuv's own allocations never fail: it aborts or leaks without memory. */
XF_BEFORE_MAIN(leave_libuv_out)
{
    uv_replace_allocator(__real_malloc, __real_realloc, __real_calloc, __real_free);
}

/* ---- The seam and libuv ---------------------------------------------------------------------- */

#define REFUSE(code) error_detail(code, "refused by the test")

/* The functions of the seam have more error codes of their own; the injected ones stand for the worst. */
/* clang-format off */
#define SEAM_AND_LIBUV(X)                                                                                              \
    X(os_shm_create, int, (os_shm *shm, size_t size, int flags), (shm, size, flags), REFUSE(XF_ENOMEM), XF_ENOMEM)     \
    X(os_shm_commit, int, (const os_shm *shm, size_t offset, size_t size), (shm, offset, size), REFUSE(XF_ENOMEM),     \
      XF_ENOMEM)                                                                                                       \
    X(os_child_start, int, (os_child **child, const os_start *start), (child, start), REFUSE(XF_EPROCESSES),           \
      XF_EPROCESSES)                                                                                                   \
    X(os_channel_take, int, (os_channel *channel, uint64_t token, intptr_t *handle), (channel, token, handle),         \
      REFUSE(XF_EHANDLES), XF_EHANDLES)                                                                                \
    X(os_shm_open, int, (os_shm *shm, intptr_t handle, size_t size, int flags), (shm, handle, size, flags),            \
      (os_handle_close(handle), REFUSE(XF_ENOMEM)), XF_ENOMEM)                                                         \
    X(os_handle_copy, int, (intptr_t handle, intptr_t *copy), (handle, copy), REFUSE(XF_EHANDLES), XF_EHANDLES)        \
    X(os_child_watch, int, (os_child *child, os_watcher *watcher, uint64_t key), (child, watcher, key),                \
      REFUSE(XF_EHANDLES), XF_EHANDLES)                                                                                \
    X(os_watcher_open, int, (os_watcher **watcher, uv_loop_t *loop, os_ready ready, void *arg),                        \
      (watcher, loop, ready, arg), REFUSE(XF_EHANDLES), XF_EHANDLES)                                                   \
    X(os_server_open, int, (os_server **server), (server), REFUSE(XF_EPROCESSES), XF_EPROCESSES)                       \
    X(uv_thread_create, int, (uv_thread_t *thread, uv_thread_cb entry, void *arg), (thread, entry, arg), UV_EAGAIN,    \
      XF_EPROCESSES)                                                                                                   \
    X(uv_random, int,                                                                                                  \
      (uv_loop_t *loop, uv_random_t *request, void *bytes, size_t size, unsigned flags, uv_random_cb called),          \
      (loop, request, bytes, size, flags, called), UV_EIO, XF_EIO)                                                     \
    X(uv_loop_init, int, (uv_loop_t *loop), (loop), UV_EMFILE, XF_EHANDLES)                                            \
    X(uv_async_init, int, (uv_loop_t *loop, uv_async_t *async, uv_async_cb called), (loop, async, called),             \
      UV_EMFILE, XF_EHANDLES)
/* clang-format on */

SEAM_AND_LIBUV(FAULTS_WRAPPER)

int REAL(os_channel_write)(os_channel *channel, const void *data, size_t size, intptr_t handle, int timeout_ms);
int WRAP(os_channel_write)(os_channel *channel, const void *data, size_t size, intptr_t handle, int timeout_ms);

/* Bytes alone need nothing of the system. */
int WRAP(os_channel_write)(os_channel *channel, const void *data, size_t size, intptr_t handle, int timeout_ms)
{
    if (handle != -1 && faults_due("os_channel_write", XF_EHANDLES))
        return REFUSE(XF_EHANDLES);
    return REAL(os_channel_write)(channel, data, size, handle, timeout_ms);
}

int __real_uv_mutex_init(uv_mutex_t *mutex);
int __wrap_uv_mutex_init(uv_mutex_t *mutex);
int __real_uv_cond_init(uv_cond_t *condition);
int __wrap_uv_cond_init(uv_cond_t *condition);

/* Never fails in a child: without a mutex for the channel to its parent a child can only abort. */
int __wrap_uv_mutex_init(uv_mutex_t *mutex)
{
    return !prints_failure && faults_due("uv_mutex_init", XF_ENOMEM) ? UV_ENOMEM : __real_uv_mutex_init(mutex);
}

int __wrap_uv_cond_init(uv_cond_t *condition)
{
    return !prints_failure && faults_due("uv_cond_init", XF_ENOMEM) ? UV_ENOMEM : __real_uv_cond_init(condition);
}

/* ---- A child's own faults -------------------------------------------------------------------- */

/* Every child opens its channel before it does anything that can fail. */
void REAL(channel_open)(channel *channel, const os_inherited *inherited);
void WRAP(channel_open)(channel *channel, const os_inherited *inherited);

void WRAP(channel_open)(channel *channel, const os_inherited *inherited)
{
    faults_obey(FAULTS_IN_CHILD);
    REAL(channel_open)(channel, inherited);
}
