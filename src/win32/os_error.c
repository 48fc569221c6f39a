/* Translates GetLastError into the codes of crossfork. */
#include "base/error.h"
#include "os_private.h"

#include <stdio.h>

static const struct {
    DWORD system;
    int code;
} table[] = {
    {ERROR_NO_UNICODE_TRANSLATION, XF_EINVAL},
    {ERROR_INVALID_HANDLE, XF_EINVAL},
    {ERROR_NOT_ENOUGH_MEMORY, XF_ENOMEM},
    {ERROR_OUTOFMEMORY, XF_ENOMEM},
    {ERROR_COMMITMENT_LIMIT, XF_ENOMEM},
    {ERROR_COMMITMENT_MINIMUM, XF_ENOMEM},
    {ERROR_NO_SYSTEM_RESOURCES, XF_ENOMEM},
    {ERROR_NONPAGED_SYSTEM_RESOURCES, XF_ENOMEM},
    {ERROR_PAGED_SYSTEM_RESOURCES, XF_ENOMEM},
    {ERROR_WORKING_SET_QUOTA, XF_ENOMEM},
    {ERROR_PAGEFILE_QUOTA, XF_ENOMEM},
    {ERROR_NOT_ENOUGH_QUOTA, XF_ENOMEM},
    {WAIT_TIMEOUT, XF_ETIMEDOUT},
    {ERROR_TIMEOUT, XF_ETIMEDOUT},
    {ERROR_TOO_MANY_OPEN_FILES, XF_EHANDLES},
    {ERROR_NO_PROC_SLOTS, XF_EPROCESSES},
    {ERROR_MAX_THRDS_REACHED, XF_EPROCESSES},
    {ERROR_ACCESS_DENIED, XF_EACCESS},
    {ERROR_ACCESS_DISABLED_BY_POLICY, XF_EACCESS},
    {ERROR_PRIVILEGE_NOT_HELD, XF_EACCESS},
    {ERROR_SHARING_VIOLATION, XF_EACCESS},
    {ERROR_FILE_NOT_FOUND, XF_ENOENT},
    {ERROR_PATH_NOT_FOUND, XF_ENOENT},
    {ERROR_INVALID_DRIVE, XF_ENOENT},
    {ERROR_BAD_NETPATH, XF_ENOENT},
    {ERROR_BAD_NET_NAME, XF_ENOENT},
    {ERROR_INVALID_NAME, XF_ENOENT},
    {ERROR_BAD_PATHNAME, XF_ENOENT},
    {ERROR_DIRECTORY, XF_ENOTDIR},
    {ERROR_DISK_FULL, XF_ENOSPACE},
    {ERROR_HANDLE_DISK_FULL, XF_ENOSPACE},
    {ERROR_CRC, XF_EIO},
    {ERROR_IO_DEVICE, XF_EIO},
    {ERROR_BROKEN_PIPE, XF_EEND},
    {ERROR_NO_DATA, XF_EEND},
    {ERROR_PIPE_NOT_CONNECTED, XF_EEND},
    {ERROR_NOT_SUPPORTED, XF_ENOTSUP},
    {ERROR_CALL_NOT_IMPLEMENTED, XF_ENOTSUP},
    {ERROR_BUSY, XF_EBUSY},
    {ERROR_PIPE_BUSY, XF_EBUSY},
};

/* Copies the system's text for an error without its full stop and line end; "" when the system has none. */
static void error_describe(DWORD system, char *text, int size)
{
    wchar_t wide[200];
    DWORD length =
        FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK, NULL,
                       system, 0, wide, sizeof wide / sizeof *wide, NULL);
    int written;

    while (length > 0 && (wide[length - 1] <= L' ' || wide[length - 1] == L'.'))
        length--;
    written = length > 0 ? WideCharToMultiByte(CP_UTF8, 0, wide, (int)length, text, size - 1, NULL, NULL) : 0;
    text[written] = 0;
}

int os_error(DWORD system, const char *call)
{
    char text[400];
    int code = XF_ESYSTEM;

    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].system == system)
            code = table[i].code;
    error_describe(system, text, sizeof text);
    return error_detail(code, "%s: error %lu%s%s", call, system, *text ? ": " : "", text);
}
