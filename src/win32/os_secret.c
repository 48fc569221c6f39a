/* Secrets: files that are nobody else's, and HMAC by the system. */
#include "base/error.h"
#include "os_private.h"

#include <bcrypt.h>
#include <stdlib.h>

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

static int read_whole(HANDLE file, const char *path, char *room, size_t size, size_t *count)
{
    size_t have = 0;
    DWORD got;
    char more;

    for (;;) {
        if (!ReadFile(file, have < size ? room + have : &more, have < size ? (DWORD)(size - have) : 1, &got, NULL))
            return os_error(GetLastError(), path);
        if (got > 0 && have == size)
            return error_detail(XF_ELIMIT, "%s has more than %llu bytes", path, (unsigned long long)size);
        if (got == 0)
            break;
        have += got;
    }
    *count = have;
    return 0;
}

int os_secret_read(const char *path, void *room, size_t size, size_t *count)
{
    wchar_t *wide;
    HANDLE file;
    int rc = wide_path(path, &wide);

    if (rc < 0)
        return rc;
    file = CreateFileW(wide, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    free(wide);
    if (file == INVALID_HANDLE_VALUE)
        return os_error(GetLastError(), path);
    rc = GetFileType(file) == FILE_TYPE_DISK ? read_whole(file, path, room, size, count)
                                             : error_detail(XF_EINVAL, "%s is no plain file", path);
    CloseHandle(file);
    return rc;
}
