/* Core files.  A child that crashes changes to a directory of its own first (os_crash.c).  The system puts the core
 * file there, unless /proc/sys/kernel/core_pattern is an absolute path or a program; so the file that is found there is
 * the core. */
#include "base/error.h"
#include "os_private.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Finds the only file of a directory; false when it holds none. */
static bool find_core_file(const char *directory, char *path, size_t size)
{
    struct dirent *entry;
    DIR *list = opendir(directory);
    bool found = false;

    while (list && !found && (entry = readdir(list)))
        if (entry->d_name[0] != '.')
            found = (size_t)snprintf(path, size, "%s/%s", directory, entry->d_name) < size;
    if (list)
        closedir(list);
    return found;
}

static int explain_missing_core(void)
{
    char pattern[128] = "";
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");

    if (file) {
        if (!fgets(pattern, sizeof pattern, file))
            pattern[0] = 0;
        fclose(file);
    }
    pattern[strcspn(pattern, "\n")] = 0;
    return error_detail(XF_ENOENT, "the system left no core file here; its core_pattern is \"%s\"", pattern);
}

int os_child_dump(os_child *child, const char *name, char *path, size_t size)
{
    char core[1280];
    int rc = 0;

    if (!child->dumps || !child->ended || child->end.kind != OS_CRASHED)
        return XF_EAGAIN;
    if (!find_core_file(child->dumps, core, sizeof core))
        rc = explain_missing_core();
    else if ((size_t)snprintf(path, size, "%s.core", name) >= size)
        rc = error_detail(XF_EINVAL, "the path of the dump has more than %zu bytes", size);
    else if (rename(core, path) < 0)
        rc = os_error(errno, "rename of a core file");
    rmdir(child->dumps);
    return rc;
}
