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

static void free_variables(wchar_t **variables, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(variables[i]);
    free(variables);
}

static int wide_variables(const char *const *changes, wchar_t ***variables, size_t *count)
{
    size_t wanted = 0, made = 0;
    wchar_t **wide;
    int rc = 0;

    while (changes[wanted])
        wanted++;
    wide = calloc(wanted + 1, sizeof *wide);
    if (!wide)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "calloc");
    while (made < wanted && rc == 0) {
        rc = wide_text(changes[made], &wide[made]);
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

/* Makes one change in a list that has room for it; returns the new count. */
static size_t change_variable(wchar_t **list, size_t count, wchar_t *change)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (compare_names(&list[i], &change) != 0)
            list[kept++] = list[i];
    if (change[name_length(change)])
        list[kept++] = change;
    return kept;
}

/* XF_ELIMIT for a variable that the system would cut. */
static int check_lengths(wchar_t *const *list, size_t count)
{
    enum { LONGEST = 32766 }; /* "Environment Variables": 32,767 with the terminating 0 */

    for (size_t i = 0; i < count; i++)
        if (wcslen(list[i]) > LONGEST)
            return error_detail(XF_ELIMIT,
                                "environment: %.*ls has %zu characters, and Windows passes on %d with the name",
                                name_length(list[i]), list[i], wcslen(list[i]), LONGEST);
    return 0;
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

/* Makes the list of this process's own variables with the changes; the caller frees it.  NULL: no memory. */
static wchar_t **change_own(wchar_t *own, wchar_t **changes, size_t changed, size_t *out_count)
{
    size_t count = 0;
    wchar_t **list;

    for (wchar_t *at = own; *at; at += wcslen(at) + 1)
        count++;
    list = calloc(count + changed + 1, sizeof *list);
    if (!list)
        return NULL;
    count = 0;
    for (wchar_t *at = own; *at; at += wcslen(at) + 1)
        list[count++] = at;
    for (size_t i = 0; i < changed; i++)
        count = change_variable(list, count, changes[i]);
    qsort(list, count, sizeof *list, compare_names);
    *out_count = count;
    return list;
}

static int make_block(wchar_t *own, wchar_t **changes, size_t changed, wchar_t **block)
{
    size_t count;
    wchar_t **list = change_own(own, changes, changed, &count);
    int rc;

    if (!list)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "calloc");
    rc = check_lengths(list, count);
    if (rc == 0) {
        *block = join_variables(list, count);
        rc = *block ? 0 : os_error(ERROR_NOT_ENOUGH_MEMORY, "calloc");
    }
    free(list);
    return rc;
}

int merge_environment(const char *const *changes, wchar_t **block)
{
    static const char *const none[] = {NULL};
    wchar_t **wide = NULL, *own;
    size_t count = 0;
    int rc = wide_variables(changes ? changes : none, &wide, &count);

    if (rc < 0)
        return rc;
    own = GetEnvironmentStringsW();
    rc = own ? make_block(own, wide, count, block) : os_error(ERROR_NOT_ENOUGH_MEMORY, "GetEnvironmentStringsW");
    if (own)
        FreeEnvironmentStringsW(own);
    free_variables(wide, count);
    return rc;
}
