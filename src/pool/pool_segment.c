#include "pool/pool_segment.h"

#include "base/error.h"

#include <string.h>
#include <uv.h>

/* ---- The segment ----------------------------------------------------------------------------- */

static uint64_t round_up(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static uint64_t place(uint64_t *end, uint64_t size)
{
    uint64_t at = *end;

    *end += round_up(size, OS_PAGE);
    return at;
}

/* Where everything is in a segment that leaves arena bytes for the arena. */
static segment_header layout(uint32_t slots, uint64_t arena)
{
    segment_header head = {.magic = SEGMENT_MAGIC, .slots = slots, .unit_count = arena / OS_PAGE};
    uint64_t end = 0;

    place(&end, sizeof head);
    head.slots_at = place(&end, slots * sizeof(slot));
    head.tasks_at = place(&end, SEGMENT_TASKS * sizeof(segment_task));
    head.jobs_at = place(&end, SEGMENT_JOBS * sizeof(job));
    head.rings_at = place(&end, SEGMENT_PRIORITIES * (uint64_t)SEGMENT_RING * sizeof(uint32_t));
    head.units_at = place(&end, head.unit_count * sizeof(uint32_t));
    head.arena_at = place(&end, head.unit_count * OS_PAGE);
    head.size = end;
    return head;
}

void pool_segment_attach(plane *plane, const os_shm *shm)
{
    const segment_header *head = shm->address;

    plane->shm = *shm;
    plane->head = shm->address;
    plane->slots = pool_segment_at(plane, head->slots_at);
    plane->tasks = pool_segment_at(plane, head->tasks_at);
    plane->jobs = pool_segment_at(plane, head->jobs_at);
    plane->units = pool_segment_at(plane, head->units_at);
    for (int i = 0; i < SEGMENT_PRIORITIES; i++)
        plane->ring[i] = (_Atomic uint32_t *)pool_segment_at(plane, head->rings_at) + (size_t)i * SEGMENT_RING;
}

int pool_segment_create(plane *plane, uint32_t slots, size_t memory_limit)
{
    segment_header head = layout(slots, round_up(memory_limit, OS_PAGE));
    os_shm shm;
    int rc;

    if (head.size > SIZE_MAX / 2)
        return error_detail(XF_ENOMEM, "a memory_limit of %zu bytes", memory_limit);
    rc = os_shm_create(&shm, (size_t)head.size, OS_SHM_RESERVED | OS_SHM_BELL);
    if (rc < 0)
        return rc;
    rc = os_shm_commit(&shm, 0, (size_t)head.tasks_at);
    if (rc < 0) {
        os_shm_close(&shm);
        return rc;
    }
    memcpy(shm.address, &head, sizeof head);
    pool_segment_attach(plane, &shm);
    return 0;
}

/* ---- The arena ------------------------------------------------------------------------------- */

#define UNIT_FOLLOWS 0x80000000U /* this page is not the first of its run */

enum { COMMIT_STEP = 256 }; /* pages */

static void clear_units(plane *plane, uint64_t first, uint64_t count)
{
    while (count-- > 0)
        atomic_store(&plane->units[first + count], 0);
}

/* Takes a run of free units: how many it got, from the first one on. */
static uint64_t take_units(plane *plane, uint64_t first, uint64_t count, uint32_t what)
{
    for (uint64_t i = 0; i < count; i++) {
        uint32_t free = 0;
        if (!atomic_compare_exchange_strong(&plane->units[first + i], &free, i ? what | UNIT_FOLLOWS : what))
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

/* Lets units before end be looked at: their words read as free, but cannot be read everywhere before they have memory.
 */
static int open_units(plane *plane, uint64_t end)
{
    uint64_t have = atomic_load(&plane->head->searched), from, to;
    int rc;

    if (end <= have)
        return 0;
    from = (plane->head->units_at + have * sizeof(uint32_t)) / OS_PAGE * OS_PAGE;
    to = round_up(plane->head->units_at + end * sizeof(uint32_t), OS_PAGE);
    rc = os_shm_commit(&plane->shm, (size_t)from, (size_t)(to - from));
    if (rc == 0)
        raise_to(&plane->head->searched, end);
    return rc;
}

/* Gives memory to all units before end. */
static int commit_to(plane *plane, uint64_t end)
{
    segment_header *head = plane->head;
    uint64_t have = atomic_load(&head->committed);
    uint64_t want = end + COMMIT_STEP < head->unit_count ? end + COMMIT_STEP : head->unit_count;
    int rc;

    if (end <= have)
        return 0;
    rc = open_units(plane, want);
    if (rc == 0)
        rc = os_shm_commit(&plane->shm, (size_t)(head->arena_at + have * OS_PAGE), (size_t)((want - have) * OS_PAGE));
    if (rc == 0)
        raise_to(&head->committed, want);
    return rc;
}

/* Finds and takes a run among the units before limit. */
static bool search(plane *plane, uint64_t begin, uint64_t limit, uint64_t count, uint32_t what, uint64_t *found)
{
    uint64_t run = 0, first_free = UINT64_MAX;

    for (uint64_t i = begin; i < limit && limit - i >= count - run; i++) {
        if (atomic_load_explicit(&plane->units[i], memory_order_relaxed)) {
            run = 0;
            continue;
        }
        if (first_free == UINT64_MAX)
            first_free = i;
        if (++run < count)
            continue;
        *found = i + 1 - count;
        run = take_units(plane, *found, count, what);
        if (run == count) {
            if (*found == first_free)
                atomic_compare_exchange_strong(&plane->head->first_free, &begin, *found + count);
            return true;
        }
        clear_units(plane, *found, run);
        i = *found + run;
        run = 0;
    }
    return false;
}

/* Among the units that have memory first, and then among all. */
static bool search_all(plane *plane, uint64_t count, uint32_t what, uint64_t *found)
{
    segment_header *head = plane->head;
    uint64_t have = atomic_load(&head->committed), begin = atomic_load(&head->first_free);

    if (count > head->unit_count)
        return false;
    if (search(plane, begin, have, count, what, found) || (begin > 0 && search(plane, 0, have, count, what, found)))
        return true;
    begin = have > count ? have - count : 0;
    have = have + 2 * count + COMMIT_STEP < head->unit_count ? have + 2 * count + COMMIT_STEP : head->unit_count;
    if (open_units(plane, have) < 0)
        return false;
    return search(plane, begin, have, count, what, found) ||
           (open_units(plane, head->unit_count) == 0 && search(plane, begin, head->unit_count, count, what, found));
}

int pool_segment_take_pages(plane *plane, uint64_t size, uint32_t what, uint64_t *at)
{
    uint64_t count = round_up(size ? size : 1, OS_PAGE) / OS_PAGE, first = 0;
    int rc;

    if (!search_all(plane, count, what, &first))
        return error_detail(XF_ENOMEM, "%llu bytes more than the pool's memory_limit leaves", (unsigned long long)size);
    rc = commit_to(plane, first + count);
    if (rc < 0) {
        clear_units(plane, first, count);
        return rc;
    }
    *at = plane->head->arena_at + first * OS_PAGE;
    return 0;
}

static void free_run(plane *plane, uint64_t first, uint64_t count)
{
    uint64_t hint = atomic_load(&plane->head->first_free);

    clear_units(plane, first, count);
    while (first < hint && !atomic_compare_exchange_weak(&plane->head->first_free, &hint, first)) {
    }
}

void pool_segment_free_pages(plane *plane, uint64_t at)
{
    uint64_t first = (at - plane->head->arena_at) / OS_PAGE, end = first + 1;

    while (end < plane->head->unit_count && end < atomic_load(&plane->head->searched) &&
           atomic_load(&plane->units[end]) & UNIT_FOLLOWS)
        end++;
    free_run(plane, first, end - first);
}

void pool_segment_sweep_pages(plane *plane, uint32_t what)
{
    uint64_t end = atomic_load(&plane->head->searched); /* a dead worker may have come no further */

    for (uint64_t i = 0; i < end; i++)
        if ((atomic_load(&plane->units[i]) & ~UNIT_FOLLOWS) == what)
            free_run(plane, i, 1);
}

bool pool_segment_holds(const plane *plane, uint64_t at, uint64_t size)
{
    uint64_t begin = plane->head->arena_at, end = begin + atomic_load(&plane->head->committed) * OS_PAGE;

    return at >= begin && at <= end && size <= end - at;
}

/* ---- Claiming -------------------------------------------------------------------------------- */

/* Tries to claim a chunk whose word was seen as queued.  What is about to be claimed is said before, so that whoever
 * finds this worker dead knows where to look. */
static bool try_claim(plane *plane, uint32_t number, find *found)
{
    slot *slot = &plane->slots[number];
    uint64_t mine = claim_word_make(CLAIM_CLAIMED, number, atomic_load_explicit(&slot->epoch, memory_order_relaxed),
                                    claim_word_skip(found->claim));

    if (found->job->flags & JOB_TIMED)
        atomic_store(&slot->since, uv_hrtime());
    slot->progress = claim_word_skip(found->claim);
    atomic_store_explicit(&slot->intent, job_intent((uint32_t)(found->job - plane->jobs), found->chunk),
                          memory_order_release);
    if (!claim_word_change(found->word, found->claim, mine))
        return false;
    found->claim = mine;
    return true;
}

static bool try_chunk(plane *plane, uint32_t slot, find *found, uint64_t chunk)
{
    found->chunk = chunk;
    found->word = pool_segment_claim(plane, found->job, chunk);
    found->claim = atomic_load_explicit(found->word, memory_order_relaxed);
    return claim_word_state(found->claim) == CLAIM_QUEUED && try_claim(plane, slot, found);
}

/* The slot's own range, from its begin on. */
static bool claim_own(plane *plane, uint32_t slot, find *found, uint32_t range)
{
    cell *cell = pool_segment_cursor(plane, found->job, range);
    uint64_t end = cell->end;

    for (uint64_t i = atomic_load_explicit(&cell->next, memory_order_relaxed); i < end; i++)
        if (try_chunk(plane, slot, found, i)) {
            atomic_store_explicit(&cell->next, i + 1, memory_order_relaxed);
            return true;
        }
    atomic_store_explicit(&cell->next, end, memory_order_relaxed);
    return false;
}

/* Another's range, from its end on. */
static bool steal(plane *plane, uint32_t slot, find *found, uint32_t range)
{
    cell *cell = pool_segment_cursor(plane, found->job, range);
    uint64_t next = atomic_load_explicit(&cell->next, memory_order_relaxed);

    for (uint64_t i = atomic_load_explicit(&cell->tail, memory_order_relaxed); i > next; i--)
        if (try_chunk(plane, slot, found, i - 1)) {
            atomic_store_explicit(&cell->tail, i - 1, memory_order_relaxed);
            return true;
        }
    return false;
}

/* What the parent has put back may be anywhere. */
static bool claim_anywhere(plane *plane, uint32_t slot, find *found)
{
    cell *own = pool_segment_cursor(plane, found->job, slot);
    uint32_t requeues = atomic_load(&found->job->requeues);

    if (own->requeues == requeues)
        return false;
    for (uint64_t i = 0; i < found->job->chunk_count; i++)
        if (try_chunk(plane, slot, found, i))
            return true;
    own->requeues = requeues;
    return false;
}

static bool claim_in_job(plane *plane, uint32_t slot, find *found)
{
    job *job = found->job;
    uint32_t own = found->range;

    if (atomic_load_explicit(&job->closing, memory_order_relaxed))
        return false;
    if (claim_own(plane, slot, found, own))
        return true;
    for (uint32_t i = 1; i < job->ranges; i++)
        if (steal(plane, slot, found, (own + i) % job->ranges))
            return true;
    return claim_anywhere(plane, slot, found);
}

/* Whether all of its many chunks are settled.  The last to add to the sum sees all of it: the counts are stored before
 * the fence, and read after it. */
static bool all_finished(const plane *plane, const job *job)
{
    const cell *cells = pool_segment_at(plane, job->cells);
    uint64_t sum = 0;

    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i <= atomic_load(&plane->head->slots_used); i++)
        sum += atomic_load(&cells[i].finished);
    return sum >= job->chunk_count;
}

/* Makes sure that the job's memory stays while this worker looks at it: whoever frees it looks at all hazards after it
 * has made the job inactive. */
static bool guard(plane *plane, uint32_t slot, uint32_t number)
{
    atomic_store(&plane->slots[slot].hazard, (uint64_t)number + 1);
    if (atomic_load(&plane->jobs[number].active))
        return true;
    atomic_store(&plane->slots[slot].hazard, 0);
    return false;
}

static bool claim_of(plane *plane, uint32_t slot, find *found, uint32_t number)
{
    bool single, got;

    found->job = &plane->jobs[number];
    if (!guard(plane, slot, number))
        return false;
    single = found->job->flags & JOB_ONE_CHUNK;
    if (!single)
        found->range = slot % found->job->ranges;
    got = single ? try_chunk(plane, slot, found, 0) : claim_in_job(plane, slot, found);
    if (got && single)
        atomic_store_explicit(&plane->slots[slot].hazard, 0, memory_order_release); /* the claim keeps it */
    else if (!got)
        chunk_claim_leave(plane, slot, found->job);
    return got;
}

/* The job of an entry that is before the tail. */
static uint32_t entry_at(const plane *plane, int priority, uint64_t at, uint64_t tail)
{
    if (at + 1 == ring_end(tail))
        return (uint32_t)tail & ((1U << RING_JOB_BITS) - 1);
    return atomic_load_explicit(&plane->ring[priority][at % SEGMENT_RING], memory_order_relaxed);
}

bool chunk_claim_first(plane *plane, uint32_t slot, find *claimed)
{
    static const int order[SEGMENT_PRIORITIES] = {XF_PRIORITY_HIGH, XF_PRIORITY_NORMAL, XF_PRIORITY_LOW};

    for (int i = 0; i < SEGMENT_PRIORITIES; i++) {
        ring *ring = &plane->head->rings[order[i]];
        uint64_t head = atomic_load(&ring->head), tail;
        while (head < ring_end(tail = atomic_load(&ring->tail))) {
            bool got = claim_of(plane, slot, claimed, entry_at(plane, order[i], head, tail));
            if (got && !(claimed->job->flags & JOB_ONE_CHUNK))
                return true;
            /* nothing of it is left: whoever sees that says so, and it is no matter who */
            if (atomic_compare_exchange_strong(&ring->head, &head, head + 1))
                head++;
            if (got)
                return true;
        }
    }
    return false;
}

static bool waits(const plane *plane, int priority)
{
    const ring *ring = &plane->head->rings[priority];

    return atomic_load_explicit(&ring->head, memory_order_relaxed) <
           ring_end(atomic_load_explicit(&ring->tail, memory_order_relaxed));
}

bool chunk_claim_next(plane *plane, uint32_t slot, find *claimed)
{
    return atomic_load_explicit(&plane->slots[slot].hazard, memory_order_relaxed) && !waits(plane, XF_PRIORITY_HIGH) &&
           claim_in_job(plane, slot, claimed);
}

/* The hazard goes before those who wait are woken: they may be after the job's memory at once. */
void chunk_claim_leave(plane *plane, uint32_t slot, job *job)
{
    bool last;

    if (atomic_load_explicit(&plane->slots[slot].hazard, memory_order_relaxed) == 0)
        return; /* it has one chunk only, and may be another job by now */
    last = !(job->flags & JOB_ONE_CHUNK) && all_finished(plane, job) && !atomic_exchange(&job->settled, 1);
    atomic_store_explicit(&plane->slots[slot].hazard, 0, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (last || !atomic_load_explicit(&job->active, memory_order_relaxed)) /* somebody may wait for its memory */
        pool_segment_wake_waiters(plane);
}

bool chunk_claim_commit(plane *plane, uint32_t number, const find *claimed, uint32_t items)
{
    slot *slot = &plane->slots[number];
    uint64_t done =
        claim_word_make(CLAIM_DONE, number, atomic_load_explicit(&slot->epoch, memory_order_relaxed), items);
    bool whole = claimed->job->flags & JOB_ONE_CHUNK;

    if (!claim_word_change(claimed->word, claimed->claim, done))
        return false;
    if (whole) {
        pool_segment_wake_waiters(plane);
    } else {
        cell *own = pool_segment_cursor(plane, claimed->job, number);
        atomic_store_explicit(&own->finished, atomic_load_explicit(&own->finished, memory_order_relaxed) + 1,
                              memory_order_release);
    }
    return true;
}

bool chunk_claim_complete(plane *plane, job *job)
{
    if (job->flags & JOB_ONE_CHUNK)
        return claim_word_state(atomic_load(&job->claim)) == CLAIM_DONE;
    if (!all_finished(plane, job))
        return false;
    if (!atomic_exchange(&job->settled, 1))
        pool_segment_wake_waiters(plane);
    return true;
}

bool chunk_claim_has_work(const plane *plane)
{
    return waits(plane, XF_PRIORITY_HIGH) || waits(plane, XF_PRIORITY_NORMAL) || waits(plane, XF_PRIORITY_LOW);
}

void chunk_claim_push(plane *plane, job *job, int priority)
{
    ring *ring = &plane->head->rings[priority];
    uint64_t end = ring_end(atomic_load_explicit(&ring->tail, memory_order_relaxed));
    uint32_t number = (uint32_t)(job - plane->jobs);

    atomic_store_explicit(&plane->ring[priority][end % SEGMENT_RING], number, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, (end + 1) << RING_JOB_BITS | number, memory_order_release);
}

void plane_tell_after_death(plane *plane)
{
    wake_word_signal_after_death(&plane->shm, &plane->head->done);
}

void pool_segment_wake_waiters(plane *plane)
{
    atomic_thread_fence(memory_order_seq_cst);
    wake_word_signal(&plane->shm, &plane->head->done);
}
