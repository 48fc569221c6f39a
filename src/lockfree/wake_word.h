/* A wake word: 32 bits in shared memory that processes sleep on.  Bit 0 is set while somebody sleeps, the rest counts
 * wake-ups.  A waiter arms the word, checks its condition once more, and then sleeps on the value that arming returned:
 *
 *     seen = wake_word_arm(word);
 *     if (!condition())
 *         os_shm_wait(shm, word, seen, timeout_ms);
 *
 * A process that makes the condition true does so first and signals the word afterwards.  Both are sequentially
 * consistent, so either the waiter sees the condition, or the other process sees that somebody sleeps. */
#ifndef WAKE_WORD_H
#define WAKE_WORD_H

#include "os/memory.h"

typedef _Atomic uint32_t wake_word;

/* Says that this thread is about to sleep on the word.  Returns the value to sleep on. */
static inline uint32_t wake_word_arm(wake_word *word)
{
    return atomic_fetch_or(word, 1) | 1;
}

/* Clears the sleepers' bit and wakes all sleepers, unless another process clears the bit first. */
void wake_word_wake(const os_shm *shm, wake_word *word);

/* Wakes all sleepers.  Costs one load when there are none. */
static inline void wake_word_signal(const os_shm *shm, wake_word *word)
{
    if (atomic_load(word) & 1)
        wake_word_wake(shm, word);
}

/* Wakes all sleepers even if the bit is clear: a process that died may have cleared it and not woken them. */
void wake_word_signal_after_death(const os_shm *shm, wake_word *word);

#endif
