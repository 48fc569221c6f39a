#include "lockfree/page_arena.h"

#include "base/error.h"

enum { COMMIT_STEP = 256 }; /* pages */

static uint64_t lesser_count(uint64_t value, uint64_t bound)
{
    return value < bound ? value : bound;
}

uint64_t page_arena_count(uint64_t bytes)
{
    return bytes / OS_PAGE + (bytes % OS_PAGE != 0);
}

uint64_t page_arena_pages_size(uint64_t bytes)
{
    return (bytes + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
}

uint64_t page_arena_words_size(uint64_t bytes)
{
    return page_arena_pages_size(page_arena_count(bytes) * sizeof(uint64_t));
}

void page_arena_attach(page_arena *arena, const os_shm *shm, page_arena_head *head, const page_arena_layout *layout)
{
    arena->shm = shm;
    arena->words_shm = layout->words_shm ? layout->words_shm : shm;
    arena->head = head;
    arena->words_at = layout->words_at;
    arena->pages_at = layout->pages_at;
    arena->count = page_arena_count(layout->bytes);
    arena->words = (_Atomic uint64_t *)((char *)arena->words_shm->address + layout->words_at);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

void page_arena_raise(_Atomic uint64_t *mark, uint64_t value)
{
    uint64_t seen = atomic_load(mark);

    while (seen < value && !atomic_compare_exchange_weak(mark, &seen, value)) {
    }
}

uint64_t page_arena_committed(const page_arena *arena)
{
    return lesser_count(atomic_load(&arena->head->committed), arena->count);
}

uint64_t page_arena_searched(const page_arena *arena)
{
    return lesser_count(atomic_load(&arena->head->searched), arena->count);
}

/* Gives memory to the words of all pages before end.  A word without memory cannot be read everywhere; once it has
 * memory it reads as free. */
static int commit_words(page_arena *arena, uint64_t end)
{
    uint64_t have = page_arena_searched(arena);
    uint64_t from = (arena->words_at + have * sizeof(uint64_t)) / OS_PAGE * OS_PAGE;
    uint64_t to = page_arena_pages_size(arena->words_at + end * sizeof(uint64_t));
    int rc;

    if (end <= have)
        return 0;
    rc = os_shm_commit(arena->words_shm, (size_t)from, (size_t)(to - from));
    if (rc == 0)
        page_arena_raise(&arena->head->searched, end);
    return rc;
}

/* Gives memory to all pages before end, and to their words. */
static int commit_pages(page_arena *arena, uint64_t end)
{
    uint64_t have = page_arena_committed(arena), want = lesser_count(end + COMMIT_STEP, arena->count);
    int rc;

    if (end <= have)
        return 0;
    rc = commit_words(arena, want);
    if (rc == 0)
        rc = os_shm_commit(arena->shm, (size_t)page_arena_offset(arena, have), (size_t)((want - have) * OS_PAGE));
    if (rc == 0)
        page_arena_raise(&arena->head->committed, want);
    return rc;
}

/* ---- Taking ---------------------------------------------------------------------------------- */

/* A run that is searched for: the word of its first page, how many pages it has, and its first page once it is
 * found. */
typedef struct page_run {
    uint64_t what, count, first;
} page_run;

static void clear_words(page_arena *arena, uint64_t first, uint64_t count)
{
    while (count-- > 0)
        atomic_store(&arena->words[first + count], 0);
}

/* Takes the pages of a run one after the other.  Returns how many of them were free. */
static uint64_t take_run(page_arena *arena, const page_run *run)
{
    for (uint64_t i = 0; i < run->count; i++) {
        uint64_t free = 0;
        if (!atomic_compare_exchange_strong(&arena->words[run->first + i], &free,
                                            i ? run->what | PAGE_ARENA_FOLLOWS : run->what))
            return i;
    }
    return run->count;
}

/* Finds and takes a run among the pages from begin to end. */
static bool search_run(page_arena *arena, uint64_t begin, uint64_t end, page_run *run)
{
    uint64_t length = 0, first_free = UINT64_MAX, hint = begin, count = run->count;

    for (uint64_t i = begin; i < end && end - i >= count - length; i++) {
        if (atomic_load_explicit(&arena->words[i], memory_order_relaxed)) {
            length = 0;
            continue;
        }
        if (first_free == UINT64_MAX)
            first_free = i;
        if (++length < count)
            continue;
        run->first = i + 1 - count;
        length = take_run(arena, run);
        if (length == count) {
            if (run->first == first_free)
                atomic_compare_exchange_strong(&arena->head->first_free, &hint, run->first + count);
            return true;
        }
        clear_words(arena, run->first, length);
        i = run->first + length;
        length = 0;
    }
    return false;
}

static int no_room_for(uint64_t count)
{
    return error_detail(XF_EAGAIN, "no room for %llu pages", (unsigned long long)count);
}

/* Searches the pages that have memory first, and those behind them afterwards. */
static int search_arena(page_arena *arena, page_run *run)
{
    uint64_t have = lesser_count(page_arena_committed(arena), page_arena_searched(arena)), count = run->count, end;
    uint64_t begin = lesser_count(atomic_load(&arena->head->first_free), arena->count);
    int rc;

    if (count > arena->count)
        return no_room_for(count);
    if (search_run(arena, begin, have, run) || (begin > 0 && search_run(arena, 0, have, run)))
        return 0;
    begin = have > count ? have - count : 0;
    end = count < arena->count - have ? have + count : arena->count;
    for (;;) {
        rc = commit_words(arena, end);
        if (rc < 0)
            return rc;
        if (search_run(arena, begin, end, run))
            return 0;
        if (end == arena->count)
            return no_room_for(count);
        begin = end > count ? end - count : 0;
        end = lesser_count(end + (end - begin) + COMMIT_STEP, arena->count);
    }
}

int page_arena_take(page_arena *arena, uint64_t what, uint64_t count, uint64_t *first)
{
    page_run run = {what, count, 0};
    int rc = search_arena(arena, &run);

    if (rc < 0)
        return rc;
    rc = commit_pages(arena, run.first + count);
    if (rc < 0)
        page_arena_free(arena, run.first, count);
    else
        *first = run.first;
    return rc;
}

/* ---- Runs that are taken --------------------------------------------------------------------- */

void page_arena_free(page_arena *arena, uint64_t first, uint64_t count)
{
    uint64_t hint = atomic_load(&arena->head->first_free);

    clear_words(arena, first, count);
    while (first < hint && !atomic_compare_exchange_weak(&arena->head->first_free, &hint, first)) {
    }
}

uint64_t page_arena_run(const page_arena *arena, uint64_t first)
{
    uint64_t end = first + 1, searched = page_arena_searched(arena);

    while (end < searched && atomic_load(&arena->words[end]) & PAGE_ARENA_FOLLOWS)
        end++;
    return end - first;
}
