#define XXH_INLINE_ALL
#include "hash.h"

#include <string.h>
#include <sys/stat.h>
#include <uv.h>
#include <xxhash.h>

/* Files are read, not mapped: one that shrinks meanwhile would be a fault. */
enum { BLOCK = 256 * 1024 };

/* A child's own, for all the files that it hashes one after the other. */
static char block[BLOCK];
static char *crash_on;

/* Looks again at what has been opened, for it may not be what was listed. */
static int check_regular(uv_file handle)
{
    uv_fs_t request;
    int rc = uv_fs_fstat(NULL, &request, handle, NULL);

    if (rc == 0 && !S_ISREG(request.statbuf.st_mode))
        rc = UV_EFTYPE;
    uv_fs_req_cleanup(&request);
    return rc;
}

static int hash_contents(uv_file handle, hash_result *result)
{
    uv_buf_t buffer = uv_buf_init(block, BLOCK);
    XXH64_state_t state;
    uv_fs_t request;
    int count;

    XXH64_reset(&state, 0);
    do {
        count = uv_fs_read(NULL, &request, handle, &buffer, 1, -1, NULL);
        uv_fs_req_cleanup(&request);
        if (count > 0) {
            XXH64_update(&state, block, (size_t)count);
            result->bytes += (uint64_t)count;
        }
    } while (count > 0);
    result->hash = XXH64_digest(&state);
    return count;
}

/* A FIFO or a link that has taken the file's place meanwhile is neither waited for nor followed. */
static int hash_path(const char *path, hash_result *result)
{
    uv_fs_t request;
    uv_file handle = uv_fs_open(NULL, &request, path, UV_FS_O_RDONLY | UV_FS_O_NOFOLLOW | UV_FS_O_NONBLOCK, 0, NULL);
    int rc;

    uv_fs_req_cleanup(&request);
    if (handle < 0)
        return handle;
    rc = check_regular(handle);
    if (rc == 0)
        rc = hash_contents(handle, result);
    uv_fs_close(NULL, &request, handle, NULL);
    uv_fs_req_cleanup(&request);
    return rc;
}

/* The first page is never mapped.  Not address 0 itself: the undefined behaviour sanitizer would step in before the
 * processor does. */
static void crash(xf_call *call, const char *path)
{
    volatile uintptr_t nowhere = 64;

    xf_log(call, XF_LOG_WARNING, "writing through a null pointer at %s", path);
    *(volatile int *)nowhere = 1;
}

XF_ENTRY(choose_crashes)
{
    crash_on = strdup(xf_call_input(call, NULL));
    return crash_on ? 0 : XF_TASK_NO_MEMORY;
}

XF_ENTRY(hash_file)
{
    const char *path = xf_call_input(call, NULL);
    hash_result *result = xf_call_output(call, sizeof *result);

    if (!result)
        return XF_TASK_NO_MEMORY;
    if (*crash_on && strstr(path, crash_on))
        crash(call, path);
    result->error = hash_path(path, result);
    return 0;
}
