#include "rendezvous/connector.h"

#include "base/clock.h"
#include "base/error.h"

/* Waits for the next message of the acceptor. */
static int receive_in_time(handshake_session *session, handshake_kind expected, handshake_message *message,
                           uint64_t deadline)
{
    int rc;

    while ((rc = handshake_receive(session, expected, message)) == XF_EAGAIN) {
        rc = os_endpoint_wait(NULL, &session->channel, 1, clock_left_ms(deadline));
        if (rc == XF_ETIMEDOUT)
            return error_detail(rc, "no answer from %s in time", session->name);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* An acceptor that ends closes the connection first, and then the object that it has granted, which may be closed
 * before it is taken here. */
static bool has_closed(connector *connector)
{
    handshake_message unused;

    return handshake_receive(&connector->session, HANDSHAKE_REFUSE, &unused) == XF_EEND;
}

/* Opens the object that an acceptor grants, after it has proved the key. */
static int adopt_granted(connector *connector, const handshake_message *grant)
{
    intptr_t handle;
    int rc = os_channel_take(connector->session.channel, grant->token, &handle);

    if (rc == 0)
        rc = object_adopt(&connector->object, &grant->ref, handle, grant->size, (int)grant->flags);
    if (rc == XF_EPROTO && has_closed(connector))
        rc = XF_EEND;
    connector->ref = grant->ref;
    connector->ref.reserved = grant->argument;
    return rc;
}

static int shake_hands(connector *connector, xf_object_kind kind, uint64_t memory_max, uint64_t deadline)
{
    handshake_message ask = {.kind = HANDSHAKE_ASK, .argument = (uint32_t)kind, .size = memory_max};
    handshake_message proof = {.kind = HANDSHAKE_PROOF}, received;
    int rc = handshake_send(&connector->session, &ask, -1);

    if (rc == 0)
        rc = receive_in_time(&connector->session, HANDSHAKE_CHALLENGE, &received, deadline);
    if (rc == 0)
        rc = handshake_send(&connector->session, &proof, -1);
    if (rc == 0)
        rc = receive_in_time(&connector->session, HANDSHAKE_GRANT, &received, deadline);
    if (rc == 0 && received.ref.kind != (uint32_t)kind)
        rc = error_detail(XF_EPROTO, "%s grants an object of another kind", connector->name);
    return rc < 0 ? rc : adopt_granted(connector, &received);
}

int connector_open(connector *connector, const char *name, const xf_key *key, xf_object_kind kind, uint64_t memory_max,
                   uint64_t deadline)
{
    int rc = handshake_check_name(connector->name, name);

    if (rc == 0)
        rc = handshake_key_load(&connector->key, key);
    if (rc < 0)
        return rc;
    connector->object = NULL;
    connector->session = (handshake_session){.key = &connector->key, .name = connector->name};
    rc = os_endpoint_connect(&connector->session.channel, connector->name, clock_left_ms(deadline));
    if (rc < 0) {
        handshake_key_erase(&connector->key);
        return rc;
    }
    rc = shake_hands(connector, kind, memory_max, deadline);
    return rc < 0 ? connector_close(connector, rc) : 0;
}

int connector_close(connector *connector, int rc)
{
    handshake_message opened = {.kind = HANDSHAKE_OPENED};

    if (rc == 0)
        rc = handshake_send(&connector->session, &opened, -1);
    object_close(connector->object);
    os_channel_close(connector->session.channel);
    handshake_key_erase(&connector->key);
    return rc;
}
