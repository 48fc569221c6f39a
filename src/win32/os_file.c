/* Text and paths as the system takes them, and private files. */
#include "base/error.h"
#include "os_private.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* ---- Text and paths -------------------------------------------------------------------------- */

int wide_text(const char *text, wchar_t **wide)
{
    int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);

    if (length <= 0)
        return os_error(GetLastError(), "MultiByteToWideChar");
    *wide = malloc((size_t)length * sizeof **wide);
    if (!*wide)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, *wide, length);
    return 0;
}

/* Adds the prefix with which the system takes paths of MAX_PATH characters or more: "Naming Files, Paths, and
 * Namespaces". */
void path_add_prefix(wchar_t *path)
{
    size_t length = wcslen(path);
    size_t skipped = wcsncmp(path, L"\\\\", 2) == 0; /* \\server becomes \\?\UNC\server */
    const wchar_t *prefix = skipped ? L"\\\\?\\UNC" : L"\\\\?\\";
    size_t ahead = wcslen(prefix);

    if (wcsncmp(path, prefix, 4) == 0)
        return;
    memmove(path + ahead, path + skipped, (length - skipped + 1) * sizeof *path);
    memcpy(path, prefix, ahead * sizeof *path);
}

/* Leaves the path as it is, unless the full path is too long without the prefix. */
int wide_path(const char *text, wchar_t **path)
{
    enum { LONGEST = 32768, PREFIX = 7 };
    wchar_t *wide, *whole;
    DWORD length;
    int rc = wide_text(text, &wide);

    if (rc < 0)
        return rc;
    length = GetFullPathNameW(wide, 0, NULL, NULL);
    if (length <= MAX_PATH || length > LONGEST) {
        *path = wide;
        return 0;
    }
    whole = malloc((length + PREFIX) * sizeof *whole);
    if (whole && GetFullPathNameW(wide, length, whole, NULL))
        path_add_prefix(whole);
    free(wide);
    *path = whole;
    return whole ? 0 : os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
}

/* ---- Private files --------------------------------------------------------------------------- */

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

int os_file_read_private(const char *path, void *room, size_t size, size_t *count)
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
                                             : error_detail(XF_EINVAL, "%s is not a plain file", path);
    CloseHandle(file);
    return rc;
}
