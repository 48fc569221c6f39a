#include "objects/object_kind.h"

const char *object_kind_name(uint32_t kind)
{
    static const char *const names[] = {"nothing",   "handle",    "shared memory", "lock",    "rwlock",
                                        "semaphore", "condition", "event",         "barrier", "once",
                                        "queue",     "pipe",      "heap"};

    return kind < sizeof names / sizeof *names ? names[kind] : "unknown kind";
}
