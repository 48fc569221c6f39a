#include "base/error.h"
#include "messaging/ring_internal.h"

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

    if (!option && total > SIZE_MAX / 8) /* on 32 bits: leave addresses for other things */
        total = SIZE_MAX / 8;
    return total ? total : UINT64_C(1) << 30;
}

/* ---- The segment ----------------------------------------------------------------------------- */

enum {
    BUFFER_BITS_MAX = 26,
    READY_STEP = 4096 /* cells that get memory at a time; a multiple of OS_PAGE / 8 */
};

/* Adds a part at the end, in whole pages.  Returns where it begins. */
static uint64_t add_part(uint64_t *end, uint64_t size)
{
    uint64_t at = *end;

    *end += (size + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
    return at;
}

static uint32_t bits_for_cells(uint64_t count)
{
    uint32_t bits = 0;

    while (UINT64_C(1) << bits < count)
        bits++;
    return bits;
}

static void add_buffer(ring *ring, uint32_t bits, uint64_t *end)
{
    ring_buffer *buffer = &ring->buffers[ring->buffer_count++];
    uint64_t cells = UINT64_C(1) << bits;

    buffer->cells_at = add_part(end, cells * ring->stride);
    buffer->cells =
        ring->shm ? (char *)ring->shm->address + buffer->cells_at : NULL; /* NULL: only the size is wanted */
    buffer->mask = cells - 1;
    buffer->bits = bits;
    atomic_init(&buffer->known, 0);
}

/* Adds buffers that double, as long as there is memory for all of their cells. */
static void add_growing_buffers(ring *ring, uint64_t *end)
{
    uint32_t bits = bits_for_cells(RING_FIRST_CELLS);
    uint64_t left = ring->plan.memory, need = ring->stride * RING_FIRST_CELLS;

    do {
        add_buffer(ring, bits, end);
        left -= need < left ? need : left;
        need *= 2;
    } while (need <= left && ++bits <= BUFFER_BITS_MAX);
}

/* Finds where everything lies.
 *   shm  NULL: only the size is wanted. */
static int ring_lay_out(ring *ring, const os_shm *shm, uint64_t at, const ring_plan *plan, uint64_t *size)
{
    uint64_t end = at, consumers, words;

    if (plan->capacity > UINT64_C(1) << BUFFER_BITS_MAX || plan->room % 16 || plan->room < 16 ||
        plan->room > RING_CELL_MAX || plan->memory == 0 || plan->memory > UINT64_C(1) << 46 ||
        plan->consumers > RING_CONSUMERS)
        return error_detail(XF_EINVAL, "capacity %llu, room for %llu bytes in a cell, %llu bytes of memory",
                            (unsigned long long)plan->capacity, (unsigned long long)plan->room,
                            (unsigned long long)plan->memory);
    memset(ring, 0, sizeof *ring);
    ring->shm = shm;
    ring->plan = *plan;
    ring->stride = (sizeof(ring_cell) + plan->room + RING_CACHE_LINE - 1) / RING_CACHE_LINE * RING_CACHE_LINE;
    add_part(&end, sizeof(ring_head));
    consumers = add_part(&end, plan->consumers * sizeof(ring_consumer));
    if (plan->capacity)
        add_buffer(ring, bits_for_cells(plan->capacity), &end);
    else
        add_growing_buffers(ring, &end);
    words = add_part(&end, page_arena_words_size(plan->memory));
    if (shm) {
        ring->head = (ring_head *)((char *)shm->address + at);
        ring->consumers = (ring_consumer *)((char *)shm->address + consumers);
        page_arena_attach(&ring->blocks, shm, &ring->head->blocks,
                          &(page_arena_layout){words, end, plan->memory, NULL});
    }
    add_part(&end, page_arena_pages_size(plan->memory));
    *size = end - at;
    return 0;
}

int ring_size(const ring_plan *plan, uint64_t *size)
{
    ring ring;

    return ring_lay_out(&ring, NULL, 0, plan, size);
}

int ring_attach(ring *ring, const os_shm *shm, uint64_t at)
{
    ring_plan plan;
    uint64_t size;

    if (at > shm->size || shm->size - at < sizeof(ring_head))
        return error_detail(XF_EPROTO, "a ring in a segment of %zu bytes", shm->size);
    memcpy(&plan, (char *)shm->address + at, sizeof plan);
    if (ring_lay_out(ring, shm, at, &plan, &size) < 0 || size > shm->size - at)
        return error_detail(XF_EPROTO, "a ring of impossible sizes");
    ring->me = os_self_process();
    return 0;
}

/* ---- Cells that have memory ------------------------------------------------------------------ */

uint64_t ring_ready_cells(ring *ring, uint32_t number)
{
    ring_buffer *buffer = &ring->buffers[number];
    uint64_t ready = atomic_load(&ring->head->ready[number]);

    if (ready > buffer->mask + 1)
        ready = buffer->mask + 1;
    atomic_store_explicit(&buffer->known, ready, memory_order_relaxed);
    return ready;
}

int ring_make_ready(ring *ring, uint32_t number, uint64_t at)
{
    ring_buffer *buffer = &ring->buffers[number];
    uint64_t index = at & buffer->mask, from = ring_ready_cells(ring, number), to = index + 1;
    uint64_t first, last;
    int rc;

    if (index < from)
        return 0;
    to = to < RING_FIRST_CELLS ? RING_FIRST_CELLS : (to + READY_STEP - 1) / READY_STEP * READY_STEP;
    to = to < buffer->mask + 1 ? to : buffer->mask + 1;
    first = (buffer->cells_at + from * ring->stride) / OS_PAGE * OS_PAGE;
    last = (buffer->cells_at + to * ring->stride + OS_PAGE - 1) / OS_PAGE * OS_PAGE;
    rc = os_shm_commit(ring->shm, (size_t)first, (size_t)(last - first));
    while (rc == 0 && from < to && !atomic_compare_exchange_weak(&ring->head->ready[number], &from, to)) {
    }
    return rc;
}

/* The first cells get memory here, so that the ring can be shut down even when memory is short. */
int ring_create(ring *ring, const os_shm *shm, uint64_t at, const ring_plan *plan)
{
    uint64_t size;
    int rc = ring_lay_out(ring, shm, at, plan, &size);

    if (rc == 0)
        rc = os_shm_commit(shm, (size_t)at, (size_t)(ring->buffers[0].cells_at - at));
    if (rc == 0)
        rc = ring_make_ready(ring, 0, 0);
    if (rc < 0)
        return rc;
    ring->head->plan = *plan;
    ring->me = os_self_process();
    return 0;
}

int ring_broken(void)
{
    return error_detail(XF_EPROTO, "the shared memory of a queue or a pipe is corrupt");
}

void ring_free_block(ring *ring, uint64_t block, uint64_t size)
{
    ring_blocks_free(&ring->blocks, block, size);
    atomic_thread_fence(memory_order_seq_cst);
    wake_word_signal(ring->shm, &ring->head->freed);
}
