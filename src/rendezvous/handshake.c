#include "rendezvous/handshake.h"

#include "base/error.h"
#include "base/hmac.h"
#include "os/identity.h"
#include "protocol/frame.h"

#include <string.h>
#include <uv.h>

static const uint8_t magic[4] = {'x', 'f', 'h', 1}; /* and the version */

/* ---- Names and keys -------------------------------------------------------------------------- */

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.", c));
}

/* The name is lower case, because Windows does not distinguish case. */
int handshake_check_name(char checked[OS_NAME_MAX + 1], const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > OS_NAME_MAX)
        return error_detail(XF_EINVAL, "a name of %zu bytes; 1 to %d are allowed", length, OS_NAME_MAX);
    for (size_t i = 0; i <= length; i++) {
        if (i < length && !is_name_character(name[i]))
            return error_detail(XF_EINVAL, "the name \"%s\" has characters other than letters, digits, '-', '_', '.'",
                                name);
        checked[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    }
    return 0;
}

static int copy_key(handshake_key *key, const xf_key *from)
{
    if (from->file && from->bytes)
        return error_detail(XF_EINVAL, "a key is given both as bytes and as a file");
    if (from->file)
        return os_file_read_private(from->file, key->bytes, sizeof key->bytes, &key->size);
    if (from->size > sizeof key->bytes)
        return error_detail(XF_EINVAL, "a key of %zu bytes; at most %d are allowed", from->size, HANDSHAKE_KEY_MAX);
    key->size = from->size;
    if (from->size > 0)
        memcpy(key->bytes, from->bytes, from->size);
    return 0;
}

int handshake_key_load(handshake_key *key, const xf_key *from)
{
    uint8_t mac[HMAC_SIZE];
    int rc;

    key->size = 0;
    if (!from->file && !from->bytes)
        return from->size ? error_detail(XF_EINVAL, "key.size is %zu, but key.bytes is NULL", from->size) : 0;
    rc = copy_key(key, from);
    if (rc == 0 && key->size < HANDSHAKE_KEY_MIN)
        rc = error_detail(XF_EINVAL, "a key of %zu bytes; at least %d are needed", key->size, HANDSHAKE_KEY_MIN);
    if (rc == 0)
        rc = hmac_compute(key->bytes, key->size, "", 0, mac);
    if (rc < 0)
        handshake_key_erase(key);
    return rc;
}

/* Volatile, so that the compiler does not remove the writes. */
void handshake_key_erase(handshake_key *key)
{
    volatile uint8_t *bytes = key->bytes;

    for (size_t i = 0; i < sizeof key->bytes; i++)
        bytes[i] = 0;
    key->size = 0;
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

_Static_assert(HANDSHAKE_SIZE <= (int)OS_CHANNEL_WRITE_MAX, "a message fits a write");

/* The offset of the token is the one where os_channel_write puts it. */
static void encode_message(uint8_t bytes[HANDSHAKE_SIZE], const handshake_message *message)
{
    frame_fields fields = {.size = 0};

    frame_put(&fields, magic, sizeof magic);
    frame_put_u32(&fields, (uint32_t)message->kind);
    frame_put_u32(&fields, (uint32_t)message->code);
    frame_put_u32(&fields, message->flags);
    frame_put_u64(&fields, message->token);
    frame_put_u64(&fields, message->size);
    frame_put_u64(&fields, message->process);
    frame_put_u32(&fields, message->argument);
    frame_put_u32(&fields, 0);
    frame_put(&fields, message->bytes, sizeof message->bytes);
    frame_put(&fields, &message->ref, sizeof message->ref);
    memcpy(bytes, fields.bytes, HANDSHAKE_SIZE);
}

static int decode_message(const uint8_t bytes[HANDSHAKE_SIZE], handshake_message *message)
{
    frame_reader reader = {bytes, HANDSHAKE_SIZE, false};
    uint8_t seen[sizeof magic];
    uint32_t zero;

    frame_get(&reader, seen, sizeof seen);
    message->kind = (handshake_kind)frame_get_u32(&reader);
    message->code = (int)frame_get_u32(&reader);
    message->flags = frame_get_u32(&reader);
    message->token = frame_get_u64(&reader);
    message->size = frame_get_u64(&reader);
    message->process = frame_get_u64(&reader);
    message->argument = frame_get_u32(&reader);
    zero = frame_get_u32(&reader);
    frame_get(&reader, message->bytes, sizeof message->bytes);
    frame_get(&reader, &message->ref, sizeof message->ref);
    if (memcmp(seen, magic, 3) != 0 || zero != 0 || reader.bad)
        return error_detail(XF_EPROTO, "the other side does not speak the protocol of crossfork");
    return seen[3] == magic[3]
               ? 0
               : error_detail(XF_EPROTO, "the other side speaks version %d of the protocol, not %d", seen[3], magic[3]);
}

/* ---- Proofs ---------------------------------------------------------------------------------- */

/* Makes the proof of PROOF or GRANT, over everything that was sent.  It does not cover the token of GRANT, which is
 * filled in later. */
static int make_proof(const handshake_session *session, const handshake_message *message, uint8_t proof[HMAC_SIZE])
{
    struct {
        char who[16];
        char name[OS_NAME_MAX + 1];
        uint8_t ask[HANDSHAKE_SIZE], challenge[HANDSHAKE_SIZE], message[HANDSHAKE_SIZE];
    } sent = {.who = "arrives"};
    handshake_message bare = *message;

    memset(proof, 0, HMAC_SIZE);
    if (session->key->size == 0)
        return 0;
    bare.token = 0;
    memset(bare.bytes, 0, sizeof bare.bytes);
    if (message->kind == HANDSHAKE_GRANT)
        strcpy(sent.who, "admits");
    strcpy(sent.name, session->name);
    memcpy(sent.ask, session->ask, HANDSHAKE_SIZE);
    memcpy(sent.challenge, session->challenge, HANDSHAKE_SIZE);
    encode_message(sent.message, &bare);
    return hmac_compute(session->key->bytes, session->key->size, &sent, sizeof sent, proof);
}

/* Compares in a time that does not depend on the bytes, so that it says nothing about the right proof. */
static bool is_equal_proof(const uint8_t *left, const uint8_t *right, size_t size)
{
    volatile uint8_t difference = 0;

    for (size_t i = 0; i < size; i++)
        difference |= left[i] ^ right[i];
    return difference == 0;
}

static int check_proof(const handshake_session *session, const handshake_message *message)
{
    uint8_t proof[HMAC_SIZE];
    int rc = make_proof(session, message, proof);

    if (rc == 0 && !is_equal_proof(proof, message->bytes, sizeof proof))
        rc = error_detail(XF_EACCESS, "the other side of %s does not have the same key", session->name);
    return rc;
}

/* ---- Messages -------------------------------------------------------------------------------- */

static bool has_nonce(const handshake_message *message)
{
    return message->kind == HANDSHAKE_ASK || message->kind == HANDSHAKE_CHALLENGE;
}

static bool has_proof(const handshake_message *message)
{
    return message->kind == HANDSHAKE_PROOF || message->kind == HANDSHAKE_GRANT;
}

static void keep_for_proofs(handshake_session *session, handshake_kind kind, const uint8_t bytes[HANDSHAKE_SIZE])
{
    if (kind == HANDSHAKE_ASK)
        memcpy(session->ask, bytes, HANDSHAKE_SIZE);
    else if (kind == HANDSHAKE_CHALLENGE)
        memcpy(session->challenge, bytes, HANDSHAKE_SIZE);
}

static int fill_in_opening(const handshake_session *session, handshake_message *message)
{
    int rc = uv_random(NULL, NULL, message->bytes, sizeof message->bytes, 0, NULL);

    message->process = os_self_process();
    message->flags = session->key->size ? HANDSHAKE_KEYED : 0;
    return rc < 0 ? error_from_uv(rc, "uv_random") : 0;
}

int handshake_send(handshake_session *session, handshake_message *message, intptr_t handle)
{
    uint8_t bytes[HANDSHAKE_SIZE];
    int rc = 0;

    if (has_nonce(message))
        rc = fill_in_opening(session, message);
    else if (has_proof(message))
        rc = make_proof(session, message, message->bytes);
    if (rc < 0)
        return rc;
    encode_message(bytes, message);
    keep_for_proofs(session, message->kind, bytes);
    rc = os_channel_write(session->channel, bytes, sizeof bytes, handle, 0);
    if (rc == XF_EEND)
        return error_detail(rc, "the other side of %s has closed the connection", session->name);
    return rc == XF_EAGAIN ? error_detail(XF_EPROTO, "the other side of %s does not read", session->name) : rc;
}

/* Checks that both sides have a key or neither has one, and that this process can see whether the other runs, because
 * all shared objects rely on that. */
static int check_opening(const handshake_session *session, const handshake_message *message)
{
    bool keyed = session->key->size > 0;

    if ((message->flags & HANDSHAKE_KEYED) && !keyed)
        return error_detail(XF_EACCESS, "the other side of %s has a key, but none was given", session->name);
    if (!(message->flags & HANDSHAKE_KEYED) && keyed)
        return error_detail(XF_EACCESS, "the other side of %s has no key", session->name);
    if (!os_process_lives(message->process))
        return error_detail(XF_ENOTSUP, "the other process of %s is not visible here, as in another container",
                            session->name);
    return 0;
}

static int explain_refusal(const handshake_session *session, const handshake_message *message)
{
    if (message->code >= 0 || strcmp(xf_err_name(message->code), "XF_E?") == 0)
        return error_detail(XF_EPROTO, "%s refused with the unknown code %d", session->name, message->code);
    if (message->code != XF_EACCESS)
        return error_detail(message->code, "%s refused the connection", session->name);
    if (session->key->size == 0)
        return error_detail(XF_EACCESS, "%s requires a key, but none was given", session->name);
    if (message->flags & HANDSHAKE_KEYED)
        return error_detail(XF_EACCESS, "%s has another key", session->name);
    return error_detail(XF_EACCESS, "%s has no key, but one was given", session->name);
}

int handshake_receive(handshake_session *session, handshake_kind expected, handshake_message *message)
{
    size_t count;
    int rc;

    while (session->have < HANDSHAKE_SIZE) {
        rc = os_channel_read(session->channel, session->in + session->have, HANDSHAKE_SIZE - session->have, &count, 0);
        if (rc < 0)
            return rc == XF_EEND ? error_detail(rc, "the other side of %s has closed the connection", session->name)
                                 : rc;
        session->have += count;
    }
    session->have = 0;
    rc = decode_message(session->in, message);
    if (rc < 0)
        return rc;
    if (message->kind == HANDSHAKE_REFUSE && (expected == HANDSHAKE_CHALLENGE || expected == HANDSHAKE_GRANT))
        return explain_refusal(session, message);
    if (message->kind != expected)
        return error_detail(XF_EPROTO, "unexpected handshake message from %s", session->name);
    keep_for_proofs(session, message->kind, session->in);
    return has_nonce(message)   ? check_opening(session, message)
           : has_proof(message) ? check_proof(session, message)
                                : 0;
}
