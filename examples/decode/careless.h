/* The brightness around the point that a picture's maker was interested in. */
#ifndef CARELESS_H
#define CARELESS_H

#include <stddef.h>
#include <stdint.h>

/* What some camera appends to its files: "FOCS", and four numbers with the high byte first. */
enum { FOCUS_SIZE = 20 };

/* Returns the mean of some grey pixels at the point that the end of the file names, or -1 when it names none. */
int focus_brightness(const uint8_t *file, size_t size, const uint8_t *pixels, uint32_t width);

#endif
