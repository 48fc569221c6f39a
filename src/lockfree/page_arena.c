#include "lockfree/page_arena.h"

#include "base/error.h"

enum { COMMIT_STEP = 256 }; /* pages */

static uint64_t round_up(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static uint64_t at_most(uint64_t value, uint64_t bound)
{
    return value < bound ? value : bound;
}

uint64_t page_arena_count(uint64_t bytes)
{
    return bytes / OS_PAGE + (bytes % OS_PAGE != 0);
}

uint64_t page_arena_pages_size(uint64_t bytes)
{
    return round_up(bytes, OS_PAGE);
}

uint64_t page_arena_words_size(uint64_t bytes)
{
    return round_up(page_arena_count(bytes) * sizeof(uint64_t), OS_PAGE);
}

void page_arena_attach(arena *arena, const os_shm *shm, page_arena_head *head, uint64_t words_at, uint64_t pages_at,
                       uint64_t bytes)
{
    arena->shm = shm;
    arena->head = head;
    arena->words_at = words_at;
    arena->pages_at = pages_at;
    arena->count = page_arena_count(bytes);
    arena->words = (_Atomic uint64_t *)((char *)shm->address + words_at);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

void page_arena_raise(_Atomic uint64_t *mark, uint64_t value)
{
    uint64_t seen = atomic_load(mark);

    while (seen < value && !atomic_compare_exchange_weak(mark, &seen, value)) {
    }
}

uint64_t page_arena_committed(const arena *arena)
{
    return at_most(atomic_load(&arena->head->committed), arena->count);
}

uint64_t page_arena_searched(const arena *arena)
{
    return at_most(atomic_load(&arena->head->searched), arena->count);
}

/* Lets words of all pages before end be looked at: they read as free, but cannot be read everywhere before they have
 * memory. */
static int open_words(arena *arena, uint64_t end)
{
    uint64_t have = page_arena_searched(arena);
    uint64_t from = (arena->words_at + have * sizeof(uint64_t)) / OS_PAGE * OS_PAGE;
    uint64_t to = round_up(arena->words_at + end * sizeof(uint64_t), OS_PAGE);
    int rc;

    if (end <= have)
        return 0;
    rc = os_shm_commit(arena->shm, (size_t)from, (size_t)(to - from));
    if (rc == 0)
        page_arena_raise(&arena->head->searched, end);
    return rc;
}

/* Gives memory to all pages before end, and to their words. */
static int commit_to(arena *arena, uint64_t end)
{
    uint64_t have = page_arena_committed(arena), want = at_most(end + COMMIT_STEP, arena->count);
    int rc;

    if (end <= have)
        return 0;
    rc = open_words(arena, want);
    if (rc == 0)
        rc = os_shm_commit(arena->shm, (size_t)page_arena_offset(arena, have), (size_t)((want - have) * OS_PAGE));
    if (rc == 0)
        page_arena_raise(&arena->head->committed, want);
    return rc;
}

/* ---- Taking ---------------------------------------------------------------------------------- */

static void clear(arena *arena, uint64_t first, uint64_t count)
{
    while (count-- > 0)
        atomic_store(&arena->words[first + count], 0);
}

/* Takes free pages from the first one on: how many there were. */
static uint64_t take_pages(arena *arena, uint64_t first, uint64_t count, uint64_t what)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t free = 0;
        if (!atomic_compare_exchange_strong(&arena->words[first + i], &free, i ? what | PAGE_ARENA_FOLLOWS : what))
            return i;
    }
    return count;
}

/* Finds and takes a run among the pages from begin to end. */
static bool search(arena *arena, uint64_t begin, uint64_t end, uint64_t count, uint64_t what, uint64_t *found)
{
    uint64_t run = 0, first_free = UINT64_MAX, hint = begin;

    for (uint64_t i = begin; i < end && end - i >= count - run; i++) {
        if (atomic_load_explicit(&arena->words[i], memory_order_relaxed)) {
            run = 0;
            continue;
        }
        if (first_free == UINT64_MAX)
            first_free = i;
        if (++run < count)
            continue;
        *found = i + 1 - count;
        run = take_pages(arena, *found, count, what);
        if (run == count) {
            if (*found == first_free)
                atomic_compare_exchange_strong(&arena->head->first_free, &hint, *found + count);
            return true;
        }
        clear(arena, *found, run);
        i = *found + run;
        run = 0;
    }
    return false;
}

/* Among the pages that have memory first, and then behind them. */
static int search_all(arena *arena, uint64_t count, uint64_t what, uint64_t *found)
{
    uint64_t have = at_most(page_arena_committed(arena), page_arena_searched(arena)), end;
    uint64_t begin = at_most(atomic_load(&arena->head->first_free), arena->count);
    int rc;

    if (count > arena->count)
        return error_detail(XF_EAGAIN, "no room for %llu pages", (unsigned long long)count);
    if (search(arena, begin, have, count, what, found) || (begin > 0 && search(arena, 0, have, count, what, found)))
        return 0;
    begin = have > count ? have - count : 0;
    end = count < arena->count - have ? have + count : arena->count;
    for (;;) {
        rc = open_words(arena, end);
        if (rc < 0)
            return rc;
        if (search(arena, begin, end, count, what, found))
            return 0;
        if (end == arena->count)
            return error_detail(XF_EAGAIN, "no room for %llu pages", (unsigned long long)count);
        begin = end > count ? end - count : 0;
        end = at_most(end + (end - begin) + COMMIT_STEP, arena->count);
    }
}

int page_arena_take(arena *arena, uint64_t what, uint64_t count, uint64_t *first)
{
    int rc = search_all(arena, count, what, first);

    if (rc < 0)
        return rc;
    rc = commit_to(arena, *first + count);
    if (rc < 0)
        page_arena_free(arena, *first, count);
    return rc;
}

/* ---- What is taken --------------------------------------------------------------------------- */

void page_arena_free(arena *arena, uint64_t first, uint64_t count)
{
    uint64_t hint = atomic_load(&arena->head->first_free);

    clear(arena, first, count);
    while (first < hint && !atomic_compare_exchange_weak(&arena->head->first_free, &hint, first)) {
    }
}

uint64_t page_arena_run(const arena *arena, uint64_t first)
{
    uint64_t end = first + 1, searched = page_arena_searched(arena);

    while (end < searched && atomic_load(&arena->words[end]) & PAGE_ARENA_FOLLOWS)
        end++;
    return end - first;
}
