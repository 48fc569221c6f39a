/* What two processes that are not of one family say to each other before they share anything.
 *
 *     who arrives                        whose door it is
 *     ASK        what it wants, nonce ->
 *                                     <- CHALLENGE  nonce
 *     PROOF      of the key           ->
 *                                     <- GRANT      proof of the key; an object, with its segment attached
 *     OPENED                          ->
 *                                     <- REFUSE     instead of any of its own: why not
 *
 * A proof is an HMAC of both nonces and everything else that was said, the name, and which side it is that proves, so
 * that none can be used a second time, in the other direction or at another door.  Where there is no key, proofs are
 * zero, and being of the same user is enough.
 *
 * All have the same size, so nothing is ever read but into HELLO_SIZE bytes. */
#ifndef HELLO_H
#define HELLO_H

#include "crossfork/key.h"
#include "crossfork/ref.h"
#include "os/os.h"

enum { HELLO_SIZE = 104, HELLO_NONCE = 32, HELLO_KEY_MIN = 16, HELLO_KEY_MAX = 1024 };

typedef enum hello_kind {
    HELLO_ASK = 1,
    HELLO_CHALLENGE,
    HELLO_PROOF,
    HELLO_GRANT,
    HELLO_OPENED,
    HELLO_REFUSE
} hello_kind;

typedef struct hello {
    hello_kind kind;
    int code;                   /* REFUSE: an XF_E* code */
    uint32_t flags;             /* ASK, CHALLENGE, REFUSE: HELLO_KEYED; GRANT: of the segment */
    uint32_t what;              /* ASK: the xf_object_kind that is wanted; GRANT: place of the reference */
    uint64_t token;             /* GRANT: see os_link_take */
    uint64_t size;              /* ASK: memory of a pipe at most; GRANT: of the segment */
    uint64_t process;           /* ASK, CHALLENGE: os_self_process of the one who says it */
    uint8_t bytes[HELLO_NONCE]; /* ASK, CHALLENGE: the nonce; PROOF, GRANT: the proof */
    xf_ref ref;                 /* GRANT: of the object, with place 0 */
} hello;

_Static_assert(HMAC_SIZE == (int)HELLO_NONCE, "nonces and proofs have the same place");

enum { HELLO_KEYED = 1 };

/* ---- Names and keys -------------------------------------------------------------------------- */

/* Checks a name, and puts it into small letters.  XF_EINVAL. */
int hello_name(char checked[OS_NAME_MAX + 1], const char *name);

/* A key in memory; size 0: none. */
typedef struct hello_key {
    size_t size;
    uint8_t bytes[HELLO_KEY_MAX];
} hello_key;

/* Copies or reads a key, and sees whether anything can be done with it.
 * XF_EINVAL for one that is too short or too long; XF_ENOTSUP; as os_secret_read. */
int hello_key_load(hello_key *key, const xf_key *from);

/* Leaves nothing of it in memory. */
void hello_key_forget(hello_key *key);

/* ---- A talk over a link ---------------------------------------------------------------------- */

typedef struct talk {
    os_link *link;
    const hello_key *key;
    const char *name;
    uint8_t ask[HELLO_SIZE]; /* as they were said, for proofs */
    uint8_t challenge[HELLO_SIZE];
    uint8_t in[HELLO_SIZE]; /* what is coming in */
    size_t have;
} talk;

/* Says it, and keeps it if it is an ASK or CHALLENGE, which get a fresh nonce, the process and HELLO_KEYED here.
 * Proofs are filled in.
 *   handle  Goes with a GRANT, and stays open until OPENED is heard; -1: none.
 * XF_EEND when the other side has gone; XF_EHANDLES, XF_ENOMEM, XF_ESYSTEM. */
int talk_say(talk *talk, hello *message, intptr_t handle);

/* Hears the next one, without waiting, and checks its proof.
 * XF_EAGAIN when it is not complete; XF_EEND; XF_EPROTO when it is something else; XF_EACCESS for a wrong proof, or
 * another idea of whether there is a key; for REFUSE, what it says. */
int talk_hear(talk *talk, hello_kind expected, hello *message);

#endif
