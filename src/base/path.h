/* Paths, of either system. */
#ifndef PATH_H
#define PATH_H

/* The last part of a path. */
static inline const char *path_base(const char *path)
{
    const char *base = path;

    for (; *path; path++)
        if (*path == '/' || *path == '\\')
            base = path + 1;
    return base;
}

#endif
