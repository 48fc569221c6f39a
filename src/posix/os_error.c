/* Translates errno into the codes of crossfork. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <string.h>

static const struct {
    int system;
    int code;
} table[] = {
    {EINVAL, XF_EINVAL},   {EBADF, XF_EINVAL},          {ENOMEM, XF_ENOMEM},     {ETIMEDOUT, XF_ETIMEDOUT},
    {EMFILE, XF_EHANDLES}, {ENFILE, XF_EHANDLES},       {EAGAIN, XF_EPROCESSES}, {EACCES, XF_EACCESS},
    {EPERM, XF_EACCESS},   {EISDIR, XF_EACCESS},        {EROFS, XF_EACCESS},     {ENOENT, XF_ENOENT},
    {ENOTDIR, XF_ENOTDIR}, {ENOSPC, XF_ENOSPACE},       {EDQUOT, XF_ENOSPACE},   {EIO, XF_EIO},
    {EPIPE, XF_EEND},      {ECONNRESET, XF_EEND},       {ENOSYS, XF_ENOTSUP},    {EOPNOTSUPP, XF_ENOTSUP},
    {EBUSY, XF_EBUSY},     {ETOOMANYREFS, XF_EHANDLES},
};

int os_error(int system, const char *call)
{
    int code = XF_ESYSTEM;

    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].system == system)
            code = table[i].code;
    return error_detail(code, "%s: %s", call, strerror(system));
}
