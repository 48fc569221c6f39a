#include "messaging/ring_blocks.h"

#include "base/error.h"

#include <stddef.h>

static uint64_t pages_of(uint64_t size)
{
    return page_arena_count(size + sizeof(ring_block));
}

int ring_blocks_take(store *store, uint64_t who, uint64_t size, uint64_t *block)
{
    uint64_t count = size > UINT64_MAX / 2 ? UINT64_MAX : pages_of(size), first = 0;
    ring_block *head;
    int rc;

    if (count > store->count)
        return error_detail(XF_ELIMIT, "a message of %llu bytes is larger than memory_limit", (unsigned long long)size);
    rc = page_arena_take(store, who, count, &first);
    if (rc < 0)
        return rc;
    *block = page_arena_offset(store, first);
    head = (ring_block *)((char *)store->shm->address + *block);
    head->size = size;
    atomic_store_explicit(&head->place, 0, memory_order_release);
    return 0;
}

/* ---- What is taken --------------------------------------------------------------------------- */

ring_block *ring_blocks_at(const store *store, uint64_t block, uint64_t size)
{
    uint64_t have = page_arena_committed(store);

    if (block < store->pages_at || block % OS_PAGE || page_arena_page(store, block) >= have || size > UINT64_MAX / 2 ||
        pages_of(size) > have - page_arena_page(store, block))
        return NULL;
    return (ring_block *)((char *)store->shm->address + block);
}

void ring_blocks_adopt(store *store, uint64_t block, uint64_t size, uint64_t who)
{
    _Atomic uint64_t *words = store->words + page_arena_page(store, block);

    for (uint64_t i = 0; i < pages_of(size); i++)
        atomic_store_explicit(&words[i], i ? who | PAGE_ARENA_FOLLOWS : who, memory_order_release);
}

void ring_blocks_mark(store *store, uint64_t block, uint64_t who, bool viewed)
{
    atomic_store(&store->words[page_arena_page(store, block)], viewed ? who | RING_BLOCK_VIEWED : who);
}

void ring_blocks_free(store *store, uint64_t block, uint64_t size)
{
    page_arena_free(store, page_arena_page(store, block), pages_of(size));
}

void ring_blocks_shrink(store *store, uint64_t block, uint64_t size, uint64_t smaller)
{
    uint64_t left = pages_of(smaller);

    page_arena_free(store, page_arena_page(store, block) + left, pages_of(size) - left);
}

/* Whoever adopts a run adopts its first page first; so the run is still that of the dead if that page is.  Pages are
 * freed from the last to the first, so that what is left of a run can be found. */
bool ring_blocks_reclaim(store *store, uint64_t block, uint64_t word)
{
    uint64_t first = page_arena_page(store, block), end = first + 1, searched = page_arena_searched(store);
    uint64_t follows = (word & RING_BLOCK_OWNER) | PAGE_ARENA_FOLLOWS;

    if (!atomic_compare_exchange_strong(&store->words[first], &word, word | RING_BLOCK_FREED))
        return false;
    while (end < searched && atomic_load(&store->words[end]) == follows)
        end++;
    page_arena_free(store, first, end - first);
    return true;
}

uint64_t ring_blocks_word(const store *store, uint64_t block)
{
    return atomic_load(&store->words[page_arena_page(store, block)]);
}

void ring_blocks_walk(store *store, ring_blocks_found found, void *arg)
{
    uint64_t searched = page_arena_searched(store);

    for (uint64_t i = 0; i < searched; i++) {
        uint64_t word = atomic_load_explicit(&store->words[i], memory_order_acquire);
        if (word != 0 && !(word & PAGE_ARENA_FOLLOWS))
            found(arg, page_arena_offset(store, i), word);
    }
}
