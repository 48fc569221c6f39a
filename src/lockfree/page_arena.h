/* A page arena: pages of a shared segment, which processes take in runs and free again.
 *
 * Each page has a word that says what the page is taken for; 0 means free.  A run is a page and the pages behind it
 * that are marked as following it.  Nothing is locked: a process may be killed at any instruction, and the words say
 * what it had taken.  The user of the arena decides what else a word says. */
#ifndef PAGE_ARENA_H
#define PAGE_ARENA_H

#include "os/memory.h"

#define PAGE_ARENA_FOLLOWS (UINT64_C(1) << 63) /* in a word: the page is not the first one of its run */

/* The part of an arena that is in shared memory. */
typedef struct page_arena_head {
    _Atomic uint64_t first_free; /* no page before it is free, as far as known */
    _Atomic uint64_t committed;  /* pages that have memory */
    _Atomic uint64_t searched;   /* pages whose words have memory; not fewer than committed */
} page_arena_head;

/* A process's view of an arena. */
typedef struct page_arena {
    const os_shm *shm, *words_shm;
    page_arena_head *head;
    uint64_t words_at, pages_at, count; /* offsets in the segment; pages */
    _Atomic uint64_t *words;
} page_arena;

/* Where an arena lies in its segment: offsets, multiples of OS_PAGE, and how many bytes its pages have. */
typedef struct page_arena_layout {
    uint64_t words_at, pages_at, bytes;
    const os_shm *words_shm; /* the segment of the words; NULL: that of the pages */
} page_arena_layout;

/* How much of a segment the words and the pages of an arena of that many bytes need: multiples of OS_PAGE. */
uint64_t page_arena_words_size(uint64_t bytes);
uint64_t page_arena_pages_size(uint64_t bytes);

/* Sets up a process's view of an arena. */
void page_arena_attach(page_arena *arena, const os_shm *shm, page_arena_head *head, const page_arena_layout *layout);

/* How many pages that many bytes need, without overflow. */
uint64_t page_arena_count(uint64_t bytes);

/* Takes a run of count pages, not 0.
 *   what   The word of its first page, without PAGE_ARENA_FOLLOWS.
 *   first  Set to the number of its first page.
 * XF_EAGAIN when no run of free pages is that long now; XF_ENOMEM. */
int page_arena_take(page_arena *arena, uint64_t what, uint64_t count, uint64_t *first);

/* Frees pages, from the last to the first: if the process dies meanwhile, the rest still begins with its first page. */
void page_arena_free(page_arena *arena, uint64_t first, uint64_t count);

/* How many pages the run has that begins there. */
uint64_t page_arena_run(const page_arena *arena, uint64_t first);

/* How many pages have memory, and how many have words: never more than the arena has, whatever a peer has written. */
uint64_t page_arena_committed(const page_arena *arena);
uint64_t page_arena_searched(const page_arena *arena);

static inline uint64_t page_arena_offset(const page_arena *arena, uint64_t page)
{
    return arena->pages_at + page * OS_PAGE;
}

/* The page that an offset lies in; the offset is not before arena->pages_at. */
static inline uint64_t page_arena_page(const page_arena *arena, uint64_t offset)
{
    return (offset - arena->pages_at) / OS_PAGE;
}

/* Raises a mark that only grows. */
void page_arena_raise(_Atomic uint64_t *mark, uint64_t value);

#endif
