/* Compiled by refused_types.cmake, as C and as C++, with types that XF_TASK takes and types that it refuses. */
#include <crossfork.h>

#ifdef __cplusplus
#define ALIGNED(bytes) alignas(bytes)
#else
#define ALIGNED(bytes) _Alignas(bytes)
#endif

typedef struct given {
    ALIGNED(XF_TEST_ALIGN) char bytes[256];
#ifdef XF_TEST_NOT_TRIVIAL
    given() : bytes()
    {
    }
    given(const given &) : bytes()
    {
    }
    ~given()
    {
    }
#endif
} given;

#ifdef XF_TEST_OUTPUT
XF_TASK(give, const int *in, given *out)
#else
XF_TASK(take, const given *in, int *out)
#endif
{
    (void)in, (void)out;
    return 0;
}
