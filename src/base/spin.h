/* Waiting without sleeping: for what comes sooner than a sleeper is woken. */
#ifndef SPIN_H
#define SPIN_H

#include <stdbool.h>
#include <stdint.h>

typedef bool (*spin_look)(void *arg);

/* Looks again and again, for so many microseconds or until the deadline of uv_hrtime: whether it came true.  Looks once
 * when there is no time for more. */
bool spin(spin_look look, void *arg, uint32_t for_us, uint64_t deadline);

#endif
