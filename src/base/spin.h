/* Waiting without sleeping, for conditions that come true sooner than the system wakes a sleeper. */
#ifndef SPIN_H
#define SPIN_H

#include <stdbool.h>
#include <stdint.h>

typedef bool (*spin_condition)(void *arg);

/* Checks the condition repeatedly, for for_us microseconds or until the deadline of uv_hrtime, and once when there is
 * no time for more.  Returns whether it came true. */
bool spin(spin_condition holds, void *arg, uint32_t for_us, uint64_t deadline);

#endif
