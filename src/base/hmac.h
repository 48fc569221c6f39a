/* HMAC-SHA256 (RFC 2104), from a library that the build chooses: hmac_nettle.c, hmac_bcrypt.c, or hmac_none.c. */
#ifndef HMAC_H
#define HMAC_H

#include <stddef.h>
#include <stdint.h>

enum { HMAC_SIZE = 32 };

/* Computes the HMAC of size bytes of data.
 * XF_ENOTSUP when crossfork was built without a library for it; XF_ENOMEM, XF_ESYSTEM. */
int hmac_compute(const void *key, size_t key_size, const void *data, size_t size, uint8_t mac[HMAC_SIZE]);

#endif
