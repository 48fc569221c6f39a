#include "rendezvous/acceptor.h"

#include "base/clock.h"
#include "base/error.h"
#include "objects/object.h"

#include <string.h>
#include <uv.h>

int acceptor_open(acceptor *acceptor, const char *name, const xf_key *key)
{
    int rc = handshake_check_name(acceptor->name, name);

    if (rc == 0)
        rc = handshake_key_load(&acceptor->key, key);
    if (rc < 0)
        return rc;
    acceptor->count = 0;
    rc = os_endpoint_open(&acceptor->endpoint, acceptor->name);
    if (rc < 0)
        handshake_key_erase(&acceptor->key);
    return rc;
}

void acceptor_stop(acceptor *acceptor)
{
    os_endpoint_shutdown(acceptor->endpoint);
}

/* ---- Handshakes ------------------------------------------------------------------------------ */

static void expect_message(acceptor *acceptor, acceptor_pending *pending, handshake_kind kind)
{
    pending->expected = kind;
    pending->deadline = clock_deadline(acceptor->step_timeout_ms);
}

static void remove_pending(acceptor *acceptor, acceptor_pending *pending)
{
    os_channel_close(pending->session.channel);
    acceptor->count--;
    memmove(pending, pending + 1, (size_t)(acceptor->pending + acceptor->count - pending) * sizeof *pending);
}

/* Ends a handshake without granting anything, and sends the reason when the other side is likely to read it. */
static void reject(acceptor *acceptor, acceptor_pending *pending, int code)
{
    handshake_message message = {
        .kind = HANDSHAKE_REFUSE, .code = code, .flags = acceptor->key.size ? HANDSHAKE_KEYED : 0};

    if (code != XF_EEND && code != XF_EPROTO)
        (void)handshake_send(&pending->session, &message, -1);
    if (pending->granted)
        acceptor->revoke(pending->granted);
    remove_pending(acceptor, pending);
}

/* Sends the object that the other side opens. */
static int send_grant(acceptor_pending *pending, const xf_ref *ref)
{
    handshake_message message = {.kind = HANDSHAKE_GRANT, .argument = ref->reserved};
    object *object;
    int rc = object_open_any(&object, ref);

    if (rc < 0)
        return rc;
    message.flags = (uint32_t)object->shm.flags;
    message.size = object->shm.size;
    message.ref = object->ref;
    rc = handshake_send(&pending->session, &message, object->shm.handle);
    object_close(object);
    return rc;
}

/* Continues one handshake.
 * XF_EAGAIN while messages are missing; 0 when the other side has opened its object. */
static int step_one(acceptor *acceptor, acceptor_pending *pending)
{
    handshake_message received, challenge = {.kind = HANDSHAKE_CHALLENGE};
    xf_ref ref;
    int rc = handshake_receive(&pending->session, pending->expected, &received);

    if (rc == XF_EAGAIN && uv_hrtime() >= pending->deadline)
        return error_detail(XF_ETIMEDOUT, "a process that connects to %s does not continue its handshake",
                            acceptor->name);
    if (rc < 0 || pending->expected == HANDSHAKE_OPENED)
        return rc;
    if (pending->expected == HANDSHAKE_ASK) {
        if (received.argument != (uint32_t)acceptor->kind)
            return error_detail(XF_EINVAL, "%s does not offer that kind of object", acceptor->name);
        pending->memory_max = received.size;
        rc = handshake_send(&pending->session, &challenge, -1);
        expect_message(acceptor, pending, HANDSHAKE_PROOF);
    } else {
        rc = acceptor->grant(acceptor, pending, &ref, &pending->granted);
        if (rc == 0)
            rc = send_grant(pending, &ref);
        expect_message(acceptor, pending, HANDSHAKE_OPENED);
    }
    return rc < 0 ? rc : XF_EAGAIN;
}

/* Whether the owner of the acceptor need not know about that failure. */
static bool is_remote_fault(int code)
{
    return code == XF_EEND || code == XF_EPROTO || code == XF_ETIMEDOUT || code == XF_EINVAL || code == XF_ENOTSUP;
}

/* Continues all handshakes, until one is complete or fails in a way that the owner has to know. */
static int step_pending(acceptor *acceptor, void **granted)
{
    acceptor_pending *pending = acceptor->pending;

    while (pending < acceptor->pending + acceptor->count) {
        int rc = step_one(acceptor, pending);
        if (rc == XF_EAGAIN) {
            pending++;
        } else if (rc == 0) {
            *granted = pending->granted;
            remove_pending(acceptor, pending);
            return 0;
        } else {
            reject(acceptor, pending, rc);
            if (!is_remote_fault(rc))
                return rc;
        }
    }
    return XF_EAGAIN;
}

static int accept_all(acceptor *acceptor)
{
    os_channel *channel;
    int rc = 0;

    while (acceptor->count < OS_CHANNELS_MAX && (rc = os_endpoint_accept(acceptor->endpoint, &channel)) == 0) {
        acceptor_pending *pending = &acceptor->pending[acceptor->count++];
        pending->session = (handshake_session){.channel = channel, .key = &acceptor->key, .name = acceptor->name};
        pending->granted = NULL;
        expect_message(acceptor, pending, HANDSHAKE_ASK);
    }
    return rc == XF_EAGAIN ? 0 : rc;
}

/* Waits for a message or a connection.  Processes that connect while all places are taken wait in the endpoint. */
static int wait_for_connections(acceptor *acceptor, uint64_t deadline)
{
    os_channel *channels[OS_CHANNELS_MAX];
    uint64_t next = deadline;
    int rc;

    for (size_t i = 0; i < acceptor->count; i++) {
        channels[i] = acceptor->pending[i].session.channel;
        if (acceptor->pending[i].deadline < next)
            next = acceptor->pending[i].deadline;
    }
    rc = os_endpoint_wait(acceptor->count < OS_CHANNELS_MAX ? acceptor->endpoint : NULL, channels, acceptor->count,
                          clock_left_ms(next));
    return rc == XF_ETIMEDOUT && uv_hrtime() < deadline ? 0 : rc;
}

/* The time is looked at after each round, also while there is always something to do: processes that connect and fail
 * again and again do not prolong the wait. */
int acceptor_accept(acceptor *acceptor, void **granted, uint64_t deadline)
{
    int rc;

    do {
        rc = accept_all(acceptor);
        if (rc == 0)
            rc = step_pending(acceptor, granted);
        if (rc != XF_EAGAIN)
            return rc;
        rc = wait_for_connections(acceptor, deadline);
    } while (rc == 0 && uv_hrtime() < deadline);
    return rc == 0 ? XF_ETIMEDOUT : rc;
}

void acceptor_close(acceptor *acceptor)
{
    while (acceptor->count > 0)
        reject(acceptor, &acceptor->pending[0], XF_EEND);
    os_endpoint_close(acceptor->endpoint);
    handshake_key_erase(&acceptor->key);
}

void acceptor_let_go(acceptor *acceptor)
{
    os_endpoint_let_go(acceptor->endpoint);
    handshake_key_erase(&acceptor->key);
}
