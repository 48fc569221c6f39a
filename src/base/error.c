#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <uv.h>

static _Thread_local char detail[512];

const char *xf_strerror(int code)
{
    switch (code) {
    case XF_OK:
        return "success";
#define ERROR_TEXT(name, value, text)                                                                                  \
    case name:                                                                                                         \
        return text;
        XF_ERRORS(ERROR_TEXT)
#undef ERROR_TEXT
    default:
        return "unknown error";
    }
}

const char *xf_err_name(int code)
{
    switch (code) {
    case XF_OK:
        return "XF_OK";
#define ERROR_NAME(name, value, text)                                                                                  \
    case name:                                                                                                         \
        return #name;
        XF_ERRORS(ERROR_NAME)
#undef ERROR_NAME
    default:
        return "XF_E?";
    }
}

const char *xf_error_detail(void)
{
    return detail;
}

int error_detail(int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    return code;
}

int error_check_data(const void *data, uint64_t size, const char *parameter)
{
    return data || size == 0
               ? 0
               : error_detail(XF_EINVAL, "%s is NULL, with a size of %llu", parameter, (unsigned long long)size);
}

static int error_code_of_uv(int status)
{
    static const struct {
        int uv;
        int code;
    } table[] = {
        {UV_EINVAL, XF_EINVAL},     {UV_ENOMEM, XF_ENOMEM},   {UV_EMFILE, XF_EHANDLES}, {UV_ENFILE, XF_EHANDLES},
        {UV_EAGAIN, XF_EPROCESSES}, {UV_EACCES, XF_EACCESS},  {UV_EPERM, XF_EACCESS},   {UV_EROFS, XF_EACCESS},
        {UV_EISDIR, XF_EACCESS},    {UV_ENOENT, XF_ENOENT},   {UV_ENOTDIR, XF_ENOTDIR}, {UV_ENOSPC, XF_ENOSPACE},
        {UV_EIO, XF_EIO},           {UV_ENOTSUP, XF_ENOTSUP}, {UV_ENOSYS, XF_ENOTSUP},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].uv == status)
            return table[i].code;
    return XF_ESYSTEM;
}

int error_from_uv(int status, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof detail)
        snprintf(detail + length, sizeof detail - (size_t)length, ": %s", uv_strerror(status));
    return error_code_of_uv(status);
}
