#include "rendezvous/acceptor.h"

#include "base/clock.h"
#include "base/error.h"
#include "objects/object.h"

#include <string.h>
#include <uv.h>

int host_open(host *host, const char *name, const xf_key *key)
{
    int rc = hello_name(host->name, name);

    if (rc == 0)
        rc = hello_key_load(&host->key, key);
    if (rc < 0)
        return rc;
    host->count = 0;
    rc = os_door_open(&host->door, host->name);
    if (rc < 0)
        hello_key_forget(&host->key);
    return rc;
}

void host_stop(host *host)
{
    os_door_shut(host->door);
}

/* ---- Guests ---------------------------------------------------------------------------------- */

static void expect(host *host, guest *guest, hello_kind kind)
{
    guest->expected = kind;
    guest->deadline = clock_deadline(host->patience_ms);
}

static void remove_guest(host *host, guest *guest)
{
    os_link_close(guest->talk.link);
    host->count--;
    memmove(guest, guest + 1, (size_t)(host->guests + host->count - guest) * sizeof *guest);
}

/* Ends it with a guest that gets nothing, and tells it why, if it can be expected to listen. */
static void turn_away(host *host, guest *guest, int code)
{
    hello message = {.kind = HELLO_REFUSE, .code = code, .flags = host->key.size ? HELLO_KEYED : 0};

    if (code != XF_EEND && code != XF_EPROTO)
        (void)talk_say(&guest->talk, &message, -1);
    if (guest->given)
        host->regret(guest->given);
    remove_guest(host, guest);
}

/* Says that an object is the guest's to open. */
static int give(guest *guest, const xf_ref *ref)
{
    hello message = {.kind = HELLO_GRANT, .what = ref->reserved};
    object *object;
    int rc = object_hold(&object, ref);

    if (rc < 0)
        return rc;
    message.flags = (uint32_t)object->shm.flags;
    message.size = object->shm.size;
    message.ref = object->ref;
    rc = talk_say(&guest->talk, &message, object->shm.handle);
    object_close(object);
    return rc;
}

/* Goes on with one guest.
 * XF_EAGAIN while there is more to be said; 0 when it has opened what it was given. */
static int step(host *host, guest *guest)
{
    hello heard, challenge = {.kind = HELLO_CHALLENGE};
    xf_ref ref;
    int rc = talk_hear(&guest->talk, guest->expected, &heard);

    if (rc == XF_EAGAIN && uv_hrtime() >= guest->deadline)
        return error_detail(XF_ETIMEDOUT, "a process that connects to %s does not go on", host->name);
    if (rc < 0 || guest->expected == HELLO_OPENED)
        return rc;
    if (guest->expected == HELLO_ASK) {
        if (heard.what != (uint32_t)host->kind)
            return error_detail(XF_EINVAL, "%s is asked for what it does not have", host->name);
        guest->memory = heard.size;
        rc = talk_say(&guest->talk, &challenge, -1);
        expect(host, guest, HELLO_PROOF);
    } else {
        rc = host->grant(host, guest, &ref, &guest->given);
        if (rc == 0)
            rc = give(guest, &ref);
        expect(host, guest, HELLO_OPENED);
    }
    return rc < 0 ? rc : XF_EAGAIN;
}

/* Whether that is nothing the host's owner has to know. */
static bool is_guests_affair(int code)
{
    return code == XF_EEND || code == XF_EPROTO || code == XF_ETIMEDOUT || code == XF_EINVAL || code == XF_ENOTSUP;
}

/* Goes on with all guests, until one is through with it, or has to be told of. */
static int step_all(host *host, void **given)
{
    guest *guest = host->guests;

    while (guest < host->guests + host->count) {
        int rc = step(host, guest);
        if (rc == XF_EAGAIN) {
            guest++;
        } else if (rc == 0) {
            *given = guest->given;
            remove_guest(host, guest);
            return 0;
        } else {
            turn_away(host, guest, rc);
            if (!is_guests_affair(rc))
                return rc;
        }
    }
    return XF_EAGAIN;
}

static int admit_all(host *host)
{
    os_link *link;
    int rc = 0;

    while (host->count < OS_LINKS_MAX && (rc = os_door_admit(host->door, &link)) == 0) {
        guest *guest = &host->guests[host->count++];
        guest->talk = (talk){.link = link, .key = &host->key, .name = host->name};
        guest->given = NULL;
        expect(host, guest, HELLO_ASK);
    }
    return rc == XF_EAGAIN ? 0 : rc;
}

/* Waits until something can be done; who comes when all places are taken waits outside. */
static int wait_for_more(host *host, uint64_t deadline)
{
    os_link *links[OS_LINKS_MAX];
    uint64_t next = deadline;
    int rc;

    for (size_t i = 0; i < host->count; i++) {
        links[i] = host->guests[i].talk.link;
        if (host->guests[i].deadline < next)
            next = host->guests[i].deadline;
    }
    rc = os_door_wait(host->count < OS_LINKS_MAX ? host->door : NULL, links, host->count, clock_left_ms(next));
    return rc == XF_ETIMEDOUT && uv_hrtime() < deadline ? 0 : rc;
}

int host_serve(host *host, void **given, uint64_t deadline)
{
    int rc = 0;

    while (rc == 0) {
        rc = admit_all(host);
        if (rc == 0)
            rc = step_all(host, given);
        if (rc != XF_EAGAIN)
            return rc;
        rc = wait_for_more(host, deadline);
    }
    return rc;
}

void host_close(host *host)
{
    while (host->count > 0)
        turn_away(host, &host->guests[0], XF_EEND);
    os_door_close(host->door);
    hello_key_forget(&host->key);
}
