/* The pages that a pool's parent takes, in both segments.  What is taken stands in memory that only the parent has.
 * All functions but pool_pages_hold are called with the pool's lock held, or where no other thread has the pool. */
#ifndef POOL_PAGES_H
#define POOL_PAGES_H

#include "pool/pool_segment.h"

typedef enum pages_use {
    PAGES_INPUTS,  /* in the books: inputs that were copied in, and spans of them */
    PAGES_CONTROL, /* in the work segment: claim words, cursors, spans of outputs */
    PAGES_BUFFERS, /* in the work segment: outputs, and the program's own buffers */
    PAGES_USES
} pages_use;

typedef struct pool_pages {
    pool_segment *segment;
    uint64_t taken; /* pages; the books have a copy for workers */
    os_shm words;
    page_arena arenas[PAGES_USES];
} pool_pages;

/* XF_ENOMEM, XF_EHANDLES. */
int pool_pages_open(pool_pages *pages, pool_segment *segment);
void pool_pages_close(pool_pages *pages);

/* Takes a run of pages for size bytes, and gives it memory.
 *   at  Set to the offset of the run in its segment.
 * XF_ENOMEM when the limit does not leave as much. */
int pool_pages_take(pool_pages *pages, pages_use use, uint64_t size, uint64_t *at);

/* Frees the run of pages that begins at the offset; false when none begins there. */
bool pool_pages_free(pool_pages *pages, pages_use use, uint64_t at);

/* Whether all of the bytes are in pages of that use that have memory. */
bool pool_pages_hold(const pool_pages *pages, pages_use use, uint64_t at, uint64_t size);

/* The size of all pages that are taken, by workers too, and of those that have memory. */
uint64_t pool_pages_used(const pool_pages *pages);
uint64_t pool_pages_committed(const pool_pages *pages);

#endif
