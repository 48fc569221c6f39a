#include "base/clock.h"

#include <limits.h>
#include <uv.h>

double clock_now(void)
{
    uv_timeval64_t now;

    uv_gettimeofday(&now);
    return (double)now.tv_sec + (double)now.tv_usec / 1e6;
}

uint64_t clock_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? CLOCK_NEVER : uv_hrtime() + (uint64_t)timeout_ms * CLOCK_NS_PER_MS;
}

int clock_left_ms(uint64_t deadline)
{
    uint64_t now = uv_hrtime(), left;

    if (deadline == CLOCK_NEVER)
        return -1;
    if (deadline <= now)
        return 0;
    left = (deadline - now - 1) / CLOCK_NS_PER_MS + 1;
    return left < INT_MAX ? (int)left : INT_MAX;
}
