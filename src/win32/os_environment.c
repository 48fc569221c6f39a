/* The environment of a child, as the system takes it: the block of CreateProcessW. */
#include "base/error.h"
#include "os_private.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* The length of a variable's name.  The search for "=" begins behind the first character, because the names with which
 * the system keeps a drive's directory begin with "=". */
static int name_length(const wchar_t *variable)
{
    const wchar_t *end = *variable ? wcschr(variable + 1, L'=') : NULL;

    return end ? (int)(end - variable) : (int)wcslen(variable);
}

/* Compares names without regard to case.  A block must be sorted in this way: "Changing Environment Variables". */
static int compare_names(const void *one, const void *other)
{
    const wchar_t *first = *(wchar_t *const *)one, *second = *(wchar_t *const *)other;

    return CompareStringOrdinal(first, name_length(first), second, name_length(second), TRUE) - CSTR_EQUAL;
}

static int wide_variable(const char *addition, wchar_t **variable)
{
    if (*addition == '=' || !strchr(addition, '='))
        return error_detail(XF_EINVAL, "environment: %s is not NAME=value", addition);
    return wide_text(addition, variable);
}

static void free_variables(wchar_t **variables, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(variables[i]);
    free(variables);
}

static int wide_variables(const char *const *additions, wchar_t ***variables, size_t *count)
{
    size_t wanted = 0, made = 0;
    wchar_t **wide;
    int rc = 0;

    while (additions[wanted])
        wanted++;
    wide = calloc(wanted + 1, sizeof *wide);
    if (!wide)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "calloc");
    while (made < wanted && rc == 0) {
        rc = wide_variable(additions[made], &wide[made]);
        made += rc == 0;
    }
    if (rc < 0) {
        free_variables(wide, made);
        return rc;
    }
    *variables = wide;
    *count = made;
    return 0;
}

/* Replaces the variable of the same name, or adds one at the end; returns the new count. */
static size_t put_variable(wchar_t **list, size_t count, wchar_t *variable)
{
    size_t at = 0;

    while (at < count && compare_names(&list[at], &variable) != 0)
        at++;
    list[at] = variable;
    return at == count ? count + 1 : count;
}

/* Joins the variables to a block: each with its terminating 0, and one 0 more at the end. */
static wchar_t *join_variables(wchar_t **list, size_t count)
{
    size_t total = 2;
    wchar_t *block, *at;

    for (size_t i = 0; i < count; i++)
        total += wcslen(list[i]) + 1;
    at = block = calloc(total, sizeof *block);
    for (size_t i = 0; block && i < count; i++) {
        wcscpy(at, list[i]);
        at += wcslen(at) + 1;
    }
    return block;
}

/* Makes the block of this process's own variables and the added ones. */
static wchar_t *add_to_own(wchar_t *own, wchar_t **added, size_t added_count)
{
    size_t count = 0;
    wchar_t **list, *block = NULL;

    for (wchar_t *at = own; *at; at += wcslen(at) + 1)
        count++;
    list = calloc(count + added_count + 1, sizeof *list);
    if (!list)
        return NULL;
    count = 0;
    for (wchar_t *at = own; *at; at += wcslen(at) + 1)
        list[count++] = at;
    for (size_t i = 0; i < added_count; i++)
        count = put_variable(list, count, added[i]);
    qsort(list, count, sizeof *list, compare_names);
    block = join_variables(list, count);
    free(list);
    return block;
}

int merge_environment(const char *const *additions, wchar_t **block)
{
    static const char *const none[] = {NULL};
    wchar_t **added = NULL, *own;
    size_t count = 0;
    int rc = wide_variables(additions ? additions : none, &added, &count);

    if (rc < 0)
        return rc;
    own = GetEnvironmentStringsW();
    *block = own ? add_to_own(own, added, count) : NULL;
    if (!*block)
        rc = os_error(ERROR_NOT_ENOUGH_MEMORY, "the environment");
    if (own)
        FreeEnvironmentStringsW(own);
    free_variables(added, count);
    return rc;
}
