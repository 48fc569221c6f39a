/* Goal: for any bytes of a program that connects, or is connected to, a handshake ends by an error, or by a message
 * of the kind that was expected, with the proof that the key asks for.
 *
 * The first byte has the expected kind and whether there is a key, the second how the bytes are cut. */
#include "fuzz.h"
#include "os/identity.h"
#include "rendezvous/handshake.h"

/* ---- In place of the seam -------------------------------------------------------------------- */

static fuzz_input arriving;
static size_t piece;

int os_channel_read(os_channel *channel, void *data, size_t size, size_t *count, int timeout_ms)
{
    (void)channel, (void)timeout_ms;
    *count = size < piece ? size : piece;
    *count = *count < arriving.left ? *count : arriving.left;
    if (*count == 0)
        return XF_EEND;
    fuzz_take(&arriving, data, *count);
    return 0;
}

int os_channel_write(os_channel *channel, const void *data, size_t size, intptr_t handle, int timeout_ms)
{
    (void)channel, (void)handle, (void)timeout_ms;
    CHECK(fuzz_sum(data, size) <= 255U * (unsigned)size);
    return 0;
}

bool os_process_lives(uint64_t process)
{
    return process % 2 == 0;
}

uint64_t os_self_process(void)
{
    return 42;
}

int os_file_read_private(const char *path, void *data, size_t size, size_t *count)
{
    (void)path, (void)data, (void)size, (void)count;
    return XF_ENOENT;
}

/* ---- The handshake --------------------------------------------------------------------------- */

static void check_message(const handshake_session *session, handshake_kind expected, const handshake_message *message)
{
    static const uint8_t nothing[HANDSHAKE_NONCE];

    CHECK(message->kind == expected);
    if (expected == HANDSHAKE_ASK || expected == HANDSHAKE_CHALLENGE)
        CHECK(message->process % 2 == 0 && (message->flags & HANDSHAKE_KEYED) == (session->key->size > 0));
    else if (session->key->size > 0 && expected != HANDSHAKE_OPENED && expected != HANDSHAKE_REFUSE)
        CHECK(memcmp(message->bytes, nothing, sizeof nothing) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[32] = "0123456789abcdef0123456789abcde";
    handshake_key key = {.size = 0};
    handshake_session session = {.key = &key, .name = "name"};
    handshake_message message;
    unsigned how;

    arriving = (fuzz_input){data, size};
    how = fuzz_number(&arriving, 1);
    piece = 1 + fuzz_number(&arriving, 1);
    if (how & 8)
        CHECK(handshake_key_load(&key, &(xf_key){.bytes = secret, .size = sizeof secret}) == 0);
    for (int step = 0; step < 3; step++) {
        handshake_kind expected = (handshake_kind)(HANDSHAKE_ASK + (how % 8 + (unsigned)step) % HANDSHAKE_REFUSE);
        if (handshake_receive(&session, expected, &message) < 0)
            break;
        check_message(&session, expected, &message);
        CHECK(handshake_send(&session, &message, -1) == 0);
    }
    return 0;
}
