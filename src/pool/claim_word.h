/* The claim word of a chunk: which worker has the chunk, and how many of its items are finished.  docs/design/claim.md
 * has the state machine.
 *
 *     state 4 bits | owner's slot 12 | owner's epoch 16 | skip 32: leading items of the chunk that are finished
 *
 * Every change is one compare-and-swap, or a store by the parent when the owner is dead. */
#ifndef CLAIM_WORD_H
#define CLAIM_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum claim_state {
    CLAIM_QUEUED = 0, /* no worker has the chunk; a word of zeros is a chunk that was never claimed */
    CLAIM_CLAIMED,    /* its owner runs it */
    CLAIM_DOOMED,     /* the parent is about to kill the owner, which must not commit the chunk any more */
    CLAIM_DONE,       /* committed by its owner, or ended by the parent; items from skip on never ran */
    CLAIM_UNUSED      /* the job slot has no job */
} claim_state;

typedef _Atomic uint64_t claim_word;

/* As skip of a chunk that has ended: what became of its items is not known. */
#define CLAIM_SKIP_UNKNOWN UINT32_MAX

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

/* The same claim, doomed. */
static inline uint64_t claim_word_doom(uint64_t claim)
{
    return (claim & ~(UINT64_C(15) << 60)) | (uint64_t)CLAIM_DOOMED << 60;
}

/* Whether the worker of that slot and epoch holds the chunk, and not an earlier worker of the slot. */
static inline bool claim_word_is_held_by(uint64_t claim, uint32_t owner, uint32_t epoch)
{
    claim_state state = claim_word_state(claim);

    return (state == CLAIM_CLAIMED || state == CLAIM_DOOMED) && claim_word_owner(claim) == owner &&
           ((uint32_t)(claim >> 32) & 0xFFFF) == (epoch & 0xFFFF);
}

/* Changes the word in one step; false when it was not `from` any more. */
static inline bool claim_word_change(claim_word *word, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(word, &from, to);
}

#endif
