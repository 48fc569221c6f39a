#include "messaging/ring_blocks.h"

#include "base/error.h"

#include <stddef.h>

static uint64_t block_pages(uint64_t size)
{
    return page_arena_count(size + sizeof(ring_block));
}

int ring_blocks_take(ring_blocks *blocks, uint64_t owner, uint64_t size, uint64_t *block)
{
    uint64_t count = size > UINT64_MAX / 2 ? UINT64_MAX : block_pages(size), first = 0;
    ring_block *head;
    int rc;

    if (count > blocks->count)
        return error_detail(XF_ELIMIT, "a message of %llu bytes is larger than memory_limit", (unsigned long long)size);
    rc = page_arena_take(blocks, owner, count, &first);
    if (rc < 0)
        return rc;
    *block = page_arena_offset(blocks, first);
    head = (ring_block *)((char *)blocks->shm->address + *block);
    head->size = size;
    atomic_store_explicit(&head->position, 0, memory_order_release);
    return 0;
}

/* ---- Blocks that are taken ------------------------------------------------------------------- */

ring_block *ring_blocks_at(const ring_blocks *blocks, uint64_t block, uint64_t size)
{
    uint64_t have = page_arena_committed(blocks);

    if (block < blocks->pages_at || block % OS_PAGE || page_arena_page(blocks, block) >= have ||
        size > UINT64_MAX / 2 || block_pages(size) > have - page_arena_page(blocks, block))
        return NULL;
    return (ring_block *)((char *)blocks->shm->address + block);
}

void ring_blocks_adopt(ring_blocks *blocks, uint64_t block, uint64_t size, uint64_t owner)
{
    _Atomic uint64_t *words = blocks->words + page_arena_page(blocks, block);

    for (uint64_t i = 0; i < block_pages(size); i++)
        atomic_store_explicit(&words[i], i ? owner | PAGE_ARENA_FOLLOWS : owner, memory_order_release);
}

void ring_blocks_mark(ring_blocks *blocks, uint64_t block, uint64_t owner, bool viewed)
{
    atomic_store(&blocks->words[page_arena_page(blocks, block)], viewed ? owner | RING_BLOCK_VIEWED : owner);
}

void ring_blocks_free(ring_blocks *blocks, uint64_t block, uint64_t size)
{
    page_arena_free(blocks, page_arena_page(blocks, block), block_pages(size));
}

void ring_blocks_shrink(ring_blocks *blocks, uint64_t block, uint64_t size, uint64_t smaller)
{
    uint64_t left = block_pages(smaller);

    page_arena_free(blocks, page_arena_page(blocks, block) + left, block_pages(size) - left);
}

/* A process that adopts a block adopts its first page first.  So the block still belongs to the dead process if its
 * first page does.  Pages are freed from the last to the first, so the rest can be found if this process dies too. */
bool ring_blocks_reclaim(ring_blocks *blocks, uint64_t block, uint64_t word)
{
    uint64_t first = page_arena_page(blocks, block), end = first + 1, searched = page_arena_searched(blocks);
    uint64_t follows = (word & RING_BLOCK_OWNER) | PAGE_ARENA_FOLLOWS;

    if (!atomic_compare_exchange_strong(&blocks->words[first], &word, word | RING_BLOCK_FREED))
        return false;
    while (end < searched && atomic_load(&blocks->words[end]) == follows)
        end++;
    page_arena_free(blocks, first, end - first);
    return true;
}

uint64_t ring_blocks_word(const ring_blocks *blocks, uint64_t block)
{
    return atomic_load(&blocks->words[page_arena_page(blocks, block)]);
}

void ring_blocks_walk(ring_blocks *blocks, ring_blocks_found found, void *arg)
{
    uint64_t searched = page_arena_searched(blocks);

    for (uint64_t i = 0; i < searched; i++) {
        uint64_t word = atomic_load_explicit(&blocks->words[i], memory_order_acquire);
        if (word != 0 && !(word & PAGE_ARENA_FOLLOWS))
            found(arg, page_arena_offset(blocks, i), word);
    }
}
