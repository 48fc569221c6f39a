/* The environment of a child, as the system takes it. */
#include "os_private.h"

#include <stdlib.h>
#include <string.h>

extern char **environ;

static bool same_variable(const char *one, const char *other)
{
    size_t length = strcspn(one, "=");

    return strncmp(one, other, length + 1) == 0;
}

char **merge_environment(const char *const *additions)
{
    size_t count = 0, added = 0;
    char **merged;

    while (environ && environ[count])
        count++;
    while (additions && additions[added])
        added++;
    merged = malloc((count + added + 1) * sizeof *merged);
    if (!merged)
        return NULL;
    memcpy(merged, environ, count * sizeof *merged);
    for (size_t i = 0; i < added; i++) {
        size_t at = 0;
        while (at < count && !same_variable(additions[i], merged[at]))
            at++;
        merged[at] = (char *)additions[i];
        count += at == count;
    }
    merged[count] = NULL;
    return merged;
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
