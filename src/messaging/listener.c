#include "crossfork/listener.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/monitor.h"
#include "messaging/pipe.h"
#include "os/cancel.h"
#include "os/identity.h"
#include "rendezvous/acceptor.h"
#include "rendezvous/connector.h"

#include <stdlib.h>
#include <uv.h>

#define DEFAULT_MEMORY ((size_t)1 << 30)

struct xf_listener {
    acceptor acceptor;   /* first: a pointer to the acceptor is one to the listener */
    uint32_t generation; /* of the process that created it: os_self_generation */
    xf_pipe_options pipe;
    uv_mutex_t lock;
    uv_cond_t left;
    bool served; /* a thread is in xf_listener_accept and serves the handshakes; the others wait */
};

/* ---- Listening ------------------------------------------------------------------------------- */

/* Makes a pipe.  A reference to its second end is handed to the process that connects. */
static int grant_pipe(acceptor *acceptor, const acceptor_pending *pending, xf_ref *ref, void **granted)
{
    xf_pipe_options options = ((xf_listener *)acceptor)->pipe;
    xf_pipe *mine, *theirs;
    int rc;

    if (pending->memory_max < options.memory_limit)
        options.memory_limit = pending->memory_max ? (size_t)pending->memory_max : 1;
    rc = xf_pipe_create(&mine, &theirs, &options);
    if (rc < 0)
        return rc;
    rc = xf_pipe_ref(theirs, ref);
    xf_pipe_free(theirs); /* the reference keeps the end open for the other process */
    if (rc < 0)
        xf_pipe_free(mine);
    else
        *granted = mine;
    return rc;
}

static void free_pipe(void *granted)
{
    xf_pipe_free(granted);
}

/* Makes a pipe and frees it: invalid options are reported when the listener is created, not when a process connects. */
static int check_pipe(const xf_pipe_options *options)
{
    xf_pipe *one, *other;
    int rc = xf_pipe_create(&one, &other, options);

    if (rc < 0)
        return rc;
    xf_pipe_free(one);
    xf_pipe_free(other);
    return 0;
}

int xf_listener_create(xf_listener **out, const char *name, const xf_listener_options *options)
{
    OS_HOLD_CANCEL;
    static const xf_listener_options defaults;
    xf_listener *listener;
    int rc;

    options = options ? options : &defaults;
    if (options->handshake_ms < 0)
        return error_detail(XF_EINVAL, "option handshake_ms is %d", options->handshake_ms);
    listener = calloc(1, sizeof *listener);
    if (!listener)
        return error_detail(XF_ENOMEM, "a listener");
    listener->generation = os_self_generation();
    listener->pipe = options->pipe;
    if (listener->pipe.memory_limit == 0)
        listener->pipe.memory_limit = DEFAULT_MEMORY;
    listener->acceptor.kind = XF_KIND_PIPE;
    listener->acceptor.step_timeout_ms = options->handshake_ms ? options->handshake_ms : ACCEPTOR_STEP_TIMEOUT_MS;
    listener->acceptor.grant = grant_pipe;
    listener->acceptor.revoke = free_pipe;
    rc = check_pipe(&listener->pipe);
    if (rc == 0)
        rc = monitor_open(&listener->lock, &listener->left, "a listener");
    if (rc < 0)
        goto free_listener;
    rc = acceptor_open(&listener->acceptor, name, &options->key);
    if (rc < 0)
        goto destroy_locks;
    *out = listener;
    return 0;

destroy_locks:
    monitor_close(&listener->lock, &listener->left);
free_listener:
    free(listener);
    return rc;
}

/* In a forked copy of the process that created it, the endpoint is the parent's. */
static int check_listener(const xf_listener *listener)
{
    return listener->generation == os_self_generation()
               ? 0
               : error_detail(XF_ESTATE, "the listener was created by the process that this one is a forked copy of");
}

/* Waits until no other thread serves the handshakes, and takes that over. */
static int begin_serving(xf_listener *listener, uint64_t deadline)
{
    uint64_t now;
    int rc = 0;

    uv_mutex_lock(&listener->lock);
    while (listener->served && rc == 0) {
        now = uv_hrtime();
        if (deadline == CLOCK_NEVER)
            uv_cond_wait(&listener->left, &listener->lock);
        else if (now >= deadline)
            rc = XF_ETIMEDOUT;
        else
            uv_cond_timedwait(&listener->left, &listener->lock, deadline - now);
    }
    if (rc == 0)
        listener->served = true;
    uv_mutex_unlock(&listener->lock);
    return rc;
}

static void end_serving(xf_listener *listener)
{
    uv_mutex_lock(&listener->lock);
    listener->served = false;
    uv_cond_signal(&listener->left);
    uv_mutex_unlock(&listener->lock);
}

int xf_listener_accept(xf_listener *listener, xf_pipe **pipe, int timeout_ms)
{
    OS_HOLD_CANCEL;
    uint64_t deadline = clock_deadline(timeout_ms);
    void *granted;
    int rc = check_listener(listener);

    if (rc < 0)
        return rc;
    rc = begin_serving(listener, deadline);
    if (rc == 0) {
        rc = acceptor_accept(&listener->acceptor, &granted, deadline);
        end_serving(listener);
    }
    if (rc == 0)
        *pipe = granted;
    return rc == XF_ETIMEDOUT ? error_detail(rc, "nobody connected to %s", listener->acceptor.name)
           : rc == XF_EEND    ? error_detail(rc, "the listener %s was stopped", listener->acceptor.name)
                              : rc;
}

void xf_listener_stop(xf_listener *listener)
{
    if (check_listener(listener) == 0)
        acceptor_stop(&listener->acceptor);
}

void xf_listener_free(xf_listener *listener)
{
    OS_HOLD_CANCEL;

    if (!listener)
        return;
    if (check_listener(listener) < 0) {
        acceptor_let_go(&listener->acceptor);
    } else {
        acceptor_close(&listener->acceptor);
        monitor_close(&listener->lock, &listener->left);
    }
    free(listener);
}

/* ---- Connecting ------------------------------------------------------------------------------ */

/* Opens the granted end, and checks that no message in it can be longer than was agreed. */
static int open_granted(xf_pipe **pipe, const xf_ref *ref, uint64_t memory)
{
    int rc = xf_pipe_open(pipe, ref);

    if (rc == 0 && pipe_memory(*pipe) > memory) {
        xf_pipe_free(*pipe);
        rc = error_detail(XF_EPROTO, "a pipe with more memory than memory_limit");
    }
    return rc;
}

int xf_connect(xf_pipe **out, const char *name, const xf_connect_options *options, int timeout_ms)
{
    OS_HOLD_CANCEL;
    static const xf_connect_options defaults;
    uint64_t deadline = clock_deadline(timeout_ms), memory;
    xf_pipe *pipe = NULL;
    connector connector;
    int rc;

    options = options ? options : &defaults;
    memory = options->memory_limit ? options->memory_limit : DEFAULT_MEMORY;
    rc = connector_open(&connector, name, &options->key, XF_KIND_PIPE, memory, deadline);
    if (rc < 0)
        return rc;
    rc = open_granted(&pipe, &connector.ref, memory);
    if (rc < 0)
        return connector_close(&connector, rc);
    rc = connector_close(&connector, 0);
    if (rc < 0)
        xf_pipe_free(pipe);
    else
        *out = pipe;
    return rc;
}
