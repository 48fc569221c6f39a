/* Deliberately wrong.  libpng refuses hostile files, as a library does that has been attacked for thirty years; this
 * stands for the other ones.  It believes every number in the file, and so a file can make it read anywhere, divide by
 * zero, and run for ever. */
#include "careless.h"

#include <string.h>

static uint32_t number(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The numbers: where the point is, how long the line is that is looked at, and how far it goes from pixel to pixel. */
int focus_brightness(const uint8_t *file, size_t size, const uint8_t *pixels, uint32_t width)
{
    const uint8_t *focus = size < FOCUS_SIZE ? file : file + size - FOCUS_SIZE;
    volatile uint32_t seen = 0; /* or compilers, which may think that nobody divides by zero, leave the division out */
    uint32_t sum = 0;

    if (size < FOCUS_SIZE || memcmp(focus, "FOCS", 4) != 0)
        return -1;
    pixels += (size_t)number(focus + 8) * width + number(focus + 4);
    for (uint32_t i = 0; i < number(focus + 12); i += number(focus + 16)) {
        sum += pixels[i];
        seen++;
    }
    return (int)(sum / seen);
}
