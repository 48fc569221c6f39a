#include "pool/pool_segment.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* ---- Layout ---------------------------------------------------------------------------------- */

static uint64_t place_section(uint64_t *end, uint64_t size)
{
    uint64_t at = *end;

    *end += page_arena_pages_size(size);
    return at;
}

/* Claim words and cursors need less than the inputs and outputs that they are about. */
static uint64_t control_size(uint64_t limit)
{
    return limit;
}

/* Bytes beyond the limit in which workers note how items failed: a short note has 48. */
static uint64_t kept_back_size(uint64_t limit)
{
    return page_arena_pages_size(limit / 16) + (uint64_t)256 * OS_PAGE;
}

static segment_layout segment_lay_out(uint32_t slots, uint64_t limit)
{
    segment_layout layout;
    uint64_t end = 0;

    place_section(&end, sizeof(books_head));
    layout.orders_at = place_section(&end, slots * sizeof(worker_order));
    layout.tasks_at = place_section(&end, SEGMENT_TASKS * sizeof(segment_task));
    layout.jobs_at = place_section(&end, SEGMENT_JOBS * sizeof(job));
    layout.entries_at = place_section(&end, SEGMENT_PRIORITIES * (uint64_t)SEGMENT_RING * sizeof(uint32_t));
    layout.inputs_at = place_section(&end, limit);
    layout.books_size = end;
    end = 0;
    place_section(&end, sizeof(work_head));
    layout.slots_at = place_section(&end, slots * sizeof(worker_slot));
    layout.states_at = place_section(&end, SEGMENT_JOBS * sizeof(job_state));
    layout.control_at = place_section(&end, control_size(limit));
    layout.slab_words_at = place_section(&end, page_arena_words_size(limit + kept_back_size(limit)));
    layout.slabs_at = place_section(&end, limit + kept_back_size(limit));
    layout.buffers_at = place_section(&end, limit);
    layout.work_size = end;
    return layout;
}

/* Inputs, claim words, outputs and buffers may be as large as the limit each; the rest is less than one more. */
uint64_t pool_segment_limit_in(uint32_t slots, uint64_t room)
{
    segment_layout least = segment_lay_out(slots, 0);
    uint64_t fixed = least.books_size + least.work_size;

    return room > fixed ? (room - fixed) / 5 : 0;
}

/* Sets the pointers, which a process keeps: nobody else can change where it looks. */
static void point_to_sections(pool_segment *segment, uint32_t slots, uint64_t limit)
{
    segment_layout layout = segment_lay_out(slots, limit);
    char *books = segment->books.address, *work = segment->work.address;

    segment->layout = layout;
    segment->slot_count = slots;
    segment->memory_limit = limit;
    segment->head = segment->books.address;
    segment->orders = (worker_order *)(books + layout.orders_at);
    segment->tasks = (segment_task *)(books + layout.tasks_at);
    segment->jobs = (job *)(books + layout.jobs_at);
    for (int i = 0; i < SEGMENT_PRIORITIES; i++)
        segment->ring_entries[i] = (_Atomic uint32_t *)(books + layout.entries_at) + (size_t)i * SEGMENT_RING;
    segment->shared = segment->work.address;
    segment->slots = (worker_slot *)(work + layout.slots_at);
    segment->states = (job_state *)(work + layout.states_at);
    page_arena_attach(&segment->slabs, &segment->work, &segment->shared->slabs,
                      &(page_arena_layout){layout.slab_words_at, layout.slabs_at, limit + kept_back_size(limit), NULL});
}

void pool_segment_attach(pool_segment *segment, const os_shm *books, const os_shm *work)
{
    const books_head *head = books->address;

    segment->books = *books;
    segment->work = *work;
    point_to_sections(segment, head->slot_count, head->memory_limit);
}

/* Adds to the error detail what the memory is for. */
static int no_segment(int rc, uint64_t limit, uint64_t size)
{
    char why[256];

    snprintf(why, sizeof why, "%s", xf_error_detail());
    return error_detail(rc, "a memory_limit of %llu bytes needs %llu bytes of address space in one piece: %s",
                        (unsigned long long)limit, (unsigned long long)size, why);
}

static int create_reserved(os_shm *shm, uint64_t size, int flags, uint64_t used)
{
    int rc = os_shm_create(shm, (size_t)size, flags | OS_SHM_RESERVED);

    if (rc < 0)
        return rc;
    rc = os_shm_commit(shm, 0, (size_t)used);
    if (rc < 0)
        os_shm_close(shm);
    return rc;
}

int pool_segment_create(pool_segment *segment, uint32_t slots, size_t memory_limit, int flags)
{
    uint64_t limit = page_arena_pages_size(memory_limit);
    segment_layout layout = segment_lay_out(slots, limit);
    int rc;

    if (memory_limit > SIZE_MAX / 16)
        return error_detail(XF_ENOMEM, "a memory_limit of %zu bytes", memory_limit);
    rc = create_reserved(&segment->books, layout.books_size, flags | OS_SHM_OWNED, layout.tasks_at);
    if (rc < 0)
        return no_segment(rc, limit, layout.books_size);
    rc = create_reserved(&segment->work, layout.work_size, flags | OS_SHM_WAITABLE | OS_SHM_PRIVATE, layout.states_at);
    if (rc < 0) {
        os_shm_close(&segment->books);
        return no_segment(rc, limit, layout.work_size);
    }
    point_to_sections(segment, slots, limit);
    segment->head->magic = SEGMENT_MAGIC;
    segment->head->slot_count = slots;
    segment->head->memory_limit = limit;
    return 0;
}

void pool_segment_close(pool_segment *segment)
{
    os_shm_close(&segment->books);
    os_shm_close(&segment->work);
}

/* ---- Pages that workers take ----------------------------------------------------------------- */

static int no_pages_left(const pool_segment *segment, uint64_t size)
{
    return error_detail(XF_ENOMEM, "the pool's memory_limit of %llu bytes does not leave %llu bytes",
                        (unsigned long long)segment->memory_limit, (unsigned long long)size);
}

uint64_t pool_segment_slab_pages(const pool_segment *segment)
{
    uint64_t pages = atomic_load(&segment->shared->slab_pages);

    return pages < segment->slabs.count ? pages : segment->slabs.count;
}

/* Whether a limit leaves so many pages, counted anew before it is said that it does not. */
static bool has_room_for(pool_segment *segment, uint64_t count, uint64_t limit)
{
    uint64_t others = atomic_load(&segment->head->pages_taken);

    if (count > limit)
        return false;
    if (pool_segment_slab_pages(segment) + others <= limit - count)
        return true;
    pool_segment_count_slabs(segment);
    return pool_segment_slab_pages(segment) + others <= limit - count;
}

/* Takes pages while there are no more than that many of all. */
static int take_up_to(pool_segment *segment, uint64_t size, uint64_t word, uint64_t limit, uint64_t *at)
{
    uint64_t count = page_arena_count(size), first;
    int rc;

    if (!has_room_for(segment, count, limit))
        return no_pages_left(segment, size);
    atomic_fetch_add(&segment->shared->slab_pages, count);
    rc = page_arena_take(&segment->slabs, word, count, &first);
    if (rc == 0)
        *at = page_arena_offset(&segment->slabs, first);
    else
        atomic_fetch_sub(&segment->shared->slab_pages, count);
    return rc == XF_EAGAIN ? no_pages_left(segment, size) : rc;
}

int pool_segment_take_slab(pool_segment *segment, uint64_t size, uint64_t word, uint64_t *at)
{
    return take_up_to(segment, size, word, segment->memory_limit / OS_PAGE, at);
}

int pool_segment_take_kept_back(pool_segment *segment, uint64_t size, uint64_t word, uint64_t *at)
{
    uint64_t limit = segment->memory_limit;

    return take_up_to(segment, size, word, (limit + kept_back_size(limit)) / OS_PAGE, at);
}

/* Makes sure that a process can read up to that offset, whatever workers have written about what has memory. */
static bool can_read(const pool_segment *segment, uint64_t *readable, uint64_t begin, uint64_t end)
{
    uint64_t from = *readable > begin ? *readable : begin;

    if (end <= from)
        return true;
    if (os_shm_make_readable(&segment->work, (size_t)from, (size_t)(page_arena_pages_size(end) - from)) < 0)
        return false;
    *readable = page_arena_pages_size(end);
    return true;
}

/* How many of the words can be read. */
static uint64_t readable_words(pool_segment *segment)
{
    const page_arena *slabs = &segment->slabs;
    uint64_t count = page_arena_searched(slabs), begin = slabs->words_at;

    return can_read(segment, &segment->words_readable, begin, begin + count * sizeof(uint64_t)) ? count : 0;
}

uint64_t pool_segment_free_slab(pool_segment *segment, uint64_t at, uint64_t word)
{
    page_arena *slabs = &segment->slabs;
    uint64_t first, count = 1, words = readable_words(segment);

    if (at % OS_PAGE || at < slabs->pages_at || page_arena_page(slabs, at) >= words)
        return 0;
    first = page_arena_page(slabs, at);
    if (atomic_load(&slabs->words[first]) != word)
        return 0;
    while (first + count < words && atomic_load(&slabs->words[first + count]) & PAGE_ARENA_FOLLOWS)
        count++;
    page_arena_free(slabs, first, count);
    atomic_fetch_sub(&segment->shared->slab_pages, count);
    return count;
}

/* A dead worker has taken no page from page_arena_searched on. */
void pool_segment_sweep_slabs(pool_segment *segment, bool (*is_stale)(const void *arg, uint64_t word), const void *arg)
{
    page_arena *slabs = &segment->slabs;
    uint64_t end = readable_words(segment);

    for (uint64_t i = 0; i < end; i++) {
        uint64_t word = atomic_load(&slabs->words[i]) & ~PAGE_ARENA_FOLLOWS;
        if (word && is_stale(arg, word))
            page_arena_free(slabs, i, 1);
    }
    pool_segment_count_slabs(segment);
}

void pool_segment_count_slabs(pool_segment *segment)
{
    const page_arena *slabs = &segment->slabs;
    uint64_t end = readable_words(segment), taken = 0, before = atomic_load(&segment->shared->slab_pages);

    for (uint64_t i = 0; i < end; i++)
        taken += atomic_load_explicit(&slabs->words[i], memory_order_relaxed) != 0;
    atomic_compare_exchange_strong(&segment->shared->slab_pages, &before, taken);
}

bool pool_segment_is_slab(pool_segment *segment, uint64_t at, uint64_t size)
{
    uint64_t begin = segment->slabs.pages_at, end = begin + page_arena_committed(&segment->slabs) * OS_PAGE;

    return at >= begin && at <= end && size <= end - at &&
           can_read(segment, &segment->slabs_readable, begin, at + size);
}
