/* The environment of a child, as the system takes it. */
#include "base/error.h"
#include "os_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static bool same_variable(const char *one, const char *other)
{
    size_t length = strcspn(one, "=");

    return length == strcspn(other, "=") && memcmp(one, other, length) == 0;
}

/* Makes one change in a list that has room for it; returns the new count. */
static size_t change_variable(char **list, size_t count, const char *change)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (!same_variable(list[i], change))
            list[kept++] = list[i];
    if (strchr(change, '='))
        list[kept++] = (char *)change;
    return kept;
}

char **merge_environment(const char *const *changes)
{
    size_t count = 0, changed = 0;
    char **merged;

    while (environ && environ[count])
        count++;
    while (changes && changes[changed])
        changed++;
    merged = malloc((count + changed + 1) * sizeof *merged);
    if (!merged)
        return NULL;
    memcpy(merged, environ, count * sizeof *merged);
    for (size_t i = 0; i < changed; i++)
        count = change_variable(merged, count, changes[i]);
    merged[count] = NULL;
    return merged;
}

int environment_error(char *const *environment)
{
    size_t longest = 32 * (size_t)sysconf(_SC_PAGESIZE) - 1, total = 0; /* MAX_ARG_STRLEN of Linux */

    for (size_t i = 0; environment[i]; i++) {
        size_t size = strlen(environment[i]);
        total += size + 1;
        if (size > longest)
            return error_detail(XF_ELIMIT,
                                "environment: %.*s has %zu bytes, and the system passes on %zu with the name",
                                (int)strcspn(environment[i], "="), environment[i], size, longest);
    }
    return error_detail(XF_ELIMIT, "environment: its %zu bytes are more than the system passes on", total);
}

char *flatten_strings(char *const *strings, size_t *size)
{
    size_t total = 0;
    char *flat, *at;

    for (size_t i = 0; strings[i]; i++)
        total += strlen(strings[i]) + 1;
    at = flat = malloc(total + 1);
    for (size_t i = 0; flat && strings[i]; i++)
        at = stpcpy(at, strings[i]) + 1;
    *size = total;
    return flat;
}
