#include "stack_fixture.h"

#define JOIN(prefix, name) prefix##_##name
#define NAME(prefix, name) JOIN(prefix, name)

static inline __attribute__((always_inline)) int NAME(CHAIN, innermost)(void (*end)(void *), void *arg)
{
    end(arg);
    return 1;
}

__attribute__((noinline)) static int NAME(CHAIN, inner)(void (*end)(void *), void *arg)
{
    volatile int depth = 0; /* so that the compiler cannot turn the call into a jump */
    depth += NAME(CHAIN, innermost)(end, arg);
    return depth;
}
__attribute__((noinline)) static int NAME(CHAIN, middle)(void (*end)(void *), void *arg)
{
    volatile int depth = NAME(CHAIN, inner)(end, arg);
    return depth + 1;
}
int NAME(CHAIN, outer)(void (*end)(void *), void *arg)
{
    volatile int depth = NAME(CHAIN, middle)(end, arg);
    return depth + 1;
}
