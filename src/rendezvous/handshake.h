/* The handshake of two unrelated processes, before they share anything.
 *
 *     connector                          acceptor
 *     ASK        kind of object, nonce ->
 *                                     <- CHALLENGE  nonce
 *     PROOF      of the key           ->
 *                                     <- GRANT      proof of the key; an object, with its segment attached
 *     OPENED                          ->
 *                                     <- REFUSE     in place of CHALLENGE or GRANT: why
 *
 * A proof is an HMAC over both nonces, everything else that was sent, the name, and the side that proves.  So a proof
 * cannot be used a second time, in the other direction, or at another endpoint.  Without a key the proofs are zero, and
 * it is enough that both processes belong to the same user.
 *
 * All messages have the same size, so a side never reads more than HANDSHAKE_SIZE bytes. */
#ifndef HANDSHAKE_H
#define HANDSHAKE_H

#include "base/hmac.h"
#include "crossfork/key.h"
#include "crossfork/ref.h"
#include "os/endpoint.h"

enum { HANDSHAKE_SIZE = 104, HANDSHAKE_NONCE = 32, HANDSHAKE_KEY_MIN = 16, HANDSHAKE_KEY_MAX = 1024 };

typedef enum handshake_kind {
    HANDSHAKE_ASK = 1,
    HANDSHAKE_CHALLENGE,
    HANDSHAKE_PROOF,
    HANDSHAKE_GRANT,
    HANDSHAKE_OPENED,
    HANDSHAKE_REFUSE
} handshake_kind;

typedef struct handshake_message {
    handshake_kind kind;
    int code;          /* REFUSE: an XF_E* code */
    uint32_t flags;    /* ASK, CHALLENGE, REFUSE: HANDSHAKE_KEYED; GRANT: of the segment */
    uint32_t argument; /* ASK: the xf_object_kind of the object; GRANT: the reserved member of the reference */
    uint64_t token;    /* GRANT: see os_channel_take */
    uint64_t size;     /* ASK: the most memory of a pipe; GRANT: of the segment */
    uint64_t process;  /* ASK, CHALLENGE: os_self_process of the sender */
    uint8_t bytes[HANDSHAKE_NONCE]; /* ASK, CHALLENGE: the nonce; PROOF, GRANT: the proof */
    xf_ref ref;                     /* GRANT: of the object; its reserved member is 0 */
} handshake_message;

_Static_assert(HMAC_SIZE == (int)HANDSHAKE_NONCE, "nonces and proofs use the same bytes");

enum { HANDSHAKE_KEYED = 1 };

/* ---- Names and keys -------------------------------------------------------------------------- */

/* Checks a name, and converts it to lower case.  XF_EINVAL. */
int handshake_check_name(char checked[OS_NAME_MAX + 1], const char *name);

/* A key in memory; size 0: none. */
typedef struct handshake_key {
    size_t size;
    uint8_t bytes[HANDSHAKE_KEY_MAX];
} handshake_key;

/* Copies or reads a key, and checks that this build can use keys.
 * XF_EINVAL when it is too short or too long; XF_ENOTSUP; as os_file_read_private. */
int handshake_key_load(handshake_key *key, const xf_key *from);

/* Overwrites the key in memory. */
void handshake_key_erase(handshake_key *key);

/* ---- Sessions -------------------------------------------------------------------------------- */

/* One side of a handshake. */
typedef struct handshake_session {
    os_channel *channel;
    const handshake_key *key;
    const char *name;
    uint8_t ask[HANDSHAKE_SIZE]; /* as it was sent, for proofs */
    uint8_t challenge[HANDSHAKE_SIZE];
    uint8_t in[HANDSHAKE_SIZE]; /* the message that is arriving */
    size_t have;
} handshake_session;

/* Sends a message.  Fills in the nonce, the process and HANDSHAKE_KEYED of ASK and CHALLENGE, and the proof of PROOF
 * and GRANT.
 *   handle  Travels with GRANT, and stays open until OPENED is received; -1: none.
 * XF_EEND when the other side has closed the channel; XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM. */
int handshake_send(handshake_session *session, handshake_message *message, intptr_t handle);

/* Receives the next message without waiting, and checks its proof. XF_EAGAIN when it is not complete; XF_EEND;
 * XF_EPROTO when it is of another kind; XF_EACCESS for a wrong proof, or when only one side has a key; for REFUSE, its
 * code. */
int handshake_receive(handshake_session *session, handshake_kind expected, handshake_message *message);

#endif
