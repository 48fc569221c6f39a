/* Sleeping on words in shared memory: futexes. */
#include "os_private.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/unistd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

void os_shm_wait(const os_shm *shm, _Atomic uint32_t *word, uint32_t seen, int timeout_ms)
{
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

    (void)shm;
    syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}

/* Threads that sleep for one wait.  Each sleeps on some of the words, and all of them on one that says that the wait is
 * over. */
typedef struct watchers {
    const os_word *words;
    size_t count;
    _Atomic uint32_t *over;
    const struct timespec *until; /* of CLOCK_MONOTONIC; NULL: for ever */
} watchers;

enum { WORDS = FUTEX_WAITV_MAX - 1, LOOK_MS = 4 };

static struct timespec time_from_now(int ms)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += ms % 1000 * 1000000L;
    time.tv_sec += ms / 1000 + time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

static bool is_sooner(const struct timespec *one, const struct timespec *other)
{
    return one->tv_sec < other->tv_sec || (one->tv_sec == other->tv_sec && one->tv_nsec < other->tv_nsec);
}

static struct futex_waitv futex_word(_Atomic uint32_t *word, uint32_t seen)
{
    return (struct futex_waitv){.uaddr = (uintptr_t)word, .val = seen, .flags = FUTEX_32};
}

/* Sleeps on the words; false when the kernel cannot wait for several. */
static bool sleep_on_some(const watchers *watchers, size_t count, const struct timespec *until)
{
    struct futex_waitv words[FUTEX_WAITV_MAX];

    for (size_t i = 0; i < count; i++)
        words[i] = futex_word(watchers->words[i].word, watchers->words[i].seen);
    words[count] = futex_word(watchers->over, 0);
    return syscall(__NR_futex_waitv, words, count + 1, 0, until, CLOCK_MONOTONIC) >= 0 || errno != ENOSYS;
}

/* Sleeps on the first words, while a helper thread sleeps on the rest. */
static void sleep_on_all(void *arg)
{
    OS_HOLD_CANCEL;

    static _Atomic bool cannot;
    const watchers *all = arg;
    size_t own = all->count < WORDS ? all->count : WORDS;
    watchers rest = {all->words + own, all->count - own, all->over, all->until};
    struct timespec look = time_from_now(LOOK_MS);
    uv_thread_t helper;
    bool helped = rest.count > 0 && !atomic_load(&cannot) && uv_thread_create(&helper, sleep_on_all, &rest) == 0;
    bool looks = (rest.count > 0 && !helped) || atomic_load(&cannot);
    const struct timespec *until = looks && (!all->until || is_sooner(&look, all->until)) ? &look : all->until;

    if (!sleep_on_some(all, own, until)) {
        atomic_store(&cannot, true);
        os_shm_wait(all->words[0].shm, all->words[0].word, all->words[0].seen, LOOK_MS);
    }
    atomic_store(all->over, 1);
    syscall(SYS_futex, all->over, FUTEX_WAKE, OS_ALL, NULL, NULL, 0);
    if (helped)
        uv_thread_join(&helper);
}

void os_shm_wait_any(os_word *words, size_t count, int timeout_ms)
{
    struct timespec until = time_from_now(timeout_ms < 0 ? 0 : timeout_ms);
    _Atomic uint32_t over = 0;

    if (count == 1)
        os_shm_wait(words->shm, words->word, words->seen, timeout_ms);
    else
        sleep_on_all(&(watchers){words, count, &over, timeout_ms < 0 ? NULL : &until});
}

void os_shm_wake(const os_shm *shm, _Atomic uint32_t *word, int count)
{
    (void)shm;
    syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}
