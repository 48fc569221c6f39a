#include "process/start_method.h"

#include "base/error.h"
#include "os/identity.h"
#include "process/setting.h"
#include "process/supervisor.h"
#include "rendezvous/publication.h"

#include <string.h>

static int method_by_name(const char *name, os_method *method)
{
    static const struct {
        const char *name;
        os_method method;
    } names[] = {{"fork", OS_FORK}, {"spawn", OS_SPAWN}, {"forkserver", OS_SERVER}, {"server", OS_SERVER}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].name) == 0) {
            *method = names[i].method;
            return 0;
        }
    return error_detail(XF_EINVAL, "XF_START=%s in the environment; it may be fork, spawn or forkserver", name);
}

/* All threads but crossfork's own.  A forked child has no other thread that would release a lock, and crossfork's own
 * threads hold none that it needs. */
static int foreign_threads(void)
{
    return os_self_threads() - supervisor_runs() - publication_threads();
}

static int default_method(const os_method *otherwise, os_method *method)
{
    char name[16];
    int rc = setting_get("XF_START", name, sizeof name);

    if (rc != XF_ENOENT)
        return rc < 0 ? rc : method_by_name(name, method);
    if (otherwise)
        *method = *otherwise;
    else
        *method = os.has_fork && foreign_threads() == 1 ? OS_FORK : OS_SPAWN;
    return 0;
}

int start_method_choose(xf_start_method wanted, const os_method *otherwise, os_method *method)
{
    static const os_method methods[] = {OS_SPAWN, OS_FORK, OS_SPAWN, OS_SERVER};
    int rc = 0;

    *method = methods[wanted];
    if (wanted == XF_START_DEFAULT)
        rc = default_method(otherwise, method);
    if (rc == 0 && *method == OS_FORK && !os.has_fork)
        rc = error_detail(XF_ENOTSUP, "this system has no fork");
    if (rc == 0 && *method != OS_FORK && os_self_is_privileged())
        rc = error_detail(XF_ENOTSUP, "a program with more rights than who started it can only fork");
    return rc;
}
