#include "pool/pool_pages.h"

#include "base/error.h"

enum { PAGE_TAKEN = 1 };

/* At the start of the words' segment. */
typedef struct words_head {
    page_arena_head arenas[PAGES_USES];
} words_head;

int pool_pages_open(pool_pages *pages, pool_segment *segment)
{
    const segment_layout *layout = &segment->layout;
    uint64_t size = page_arena_words_size(segment->memory_limit);
    const os_shm *segments[PAGES_USES] = {&segment->books, &segment->work, &segment->work};
    const uint64_t at[PAGES_USES] = {layout->inputs_at, layout->control_at, layout->buffers_at};
    words_head *head;
    int rc = os_shm_create(&pages->words, (size_t)(OS_PAGE + PAGES_USES * size), OS_SHM_RESERVED | OS_SHM_PRIVATE);

    if (rc < 0)
        return rc;
    rc = os_shm_commit(&pages->words, 0, OS_PAGE);
    if (rc < 0) {
        os_shm_close(&pages->words);
        return rc;
    }
    os_shm_forget(&pages->words); /* no process is to get it */
    head = pages->words.address;
    pages->segment = segment;
    for (uint64_t i = 0; i < PAGES_USES; i++)
        page_arena_attach(&pages->arenas[i], segments[i], &head->arenas[i],
                          &(page_arena_layout){OS_PAGE + i * size, at[i], segment->memory_limit, &pages->words});
    return 0;
}

void pool_pages_close(pool_pages *pages)
{
    os_shm_close(&pages->words);
}

static void count_pages(pool_pages *pages, uint64_t taken)
{
    pages->taken = taken;
    atomic_store(&pages->segment->head->pages_taken, taken);
}

/* Counts the pages as taken if the limit leaves them. */
static bool reserve_pages(pool_pages *pages, uint64_t count)
{
    uint64_t limit = pages->segment->memory_limit / OS_PAGE;
    bool fits = count <= limit && pages->taken + pool_segment_slab_pages(pages->segment) <= limit - count;

    if (fits)
        count_pages(pages, pages->taken + count);
    return fits;
}

int pool_pages_take(pool_pages *pages, pages_use use, uint64_t size, uint64_t *at)
{
    uint64_t count = page_arena_count(size ? size : 1), first;
    bool reserved = reserve_pages(pages, count);
    int rc = XF_EAGAIN;

    if (!reserved) {
        pool_segment_count_slabs(pages->segment);
        reserved = reserve_pages(pages, count);
    }
    if (reserved)
        rc = page_arena_take(&pages->arenas[use], PAGE_TAKEN, count, &first);
    if (rc == 0)
        *at = page_arena_offset(&pages->arenas[use], first);
    else if (reserved)
        count_pages(pages, pages->taken - count);
    if (rc == XF_EAGAIN)
        return error_detail(XF_ENOMEM, "the pool's memory_limit of %llu bytes does not leave %llu bytes",
                            (unsigned long long)pages->segment->memory_limit, (unsigned long long)size);
    return rc;
}

bool pool_pages_free(pool_pages *pages, pages_use use, uint64_t at)
{
    page_arena *arena = &pages->arenas[use];
    uint64_t first, count;

    if (at % OS_PAGE || !pool_pages_hold(pages, use, at, OS_PAGE))
        return false;
    first = page_arena_page(arena, at);
    if (atomic_load(&arena->words[first]) != PAGE_TAKEN)
        return false;
    count = page_arena_run(arena, first);
    page_arena_free(arena, first, count);
    count_pages(pages, pages->taken - count);
    return true;
}

bool pool_pages_hold(const pool_pages *pages, pages_use use, uint64_t at, uint64_t size)
{
    const page_arena *arena = &pages->arenas[use];
    uint64_t begin = arena->pages_at, end = begin + page_arena_committed(arena) * OS_PAGE;

    return at >= begin && at <= end && size <= end - at;
}

uint64_t pool_pages_used(const pool_pages *pages)
{
    pool_segment *segment = pages->segment;

    pool_segment_count_slabs(segment);
    return (pages->taken + pool_segment_slab_pages(segment)) * OS_PAGE;
}

uint64_t pool_pages_committed(const pool_pages *pages)
{
    uint64_t count = page_arena_committed(&pages->segment->slabs);

    for (int i = 0; i < PAGES_USES; i++)
        count += page_arena_committed(&pages->arenas[i]);
    return count * OS_PAGE;
}
