/* Limits of the group of processes that this process is in: its cgroups. */
#include "os_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a hierarchy is mounted, by the fields of mountinfo: proc_pid_mountinfo(5). */
typedef struct mount_place {
    char root[2048]; /* the group that is the root of the mounted hierarchy */
    char path[2048];
} mount_place;

/* Whether a list that is separated by commas has a word.  No list has the word "". */
static bool list_has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; length > 0 && at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == 0))
            return true;
    }
    return false;
}

/* Parses a line of /proc/self/mountinfo; false when the line is about another hierarchy.
 *   controller  The controller of a hierarchy of version 1; "" for the one of version 2. */
static bool is_mount_of(const char *line, const char *controller, mount_place *place)
{
    char type[32], options[512];
    const char *rest = strstr(line, " - ");

    if (!rest || sscanf(line, "%*s %*s %*s %2047s %2047s", place->root, place->path) != 2 ||
        sscanf(rest, " - %31s %*s %511s", type, options) != 2)
        return false;
    return *controller ? strcmp(type, "cgroup") == 0 && list_has_word(options, controller)
                       : strcmp(type, "cgroup2") == 0;
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

/* Finds the group's path in the hierarchy: cgroups(7), "number:controllers:path". */
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
        found = (*controller ? list_has_word(list + 1, controller) : strncmp(line, "0:", 3) == 0) &&
                (size_t)snprintf(group, size, "%s", at) < size;
    }
    if (file)
        fclose(file);
    return found;
}

/* The path of a group below the mounted root.  A group outside of that root cannot be seen, but the root can, and
 * stands for the group: so it is in a container that was given only its own group. */
static const char *path_below_mount(const char *mounted, const char *group)
{
    size_t length = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);

    if (strncmp(group, mounted, length) != 0 || (group[length] != '/' && group[length] != 0) || strstr(group, "/.."))
        return "";
    return group + length;
}

/* ---- What a group may use -------------------------------------------------------------------- */

/* Reads the limit of the group in that directory; false when the group has none. */
typedef bool (*limit_reader)(const char *directory, double *limit);

/* Parses a whole number above 0, as the kernel writes it, which ends at a blank or at the end of the text. */
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

/* Reads cpu.max: "200000 100000" means 200000 microseconds in each 100000; "max 100000" means no limit. */
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

/* Reads the two files of version 1; a quota of -1 means no limit. */
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

/* A limit of about 2^63 means that there is none. */
static bool quota_read_memory_1(const char *directory, double *limit)
{
    return read_positive(directory, "memory.limit_in_bytes", limit) && *limit < 0x1p62;
}

/* What a group may take beyond what it has, without the files that the kernel would drop; 1 when that is nothing. */
static double unused_of(double limit, double used, const char *directory, const char *key)
{
    char path[8400];
    uint64_t dropped = 0;

    snprintf(path, sizeof path, "%s/memory.stat", directory);
    (void)limit_read_number(path, key, &dropped);
    used -= (double)dropped;
    return limit > used + 1 ? limit - used : 1;
}

static bool read_spare_2(const char *directory, double *spare)
{
    double limit, used;

    if (!quota_read_memory_2(directory, &limit) || !read_positive(directory, "memory.current", &used))
        return false;
    *spare = unused_of(limit, used, directory, "inactive_file");
    return true;
}

static bool read_spare_1(const char *directory, double *spare)
{
    double limit, used;

    if (!quota_read_memory_1(directory, &limit) || !read_positive(directory, "memory.usage_in_bytes", &used))
        return false;
    *spare = unused_of(limit, used, directory, "total_inactive_file");
    return true;
}

/* The least of the group's own limit and of the limits of those groups around it that can be seen; 0 where there is
 * none. */
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
    strcpy(directory + top, path_below_mount(place.root, group));
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

static double lesser_limit(double a, double b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* On some systems one controller is in the hierarchy of version 2 and another is in one of version 1, so both are
 * asked. */
void quota_describe(os_machine *machine, const char *root)
{
    machine->quota = lesser_limit(least_limit(root, "", read_quota_2), least_limit(root, "cpu", read_quota_1));
    machine->memory_limit = (uint64_t)lesser_limit(least_limit(root, "", quota_read_memory_2),
                                                   least_limit(root, "memory", quota_read_memory_1));
}

uint64_t quota_spare(const char *root)
{
    double spare = lesser_limit(least_limit(root, "", read_spare_2), least_limit(root, "memory", read_spare_1));

    return spare > 0 ? (uint64_t)spare : UINT64_MAX;
}
