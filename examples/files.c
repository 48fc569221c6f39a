#include "files.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static int add(files *files, const char *directory, const char *name)
{
    size_t size = strlen(directory) + strlen(name) + 2, room = 2 * files->room + 64;
    char *path, **grown;

    if (files->count == files->room) {
        grown = realloc(files->paths, room * sizeof *grown);
        if (!grown)
            return UV_ENOMEM;
        files->paths = grown;
        files->room = room;
    }
    path = malloc(size);
    if (!path)
        return UV_ENOMEM;
    snprintf(path, size, "%s%s%s", directory, *directory ? "/" : "", name);
    files->paths[files->count++] = path;
    return 0;
}

static int compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

int files_list(files *files, const char *path)
{
    size_t first = files->count;
    uv_fs_t request;
    uv_dirent_t entry;
    int rc = uv_fs_scandir(NULL, &request, path, 0, NULL);

    if (rc == UV_ENOTDIR || rc == UV_ENOENT) {
        rc = add(files, "", path);
    } else if (rc >= 0) {
        rc = 0;
        while (rc == 0 && uv_fs_scandir_next(&request, &entry) == 0)
            if (entry.type == UV_DIRENT_FILE)
                rc = add(files, path, entry.name);
    }
    uv_fs_req_cleanup(&request);
    if (files->count > first)
        qsort(files->paths + first, files->count - first, sizeof *files->paths, compare);
    return rc;
}

void files_free(files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->paths[i]);
    free(files->paths);
}

static int64_t size_of(uv_file file)
{
    uv_fs_t request;
    int64_t size = uv_fs_fstat(NULL, &request, file, NULL);

    if (size == 0)
        size = (int64_t)request.statbuf.st_size;
    uv_fs_req_cleanup(&request);
    return size < INT32_MAX ? size : UV_EFBIG;
}

/* Reads up to size bytes, which is fewer when the file has shrunk.  Returns how many, or libuv's error. */
static int64_t read_all(uv_file file, char *text, int64_t size)
{
    int64_t done = 0, count;
    uv_fs_t request;

    do {
        uv_buf_t buffer = uv_buf_init(text + done, (unsigned)(size - done));
        count = uv_fs_read(NULL, &request, file, &buffer, 1, done, NULL);
        uv_fs_req_cleanup(&request);
        done += count > 0 ? count : 0;
    } while (count > 0 && done < size);
    return count < 0 ? count : done;
}

int file_read(const char *path, char **text, size_t *size)
{
    uv_fs_t request;
    uv_file file = uv_fs_open(NULL, &request, path, UV_FS_O_RDONLY, 0, NULL);
    char *room = NULL;
    int64_t count;

    uv_fs_req_cleanup(&request);
    if (file < 0)
        return file;
    count = size_of(file);
    if (count >= 0) {
        room = malloc((size_t)count + 1);
        count = room ? read_all(file, room, count) : UV_ENOMEM;
    }
    uv_fs_close(NULL, &request, file, NULL);
    uv_fs_req_cleanup(&request);
    if (count < 0) {
        free(room);
        return (int)count;
    }
    *text = room;
    *size = (size_t)count;
    return 0;
}

const char *file_error(int error)
{
    return uv_strerror(error);
}
