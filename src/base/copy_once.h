/* Copies of memory that another process may change at any time. */
#ifndef COPY_ONCE_H
#define COPY_ONCE_H

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* Copies size bytes, so that what is checked is what is used: the fence forbids the compiler to read the source again
 * in place of the copy (C11 7.17.4.2). */
static inline void copy_once(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    atomic_signal_fence(memory_order_seq_cst);
}

#endif
