/* How often this thread does not find what it reads in the last cache. */
#ifndef CACHECLIFF_MISSES_H
#define CACHECLIFF_MISSES_H

#include <stdbool.h>
#include <stdint.h>

/* Begins to count: a counter, or -1 where the system has none, or does not let this process have it. */
int misses_begin(void);

/* Ends that; false for -1, or when nothing was counted. */
bool misses_end(int counter, uint64_t *misses);

#endif
