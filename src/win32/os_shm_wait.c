/* Sleeping on words in shared memory: a list of sleepers, each with an event. */
#include "os_private.h"

/* An entry for a thread that sleeps on a word of a segment.  The list of entries is in a page behind the segment's end.
 * No lock protects the list, and a process that has an entry may be killed at any moment. */
typedef struct sleeper {
    _Atomic uint64_t thread; /* the owner of the entry; 0: it is free */
    _Atomic uint64_t state;  /* AWAKE, ASLEEP, or WAKING and the thread that is waking it */
    _Atomic uint64_t word;   /* the word's offset + 1, or ANY_WORD */
    uint64_t event;          /* a handle in the sleeper's process */
    uint64_t process_start;
    uint32_t process;
} sleeper;

#define WAKING (UINT64_C(1) << 63)

#define ANY_WORD UINT64_MAX /* the entry stands for several words; a wake-up for any other word does it no harm */

enum { AWAKE, ASLEEP };

enum { SLEEPERS = (OS_PAGE - 8) / sizeof(sleeper), LOOK_MS = 4 };

typedef struct sleepers {
    _Atomic uint32_t count; /* entries in use; those of killed threads are counted for ever */
    sleeper at[SLEEPERS];
} sleepers;

static sleepers *sleepers_of(const os_shm *shm)
{
    return shm_sleepers(shm);
}

static uint64_t process_start(HANDLE process)
{
    FILETIME created, unused;

    if (!GetProcessTimes(process, &created, &unused, &unused, &unused))
        return 0;
    return (uint64_t)created.dwHighDateTime << 32 | created.dwLowDateTime;
}

/* Sets an entry to AWAKE, but not while another thread is about to set its event. */
static void sleeper_reset(sleeper *entry)
{
    uint64_t state = atomic_load(&entry->state);

    for (int i = 0; state & WAKING && os_thread_lives(state & ~WAKING); i++) {
        Sleep(i < 100 ? 0 : 1);
        state = atomic_load(&entry->state);
    }
    atomic_store(&entry->state, AWAKE);
}

/* Takes an entry for this thread; NULL when all are in use.  Each call asks about one entry whether its thread was
 * killed, because asking about all of them would take too long. */
static sleeper *sleepers_enter(sleepers *list)
{
    static _Atomic uint32_t suspect;
    uint64_t own = os_self_thread(), seen;
    sleeper *entry = NULL;

    for (uint32_t i = 0; i < SLEEPERS && !entry; i++) {
        seen = 0;
        if (atomic_load(&list->at[i].thread) == 0 && atomic_compare_exchange_strong(&list->at[i].thread, &seen, own))
            entry = &list->at[i];
    }
    if (entry) {
        atomic_fetch_add(&list->count, 1);
        return entry;
    }
    entry = &list->at[atomic_fetch_add(&suspect, 1) % SLEEPERS];
    seen = atomic_load(&entry->thread);
    if (seen == 0 || os_thread_lives(seen) || !atomic_compare_exchange_strong(&entry->thread, &seen, own))
        return NULL;
    sleeper_reset(entry);
    return entry;
}

static void sleepers_leave(sleepers *list, sleeper *entry)
{
    uint64_t state = ASLEEP;

    if (!atomic_compare_exchange_strong(&entry->state, &state, AWAKE))
        sleeper_reset(entry);
    atomic_store(&entry->thread, 0);
    atomic_fetch_sub(&list->count, 1);
}

/* The longest sleep without a check.  The waking process needs a handle of the event and may fail to get one, so the
 * sleeper has to check for itself. */
enum { UNWOKEN_MS = 1000 };

static bool any_word_changed(const os_word *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (atomic_load(words[i].word) != words[i].seen)
            return true;
    return false;
}

static uint64_t word_position(const os_shm *shm, const _Atomic uint32_t *word)
{
    return (uint64_t)((const char *)word - (const char *)shm->address) + 1;
}

/* The entry in the list of the same segment that was taken for one of the earlier words. */
static sleeper *sleeper_before(const os_word *words, size_t number)
{
    for (size_t i = number; i-- > 0;)
        if (words[i].reserved && words[i].shm == words[number].shm)
            return words[i].reserved;
    return NULL;
}

/* Takes an entry in the segment of each word, all with the same event; false when a list has no room. */
static bool sleepers_enter_all(os_word *words, size_t count, HANDLE event)
{
    uint64_t start = process_start(GetCurrentProcess());
    bool all = true;

    for (size_t i = 0; i < count; i++) {
        sleeper *entry = sleeper_before(words, i);
        words[i].reserved = NULL;
        if (entry) {
            atomic_store(&entry->word, ANY_WORD);
            continue;
        }
        entry = words[i].reserved = sleepers_enter(sleepers_of(words[i].shm));
        all &= entry != NULL;
        if (!entry)
            continue;
        entry->event = (uintptr_t)event;
        entry->process = GetCurrentProcessId();
        entry->process_start = start;
        atomic_store(&entry->word, word_position(words[i].shm, words[i].word));
        atomic_store(&entry->state, ASLEEP);
    }
    return all;
}

static void sleepers_leave_all(os_word *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (words[i].reserved)
            sleepers_leave(sleepers_of(words[i].shm), words[i].reserved);
}

void os_shm_wait(const os_shm *shm, _Atomic uint32_t *word, uint32_t seen, int timeout_ms)
{
    os_word one = {shm, word, seen, NULL};

    os_shm_wait_any(&one, 1, timeout_ms);
}

void os_shm_wait_any(os_word *words, size_t count, int timeout_ms)
{
    HANDLE event;
    DWORD most;

    if (any_word_changed(words, count))
        return;
    event = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (!event) {
        Sleep(timeout_ms < 0 || timeout_ms > LOOK_MS ? LOOK_MS : (DWORD)timeout_ms);
        return;
    }
    most = sleepers_enter_all(words, count, event) ? UNWOKEN_MS : LOOK_MS;
    if (!any_word_changed(words, count))
        WaitForSingleObject(event, timeout_ms < 0 || (DWORD)timeout_ms > most ? most : (DWORD)timeout_ms);
    sleepers_leave_all(words, count);
    handle_close(&event);
}

/* Sets the event of a sleeper in another process; false when that process has ended. */
static bool sleeper_set_event(const sleeper *entry)
{
    HANDLE event, process = OpenProcess(PROCESS_DUP_HANDLE | PROCESS_QUERY_LIMITED_INFORMATION, FALSE, entry->process);
    bool set = false;

    if (!process)
        return false;
    if (process_start(process) == entry->process_start &&
        DuplicateHandle(process, (HANDLE)(uintptr_t)entry->event, GetCurrentProcess(), &event, EVENT_MODIFY_STATE,
                        FALSE, 0)) {
        set = SetEvent(event);
        CloseHandle(event);
    }
    CloseHandle(process);
    return set;
}

/* Claims a sleeper for this thread to wake; false when it is awake, or another living thread has claimed it. */
static bool sleeper_claim(sleeper *entry, uint64_t place, uint64_t own)
{
    uint64_t state = atomic_load(&entry->state), word = atomic_load(&entry->word);

    if ((word != place && word != ANY_WORD) || state == AWAKE)
        return false;
    if (state & WAKING && os_thread_lives(state & ~WAKING))
        return false;
    return atomic_compare_exchange_strong(&entry->state, &state, WAKING | own);
}

void os_shm_wake(const os_shm *shm, _Atomic uint32_t *word, int count)
{
    sleepers *list = sleepers_of(shm);
    uint64_t place = word_position(shm, word), own;

    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&list->count) == 0)
        return;
    own = os_self_thread();
    for (uint32_t i = 0; i < SLEEPERS && count > 0; i++) {
        sleeper *entry = &list->at[i];
        bool set;
        if (!sleeper_claim(entry, place, own))
            continue;
        set = entry->process == GetCurrentProcessId() ? SetEvent((HANDLE)(uintptr_t)entry->event)
                                                      : sleeper_set_event(entry);
        count -= set && atomic_load(&entry->word) == place;
        atomic_store(&entry->state, AWAKE);
    }
}
