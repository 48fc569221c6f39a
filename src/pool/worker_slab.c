#include "pool/worker_slab.h"

#include "base/error.h"

enum { OUTPUTS_MIN = 65536, NOTES_MIN = 4 * OS_PAGE };

/* What to take, and from where. */
typedef struct slab_need {
    uint64_t size, align, minimum; /* minimum: bytes of pages at a time */
    bool kept_back;
} slab_need;

/* Takes pages, and adds them to the job's list of slabs, with which they are freed. */
static int add_slab(worker *worker, slab_room *room, uint64_t size, bool kept_back)
{
    pool_segment *segment = &worker->segment;
    job_state *state = &segment->states[worker->claimed.number];
    uint64_t word = pool_segment_slab_word(worker->claimed.number, worker->claimed.plan->serial), at, next;
    slab *slab;
    int rc = kept_back ? pool_segment_take_kept_back(segment, size, word, &at)
                       : pool_segment_take_slab(segment, size, word, &at);

    if (rc < 0)
        return rc;
    slab = pool_segment_at(segment, at);
    slab->size = size;
    next = atomic_load(&state->slabs);
    do
        slab->next = next;
    while (!atomic_compare_exchange_weak(&state->slabs, &next, at));
    *room = (slab_room){worker->claimed.plan->serial, at + OUTPUT_ALIGN, at + size};
    return 0;
}

static bool room_has(const worker *worker, const slab_room *room, const slab_need *need, uint64_t at)
{
    return room->serial == worker->claimed.plan->serial && at <= room->end && room->end - at >= need->size;
}

static void *take_from_slab(worker *worker, slab_room *room, const slab_need *need)
{
    uint64_t at = (room->at + need->align - 1) / need->align * need->align, size = job_aligned(need->size);

    if (!room_has(worker, room, need, at)) {
        uint64_t pages = need->size + OUTPUT_ALIGN;
        if (add_slab(worker, room, pages < need->minimum ? need->minimum : pages, need->kept_back) < 0)
            return NULL;
        at = room->at;
    }
    room->at = room->end - at < size ? room->end : at + size;
    return pool_segment_at(&worker->segment, at);
}

void *worker_slab_take_output(worker *worker, uint64_t size, uint64_t align)
{
    slab_need need = {size, align, worker->claimed.plan->flags & JOB_ONE_CHUNK ? 0 : OUTPUTS_MIN, false};

    if (size > UINT64_MAX / 2) {
        error_detail(XF_ENOMEM, "%llu bytes of output", (unsigned long long)size);
        return NULL;
    }
    return take_from_slab(worker, &worker->outputs, &need);
}

void *worker_slab_take_note(worker *worker, uint64_t size, bool kept_back)
{
    bool alone = kept_back || worker->claimed.plan->flags & JOB_ONE_CHUNK;
    slab_need need = {size, JOB_ALIGN, alone ? OS_PAGE : NOTES_MIN, kept_back};

    return take_from_slab(worker, kept_back ? &worker->short_notes : &worker->notes, &need);
}
