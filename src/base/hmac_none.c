/* HMAC where crossfork was built without a library for it. */
#include "base/error.h"
#include "base/hmac.h"

int hmac_compute(const void *key, size_t key_size, const void *data, size_t size, uint8_t mac[HMAC_SIZE])
{
    (void)key, (void)key_size, (void)data, (void)size, (void)mac;
    return error_detail(XF_ENOTSUP, "this crossfork was built without nettle, so there are no keys");
}
