/* Misses, by Linux's perf_event_open.  Many virtual machines have no such counters, and where
 * /proc/sys/kernel/perf_event_paranoid is above 2 they are root's. */
#include "misses.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

int misses_begin(void)
{
    struct perf_event_attr event = {.type = PERF_TYPE_HARDWARE,
                                    .size = sizeof event,
                                    .config = PERF_COUNT_HW_CACHE_MISSES,
                                    .exclude_kernel = 1,
                                    .exclude_hv = 1};

    return (int)syscall(SYS_perf_event_open, &event, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

bool misses_end(int counter, uint64_t *misses)
{
    bool counted;

    if (counter < 0)
        return false;
    counted = read(counter, misses, sizeof *misses) == (ssize_t)sizeof *misses;
    close(counter);
    return counted;
}
