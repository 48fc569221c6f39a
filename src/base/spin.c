#include "base/spin.h"

#include <uv.h>

/* Tells the processor that this is a loop which waits: it leaves the other thread of its core more of the core, and the
 * line that is looked at longer to whoever is about to write to it. */
static inline void relax(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* The clock is looked at now and then: that takes longer than most looks. */
bool spin(spin_look look, void *arg, uint32_t for_us, uint64_t deadline)
{
    enum { LOOKS = 50 };
    uint64_t until = 0, now;

    if (for_us == 0)
        return look(arg);
    do {
        for (int i = 0; i < LOOKS; i++, relax())
            if (look(arg))
                return true;
        now = uv_hrtime();
        until = until ? until : now + 1000 * (uint64_t)for_us;
    } while (now < until && now < deadline);
    return false;
}
