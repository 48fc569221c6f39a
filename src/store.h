/* The store: memory for long messages, in runs of pages of a shared segment.
 *
 * Each page has a word that says which process has it; a run is a page and those behind it that follow it.  Nothing is
 * locked: a process may be killed at any instruction, and what it had taken is found by its name. */
#ifndef STORE_H
#define STORE_H

#include "os.h"

/* The head of a run, before the message. */
typedef struct store_block {
    uint64_t size;          /* of the message */
    _Atomic uint64_t place; /* of the message in its lane, once it has one: the lane's own */
    _Alignas(64) uint8_t bytes[];
} store_block;

/* In shared memory. */
typedef struct store_head {
    _Atomic uint64_t first_free; /* no page before it is free, as far as known */
    _Atomic uint64_t committed;  /* pages that have memory */
    _Atomic uint64_t searched;   /* pages whose words have */
} store_head;

/* A process's view of it. */
typedef struct store {
    const os_shm *shm;
    store_head *head;
    uint64_t words_at, pages_at, count; /* offsets in the segment; pages */
    _Atomic uint64_t *words;
} store;

/* Words: who has the page, by the name of the process (os_self_process), and besides: */
#define STORE_FOLLOWS (UINT64_C(1) << 63) /* the page is not the first one of its run */
#define STORE_VIEWED (UINT64_C(1) << 62)  /* it is a message that has left its lane: on the first page only */
#define STORE_FREED (UINT64_C(1) << 61)   /* its owner is dead, and it is being freed */
#define STORE_WHO ((UINT64_C(1) << OS_PROCESS_BITS) - 1)

/* How many bytes of words and pages a store of so many bytes needs, each a multiple of OS_PAGE. */
uint64_t store_words_size(uint64_t bytes);
uint64_t store_pages_size(uint64_t bytes);

/* Looks at a store of so many bytes whose parts are at these offsets in the segment. */
void store_attach(store *store, const os_shm *shm, store_head *head, uint64_t words_at, uint64_t pages_at,
                  uint64_t bytes);

/* Takes a run for a message of that size.
 *   block  Set to its offset; its head says the size and no place.
 * XF_EAGAIN when no run of free pages is so long now; XF_ELIMIT when none ever will be; XF_ENOMEM. */
int store_take(store *store, uint64_t who, uint64_t size, uint64_t *block);

/* The run at an offset; NULL when there can be none, or not for a message of that size. */
store_block *store_at(const store *store, uint64_t block, uint64_t size);

/* Says in each page of a run that another process has it, first page first. */
void store_adopt(store *store, uint64_t block, uint64_t size, uint64_t who);

/* Marks a run of one's own as a message in hand, or not. */
void store_mark(store *store, uint64_t block, uint64_t who, bool viewed);

/* Frees a run of one's own: the pages from the last to the first. */
void store_give(store *store, uint64_t block, uint64_t size);

/* Frees the pages at the end of a run of one's own that a smaller message does not need. */
void store_shrink(store *store, uint64_t block, uint64_t size, uint64_t smaller);

/* Calls found for the first page of each run that is taken, with its word. */
typedef void (*store_found)(void *arg, uint64_t block, uint64_t word);
void store_walk(store *store, store_found found, void *arg);

/* Frees the run of a dead process whose first page still has that word; false when it has not. */
bool store_reclaim(store *store, uint64_t block, uint64_t word);

/* The word of the first page of a run. */
uint64_t store_word(const store *store, uint64_t block);

#endif
