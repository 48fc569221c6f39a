/* Files that a test writes: in a directory of its own, which setup and teardown of its group make and remove. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include "unit.h"

#include <stdint.h>
#include <stdio.h>
#include <uv.h>

static char scratch[1024]; /* the directory */

static inline int make_scratch(void **state)
{
    char parent[800];
    size_t size = sizeof parent;
    uv_fs_t made;

    (void)state;
    assert_int_equal(uv_os_tmpdir(parent, &size), 0);
    snprintf(scratch, sizeof scratch, "%s/crossfork-XXXXXX", parent);
    assert_int_equal(uv_fs_mkdtemp(NULL, &made, scratch, NULL), 0);
    snprintf(scratch, sizeof scratch, "%s", made.path);
    uv_fs_req_cleanup(&made);
    return 0;
}

static inline int remove_scratch(void **state)
{
    uv_fs_t removed;

    (void)state;
    assert_int_equal(uv_fs_rmdir(NULL, &removed, scratch, NULL), 0);
    uv_fs_req_cleanup(&removed);
    return 0;
}

/* The path is UTF-8, as libuv takes it on every system. */
static inline void write_file(const char *path, const char *bytes, size_t size)
{
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)size);
    uv_fs_t request;
    uv_file file;

    file = uv_fs_open(NULL, &request, path, UV_FS_O_WRONLY | UV_FS_O_CREAT | UV_FS_O_TRUNC, 0600, NULL);
    assert_true(file >= 0);
    uv_fs_req_cleanup(&request);
    assert_int_equal(uv_fs_write(NULL, &request, file, &buffer, 1, 0, NULL), size);
    uv_fs_req_cleanup(&request);
    assert_int_equal(uv_fs_close(NULL, &request, file, NULL), 0);
    uv_fs_req_cleanup(&request);
}

#endif
