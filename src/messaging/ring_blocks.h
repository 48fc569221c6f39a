/* The store: memory for long messages, in runs of pages of an arena.
 *
 * A page's word says which process has it.  Nothing is locked: a process may be killed at any instruction, and what it
 * had taken is found by its name. */
#ifndef STORE_H
#define STORE_H

#include "lockfree/page_arena.h"

/* The head of a run, before the message. */
typedef struct ring_block {
    uint64_t size;          /* of the message */
    _Atomic uint64_t place; /* of the message in its lane, once it has one: the lane's own */
    _Alignas(64) uint8_t bytes[];
} ring_block;

/* A process's view of it: an arena whose words say who has the page, by the name of the process (os_self_process), and
 * besides: */
typedef arena store;

#define RING_BLOCK_VIEWED (UINT64_C(1) << 62) /* it is a message that has left its lane: on the first page only */
#define RING_BLOCK_FREED (UINT64_C(1) << 61)  /* its owner is dead, and it is being freed */
#define RING_BLOCK_OWNER ((UINT64_C(1) << OS_PROCESS_BITS) - 1)

/* Takes a run for a message of that size.
 *   block  Set to its offset; its head says the size and no place.
 * XF_EAGAIN when no run of free pages is so long now; XF_ELIMIT when none ever will be; XF_ENOMEM. */
int ring_blocks_take(store *store, uint64_t who, uint64_t size, uint64_t *block);

/* The run at an offset; NULL when there can be none, or not for a message of that size. */
ring_block *ring_blocks_at(const store *store, uint64_t block, uint64_t size);

/* Says in each page of a run that another process has it, first page first. */
void ring_blocks_adopt(store *store, uint64_t block, uint64_t size, uint64_t who);

/* Marks a run of one's own as a message in hand, or not. */
void ring_blocks_mark(store *store, uint64_t block, uint64_t who, bool viewed);

/* Frees a run of one's own: the pages from the last to the first. */
void ring_blocks_free(store *store, uint64_t block, uint64_t size);

/* Frees the pages at the end of a run of one's own that a smaller message does not need. */
void ring_blocks_shrink(store *store, uint64_t block, uint64_t size, uint64_t smaller);

/* Calls found for the first page of each run that is taken, with its word. */
typedef void (*ring_blocks_found)(void *arg, uint64_t block, uint64_t word);
void ring_blocks_walk(store *store, ring_blocks_found found, void *arg);

/* Frees the run of a dead process whose first page still has that word; false when it has not. */
bool ring_blocks_reclaim(store *store, uint64_t block, uint64_t word);

/* The word of the first page of a run. */
uint64_t ring_blocks_word(const store *store, uint64_t block);

#endif
