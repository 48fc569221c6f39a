#include "lockfree/wake_word.h"

void wake_word_wake(const os_shm *shm, wake_word *word)
{
    uint32_t seen = atomic_load(word);

    while (seen & 1)
        if (atomic_compare_exchange_weak(word, &seen, seen + 1)) { /* which clears the bit */
            os_shm_wake(shm, word, OS_ALL);
            break;
        }
}

/* Adds to the count only: a sleeper that armed the word meanwhile keeps its bit. */
void wake_word_signal_after_death(const os_shm *shm, wake_word *word)
{
    atomic_fetch_add(word, 2);
    os_shm_wake(shm, word, OS_ALL);
}
