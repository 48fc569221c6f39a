/* Heaps: allocations in a page arena.
 *
 * An allocation of more than half a page is a run of pages.  A smaller one is a slot of a page that is divided into
 * slots of one class.  Each slot has a word, in a list beside the pages, where the user's writes do not reach it.  The
 * word of a run or a slot names its owner.  A process takes it by one compare-and-swap: if the process dies, it owns
 * the memory or it does not.
 *
 * A page of slots is given back when its last slot is freed.  The process that does so marks the page and then checks
 * its slots; a process that takes a slot takes it and then checks the page.  So at least one of the two sees the other,
 * and undoes its step. */
#include "shmem/heap.h"

#include "base/error.h"
#include "lockfree/liveness.h"
#include "os/identity.h"

#include <stdlib.h>
#include <string.h>

/* A word names the process that owns the page or the slot (os_self_process).  Its other bits: */
#define KEPT (UINT64_C(1) << 62)   /* no process owns it, and none is named */
#define FREED (UINT64_C(1) << 61)  /* that process is freeing it */
#define SLOTS (UINT64_C(1) << 60)  /* of a page: it has slots, and no process is named, */
#define CLOSED (UINT64_C(1) << 59) /* except the one that is giving the page back */
#define CLASS_SHIFT OS_PROCESS_BITS
#define CLASS_MASK (UINT64_C(7) << CLASS_SHIFT) /* of a page that has slots: their class */
#define OWNER ((UINT64_C(1) << OS_PROCESS_BITS) - 1)

enum {
    HEAP_VERSION = 1,
    SLOT = 64, /* bytes of the smallest */
    CLASSES = 6,
    SLOTS_MAX = OS_PAGE / SLOT, /* words for each page */
    SLOTS_STEP = 256,           /* pages whose slots get words at a time */
    PROBED_PAGES = 16           /* pages that are tried before a new one is divided */
};

_Static_assert(SLOT << CLASSES == OS_PAGE, "two of the largest slots are a page");

/* The start of the body. */
typedef struct heap_head {
    uint64_t limit;
    page_arena_head arena;
    _Atomic uint64_t slotted;       /* pages whose slots have words */
    _Atomic uint64_t reclaimed;     /* allocations */
    _Atomic uint64_t next[CLASSES]; /* a page that may have a free slot */
} heap_head;

_Static_assert(OBJECT_HEAD + sizeof(heap_head) <= OS_PAGE, "the heads fit the first page");

/* An allocation that was found, and its word as it was read. */
typedef struct allocation {
    _Atomic uint64_t *word;
    uint64_t seen;
    uint64_t page;
    int size_class; /* -1: a run of pages */
    size_t size;
} allocation;

static uint64_t slots_size(uint64_t limit)
{
    return page_arena_pages_size(page_arena_count(limit) * SLOTS_MAX * sizeof(uint64_t));
}

/* ---- Making and opening ---------------------------------------------------------------------- */

/* Finds where everything lies.  The segment begins with the page of the heads. */
static void heap_attach(xf_heap *heap, object *object)
{
    uint64_t limit = ((heap_head *)object->body)->limit;
    uint64_t words_at = OS_PAGE, slots_at = words_at + page_arena_words_size(limit);

    heap->object = object;
    heap->head = object->body;
    heap->slots_at = slots_at;
    heap->me = os_self_process();
    page_arena_attach(&heap->arena, &object->shm, &heap->head->arena,
                      &(page_arena_layout){words_at, slots_at + slots_size(limit), limit, NULL});
}

static uint64_t heap_segment_size(uint64_t limit)
{
    return OS_PAGE + page_arena_words_size(limit) + slots_size(limit) + page_arena_pages_size(limit);
}

static int heap_allocate_handle(xf_heap **out)
{
    *out = malloc(sizeof **out);
    return *out ? 0 : error_detail(XF_ENOMEM, "a handle to a heap");
}

int xf_heap_create(xf_heap **out, size_t limit)
{
    object *object;
    xf_heap *heap;
    int rc;

    if (limit == 0)
        return error_detail(XF_EINVAL, "a heap of 0 bytes");
    if (limit > SIZE_MAX / 4)
        return error_detail(XF_ENOMEM, "a heap of %zu bytes", limit);
    rc = heap_allocate_handle(&heap);
    if (rc < 0)
        return rc;
    rc = object_create(&object, XF_KIND_HEAP, HEAP_VERSION, (size_t)heap_segment_size(limit) - OBJECT_HEAD,
                       OS_SHM_RESERVED);
    if (rc < 0) {
        free(heap);
        return rc;
    }
    ((heap_head *)object->body)->limit = limit;
    heap_attach(heap, object);
    *out = heap;
    return 0;
}

int xf_heap_open(xf_heap **out, const xf_ref *ref)
{
    object *object;
    xf_heap *heap;
    uint64_t limit;
    int rc = heap_allocate_handle(&heap);

    if (rc < 0)
        return rc;
    rc = object_open(&object, ref, XF_KIND_HEAP, HEAP_VERSION);
    if (rc < 0)
        goto free_heap;
    limit = object->size < sizeof(heap_head) ? 0 : ((heap_head *)object->body)->limit;
    if (limit == 0 || limit > object->size || heap_segment_size(limit) - OBJECT_HEAD > object->size) {
        rc = error_detail(XF_EPROTO, "a heap of impossible size");
        goto close_object;
    }
    heap_attach(heap, object);
    *out = heap;
    return 0;

close_object:
    object_close(object);
free_heap:
    free(heap);
    return rc;
}

int xf_heap_ref(xf_heap *heap, xf_ref *ref)
{
    return object_ref(heap->object, ref);
}

void xf_heap_free(xf_heap *heap)
{
    if (!heap)
        return;
    object_close(heap->object);
    free(heap);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static uint64_t page_word_of_class(int size_class)
{
    return SLOTS | (uint64_t)size_class << CLASS_SHIFT;
}

/* The class of a page's slots; -1 when it has none. */
static int class_of(uint64_t word)
{
    int size_class = (int)((word & CLASS_MASK) >> CLASS_SHIFT);

    return word & SLOTS && !(word & PAGE_ARENA_FOLLOWS) && size_class < CLASSES ? size_class : -1;
}

static unsigned slots_of(int size_class)
{
    return (unsigned)SLOTS_MAX >> size_class;
}

static _Atomic uint64_t *slots_at(const xf_heap *heap, uint64_t page)
{
    return (_Atomic uint64_t *)((char *)heap->object->shm.address + heap->slots_at) + page * SLOTS_MAX;
}

/* How many pages have words for their slots: never more than there are, whatever a peer has written. */
static uint64_t heap_slotted(const xf_heap *heap)
{
    uint64_t count = atomic_load(&heap->head->slotted);

    return count < heap->arena.count ? count : heap->arena.count;
}

/* Gives memory to the words of the slots of all pages up to that one. */
static int heap_commit_slots(xf_heap *heap, uint64_t page)
{
    const uint64_t each = SLOTS_MAX * sizeof(uint64_t);
    uint64_t have = heap_slotted(heap), count = heap->arena.count;
    uint64_t want = page + SLOTS_STEP < count ? page + SLOTS_STEP : count;
    uint64_t from = (heap->slots_at + have * each) / OS_PAGE * OS_PAGE;
    uint64_t to = heap->slots_at + page_arena_pages_size(want * each);
    int rc;

    if (page < have)
        return 0;
    rc = os_shm_commit(&heap->object->shm, (size_t)from, (size_t)(to - from));
    if (rc == 0)
        page_arena_raise(&heap->head->slotted, want);
    return rc;
}

static bool has_taken_slots(const xf_heap *heap, uint64_t page, int size_class)
{
    _Atomic uint64_t *slots = slots_at(heap, page);

    for (unsigned i = 0; i < slots_of(size_class); i++)
        if (atomic_load(&slots[i]) != 0)
            return true;
    return false;
}

/* Gives a page back if no slot of it is taken.  If a slot is taken while the page is closed, the page is opened
 * again and checked again: a process that freed its last slot meanwhile left the page to this one. */
static void give_page_back(xf_heap *heap, uint64_t page, int size_class)
{
    uint64_t open = page_word_of_class(size_class), closed = open | CLOSED | heap->me;

    while (!has_taken_slots(heap, page, size_class)) {
        uint64_t seen = open;
        if (!atomic_compare_exchange_strong(&heap->arena.words[page], &seen, closed))
            return;
        if (!has_taken_slots(heap, page, size_class)) {
            page_arena_free(&heap->arena, page, 1);
            return;
        }
        atomic_store(&heap->arena.words[page], open);
    }
}

/* Gives a slot back, and its page if this was the last slot; the page may have another class by now. */
static void leave_slot(xf_heap *heap, uint64_t page, _Atomic uint64_t *slot)
{
    int size_class;

    atomic_store(slot, 0);
    size_class = class_of(atomic_load(&heap->arena.words[page]));
    if (size_class >= 0)
        give_page_back(heap, page, size_class);
}

/* Takes a free slot of a page; NULL when there is none, or when the page is not of that class any more.  Processes
 * begin at different slots, out of each other's way. */
static void *take_slot(xf_heap *heap, uint64_t page, int size_class)
{
    _Atomic uint64_t *word = &heap->arena.words[page], *slots = slots_at(heap, page);
    uint64_t open = page_word_of_class(size_class), own = heap->me;

    if (page >= heap_slotted(heap))
        return NULL;
    for (unsigned i = 0; i < slots_of(size_class); i++) {
        unsigned slot = (unsigned)(own + i) % slots_of(size_class);
        uint64_t free = 0;
        if (atomic_load_explicit(&slots[slot], memory_order_relaxed) ||
            !atomic_compare_exchange_strong(&slots[slot], &free, own))
            continue;
        if (atomic_load(word) == open)
            return xf_heap_at(heap, page_arena_offset(&heap->arena, page) + ((uint64_t)slot * SLOT << size_class));
        leave_slot(heap, page, &slots[slot]);
        return NULL;
    }
    return NULL;
}

/* Takes a slot of the pages from begin to end.
 *   probes  How many pages of that class to try. */
static void *find_slot(xf_heap *heap, int size_class, uint64_t begin, uint64_t end, unsigned probes)
{
    for (uint64_t page = begin; page < end && probes > 0; page++) {
        void *memory;
        if (class_of(atomic_load_explicit(&heap->arena.words[page], memory_order_relaxed)) != size_class)
            continue;
        probes--;
        memory = take_slot(heap, page, size_class);
        if (memory) {
            atomic_store_explicit(&heap->head->next[size_class], page, memory_order_relaxed);
            return memory;
        }
    }
    return NULL;
}

/* Divides a new page into slots.
 *   memory  Set to one of them; NULL when other processes have taken them all. */
static int divide_page(xf_heap *heap, int size_class, void **memory)
{
    uint64_t page;
    int rc = page_arena_take(&heap->arena, heap->me, 1, &page);

    if (rc < 0)
        return rc;
    rc = heap_commit_slots(heap, page);
    if (rc < 0) {
        page_arena_free(&heap->arena, page, 1);
        return rc;
    }
    atomic_store(&heap->arena.words[page], page_word_of_class(size_class));
    *memory = find_slot(heap, size_class, page, page + 1, 1);
    return 0;
}

static int alloc_slot(xf_heap *heap, int size_class, void **memory)
{
    uint64_t searched = page_arena_searched(&heap->arena), next = atomic_load(&heap->head->next[size_class]);
    int rc = 0;

    *memory = find_slot(heap, size_class, next, searched, PROBED_PAGES);
    while (!*memory && rc == 0)
        rc = divide_page(heap, size_class, memory);
    if (rc == XF_EAGAIN) /* there are no more pages: try all that have slots */
        *memory = find_slot(heap, size_class, 0, page_arena_searched(&heap->arena), UINT32_MAX);
    return *memory ? 0 : rc;
}

/* ---- Allocations ----------------------------------------------------------------------------- */

/* The class of slots that fit that many bytes; CLASSES for a run of pages. */
static int class_for(size_t size)
{
    int size_class = 0;

    while (size_class < CLASSES && size > (size_t)SLOT << size_class)
        size_class++;
    return size_class;
}

static int alloc_pages(xf_heap *heap, size_t size, void **memory)
{
    uint64_t page;
    int rc = page_arena_take(&heap->arena, heap->me, page_arena_count(size), &page);

    if (rc == 0)
        *memory = (char *)heap->object->shm.address + page_arena_offset(&heap->arena, page);
    return rc;
}

static int try_alloc(xf_heap *heap, size_t size, void **memory)
{
    int size_class = class_for(size);

    return size_class < CLASSES ? alloc_slot(heap, size_class, memory) : alloc_pages(heap, size, memory);
}

int xf_heap_alloc(xf_heap *heap, size_t size, void **out)
{
    void *memory = NULL;
    int rc;

    if (!object_is_own(heap->object))
        return object_not_own();
    if (page_arena_count(size) > heap->arena.count)
        return error_detail(XF_ELIMIT, "%zu bytes are more than a heap of %llu has", size,
                            (unsigned long long)heap->head->limit);
    rc = try_alloc(heap, size, &memory);
    if (rc == XF_EAGAIN && xf_heap_reclaim(heap) > 0)
        rc = try_alloc(heap, size, &memory);
    if (rc == XF_EAGAIN)
        return error_detail(XF_ENOMEM, "no room for %zu bytes in a heap of %llu", size,
                            (unsigned long long)heap->head->limit);
    if (rc == 0)
        *out = memory;
    return rc;
}

static bool find_slot_allocation(const xf_heap *heap, uint64_t offset, int size_class, allocation *allocation)
{
    uint64_t within = offset % OS_PAGE;

    if (within % ((uint64_t)SLOT << size_class) != 0 || allocation->page >= heap_slotted(heap))
        return false;
    allocation->word = &slots_at(heap, allocation->page)[within / ((uint64_t)SLOT << size_class)];
    allocation->seen = atomic_load(allocation->word);
    allocation->size_class = size_class;
    allocation->size = (size_t)SLOT << size_class;
    return allocation->seen != 0;
}

/* Whether an allocation begins there. */
static bool find_allocation(const xf_heap *heap, const void *memory, allocation *allocation)
{
    uint64_t offset = xf_heap_offset(heap, memory);
    int size_class;

    if (offset == 0)
        return false;
    allocation->page = page_arena_page(&heap->arena, offset);
    allocation->word = &heap->arena.words[allocation->page];
    allocation->seen = atomic_load(allocation->word);
    size_class = class_of(allocation->seen);
    if (size_class >= 0)
        return find_slot_allocation(heap, offset, size_class, allocation);
    if (allocation->seen == 0 || allocation->seen & (PAGE_ARENA_FOLLOWS | SLOTS | FREED) || offset % OS_PAGE != 0)
        return false;
    allocation->size_class = -1;
    allocation->size = (size_t)page_arena_run(&heap->arena, allocation->page) * OS_PAGE;
    return true;
}

static int no_allocation(const xf_heap *heap, const void *memory)
{
    return error_detail(XF_EINVAL, "no allocation of the heap begins at offset %llu",
                        (unsigned long long)xf_heap_offset(heap, memory));
}

/* Frees an allocation; false when its word has changed since it was read. */
static bool heap_release(xf_heap *heap, allocation *allocation)
{
    _Atomic uint64_t *next;

    if (allocation->size_class < 0) {
        if (!atomic_compare_exchange_strong(allocation->word, &allocation->seen, FREED | heap->me))
            return false;
        page_arena_free(&heap->arena, allocation->page, page_arena_run(&heap->arena, allocation->page));
        return true;
    }
    next = &heap->head->next[allocation->size_class];
    if (!atomic_compare_exchange_strong(allocation->word, &allocation->seen, 0))
        return false;
    if (atomic_load_explicit(next, memory_order_relaxed) != allocation->page)
        atomic_store_explicit(next, allocation->page, memory_order_relaxed);
    give_page_back(heap, allocation->page, allocation->size_class);
    return true;
}

int xf_heap_dealloc(xf_heap *heap, void *memory)
{
    allocation allocation;

    if (!object_is_own(heap->object))
        return object_not_own();
    if (!memory || (find_allocation(heap, memory, &allocation) && heap_release(heap, &allocation)))
        return 0;
    return no_allocation(heap, memory);
}

static int heap_give_to(xf_heap *heap, void *memory, uint64_t owner)
{
    allocation allocation;

    while (find_allocation(heap, memory, &allocation))
        if (atomic_compare_exchange_strong(allocation.word, &allocation.seen, owner))
            return 0;
    return no_allocation(heap, memory);
}

int xf_heap_keep(xf_heap *heap, void *memory)
{
    if (!object_is_own(heap->object))
        return object_not_own();
    return heap_give_to(heap, memory, KEPT);
}

int xf_heap_own(xf_heap *heap, void *memory)
{
    if (!object_is_own(heap->object))
        return object_not_own();
    return heap_give_to(heap, memory, heap->me);
}

size_t xf_heap_size(const xf_heap *heap, const void *memory)
{
    allocation allocation;

    if (!object_is_own(heap->object))
        return 0;
    return find_allocation(heap, memory, &allocation) ? allocation.size : 0;
}

uint64_t xf_heap_offset(const xf_heap *heap, const void *address)
{
    uintptr_t start = (uintptr_t)heap->object->shm.address, at = (uintptr_t)address;
    uint64_t begin = heap->arena.pages_at, size;

    if (!object_is_own(heap->object))
        return 0;
    size = page_arena_committed(&heap->arena) * OS_PAGE;
    return at >= start + begin && at - start - begin < size ? at - start : 0;
}

void *xf_heap_at(const xf_heap *heap, uint64_t offset)
{
    uint64_t begin = heap->arena.pages_at, size;

    if (!object_is_own(heap->object))
        return NULL;
    size = page_arena_committed(&heap->arena) * OS_PAGE;
    return offset >= begin && offset - begin < size ? (char *)heap->object->shm.address + offset : NULL;
}

/* ---- Dead owners, and statistics ------------------------------------------------------------- */

/* Whether a word names a dead process. */
static bool is_left_over(uint64_t word, liveness *cache)
{
    return !(word & KEPT) && liveness_is_dead(cache, word & OWNER);
}

static size_t reclaim_slots(xf_heap *heap, uint64_t page, uint64_t word, liveness *cache)
{
    _Atomic uint64_t *slots = slots_at(heap, page);
    int size_class = class_of(word);
    size_t count = 0;

    if (page >= heap_slotted(heap))
        return 0;
    if (word & CLOSED && is_left_over(word, cache))
        atomic_compare_exchange_strong(&heap->arena.words[page], &word, page_word_of_class(size_class));
    for (unsigned i = 0; i < slots_of(size_class); i++) {
        uint64_t slot = atomic_load(&slots[i]);
        count += is_left_over(slot, cache) && atomic_compare_exchange_strong(&slots[i], &slot, 0);
    }
    give_page_back(heap, page, size_class);
    return count;
}

static size_t reclaim_run(xf_heap *heap, uint64_t page, uint64_t word, liveness *cache)
{
    allocation allocation = {&heap->arena.words[page], word, page, -1, 0};

    return is_left_over(word, cache) && heap_release(heap, &allocation) && !(word & FREED);
}

size_t xf_heap_reclaim(xf_heap *heap)
{
    liveness cache = {.next = 0};
    uint64_t searched;
    size_t count = 0;

    if (!object_is_own(heap->object))
        return 0;
    searched = page_arena_searched(&heap->arena);
    for (uint64_t page = 0; page < searched; page++) {
        uint64_t word = atomic_load(&heap->arena.words[page]);
        if (word == 0 || word & PAGE_ARENA_FOLLOWS)
            continue;
        count += class_of(word) >= 0 ? reclaim_slots(heap, page, word, &cache) : reclaim_run(heap, page, word, &cache);
    }
    atomic_fetch_add(&heap->head->reclaimed, count);
    return count;
}

static void count_allocation(xf_heap_stats *stats, uint64_t word, uint64_t bytes)
{
    if (word == 0 || word & FREED)
        return;
    stats->allocations++;
    stats->bytes += (size_t)bytes;
    stats->kept += (word & KEPT) != 0;
}

static void count_slots(const xf_heap *heap, uint64_t page, int size_class, xf_heap_stats *stats)
{
    for (unsigned i = 0; page < heap_slotted(heap) && i < slots_of(size_class); i++)
        count_allocation(stats, atomic_load(&slots_at(heap, page)[i]), (uint64_t)SLOT << size_class);
}

void xf_heap_stats_get(const xf_heap *heap, xf_heap_stats *stats)
{
    uint64_t searched;

    if (!object_is_own(heap->object))
        return;
    *stats = (xf_heap_stats){0};
    searched = page_arena_searched(&heap->arena);
    *stats = (xf_heap_stats){
        .limit = (size_t)(heap->arena.count * OS_PAGE),
        .committed = (size_t)(page_arena_committed(&heap->arena) * OS_PAGE),
        .reclaimed = atomic_load(&heap->head->reclaimed),
    };
    for (uint64_t page = 0; page < searched; page++) {
        uint64_t word = atomic_load(&heap->arena.words[page]);
        stats->pages += word ? OS_PAGE : 0;
        if (class_of(word) >= 0)
            count_slots(heap, page, class_of(word), stats);
        else if (!(word & PAGE_ARENA_FOLLOWS))
            count_allocation(stats, word, page_arena_run(&heap->arena, page) * OS_PAGE);
    }
}
