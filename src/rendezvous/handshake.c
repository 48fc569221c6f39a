#include "rendezvous/handshake.h"

#include "base/error.h"
#include "protocol/frame.h"

#include <string.h>
#include <uv.h>

static const uint8_t magic[4] = {'x', 'f', 'h', 1}; /* and the version */

/* ---- Names and keys -------------------------------------------------------------------------- */

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.", c));
}

/* In small letters, because Windows does not tell large from small. */
int hello_name(char checked[OS_NAME_MAX + 1], const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > OS_NAME_MAX)
        return error_detail(XF_EINVAL, "a name of %zu bytes, where 1 to %d can be", length, OS_NAME_MAX);
    for (size_t i = 0; i <= length; i++) {
        if (i < length && !is_name_character(name[i]))
            return error_detail(XF_EINVAL, "the name \"%s\" has other characters than letters, digits, '-', '_', '.'",
                                name);
        checked[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    }
    return 0;
}

static int copy_key(hello_key *key, const xf_key *from)
{
    if (from->file && from->bytes)
        return error_detail(XF_EINVAL, "a key both as bytes and as a file");
    if (from->file)
        return os_secret_read(from->file, key->bytes, sizeof key->bytes, &key->size);
    if (from->size > sizeof key->bytes)
        return error_detail(XF_EINVAL, "a key of %zu bytes, where %d can be", from->size, HELLO_KEY_MAX);
    key->size = from->size;
    if (from->size > 0)
        memcpy(key->bytes, from->bytes, from->size);
    return 0;
}

int hello_key_load(hello_key *key, const xf_key *from)
{
    uint8_t mac[HMAC_SIZE];
    int rc;

    key->size = 0;
    if (!from->file && !from->bytes)
        return from->size ? error_detail(XF_EINVAL, "a key of %zu bytes that are nowhere", from->size) : 0;
    rc = copy_key(key, from);
    if (rc == 0 && key->size < HELLO_KEY_MIN)
        rc = error_detail(XF_EINVAL, "a key of %zu bytes, where at least %d have to be", key->size, HELLO_KEY_MIN);
    if (rc == 0)
        rc = hmac_compute(key->bytes, key->size, "", 0, mac);
    if (rc < 0)
        hello_key_forget(key);
    return rc;
}

/* Volatile, so that the compiler does not leave it out. */
void hello_key_forget(hello_key *key)
{
    volatile uint8_t *bytes = key->bytes;

    for (size_t i = 0; i < sizeof key->bytes; i++)
        bytes[i] = 0;
    key->size = 0;
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

_Static_assert(HELLO_SIZE <= (int)OS_LINK_WRITE_MAX, "one fits a write");

/* The token is where os_link_write puts it. */
static void put(uint8_t bytes[HELLO_SIZE], const hello *message)
{
    wire_fields fields = {.size = 0};

    wire_put(&fields, magic, sizeof magic);
    wire_put_u32(&fields, (uint32_t)message->kind);
    wire_put_u32(&fields, (uint32_t)message->code);
    wire_put_u32(&fields, message->flags);
    wire_put_u64(&fields, message->token);
    wire_put_u64(&fields, message->size);
    wire_put_u64(&fields, message->process);
    wire_put_u32(&fields, message->what);
    wire_put_u32(&fields, 0);
    wire_put(&fields, message->bytes, sizeof message->bytes);
    wire_put(&fields, &message->ref, sizeof message->ref);
    memcpy(bytes, fields.bytes, HELLO_SIZE);
}

static int get(const uint8_t bytes[HELLO_SIZE], hello *message)
{
    wire_reader reader = {bytes, HELLO_SIZE, false};
    uint8_t seen[sizeof magic];
    uint32_t zero;

    wire_get(&reader, seen, sizeof seen);
    message->kind = (hello_kind)wire_get_u32(&reader);
    message->code = (int)wire_get_u32(&reader);
    message->flags = wire_get_u32(&reader);
    message->token = wire_get_u64(&reader);
    message->size = wire_get_u64(&reader);
    message->process = wire_get_u64(&reader);
    message->what = wire_get_u32(&reader);
    zero = wire_get_u32(&reader);
    wire_get(&reader, message->bytes, sizeof message->bytes);
    wire_get(&reader, &message->ref, sizeof message->ref);
    if (memcmp(seen, magic, 3) != 0 || zero != 0 || reader.bad)
        return error_detail(XF_EPROTO, "the other side is not crossfork");
    return seen[3] == magic[3] ? 0
                               : error_detail(XF_EPROTO, "the other side speaks version %d, not %d", seen[3], magic[3]);
}

/* ---- Proofs ---------------------------------------------------------------------------------- */

/* What is proved by PROOF or GRANT: everything that was said, and a GRANT without its token. */
static int prove(const talk *talk, const hello *message, uint8_t proof[HMAC_SIZE])
{
    struct {
        char who[16];
        char name[OS_NAME_MAX + 1];
        uint8_t ask[HELLO_SIZE], challenge[HELLO_SIZE], message[HELLO_SIZE];
    } said = {.who = "arrives"};
    hello bare = *message;

    memset(proof, 0, HMAC_SIZE);
    if (talk->key->size == 0)
        return 0;
    bare.token = 0;
    memset(bare.bytes, 0, sizeof bare.bytes);
    if (message->kind == HELLO_GRANT)
        strcpy(said.who, "admits");
    strcpy(said.name, talk->name);
    memcpy(said.ask, talk->ask, HELLO_SIZE);
    memcpy(said.challenge, talk->challenge, HELLO_SIZE);
    put(said.message, &bare);
    return hmac_compute(talk->key->bytes, talk->key->size, &said, sizeof said, proof);
}

/* Takes as long for a wrong proof as for a right one. */
static bool is_equal(const uint8_t *left, const uint8_t *right, size_t size)
{
    volatile uint8_t difference = 0;

    for (size_t i = 0; i < size; i++)
        difference |= left[i] ^ right[i];
    return difference == 0;
}

static int check_proof(const talk *talk, const hello *message)
{
    uint8_t proof[HMAC_SIZE];
    int rc = prove(talk, message, proof);

    if (rc == 0 && !is_equal(proof, message->bytes, sizeof proof))
        rc = error_detail(XF_EACCESS, "the other side of %s does not have the same key", talk->name);
    return rc;
}

/* ---- Talking --------------------------------------------------------------------------------- */

static bool opens(const hello *message)
{
    return message->kind == HELLO_ASK || message->kind == HELLO_CHALLENGE;
}

static bool proves(const hello *message)
{
    return message->kind == HELLO_PROOF || message->kind == HELLO_GRANT;
}

static void keep(talk *talk, hello_kind kind, const uint8_t bytes[HELLO_SIZE])
{
    if (kind == HELLO_ASK)
        memcpy(talk->ask, bytes, HELLO_SIZE);
    else if (kind == HELLO_CHALLENGE)
        memcpy(talk->challenge, bytes, HELLO_SIZE);
}

static int open_talk(const talk *talk, hello *message)
{
    int rc = uv_random(NULL, NULL, message->bytes, sizeof message->bytes, 0, NULL);

    message->process = os_self_process();
    message->flags = talk->key->size ? HELLO_KEYED : 0;
    return rc < 0 ? error_detail(XF_ESYSTEM, "uv_random: %s", uv_strerror(rc)) : 0;
}

int talk_say(talk *talk, hello *message, intptr_t handle)
{
    uint8_t bytes[HELLO_SIZE];
    int rc = 0;

    if (opens(message))
        rc = open_talk(talk, message);
    else if (proves(message))
        rc = prove(talk, message, message->bytes);
    if (rc < 0)
        return rc;
    put(bytes, message);
    keep(talk, message->kind, bytes);
    rc = os_link_write(talk->link, bytes, sizeof bytes, handle);
    return rc == XF_EAGAIN ? error_detail(XF_EPROTO, "the other side does not read what it is told") : rc;
}

/* Both have a key, or neither; and each can see whether the other lives, which all that they will share relies on. */
static int check_opening(const talk *talk, const hello *message)
{
    bool keyed = talk->key->size > 0;

    if ((message->flags & HELLO_KEYED) && !keyed)
        return error_detail(XF_EACCESS, "the other side of %s has a key, and none was given", talk->name);
    if (!(message->flags & HELLO_KEYED) && keyed)
        return error_detail(XF_EACCESS, "the other side of %s has no key", talk->name);
    if (!os_process_lives(message->process))
        return error_detail(XF_ENOTSUP, "the other process of %s cannot be seen from here, as in another container",
                            talk->name);
    return 0;
}

static int refused(const talk *talk, const hello *message)
{
    if (message->code >= 0 || strcmp(xf_err_name(message->code), "XF_E?") == 0)
        return error_detail(XF_EPROTO, "refused by %s with the code %d", talk->name, message->code);
    if (message->code != XF_EACCESS)
        return error_detail(message->code, "%s said so when it was asked", talk->name);
    if (talk->key->size == 0)
        return error_detail(XF_EACCESS, "%s wants a key, and none was given", talk->name);
    if (message->flags & HELLO_KEYED)
        return error_detail(XF_EACCESS, "%s has another key", talk->name);
    return error_detail(XF_EACCESS, "%s has no key, and one was given", talk->name);
}

int talk_hear(talk *talk, hello_kind expected, hello *message)
{
    size_t count;
    int rc;

    while (talk->have < HELLO_SIZE) {
        rc = os_link_read(talk->link, talk->in + talk->have, HELLO_SIZE - talk->have, &count);
        if (rc < 0)
            return rc == XF_EEND ? error_detail(rc, "the other side of %s has gone", talk->name) : rc;
        talk->have += count;
    }
    talk->have = 0;
    rc = get(talk->in, message);
    if (rc < 0)
        return rc;
    if (message->kind == HELLO_REFUSE && (expected == HELLO_CHALLENGE || expected == HELLO_GRANT))
        return refused(talk, message);
    if (message->kind != expected)
        return error_detail(XF_EPROTO, "the other side of %s says what cannot come now", talk->name);
    keep(talk, message->kind, talk->in);
    return opens(message) ? check_opening(talk, message) : proves(message) ? check_proof(talk, message) : 0;
}
