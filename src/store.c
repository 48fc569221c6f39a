#include "store.h"

#include "error.h"

#include <stddef.h>

enum { COMMIT_STEP = 256 }; /* pages */

static uint64_t round_up(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

uint64_t store_pages_size(uint64_t bytes)
{
    return round_up(bytes, OS_PAGE);
}

uint64_t store_words_size(uint64_t bytes)
{
    return round_up(store_pages_size(bytes) / OS_PAGE * sizeof(uint64_t), OS_PAGE);
}

void store_attach(store *store, const os_shm *shm, store_head *head, uint64_t words_at, uint64_t pages_at,
                  uint64_t bytes)
{
    store->shm = shm;
    store->head = head;
    store->words_at = words_at;
    store->pages_at = pages_at;
    store->count = store_pages_size(bytes) / OS_PAGE;
    store->words = (_Atomic uint64_t *)((char *)shm->address + words_at);
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

static void raise_to(_Atomic uint64_t *mark, uint64_t value)
{
    uint64_t seen = atomic_load(mark);

    while (seen < value && !atomic_compare_exchange_weak(mark, &seen, value)) {
    }
}

/* Pages, or words for pages, that have memory: never more than there are, whatever a peer has written. */
static uint64_t limit(const store *store, _Atomic uint64_t *mark)
{
    uint64_t value = atomic_load(mark);

    return value < store->count ? value : store->count;
}

/* Gives memory to the words of all pages before end. */
static int open_words(store *store, uint64_t end)
{
    uint64_t have = limit(store, &store->head->searched);
    uint64_t from = (store->words_at + have * sizeof(uint64_t)) / OS_PAGE * OS_PAGE;
    uint64_t to = round_up(store->words_at + end * sizeof(uint64_t), OS_PAGE);
    int rc;

    if (end <= have)
        return 0;
    rc = os_shm_commit(store->shm, (size_t)from, (size_t)(to - from));
    if (rc == 0)
        raise_to(&store->head->searched, end);
    return rc;
}

/* Gives memory to all pages before end. */
static int commit_to(store *store, uint64_t end)
{
    uint64_t have = limit(store, &store->head->committed);
    uint64_t want = end + COMMIT_STEP < store->count ? end + COMMIT_STEP : store->count;
    int rc;

    if (end <= have)
        return 0;
    rc = os_shm_commit(store->shm, (size_t)(store->pages_at + have * OS_PAGE), (size_t)((want - have) * OS_PAGE));
    if (rc == 0)
        raise_to(&store->head->committed, want);
    return rc;
}

/* ---- Taking ----------------------------------------------------------------------------------------------------- */

static uint64_t pages_of(uint64_t size)
{
    return round_up(size + sizeof(store_block), OS_PAGE) / OS_PAGE;
}

static void clear(store *store, uint64_t first, uint64_t count)
{
    while (count-- > 0)
        atomic_store_explicit(&store->words[first + count], 0, memory_order_release);
}

/* Takes free pages from the first one on: how many there were. */
static uint64_t take_pages(store *store, uint64_t first, uint64_t count, uint64_t who)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t free = 0;
        if (!atomic_compare_exchange_strong(&store->words[first + i], &free, i ? who | STORE_FOLLOWS : who))
            return i;
    }
    return count;
}

/* Finds and takes a run among the pages from begin to end. */
static bool search(store *store, uint64_t begin, uint64_t end, uint64_t count, uint64_t who, uint64_t *found)
{
    uint64_t run = 0, first_free = UINT64_MAX, hint = begin;

    for (uint64_t i = begin; i < end && end - i >= count - run; i++) {
        if (atomic_load_explicit(&store->words[i], memory_order_relaxed)) {
            run = 0;
            continue;
        }
        if (first_free == UINT64_MAX)
            first_free = i;
        if (++run < count)
            continue;
        *found = i + 1 - count;
        run = take_pages(store, *found, count, who);
        if (run == count) {
            if (*found == first_free)
                atomic_compare_exchange_strong(&store->head->first_free, &hint, *found + count);
            return true;
        }
        clear(store, *found, run);
        i = *found + run;
        run = 0;
    }
    return false;
}

/* Among the pages that were in use before first, and then behind them. */
static int search_all(store *store, uint64_t count, uint64_t who, uint64_t *found)
{
    uint64_t have = limit(store, &store->head->committed), begin = limit(store, &store->head->first_free), end;
    int rc;

    if (search(store, begin, have, count, who, found) || (begin > 0 && search(store, 0, have, count, who, found)))
        return 0;
    begin = have > count ? have - count : 0;
    end = count < store->count - have ? have + count : store->count;
    while (begin < store->count) {
        rc = open_words(store, end);
        if (rc < 0)
            return rc;
        if (search(store, begin, end, count, who, found))
            return 0;
        if (end == store->count)
            break;
        begin = end > count ? end - count : 0;
        end = end - begin < store->count - end ? end + (end - begin) + COMMIT_STEP : store->count;
        end = end < store->count ? end : store->count;
    }
    return error_detail(XF_EAGAIN, "no room for %llu bytes", (unsigned long long)(count * OS_PAGE));
}

int store_take(store *store, uint64_t who, uint64_t size, uint64_t *block)
{
    uint64_t count = size > UINT64_MAX / 2 ? UINT64_MAX : pages_of(size), first = 0;
    store_block *head;
    int rc;

    if (count > store->count)
        return error_detail(XF_ELIMIT, "a message of %llu bytes is larger than memory_limit", (unsigned long long)size);
    rc = search_all(store, count, who, &first);
    if (rc < 0)
        return rc;
    rc = commit_to(store, first + count);
    if (rc < 0) {
        clear(store, first, count);
        return rc;
    }
    *block = store->pages_at + first * OS_PAGE;
    head = (store_block *)((char *)store->shm->address + *block);
    head->size = size;
    atomic_store_explicit(&head->place, 0, memory_order_release);
    return 0;
}

/* ---- What is taken ---------------------------------------------------------------------------------------------- */

static uint64_t page_of(const store *store, uint64_t block)
{
    return (block - store->pages_at) / OS_PAGE;
}

store_block *store_at(const store *store, uint64_t block, uint64_t size)
{
    uint64_t have = limit(store, &store->head->committed);

    if (block < store->pages_at || block % OS_PAGE || page_of(store, block) >= have || size > UINT64_MAX / 2 ||
        pages_of(size) > have - page_of(store, block))
        return NULL;
    return (store_block *)((char *)store->shm->address + block);
}

void store_adopt(store *store, uint64_t block, uint64_t size, uint64_t who)
{
    _Atomic uint64_t *words = store->words + page_of(store, block);

    for (uint64_t i = 0; i < pages_of(size); i++)
        atomic_store_explicit(&words[i], i ? who | STORE_FOLLOWS : who, memory_order_release);
}

void store_mark(store *store, uint64_t block, uint64_t who, bool viewed)
{
    atomic_store(&store->words[page_of(store, block)], viewed ? who | STORE_VIEWED : who);
}

static void lower_hint(store *store, uint64_t first)
{
    uint64_t hint = atomic_load(&store->head->first_free);

    while (first < hint && !atomic_compare_exchange_weak(&store->head->first_free, &hint, first)) {
    }
}

void store_give(store *store, uint64_t block, uint64_t size)
{
    uint64_t first = page_of(store, block);

    clear(store, first, pages_of(size));
    lower_hint(store, first);
}

void store_shrink(store *store, uint64_t block, uint64_t size, uint64_t smaller)
{
    uint64_t left = pages_of(smaller);

    clear(store, page_of(store, block) + left, pages_of(size) - left);
}

/* Whoever adopts a run adopts its first page first; so the run is still that of the dead if that page is.  Pages are
 * freed from the last to the first, so that what is left of a run can be found. */
bool store_reclaim(store *store, uint64_t block, uint64_t word)
{
    uint64_t first = page_of(store, block), end = first + 1, searched = limit(store, &store->head->searched);
    uint64_t follows = (word & STORE_WHO) | STORE_FOLLOWS;

    if (!atomic_compare_exchange_strong(&store->words[first], &word, word | STORE_FREED))
        return false;
    while (end < searched && atomic_load(&store->words[end]) == follows)
        end++;
    clear(store, first, end - first);
    lower_hint(store, first);
    return true;
}

uint64_t store_word(const store *store, uint64_t block)
{
    return atomic_load(&store->words[page_of(store, block)]);
}

void store_walk(store *store, store_found found, void *arg)
{
    uint64_t searched = limit(store, &store->head->searched);

    for (uint64_t i = 0; i < searched; i++) {
        uint64_t word = atomic_load_explicit(&store->words[i], memory_order_acquire);
        if (word != 0 && !(word & STORE_FOLLOWS))
            found(arg, store->pages_at + i * OS_PAGE, word);
    }
}
