#include "base/spin.h"

#include <uv.h>

/* Tells the processor that this loop waits.  The other hardware thread of the core gets more of the core, and the cache
 * line that is polled stays longer with the processor that is about to write to it. */
static inline void spin_relax(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* Reading the clock takes longer than most checks, so it is read once for many of them. */
bool spin(spin_condition holds, void *arg, uint32_t for_us, uint64_t deadline)
{
    enum { CHECKS = 50 };
    uint64_t until = 0, now;

    if (for_us == 0)
        return holds(arg);
    do {
        for (int i = 0; i < CHECKS; i++, spin_relax())
            if (holds(arg))
                return true;
        now = uv_hrtime();
        until = until ? until : now + 1000 * (uint64_t)for_us;
    } while (now < until && now < deadline);
    return false;
}
