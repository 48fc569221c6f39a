/* Private files, which no other user can read. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool file_read_line(char *line, size_t size, const char *format, ...)
{
    char path[8300];
    va_list arguments;
    bool is_there;
    FILE *file;

    va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    file = fopen(path, "re");
    if (!file)
        return false;
    is_there = fgets(line, (int)size, file) != NULL;
    fclose(file);
    if (is_there)
        line[strcspn(line, "\n")] = 0;
    return is_there;
}

static int check_private(int fd, const char *path)
{
    struct stat facts;

    if (fstat(fd, &facts) < 0)
        return os_error(errno, path);
    if (!S_ISREG(facts.st_mode))
        return error_detail(XF_EINVAL, "%s is not a plain file", path);
    if (facts.st_uid != geteuid())
        return error_detail(XF_EACCESS, "%s belongs to another user", path);
    if (facts.st_mode & (S_IRWXG | S_IRWXO))
        return error_detail(XF_EACCESS, "%s is not private: its mode is %03o, and should be 600", path,
                            (unsigned)facts.st_mode & 0777);
    return 0;
}

static int read_whole(int fd, const char *path, char *room, size_t size, size_t *count)
{
    size_t have = 0;
    char more;

    for (;;) {
        ssize_t got = read(fd, have < size ? room + have : &more, have < size ? size - have : 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return os_error(errno, path);
        if (got > 0 && have == size)
            return error_detail(XF_ELIMIT, "%s has more than %zu bytes", path, size);
        if (got == 0)
            break;
        have += (size_t)got;
    }
    *count = have;
    return 0;
}

/* O_NONBLOCK keeps open() from waiting for a writer where the path is a fifo. */
int os_file_read_private(const char *path, void *room, size_t size, size_t *count)
{
    int rc, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return os_error(errno, path);
    rc = check_private(fd, path);
    if (rc == 0)
        rc = read_whole(fd, path, room, size, count);
    close(fd);
    return rc;
}
