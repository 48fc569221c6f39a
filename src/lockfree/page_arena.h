/* An arena: pages of a shared segment, which are taken in runs and given back.
 *
 * Each page has a word that says what it is taken for, 0 when it is free; a run is a page and those behind it that
 * follow it.  Nothing is locked: a process may be killed at any instruction, and what it had taken is found by its
 * words.  What the words say besides is up to whoever uses the arena. */
#ifndef ARENA_H
#define ARENA_H

#include "os/os.h"

#define PAGE_ARENA_FOLLOWS (UINT64_C(1) << 63) /* in a word: the page is not the first one of its run */

/* In shared memory. */
typedef struct page_arena_head {
    _Atomic uint64_t first_free; /* no page before it is free, as far as known */
    _Atomic uint64_t committed;  /* pages that have memory */
    _Atomic uint64_t searched;   /* pages whose words have; not fewer */
} page_arena_head;

/* A process's view of it. */
typedef struct arena {
    const os_shm *shm;
    page_arena_head *head;
    uint64_t words_at, pages_at, count; /* offsets in the segment; pages */
    _Atomic uint64_t *words;
} arena;

/* How many bytes of words and pages an arena of so many bytes needs, each a multiple of OS_PAGE. */
uint64_t page_arena_words_size(uint64_t bytes);
uint64_t page_arena_pages_size(uint64_t bytes);

/* Looks at an arena of so many bytes whose parts are at these offsets in the segment, multiples of OS_PAGE. */
void page_arena_attach(arena *arena, const os_shm *shm, page_arena_head *head, uint64_t words_at, uint64_t pages_at,
                       uint64_t bytes);

/* How many pages so many bytes need, without overflow. */
uint64_t page_arena_count(uint64_t bytes);

/* Takes a run of count pages, not 0.
 *   what   Its word, without PAGE_ARENA_FOLLOWS.
 *   first  Set to the first page.
 * XF_EAGAIN when no run of free pages is so long now; XF_ENOMEM. */
int page_arena_take(arena *arena, uint64_t what, uint64_t count, uint64_t *first);

/* Frees pages, from the last to the first, so that what is left of a run can be found. */
void page_arena_free(arena *arena, uint64_t first, uint64_t count);

/* How many pages a run has. */
uint64_t page_arena_run(const arena *arena, uint64_t first);

/* How many pages have memory, and how many have words: never more than there are, whatever a peer has written. */
uint64_t page_arena_committed(const arena *arena);
uint64_t page_arena_searched(const arena *arena);

static inline uint64_t page_arena_offset(const arena *arena, uint64_t page)
{
    return arena->pages_at + page * OS_PAGE;
}

/* The page that an offset behind arena->pages_at lies in. */
static inline uint64_t page_arena_page(const arena *arena, uint64_t offset)
{
    return (offset - arena->pages_at) / OS_PAGE;
}

/* Raises a mark that only grows. */
void page_arena_raise(_Atomic uint64_t *mark, uint64_t value);

#endif
