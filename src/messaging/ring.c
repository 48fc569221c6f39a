#include "messaging/ring.h"

#include "base/error.h"

#include <string.h>
#include <uv.h>

uint32_t ring_spin_us(int option)
{
    enum { DEFAULT_US = 50 };

    if (option == 0)
        return uv_available_parallelism() > 1 ? DEFAULT_US : 0;
    return option < 0 ? 0 : (uint32_t)option;
}

uint64_t ring_memory(size_t option)
{
    uint64_t total = option ? option : uv_get_total_memory();

    if (!option && total > SIZE_MAX / 8) /* where addresses are few, other things need some too */
        total = SIZE_MAX / 8;
    return total ? total : UINT64_C(1) << 30;
}

/* ---- The segment ----------------------------------------------------------------------------- */

enum { RING_BITS_MAX = 26, STEP = 4096 }; /* cells that get memory at a time; a multiple of OS_PAGE / 8 */

static uint64_t place_part(uint64_t *end, uint64_t size)
{
    uint64_t at = *end;

    *end += (size + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
    return at;
}

static uint32_t bits_for(uint64_t count)
{
    uint32_t bits = 0;

    while (UINT64_C(1) << bits < count)
        bits++;
    return bits;
}

static void place_ring(lane *lane, uint32_t bits, uint64_t *end)
{
    ring_buffer *ring = &lane->rings[lane->ring_count++];
    uint64_t cells = UINT64_C(1) << bits;

    ring->cells_at = place_part(end, cells * lane->stride);
    ring->cells = lane->shm ? (char *)lane->shm->address + ring->cells_at : NULL; /* else only its size is asked for */
    ring->mask = cells - 1;
    ring->bits = bits;
    atomic_init(&ring->known, 0);
}

/* Rings that double, as long as there is memory for all of their cells. */
static void place_growing(lane *lane, uint64_t *end)
{
    uint32_t bits = bits_for(RING_FIRST_CELLS);
    uint64_t left = lane->plan.memory, need = lane->stride * RING_FIRST_CELLS;

    do {
        place_ring(lane, bits, end);
        left -= need < left ? need : left;
        need *= 2;
    } while (need <= left && ++bits <= RING_BITS_MAX);
}

/* Finds the place of everything, in a segment or in none. */
static int lay_out(lane *lane, const os_shm *shm, uint64_t at, const ring_plan *plan, uint64_t *size)
{
    uint64_t end = at, hands, words;

    if (plan->capacity > UINT64_C(1) << RING_BITS_MAX || plan->room % 16 || plan->room < 16 ||
        plan->room > RING_CELL_MAX || plan->memory == 0 || plan->memory > UINT64_C(1) << 46 ||
        plan->hands > RING_CONSUMERS)
        return error_detail(XF_EINVAL, "a capacity of %llu messages, %llu bytes in place and %llu in all",
                            (unsigned long long)plan->capacity, (unsigned long long)plan->room,
                            (unsigned long long)plan->memory);
    memset(lane, 0, sizeof *lane);
    lane->shm = shm;
    lane->plan = *plan;
    lane->stride = (sizeof(ring_cell) + plan->room + RING_CACHE_LINE - 1) / RING_CACHE_LINE * RING_CACHE_LINE;
    place_part(&end, sizeof(ring_head));
    hands = place_part(&end, plan->hands * sizeof(ring_consumer));
    if (plan->capacity)
        place_ring(lane, bits_for(plan->capacity), &end);
    else
        place_growing(lane, &end);
    words = place_part(&end, page_arena_words_size(plan->memory));
    if (shm) {
        lane->head = (ring_head *)((char *)shm->address + at);
        lane->hands = (ring_consumer *)((char *)shm->address + hands);
        page_arena_attach(&lane->store, shm, &lane->head->store, words, end, plan->memory);
    }
    place_part(&end, page_arena_pages_size(plan->memory));
    *size = end - at;
    return 0;
}

int ring_size(const ring_plan *plan, uint64_t *size)
{
    lane lane;

    return lay_out(&lane, NULL, 0, plan, size);
}

int ring_attach(lane *lane, const os_shm *shm, uint64_t at)
{
    ring_plan plan;
    uint64_t size;

    if (at > shm->size || shm->size - at < sizeof(ring_head))
        return error_detail(XF_EPROTO, "a lane in a segment of %zu bytes", shm->size);
    memcpy(&plan, (char *)shm->address + at, sizeof plan);
    if (lay_out(lane, shm, at, &plan, &size) < 0 || size > shm->size - at)
        return error_detail(XF_EPROTO, "a lane of impossible sizes");
    lane->me = os_self_process();
    return 0;
}

/* ---- Cells that have memory ------------------------------------------------------------------ */

uint64_t ring_ready_cells(lane *lane, uint32_t number)
{
    ring_buffer *ring = &lane->rings[number];
    uint64_t ready = atomic_load(&lane->head->ready[number]);

    if (ready > ring->mask + 1)
        ready = ring->mask + 1;
    atomic_store_explicit(&ring->known, ready, memory_order_relaxed);
    return ready;
}

int ring_make_ready(lane *lane, uint32_t number, uint64_t at)
{
    ring_buffer *ring = &lane->rings[number];
    uint64_t index = at & ring->mask, from = ring_ready_cells(lane, number), to = index + 1;
    uint64_t first, last;
    int rc;

    if (index < from)
        return 0;
    to = to < RING_FIRST_CELLS ? RING_FIRST_CELLS : (to + STEP - 1) / STEP * STEP;
    to = to < ring->mask + 1 ? to : ring->mask + 1;
    first = (ring->cells_at + from * lane->stride) / OS_PAGE * OS_PAGE;
    last = (ring->cells_at + to * lane->stride + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
    rc = os_shm_commit(lane->shm, (size_t)first, (size_t)(last - first));
    while (rc == 0 && from < to && !atomic_compare_exchange_weak(&lane->head->ready[number], &from, to)) {
    }
    return rc;
}

/* The first cells have memory from the start, so that a lane can be ended whatever happens. */
int ring_create(lane *lane, const os_shm *shm, uint64_t at, const ring_plan *plan)
{
    uint64_t size;
    int rc = lay_out(lane, shm, at, plan, &size);

    if (rc == 0)
        rc = os_shm_commit(shm, (size_t)at, (size_t)(lane->rings[0].cells_at - at));
    if (rc == 0)
        rc = ring_make_ready(lane, 0, 0);
    if (rc < 0)
        return rc;
    lane->head->plan = *plan;
    lane->me = os_self_process();
    return 0;
}

int ring_broken(void)
{
    return error_detail(XF_EPROTO, "the shared memory of a queue or a pipe holds what it cannot");
}

void ring_free_block(lane *lane, uint64_t block, uint64_t size)
{
    ring_blocks_free(&lane->store, block, size);
    atomic_thread_fence(memory_order_seq_cst);
    wake_word_signal(lane->shm, &lane->head->freed);
}
