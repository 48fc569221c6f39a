/* HMAC by BCrypt, which is part of Windows. */
#include "base/error.h"
#include "base/hmac.h"

/* <bcrypt.h> needs the types of <windows.h>. */
/* clang-format off */
#include <windows.h>
#include <bcrypt.h>
/* clang-format on */

static int bcrypt_error(NTSTATUS status, const char *call)
{
    return error_detail(status == (NTSTATUS)STATUS_NO_MEMORY ? XF_ENOMEM : XF_ESYSTEM, "%s: status 0x%08lx", call,
                        (unsigned long)status);
}

int hmac_compute(const void *key, size_t key_size, const void *data, size_t size, uint8_t mac[HMAC_SIZE])
{
    BCRYPT_ALG_HANDLE algorithm;
    NTSTATUS status =
        BCryptOpenAlgorithmProvider(&algorithm, BCRYPT_SHA256_ALGORITHM, NULL, BCRYPT_ALG_HANDLE_HMAC_FLAG);

    if (status != 0)
        return bcrypt_error(status, "BCryptOpenAlgorithmProvider");
    status = BCryptHash(algorithm, (UCHAR *)key, (ULONG)key_size, (UCHAR *)data, (ULONG)size, mac, HMAC_SIZE);
    BCryptCloseAlgorithmProvider(algorithm, 0);
    return status == 0 ? 0 : bcrypt_error(status, "BCryptHash");
}
