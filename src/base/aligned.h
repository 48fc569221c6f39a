/* Memory for bytes of any type. */
#ifndef ALIGNED_H
#define ALIGNED_H

#include <stddef.h>
#include <stdint.h>

enum { ALIGNED_MIN = 16, ALIGNED_MAX = 64 }; /* as XF_ALIGN_MAX */

/* The alignment of bytes of that size, whatever they are: no type is smaller than its alignment. */
static inline size_t aligned_for(uint64_t size)
{
    return size >= ALIGNED_MAX ? ALIGNED_MAX : size >= ALIGNED_MAX / 2 ? ALIGNED_MAX / 2 : ALIGNED_MIN;
}

/* The first place from that one on where so many bytes may be. */
static inline uint64_t aligned_place(uint64_t at, uint64_t size)
{
    uint64_t align = aligned_for(size);

    return (at + align - 1) / align * align;
}

/* Makes size bytes of zero-filled memory, aligned for any type; NULL when there is no memory. */
void *aligned_create(size_t size);

/* Frees it; NULL is harmless. */
void aligned_free(void *memory);

#endif
