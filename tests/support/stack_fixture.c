#include "stack_fixture.h"

#define JOIN(prefix, name) prefix##_##name
#define NAME(prefix, name) JOIN(prefix, name)

static inline __attribute__((always_inline)) int NAME(PREFIX, innermost)(void (*end)(void *), void *arg)
{
    end(arg);
    return 1;
}

__attribute__((noinline)) static int NAME(PREFIX, inner)(void (*end)(void *), void *arg)
{
    volatile int depth = 0; /* so that the compiler cannot turn the call into a jump */
    depth += NAME(PREFIX, innermost)(end, arg);
    return depth;
}
__attribute__((noinline)) static int NAME(PREFIX, middle)(void (*end)(void *), void *arg)
{
    volatile int depth = NAME(PREFIX, inner)(end, arg);
    return depth + 1;
}
int NAME(PREFIX, outer)(void (*end)(void *), void *arg)
{
    volatile int depth = NAME(PREFIX, middle)(end, arg);
    return depth + 1;
}
