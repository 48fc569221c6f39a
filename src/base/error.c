#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

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
