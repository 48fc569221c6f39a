#include "messaging/ring_blocks.h"

#include "base/error.h"

#include <stddef.h>

static uint64_t pages_of(uint64_t size)
{
    return arena_count(size + sizeof(store_block));
}

int store_take(store *store, uint64_t who, uint64_t size, uint64_t *block)
{
    uint64_t count = size > UINT64_MAX / 2 ? UINT64_MAX : pages_of(size), first = 0;
    store_block *head;
    int rc;

    if (count > store->count)
        return error_detail(XF_ELIMIT, "a message of %llu bytes is larger than memory_limit", (unsigned long long)size);
    rc = arena_take(store, who, count, &first);
    if (rc < 0)
        return rc;
    *block = arena_offset(store, first);
    head = (store_block *)((char *)store->shm->address + *block);
    head->size = size;
    atomic_store_explicit(&head->place, 0, memory_order_release);
    return 0;
}

/* ---- What is taken --------------------------------------------------------------------------- */

store_block *store_at(const store *store, uint64_t block, uint64_t size)
{
    uint64_t have = arena_committed(store);

    if (block < store->pages_at || block % OS_PAGE || arena_page(store, block) >= have || size > UINT64_MAX / 2 ||
        pages_of(size) > have - arena_page(store, block))
        return NULL;
    return (store_block *)((char *)store->shm->address + block);
}

void store_adopt(store *store, uint64_t block, uint64_t size, uint64_t who)
{
    _Atomic uint64_t *words = store->words + arena_page(store, block);

    for (uint64_t i = 0; i < pages_of(size); i++)
        atomic_store_explicit(&words[i], i ? who | ARENA_FOLLOWS : who, memory_order_release);
}

void store_mark(store *store, uint64_t block, uint64_t who, bool viewed)
{
    atomic_store(&store->words[arena_page(store, block)], viewed ? who | STORE_VIEWED : who);
}

void store_give(store *store, uint64_t block, uint64_t size)
{
    arena_free(store, arena_page(store, block), pages_of(size));
}

void store_shrink(store *store, uint64_t block, uint64_t size, uint64_t smaller)
{
    uint64_t left = pages_of(smaller);

    arena_free(store, arena_page(store, block) + left, pages_of(size) - left);
}

/* Whoever adopts a run adopts its first page first; so the run is still that of the dead if that page is.  Pages are
 * freed from the last to the first, so that what is left of a run can be found. */
bool store_reclaim(store *store, uint64_t block, uint64_t word)
{
    uint64_t first = arena_page(store, block), end = first + 1, searched = arena_searched(store);
    uint64_t follows = (word & STORE_WHO) | ARENA_FOLLOWS;

    if (!atomic_compare_exchange_strong(&store->words[first], &word, word | STORE_FREED))
        return false;
    while (end < searched && atomic_load(&store->words[end]) == follows)
        end++;
    arena_free(store, first, end - first);
    return true;
}

uint64_t store_word(const store *store, uint64_t block)
{
    return atomic_load(&store->words[arena_page(store, block)]);
}

void store_walk(store *store, store_found found, void *arg)
{
    uint64_t searched = arena_searched(store);

    for (uint64_t i = 0; i < searched; i++) {
        uint64_t word = atomic_load_explicit(&store->words[i], memory_order_acquire);
        if (word != 0 && !(word & ARENA_FOLLOWS))
            found(arg, arena_offset(store, i), word);
    }
}
