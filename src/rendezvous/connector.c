#include "rendezvous/connector.h"

#include "base/clock.h"
#include "base/error.h"

/* Waits for what the host has to say. */
static int hear(talk *talk, hello_kind expected, hello *message, uint64_t deadline)
{
    int rc;

    while ((rc = talk_hear(talk, expected, message)) == XF_EAGAIN) {
        rc = os_door_wait(NULL, &talk->link, 1, clock_left_ms(deadline));
        if (rc == XF_ETIMEDOUT)
            return error_detail(rc, "nobody at %s answers in time", talk->name);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* A host that goes closes the link first, and then what it has granted, which may not be there to be taken any more. */
static bool has_gone(visit *visit)
{
    hello unused;

    return talk_hear(&visit->talk, HELLO_REFUSE, &unused) == XF_EEND;
}

/* Opens the object that a host grants, which has proved itself. */
static int take(visit *visit, const hello *grant)
{
    intptr_t handle;
    int rc = os_link_take(visit->talk.link, grant->token, &handle);

    if (rc == 0)
        rc = object_adopt(&visit->object, &grant->ref, handle, grant->size, (int)grant->flags);
    if (rc == XF_EPROTO && has_gone(visit))
        rc = XF_EEND;
    visit->ref = grant->ref;
    visit->ref.reserved = grant->what;
    return rc;
}

static int talk_through(visit *visit, xf_object_kind kind, uint64_t memory, uint64_t deadline)
{
    hello ask = {.kind = HELLO_ASK, .what = (uint32_t)kind, .size = memory};
    hello proof = {.kind = HELLO_PROOF}, heard;
    int rc = talk_say(&visit->talk, &ask, -1);

    if (rc == 0)
        rc = hear(&visit->talk, HELLO_CHALLENGE, &heard, deadline);
    if (rc == 0)
        rc = talk_say(&visit->talk, &proof, -1);
    if (rc == 0)
        rc = hear(&visit->talk, HELLO_GRANT, &heard, deadline);
    if (rc == 0 && heard.ref.kind != (uint32_t)kind)
        rc = error_detail(XF_EPROTO, "%s grants what was not asked for", visit->name);
    return rc < 0 ? rc : take(visit, &heard);
}

int visit_begin(visit *visit, const char *name, const xf_key *key, xf_object_kind kind, uint64_t memory,
                uint64_t deadline)
{
    int rc = hello_name(visit->name, name);

    if (rc == 0)
        rc = hello_key_load(&visit->key, key);
    if (rc < 0)
        return rc;
    visit->object = NULL;
    visit->talk = (talk){.key = &visit->key, .name = visit->name};
    rc = os_link_open(&visit->talk.link, visit->name, clock_left_ms(deadline));
    if (rc < 0) {
        hello_key_forget(&visit->key);
        return rc;
    }
    rc = talk_through(visit, kind, memory, deadline);
    return rc < 0 ? visit_end(visit, rc) : 0;
}

int visit_end(visit *visit, int rc)
{
    hello opened = {.kind = HELLO_OPENED};

    if (rc == 0)
        rc = talk_say(&visit->talk, &opened, -1);
    object_close(visit->object);
    os_link_close(visit->talk.link);
    hello_key_forget(&visit->key);
    return rc;
}
