/* A process's handle to a heap. */
#ifndef HEAP_H
#define HEAP_H

#include "crossfork/heap.h"
#include "lockfree/page_arena.h"
#include "objects/object.h"

struct xf_heap {
    object *object;
    struct heap_head *head;
    page_arena arena;
    uint64_t slots_at; /* where the words of the slots are in the segment */
    uint64_t me;       /* os_self_process */
};

#endif
