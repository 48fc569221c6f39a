#include "base/monitor.h"

#include "base/error.h"

int monitor_open(uv_mutex_t *lock, uv_cond_t *changed, const char *owner)
{
    if (uv_mutex_init(lock))
        return error_detail(XF_ENOMEM, "the lock of %s", owner);
    if (uv_cond_init(changed) == 0)
        return 0;
    uv_mutex_destroy(lock);
    return error_detail(XF_ENOMEM, "the condition of %s", owner);
}

void monitor_close(uv_mutex_t *lock, uv_cond_t *changed)
{
    uv_cond_destroy(changed);
    uv_mutex_destroy(lock);
}
