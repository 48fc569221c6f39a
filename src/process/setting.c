#include "process/setting.h"

#include "base/error.h"
#include "os/identity.h"

#include <uv.h>

int setting_get(const char *name, char *value, size_t size)
{
    int rc;

    if (os_self_is_privileged())
        return XF_ENOENT;
    rc = uv_os_getenv(name, value, &size);
    if (rc == UV_ENOENT || (rc == 0 && !*value))
        return XF_ENOENT;
    return rc < 0 ? error_detail(XF_EINVAL, "%s in the environment: %s", name, uv_strerror(rc)) : 0;
}
