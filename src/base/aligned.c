#include "base/aligned.h"

#include <stdlib.h>

/* The block that malloc gave is in front of the memory. */
void *aligned_create(size_t size)
{
    char *block = size < SIZE_MAX / 2 ? calloc(1, sizeof(void *) + ALIGNED_MAX + size) : NULL;
    void **memory;

    if (!block)
        return NULL;
    memory =
        (void **)(void *)(block + ALIGNED_MAX - ((uintptr_t)block + sizeof(void *)) % ALIGNED_MAX + sizeof(void *));
    memory[-1] = block;
    return memory;
}

void aligned_free(void *memory)
{
    if (memory)
        free(((void **)memory)[-1]);
}
