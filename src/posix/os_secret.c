/* Secrets: files that are nobody else's, and HMAC by nettle. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#ifdef XF_AUTH
#include <nettle/hmac.h>

int hmac_compute(const void *key, size_t key_size, const void *data, size_t size, uint8_t mac[HMAC_SIZE])
{
    struct hmac_sha256_ctx context;

    hmac_sha256_set_key(&context, key_size, key);
    hmac_sha256_update(&context, size, data);
    hmac_sha256_digest(&context, HMAC_SIZE, mac);
    return 0;
}
#else
int hmac_compute(const void *key, size_t key_size, const void *data, size_t size, uint8_t mac[HMAC_SIZE])
{
    (void)key, (void)key_size, (void)data, (void)size, (void)mac;
    return error_detail(XF_ENOTSUP, "this crossfork was built without nettle, so there are no keys");
}
#endif

static int check_private(int fd, const char *path)
{
    struct stat facts;

    if (fstat(fd, &facts) < 0)
        return os_error(errno, path);
    if (!S_ISREG(facts.st_mode))
        return error_detail(XF_EINVAL, "%s is no plain file", path);
    if (facts.st_uid != geteuid())
        return error_detail(XF_EACCESS, "%s is another user's", path);
    if (facts.st_mode & (S_IRWXG | S_IRWXO))
        return error_detail(XF_EACCESS, "%s is not private: its mode is %03o, and should be 600", path,
                            (unsigned)facts.st_mode & 0777);
    return 0;
}

static int read_whole(int fd, const char *path, char *room, size_t size, size_t *count)
{
    size_t have = 0;
    char more;

    for (;;) {
        ssize_t got = read(fd, have < size ? room + have : &more, have < size ? size - have : 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return os_error(errno, path);
        if (got > 0 && have == size)
            return error_detail(XF_ELIMIT, "%s has more than %zu bytes", path, size);
        if (got == 0)
            break;
        have += (size_t)got;
    }
    *count = have;
    return 0;
}

/* Opening does not wait for a writer where the path is a fifo. */
int os_secret_read(const char *path, void *room, size_t size, size_t *count)
{
    int rc, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return os_error(errno, path);
    rc = check_private(fd, path);
    if (rc == 0)
        rc = read_whole(fd, path, room, size, count);
    close(fd);
    return rc;
}
