/* Limits of the group of processes that this one is in: its cgroups. */
#include "os_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a hierarchy is mounted: mountinfo's fields (proc_pid_mountinfo(5)). */
typedef struct mount_place {
    char root[2048]; /* the group that is seen there */
    char path[2048];
} mount_place;

/* Whether a list that is separated by commas has that word; "" is in none. */
static bool lists(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; length > 0 && at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == 0))
            return true;
    }
    return false;
}

/* A line of /proc/self/mountinfo.
 *   controller  Of version 1; "": of version 2. */
static bool is_mount_of(const char *line, const char *controller, mount_place *place)
{
    char type[32], options[512];
    const char *rest = strstr(line, " - ");

    if (!rest || sscanf(line, "%*s %*s %*s %2047s %2047s", place->root, place->path) != 2 ||
        sscanf(rest, " - %31s %*s %511s", type, options) != 2)
        return false;
    return *controller ? strcmp(type, "cgroup") == 0 && lists(options, controller) : strcmp(type, "cgroup2") == 0;
}

static bool find_mount(const char *root, const char *controller, mount_place *place)
{
    char path[4200], line[8192];
    bool found = false;
    FILE *file;

    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file))
        found = is_mount_of(line, controller, place);
    if (file)
        fclose(file);
    return found;
}

/* The group's path in the hierarchy: cgroups(7), "number:controllers:path". */
static bool find_group(const char *root, const char *controller, char *group, size_t size)
{
    char path[4200], line[4200];
    bool found = false;
    FILE *file;

    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        char *list = strchr(line, ':'), *at = list ? strchr(list + 1, ':') : NULL;
        if (!at)
            continue;
        *at++ = 0;
        at[strcspn(at, "\n")] = 0;
        found = (*controller ? lists(list + 1, controller) : strncmp(line, "0:", 3) == 0) &&
                (size_t)snprintf(group, size, "%s", at) < size;
    }
    if (file)
        fclose(file);
    return found;
}

/* Takes what is seen of the hierarchy away; a group outside of that is not seen, but its root is, which stands for the
 * group then: as in a container that was given its own group only. */
static const char *seen_from(const char *mounted, const char *group)
{
    size_t length = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);

    if (strncmp(group, mounted, length) != 0 || (group[length] != '/' && group[length] != 0) || strstr(group, "/.."))
        return "";
    return group + length;
}

/* ---- What a group may use -------------------------------------------------------------------- */

/* The limit of a group in that directory; false when it has none. */
typedef bool (*limit_reader)(const char *directory, double *limit);

/* A whole number above 0, as the kernel writes it, and nothing after it but a blank. */
static bool parse_positive(const char *text, char **end, double *number)
{
    if (*text < '0' || *text > '9')
        return false;
    *number = (double)strtoull(text, end, 10);
    return *number > 0 && (**end == 0 || **end == ' ');
}

static bool read_positive(const char *directory, const char *name, double *number)
{
    char line[64], *end;

    return file_read_line(line, sizeof line, "%s/%s", directory, name) && parse_positive(line, &end, number);
}

/* "200000 100000": microseconds, in so many; "max 100000". */
static bool read_quota_2(const char *directory, double *limit)
{
    char line[64], *end;
    double quota, period;

    if (!file_read_line(line, sizeof line, "%s/cpu.max", directory) || !parse_positive(line, &end, &quota) ||
        *end != ' ' || !parse_positive(end + 1, &end, &period) || *end != 0)
        return false;
    *limit = quota / period;
    return true;
}

/* -1 stands for none. */
static bool read_quota_1(const char *directory, double *limit)
{
    double quota, period;

    if (!read_positive(directory, "cpu.cfs_quota_us", &quota) ||
        !read_positive(directory, "cpu.cfs_period_us", &period))
        return false;
    *limit = quota / period;
    return true;
}

static bool quota_read_memory_2(const char *directory, double *limit)
{
    return read_positive(directory, "memory.max", limit);
}

/* About 2^63 stands for none. */
static bool quota_read_memory_1(const char *directory, double *limit)
{
    return read_positive(directory, "memory.limit_in_bytes", limit) && *limit < 0x1p62;
}

/* The least of the group's limit and those of the groups around it, as far as they are seen; 0 where there is none. */
static double least_limit(const char *root, const char *controller, limit_reader read)
{
    char group[2048], directory[8192];
    double least = 0, limit;
    mount_place place;
    size_t top;

    if (!find_group(root, controller, group, sizeof group) || !find_mount(root, controller, &place))
        return 0;
    top = (size_t)snprintf(directory, sizeof directory, "%s%s", root, place.path);
    if (top >= sizeof directory - sizeof group)
        return 0;
    strcpy(directory + top, seen_from(place.root, group));
    for (;;) {
        char *last;
        if (read(directory, &limit) && (least == 0 || limit < least))
            least = limit;
        last = strrchr(directory + top, '/');
        if (!last)
            return least;
        *last = 0;
    }
}

static double lesser(double a, double b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* On some systems one controller is in the hierarchy of version 2 and another in one of version 1. */
void quota_describe(os_machine *machine, const char *root)
{
    machine->quota = lesser(least_limit(root, "", read_quota_2), least_limit(root, "cpu", read_quota_1));
    machine->memory_limit =
        (uint64_t)lesser(least_limit(root, "", quota_read_memory_2), least_limit(root, "memory", quota_read_memory_1));
}
