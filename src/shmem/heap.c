/* Heaps: allocations in an arena.
 *
 * An allocation of more than half a page is a run of pages.  A smaller one is a slot of a page that is divided into
 * slots of one class; each has a word in a list beside the pages, so that nothing of it lies in the user's reach.  The
 * word of a run or a slot says whose it is.  It is taken by one compare-and-swap, so whoever dies has it or has not.
 *
 * A page of slots is given back when its last slot is freed.  Who does that marks the page and then looks at its slots;
 * who takes a slot takes it and then looks at the page.  So one of them sees the other, and lets go. */
#include "shmem/heap.h"

#include "base/error.h"
#include "lockfree/liveness.h"

#include <stdlib.h>
#include <string.h>

/* Words: the process that it belongs to (os_self_process), and besides: */
#define KEPT (UINT64_C(1) << 62)   /* nobody; and no process is named */
#define FREED (UINT64_C(1) << 61)  /* that process is freeing it */
#define SLOTS (UINT64_C(1) << 60)  /* of a page: it has slots; and no process is named, */
#define CLOSED (UINT64_C(1) << 59) /* but the one that is giving it back */
#define CLASS_SHIFT OS_PROCESS_BITS
#define CLASS_MASK (UINT64_C(7) << CLASS_SHIFT) /* of a page that has slots: of which class */
#define OWNER ((UINT64_C(1) << OS_PROCESS_BITS) - 1)

enum {
    HEAP_VERSION = 1,
    SLOT = 64, /* bytes of the smallest */
    CLASSES = 6,
    SLOTS_MAX = OS_PAGE / SLOT, /* words for each page */
    SLOTS_STEP = 256,           /* pages whose slots get words at a time */
    LOOK_PAGES = 16             /* pages that are looked at before a new one is divided */
};

_Static_assert(SLOT << CLASSES == OS_PAGE, "two of the largest slots are a page");

/* The start of the body. */
typedef struct heap_head {
    uint64_t limit;
    page_arena_head arena;
    _Atomic uint64_t slotted;       /* pages for whose slots there are words */
    _Atomic uint64_t reclaimed;     /* allocations */
    _Atomic uint64_t next[CLASSES]; /* a page that may have a free slot */
} heap_head;

_Static_assert(OBJECT_HEAD + sizeof(heap_head) <= OS_PAGE, "the heads fit the first page");

/* An allocation, as it was found. */
typedef struct place {
    _Atomic uint64_t *word;
    uint64_t seen;
    uint64_t page;
    int size_class; /* -1: it is a run of pages */
    size_t size;
} place;

static uint64_t slots_size(uint64_t limit)
{
    return page_arena_pages_size(page_arena_count(limit) * SLOTS_MAX * sizeof(uint64_t));
}

/* ---- Making and opening ---------------------------------------------------------------------- */

/* Where everything is; the segment begins with the page of the heads. */
static void attach(xf_heap *heap, object *object)
{
    uint64_t limit = ((heap_head *)object->body)->limit;
    uint64_t words_at = OS_PAGE, slots_at = words_at + page_arena_words_size(limit);

    heap->object = object;
    heap->head = object->body;
    heap->slots_at = slots_at;
    heap->me = os_self_process();
    page_arena_attach(&heap->arena, &object->shm, &heap->head->arena,
                      &(page_arena_layout){words_at, slots_at + slots_size(limit), limit});
}

static uint64_t whole_size(uint64_t limit)
{
    return OS_PAGE + page_arena_words_size(limit) + slots_size(limit) + page_arena_pages_size(limit);
}

static int allocate(xf_heap **out)
{
    *out = malloc(sizeof **out);
    return *out ? 0 : error_detail(XF_ENOMEM, "a hold of a heap");
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
    rc = allocate(&heap);
    if (rc < 0)
        return rc;
    rc = object_create(&object, XF_KIND_HEAP, HEAP_VERSION, (size_t)whole_size(limit) - OBJECT_HEAD, OS_SHM_RESERVED);
    if (rc < 0) {
        free(heap);
        return rc;
    }
    ((heap_head *)object->body)->limit = limit;
    attach(heap, object);
    *out = heap;
    return 0;
}

int xf_heap_open(xf_heap **out, const xf_ref *ref)
{
    object *object;
    xf_heap *heap;
    uint64_t limit;
    int rc = allocate(&heap);

    if (rc < 0)
        return rc;
    rc = object_open(&object, ref, XF_KIND_HEAP, HEAP_VERSION);
    if (rc < 0)
        goto free_heap;
    limit = object->size < sizeof(heap_head) ? 0 : ((heap_head *)object->body)->limit;
    if (limit == 0 || limit > object->size || whole_size(limit) - OBJECT_HEAD > object->size) {
        rc = error_detail(XF_EPROTO, "a heap of impossible size");
        goto close_object;
    }
    attach(heap, object);
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

static uint64_t page_of_class(int size_class)
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

/* Pages whose slots have words: never more than there are, whatever a peer has written. */
static uint64_t slotted(const xf_heap *heap)
{
    uint64_t count = atomic_load(&heap->head->slotted);

    return count < heap->arena.count ? count : heap->arena.count;
}

/* Gives memory to the words of the slots of all pages to that one. */
static int open_slots(xf_heap *heap, uint64_t page)
{
    const uint64_t each = SLOTS_MAX * sizeof(uint64_t);
    uint64_t have = slotted(heap), want = page + SLOTS_STEP < heap->arena.count ? page + SLOTS_STEP : heap->arena.count;
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

/* Gives a page back if nothing is in it.  One that is taken from while it is closed is opened again, and then looked at
 * again: who freed the last slot meanwhile left it to this process. */
static void give_back(xf_heap *heap, uint64_t page, int size_class)
{
    uint64_t open = page_of_class(size_class), closed = open | CLOSED | heap->me;

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

/* Lets go of a slot, and of its page, whatever that is now, if it was the last. */
static void leave_slot(xf_heap *heap, uint64_t page, _Atomic uint64_t *slot)
{
    int size_class;

    atomic_store(slot, 0);
    size_class = class_of(atomic_load(&heap->arena.words[page]));
    if (size_class >= 0)
        give_back(heap, page, size_class);
}

/* Takes a free slot of a page: NULL when there is none, or the page is not of that class any more.  Processes begin at
 * different slots, out of each other's way. */
static void *take_slot(xf_heap *heap, uint64_t page, int size_class)
{
    _Atomic uint64_t *word = &heap->arena.words[page], *slots = slots_at(heap, page);
    uint64_t open = page_of_class(size_class), own = heap->me;

    if (page >= slotted(heap))
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

/* A slot among pages from begin to end, of which so many of that class are looked at. */
static void *find_slot(xf_heap *heap, int size_class, uint64_t begin, uint64_t end, unsigned looks)
{
    for (uint64_t page = begin; page < end && looks > 0; page++) {
        void *memory;
        if (class_of(atomic_load_explicit(&heap->arena.words[page], memory_order_relaxed)) != size_class)
            continue;
        looks--;
        memory = take_slot(heap, page, size_class);
        if (memory) {
            atomic_store_explicit(&heap->head->next[size_class], page, memory_order_relaxed);
            return memory;
        }
    }
    return NULL;
}

/* Divides a new page.
 *   memory  Set to a slot of it; NULL when others have taken them all. */
static int divide_page(xf_heap *heap, int size_class, void **memory)
{
    uint64_t page;
    int rc = page_arena_take(&heap->arena, heap->me, 1, &page);

    if (rc < 0)
        return rc;
    rc = open_slots(heap, page);
    if (rc < 0) {
        page_arena_free(&heap->arena, page, 1);
        return rc;
    }
    atomic_store(&heap->arena.words[page], page_of_class(size_class));
    *memory = find_slot(heap, size_class, page, page + 1, 1);
    return 0;
}

static int alloc_slot(xf_heap *heap, int size_class, void **memory)
{
    uint64_t searched = page_arena_searched(&heap->arena), next = atomic_load(&heap->head->next[size_class]);
    int rc = 0;

    *memory = find_slot(heap, size_class, next, searched, LOOK_PAGES);
    while (!*memory && rc == 0)
        rc = divide_page(heap, size_class, memory);
    if (rc == XF_EAGAIN) /* there are no more pages: a slot of any */
        *memory = find_slot(heap, size_class, 0, page_arena_searched(&heap->arena), UINT32_MAX);
    return *memory ? 0 : rc;
}

/* ---- Allocations ----------------------------------------------------------------------------- */

/* The class of slots that so many bytes fit; CLASSES for a run of pages. */
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

static bool find_slot_at(const xf_heap *heap, uint64_t offset, int size_class, place *place)
{
    uint64_t within = offset % OS_PAGE;

    if (within % ((uint64_t)SLOT << size_class) != 0 || place->page >= slotted(heap))
        return false;
    place->word = &slots_at(heap, place->page)[within / ((uint64_t)SLOT << size_class)];
    place->seen = atomic_load(place->word);
    place->size_class = size_class;
    place->size = (size_t)SLOT << size_class;
    return place->seen != 0;
}

/* Whether an allocation begins there. */
static bool find_place(const xf_heap *heap, const void *memory, place *place)
{
    uint64_t offset = xf_heap_offset(heap, memory);
    int size_class;

    if (offset == 0)
        return false;
    place->page = page_arena_page(&heap->arena, offset);
    place->word = &heap->arena.words[place->page];
    place->seen = atomic_load(place->word);
    size_class = class_of(place->seen);
    if (size_class >= 0)
        return find_slot_at(heap, offset, size_class, place);
    if (place->seen == 0 || place->seen & (PAGE_ARENA_FOLLOWS | SLOTS | FREED) || offset % OS_PAGE != 0)
        return false;
    place->size_class = -1;
    place->size = (size_t)page_arena_run(&heap->arena, place->page) * OS_PAGE;
    return true;
}

static int no_place(const xf_heap *heap, const void *memory)
{
    return error_detail(XF_EINVAL, "no allocation of the heap begins at offset %llu",
                        (unsigned long long)xf_heap_offset(heap, memory));
}

/* Frees what is seen there; false when it has changed. */
static bool release(xf_heap *heap, place *place)
{
    _Atomic uint64_t *next;

    if (place->size_class < 0) {
        if (!atomic_compare_exchange_strong(place->word, &place->seen, FREED | heap->me))
            return false;
        page_arena_free(&heap->arena, place->page, page_arena_run(&heap->arena, place->page));
        return true;
    }
    next = &heap->head->next[place->size_class];
    if (!atomic_compare_exchange_strong(place->word, &place->seen, 0))
        return false;
    if (atomic_load_explicit(next, memory_order_relaxed) != place->page)
        atomic_store_explicit(next, place->page, memory_order_relaxed);
    give_back(heap, place->page, place->size_class);
    return true;
}

int xf_heap_dealloc(xf_heap *heap, void *memory)
{
    place place;

    if (!memory || (find_place(heap, memory, &place) && release(heap, &place)))
        return 0;
    return no_place(heap, memory);
}

static int give_to(xf_heap *heap, void *memory, uint64_t who)
{
    place place;

    while (find_place(heap, memory, &place))
        if (atomic_compare_exchange_strong(place.word, &place.seen, who))
            return 0;
    return no_place(heap, memory);
}

int xf_heap_keep(xf_heap *heap, void *memory)
{
    return give_to(heap, memory, KEPT);
}

int xf_heap_own(xf_heap *heap, void *memory)
{
    return give_to(heap, memory, heap->me);
}

size_t xf_heap_size(const xf_heap *heap, const void *memory)
{
    place place;

    return find_place(heap, memory, &place) ? place.size : 0;
}

uint64_t xf_heap_offset(const xf_heap *heap, const void *address)
{
    uintptr_t start = (uintptr_t)heap->object->shm.address, at = (uintptr_t)address;
    uint64_t begin = heap->arena.pages_at, size = page_arena_committed(&heap->arena) * OS_PAGE;

    return at >= start + begin && at - start - begin < size ? at - start : 0;
}

void *xf_heap_at(const xf_heap *heap, uint64_t offset)
{
    uint64_t begin = heap->arena.pages_at, size = page_arena_committed(&heap->arena) * OS_PAGE;

    return offset >= begin && offset - begin < size ? (char *)heap->object->shm.address + offset : NULL;
}

/* ---- The dead, and what there is ------------------------------------------------------------- */

/* Whether a word is that of a process that is dead. */
static bool is_left_over(uint64_t word, liveness *cache)
{
    return !(word & KEPT) && liveness_is_dead(cache, word & OWNER);
}

static size_t reclaim_slots(xf_heap *heap, uint64_t page, uint64_t word, liveness *cache)
{
    _Atomic uint64_t *slots = slots_at(heap, page);
    int size_class = class_of(word);
    size_t count = 0;

    if (page >= slotted(heap))
        return 0;
    if (word & CLOSED && is_left_over(word, cache))
        atomic_compare_exchange_strong(&heap->arena.words[page], &word, page_of_class(size_class));
    for (unsigned i = 0; i < slots_of(size_class); i++) {
        uint64_t slot = atomic_load(&slots[i]);
        count += is_left_over(slot, cache) && atomic_compare_exchange_strong(&slots[i], &slot, 0);
    }
    give_back(heap, page, size_class);
    return count;
}

static size_t reclaim_run(xf_heap *heap, uint64_t page, uint64_t word, liveness *cache)
{
    place place = {&heap->arena.words[page], word, page, -1, 0};

    return is_left_over(word, cache) && release(heap, &place) && !(word & FREED);
}

size_t xf_heap_reclaim(xf_heap *heap)
{
    uint64_t searched = page_arena_searched(&heap->arena);
    liveness cache = {.next = 0};
    size_t count = 0;

    for (uint64_t page = 0; page < searched; page++) {
        uint64_t word = atomic_load(&heap->arena.words[page]);
        if (word == 0 || word & PAGE_ARENA_FOLLOWS)
            continue;
        count += class_of(word) >= 0 ? reclaim_slots(heap, page, word, &cache) : reclaim_run(heap, page, word, &cache);
    }
    atomic_fetch_add(&heap->head->reclaimed, count);
    return count;
}

static void count_one(xf_heap_stats *stats, uint64_t word, uint64_t bytes)
{
    if (word == 0 || word & FREED)
        return;
    stats->allocations++;
    stats->bytes += (size_t)bytes;
    stats->kept += (word & KEPT) != 0;
}

static void count_slots(const xf_heap *heap, uint64_t page, int size_class, xf_heap_stats *stats)
{
    for (unsigned i = 0; page < slotted(heap) && i < slots_of(size_class); i++)
        count_one(stats, atomic_load(&slots_at(heap, page)[i]), (uint64_t)SLOT << size_class);
}

void xf_heap_stats_get(const xf_heap *heap, xf_heap_stats *stats)
{
    uint64_t searched = page_arena_searched(&heap->arena);

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
            count_one(stats, word, page_arena_run(&heap->arena, page) * OS_PAGE);
    }
}
