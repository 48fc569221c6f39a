/* Blocks: memory for messages that are longer than a cell has room for, in runs of pages of an arena.
 *
 * The word of a page names the process that owns it.  Nothing is locked: a process may be killed at any instruction,
 * and what it had taken is found by its name. */
#ifndef RING_BLOCKS_H
#define RING_BLOCKS_H

#include "lockfree/page_arena.h"
#include "os/identity.h"

/* The head of a block, before its message. */
typedef struct ring_block {
    uint64_t size;             /* of the message */
    _Atomic uint64_t position; /* of the message in its ring; 0 as long as it has none */
    _Alignas(64) uint8_t bytes[];
} ring_block;

/* A process's view of the blocks: an arena in which the word of a page names the owner of the page (os_self_process).
 * The other bits of a word: */
typedef page_arena ring_blocks;

#define RING_BLOCK_VIEWED (UINT64_C(1) << 62) /* a message that has left its ring: on the first page only */
#define RING_BLOCK_FREED (UINT64_C(1) << 61)  /* its owner is dead, and it is being freed */
#define RING_BLOCK_OWNER ((UINT64_C(1) << OS_PROCESS_BITS) - 1)

/* Takes a block for a message of that size.
 *   block  Set to its offset.  Its head has the size and no position.
 * XF_EAGAIN when no run of free pages is that long now; XF_ELIMIT when none can ever be; XF_ENOMEM. */
int ring_blocks_take(ring_blocks *blocks, uint64_t owner, uint64_t size, uint64_t *block);

/* The block at an offset; NULL when none can be there, or none for a message of that size. */
ring_block *ring_blocks_at(const ring_blocks *blocks, uint64_t block, uint64_t size);

/* Writes into each page of a block that another process owns it, first page first. */
void ring_blocks_adopt(ring_blocks *blocks, uint64_t block, uint64_t size, uint64_t owner);

/* Marks a block of this process as a message that it views, or takes the mark off. */
void ring_blocks_mark(ring_blocks *blocks, uint64_t block, uint64_t owner, bool viewed);

/* Frees a block of this process: the pages from the last to the first. */
void ring_blocks_free(ring_blocks *blocks, uint64_t block, uint64_t size);

/* Frees the pages at the end of a block of this process that a smaller message does not need. */
void ring_blocks_shrink(ring_blocks *blocks, uint64_t block, uint64_t size, uint64_t smaller);

/* Calls found for each block that is taken, with the word of its first page. */
typedef void (*ring_blocks_found)(void *arg, uint64_t block, uint64_t word);
void ring_blocks_walk(ring_blocks *blocks, ring_blocks_found found, void *arg);

/* Frees the block of a dead process if its first page still has that word; else false. */
bool ring_blocks_reclaim(ring_blocks *blocks, uint64_t block, uint64_t word);

/* The word of the first page of a block. */
uint64_t ring_blocks_word(const ring_blocks *blocks, uint64_t block);

#endif
