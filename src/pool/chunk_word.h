/* The claim word: who has a chunk of work, and how much of it is settled.  docs/claim.md has the state machine.
 *
 *     state 4 bits | owner's slot 12 | owner's epoch 16 | skip 32: leading items of the chunk that are settled
 *
 * Every change is one compare-and-swap, or a store by the parent for an owner that is dead. */
#ifndef CLAIM_H
#define CLAIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum claim_state {
    CLAIM_QUEUED = 0, /* all zero is a chunk that nobody has touched */
    CLAIM_CLAIMED,    /* its owner runs it */
    CLAIM_DOOMED,     /* its owner will be killed for it, and must not settle it any more */
    CLAIM_DONE,       /* settled by its owner; items behind skip are cancelled */
    CLAIM_UNUSED      /* there is no such work */
} claim_state;

typedef _Atomic uint64_t claim_word;

static inline uint64_t claim_word_make(claim_state state, uint32_t owner, uint32_t epoch, uint32_t skip)
{
    return (uint64_t)state << 60 | (uint64_t)(owner & 0xFFF) << 48 | (uint64_t)(epoch & 0xFFFF) << 32 | skip;
}

static inline claim_state claim_word_state(uint64_t claim)
{
    return (claim_state)(claim >> 60);
}

static inline uint32_t claim_word_owner(uint64_t claim)
{
    return (uint32_t)(claim >> 48) & 0xFFF;
}

static inline uint32_t claim_word_skip(uint64_t claim)
{
    return (uint32_t)claim;
}

/* Whether that owner, and no earlier worker in its slot, holds the chunk. */
static inline bool claim_word_is_held_by(uint64_t claim, uint32_t owner, uint32_t epoch)
{
    claim_state state = claim_word_state(claim);

    return (state == CLAIM_CLAIMED || state == CLAIM_DOOMED) && claim_word_owner(claim) == owner &&
           ((uint32_t)(claim >> 32) & 0xFFFF) == (epoch & 0xFFFF);
}

/* One step of a chunk; false when it was not in that state any more. */
static inline bool claim_word_change(claim_word *word, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(word, &from, to);
}

#endif
