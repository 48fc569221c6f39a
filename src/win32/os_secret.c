/* Secrets: files that no other user can read. */
#include "base/error.h"
#include "os_private.h"

#include <stdlib.h>

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
