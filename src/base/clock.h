/* Times and deadlines. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

#define CLOCK_NS_PER_MS 1000000U
#define CLOCK_NEVER UINT64_MAX

/* Seconds since 1970. */
double clock_now(void);

/* The deadline that is timeout_ms from now, in nanoseconds of uv_hrtime; CLOCK_NEVER for a negative timeout. */
uint64_t clock_deadline(int timeout_ms);

/* The milliseconds until the deadline, rounded up: -1 for CLOCK_NEVER, 0 when it has passed. */
int clock_left_ms(uint64_t deadline);

#endif
