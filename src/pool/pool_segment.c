#include "pool/pool_segment.h"

#include "base/error.h"

#include <string.h>

/* ---- Layout ---------------------------------------------------------------------------------- */

static uint64_t round_up_to(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static uint64_t place_section(uint64_t *end, uint64_t size)
{
    uint64_t at = *end;

    *end += round_up_to(size, OS_PAGE);
    return at;
}

/* Where everything is in a segment that has `arena` bytes of pages. */
static segment_header segment_layout(uint32_t slots, uint64_t arena)
{
    segment_header head = {.magic = SEGMENT_MAGIC, .slot_count = slots, .unit_count = arena / OS_PAGE};
    uint64_t end = 0;

    place_section(&end, sizeof head);
    head.slots_at = place_section(&end, slots * sizeof(worker_slot));
    head.tasks_at = place_section(&end, SEGMENT_TASKS * sizeof(segment_task));
    head.jobs_at = place_section(&end, SEGMENT_JOBS * sizeof(job));
    head.rings_at = place_section(&end, SEGMENT_PRIORITIES * (uint64_t)SEGMENT_RING * sizeof(uint32_t));
    head.units_at = place_section(&end, head.unit_count * sizeof(uint32_t));
    head.arena_at = place_section(&end, head.unit_count * OS_PAGE);
    head.size = end;
    return head;
}

void pool_segment_attach(pool_segment *segment, const os_shm *shm)
{
    const segment_header *header = shm->address;

    segment->shm = *shm;
    segment->header = shm->address;
    segment->slots = pool_segment_at(segment, header->slots_at);
    segment->tasks = pool_segment_at(segment, header->tasks_at);
    segment->jobs = pool_segment_at(segment, header->jobs_at);
    segment->units = pool_segment_at(segment, header->units_at);
    for (int i = 0; i < SEGMENT_PRIORITIES; i++)
        segment->ring_entries[i] =
            (_Atomic uint32_t *)pool_segment_at(segment, header->rings_at) + (size_t)i * SEGMENT_RING;
}

int pool_segment_create(pool_segment *segment, uint32_t slots, size_t memory_limit)
{
    segment_header head;
    os_shm shm;
    int rc;

    if (memory_limit > SIZE_MAX / 4)
        return error_detail(XF_ENOMEM, "a memory_limit of %zu bytes", memory_limit);
    head = segment_layout(slots, round_up_to(memory_limit, OS_PAGE));
    if (head.size > SIZE_MAX / 2)
        return error_detail(XF_ENOMEM, "a memory_limit of %zu bytes", memory_limit);
    rc = os_shm_create(&shm, (size_t)head.size, OS_SHM_RESERVED | OS_SHM_WAITABLE);
    if (rc < 0)
        return rc;
    rc = os_shm_commit(&shm, 0, (size_t)head.tasks_at);
    if (rc < 0) {
        os_shm_close(&shm);
        return rc;
    }
    memcpy(shm.address, &head, sizeof head);
    pool_segment_attach(segment, &shm);
    return 0;
}

/* ---- Pages ----------------------------------------------------------------------------------- */

#define UNIT_FOLLOWS 0x80000000U /* this page is not the first of its run */

enum { COMMIT_STEP = 256 }; /* pages */

static void clear_units(pool_segment *segment, uint64_t first, uint64_t count)
{
    while (count-- > 0)
        atomic_store(&segment->units[first + count], 0);
}

/* Takes a run of units, as long as they are free.  Returns how many it took. */
static uint64_t take_units(pool_segment *segment, uint64_t first, uint64_t count, uint32_t what)
{
    for (uint64_t i = 0; i < count; i++) {
        uint32_t free = 0;
        if (!atomic_compare_exchange_strong(&segment->units[first + i], &free, i ? what | UNIT_FOLLOWS : what))
            return i;
    }
    return count;
}

static void raise_to(_Atomic uint64_t *mark, uint64_t value)
{
    uint64_t seen = atomic_load(mark);

    while (seen < value && !atomic_compare_exchange_weak(mark, &seen, value)) {
    }
}

/* Makes the words of all units before `end` readable.  New words read as free, but on some systems memory cannot be
 * read before it is committed. */
static int open_units(pool_segment *segment, uint64_t end)
{
    uint64_t have = atomic_load(&segment->header->searched), from, to;
    int rc;

    if (end <= have)
        return 0;
    from = (segment->header->units_at + have * sizeof(uint32_t)) / OS_PAGE * OS_PAGE;
    to = round_up_to(segment->header->units_at + end * sizeof(uint32_t), OS_PAGE);
    rc = os_shm_commit(&segment->shm, (size_t)from, (size_t)(to - from));
    if (rc == 0)
        raise_to(&segment->header->searched, end);
    return rc;
}

/* Gives memory to the pages of all units before `end`. */
static int commit_units(pool_segment *segment, uint64_t end)
{
    segment_header *header = segment->header;
    uint64_t have = atomic_load(&header->committed);
    uint64_t want = end + COMMIT_STEP < header->unit_count ? end + COMMIT_STEP : header->unit_count;
    int rc;

    if (end <= have)
        return 0;
    rc = open_units(segment, want);
    if (rc == 0)
        rc = os_shm_commit(&segment->shm, (size_t)(header->arena_at + have * OS_PAGE),
                           (size_t)((want - have) * OS_PAGE));
    if (rc == 0)
        raise_to(&header->committed, want);
    return rc;
}

/* Finds a run of free units before `limit`, and takes it. */
static bool search_units(pool_segment *segment, uint64_t begin, uint64_t limit, uint64_t count, uint32_t what,
                         uint64_t *found)
{
    uint64_t run = 0, first_free = UINT64_MAX;

    for (uint64_t i = begin; i < limit && limit - i >= count - run; i++) {
        if (atomic_load_explicit(&segment->units[i], memory_order_relaxed)) {
            run = 0;
            continue;
        }
        if (first_free == UINT64_MAX)
            first_free = i;
        if (++run < count)
            continue;
        *found = i + 1 - count;
        run = take_units(segment, *found, count, what);
        if (run == count) {
            if (*found == first_free)
                atomic_compare_exchange_strong(&segment->header->first_free, &begin, *found + count);
            return true;
        }
        clear_units(segment, *found, run);
        i = *found + run;
        run = 0;
    }
    return false;
}

/* Searches the units whose pages have memory first, and all units then. */
static bool search_all_units(pool_segment *segment, uint64_t count, uint32_t what, uint64_t *found)
{
    segment_header *header = segment->header;
    uint64_t have = atomic_load(&header->committed), begin = atomic_load(&header->first_free);

    if (count > header->unit_count)
        return false;
    if (search_units(segment, begin, have, count, what, found) ||
        (begin > 0 && search_units(segment, 0, have, count, what, found)))
        return true;
    begin = have > count ? have - count : 0;
    have = have + 2 * count + COMMIT_STEP < header->unit_count ? have + 2 * count + COMMIT_STEP : header->unit_count;
    if (open_units(segment, have) < 0)
        return false;
    return search_units(segment, begin, have, count, what, found) ||
           (open_units(segment, header->unit_count) == 0 &&
            search_units(segment, begin, header->unit_count, count, what, found));
}

int pool_segment_take_pages(pool_segment *segment, uint64_t size, uint32_t what, uint64_t *at)
{
    uint64_t count = size / OS_PAGE + (size % OS_PAGE != 0 || size == 0), first = 0; /* for any size */
    int rc;

    if (!search_all_units(segment, count, what, &first))
        return error_detail(XF_ENOMEM, "the pool's memory_limit does not leave %llu bytes", (unsigned long long)size);
    rc = commit_units(segment, first + count);
    if (rc < 0) {
        clear_units(segment, first, count);
        return rc;
    }
    *at = segment->header->arena_at + first * OS_PAGE;
    return 0;
}

static void free_run(pool_segment *segment, uint64_t first, uint64_t count)
{
    uint64_t hint = atomic_load(&segment->header->first_free);

    clear_units(segment, first, count);
    while (first < hint && !atomic_compare_exchange_weak(&segment->header->first_free, &hint, first)) {
    }
}

void pool_segment_free_pages(pool_segment *segment, uint64_t at)
{
    uint64_t first = (at - segment->header->arena_at) / OS_PAGE, end = first + 1;

    while (end < segment->header->unit_count && end < atomic_load(&segment->header->searched) &&
           atomic_load(&segment->units[end]) & UNIT_FOLLOWS)
        end++;
    free_run(segment, first, end - first);
}

void pool_segment_sweep_pages(pool_segment *segment, uint32_t what)
{
    uint64_t end = atomic_load(&segment->header->searched); /* a dead worker has taken no unit from there on */

    for (uint64_t i = 0; i < end; i++)
        if ((atomic_load(&segment->units[i]) & ~UNIT_FOLLOWS) == what)
            free_run(segment, i, 1);
}

bool pool_segment_holds(const pool_segment *segment, uint64_t at, uint64_t size)
{
    uint64_t begin = segment->header->arena_at, end = begin + atomic_load(&segment->header->committed) * OS_PAGE;

    return at >= begin && at <= end && size <= end - at;
}

uint64_t pool_segment_used(const pool_segment *segment)
{
    uint64_t end = atomic_load(&segment->header->searched), used = 0;

    for (uint64_t i = 0; i < end; i++)
        used += atomic_load_explicit(&segment->units[i], memory_order_relaxed) != 0;
    return used * OS_PAGE;
}
