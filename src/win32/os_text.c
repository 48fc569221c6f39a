/* Text for CreateProcessW: UTF-16, paths of any length, the environment block. */
#include "base/error.h"
#include "os_private.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

int wide_text(const char *text, wchar_t **wide)
{
    int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);

    if (length <= 0)
        return os_error(GetLastError(), "MultiByteToWideChar");
    *wide = malloc((size_t)length * sizeof **wide);
    if (!*wide)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, *wide, length);
    return 0;
}

/* ---- Paths ----------------------------------------------------------------------------------- */

/* A path of MAX_PATH characters and more is taken only with a prefix: "Naming Files, Paths, and Namespaces". */
static void add_prefix(wchar_t *path)
{
    size_t length = wcslen(path);
    size_t skipped = wcsncmp(path, L"\\\\", 2) == 0; /* \\server becomes \\?\UNC\server */
    const wchar_t *prefix = skipped ? L"\\\\?\\UNC" : L"\\\\?\\";
    size_t ahead = wcslen(prefix);

    if (wcsncmp(path, prefix, 4) == 0)
        return;
    memmove(path + ahead, path + skipped, (length - skipped + 1) * sizeof *path);
    memcpy(path, prefix, ahead * sizeof *path);
}

/* Whether the path, or what its short names stand for, has MAX_PATH characters and more. */
static bool is_long(const wchar_t *path)
{
    return wcslen(path) >= MAX_PATH || (wcschr(path, L'~') && GetLongPathNameW(path, NULL, 0) > MAX_PATH);
}

/* Wine's CreateProcessW takes such a path by its short names only, and behind the prefix only. */
static void fit(wchar_t *path)
{
    wchar_t brief[MAX_PATH];
    DWORD length;

    if (!is_long(path))
        return;
    length = GetShortPathNameW(path, brief, MAX_PATH);
    if (length > 0 && length < MAX_PATH)
        wcscpy(path, brief);
    add_prefix(path);
}

int running_image(wchar_t **path)
{
    enum { LONGEST = 32768, PREFIX = 7 };
    wchar_t *image = malloc((LONGEST + PREFIX) * sizeof *image);
    DWORD length;
    int rc;

    if (!image)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    length = GetModuleFileNameW(NULL, image, LONGEST);
    if (length == 0 || length == LONGEST) {
        rc = os_error(GetLastError(), "GetModuleFileNameW");
        goto free_image;
    }
    fit(image);
    *path = image;
    return 0;

free_image:
    free(image);
    return rc;
}

/* As it is, unless the whole path is too long for that. */
int wide_path(const char *text, wchar_t **path)
{
    enum { LONGEST = 32768, PREFIX = 7 };
    wchar_t *wide, *whole;
    DWORD length;
    int rc = wide_text(text, &wide);

    if (rc < 0)
        return rc;
    length = GetFullPathNameW(wide, 0, NULL, NULL);
    if (length <= MAX_PATH || length > LONGEST) {
        *path = wide;
        return 0;
    }
    whole = malloc((length + PREFIX) * sizeof *whole);
    if (whole && GetFullPathNameW(wide, length, whole, NULL))
        add_prefix(whole);
    free(wide);
    *path = whole;
    return whole ? 0 : os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
}

/* CreateProcessW has one error for everything that can be wrong with a directory, so it is looked at beforehand. */
int wide_directory(const char *directory, wchar_t **path)
{
    wchar_t *wide;
    DWORD attributes;
    int rc = wide_text(directory, &wide);

    if (rc < 0)
        return rc;
    attributes = GetFileAttributesW(wide);
    if (attributes == INVALID_FILE_ATTRIBUTES)
        rc = os_error(GetLastError(), directory);
    else if (!(attributes & FILE_ATTRIBUTE_DIRECTORY))
        rc = os_error(ERROR_DIRECTORY, directory);
    if (rc < 0)
        free(wide);
    else
        *path = wide;
    return rc;
}

/* ---- The environment ------------------------------------------------------------------------- */

/* How long the name is; those of the system that keep a drive's directory begin with "=". */
static int name_length(const wchar_t *variable)
{
    const wchar_t *end = *variable ? wcschr(variable + 1, L'=') : NULL;

    return end ? (int)(end - variable) : (int)wcslen(variable);
}

/* Names differ whatever the case of their letters; a block is sorted by them: "Changing Environment Variables". */
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

/* Puts a variable in the place of the one of that name, or at the end. */
static size_t put_variable(wchar_t **list, size_t count, wchar_t *variable)
{
    size_t at = 0;

    while (at < count && compare_names(&list[at], &variable) != 0)
        at++;
    list[at] = variable;
    return at == count ? count + 1 : count;
}

/* Each variable with its terminating 0, and one 0 more. */
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

/* The block of this process's own variables with the others put in. */
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
