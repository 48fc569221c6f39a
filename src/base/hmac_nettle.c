/* HMAC by nettle. */
#include "base/hmac.h"

#include <nettle/hmac.h>

int hmac_compute(const void *key, size_t key_size, const void *data, size_t size, uint8_t mac[HMAC_SIZE])
{
    struct hmac_sha256_ctx context;

    hmac_sha256_set_key(&context, key_size, key);
    hmac_sha256_update(&context, size, data);
    hmac_sha256_digest(&context, HMAC_SIZE, mac);
    return 0;
}
