#include "process/replay_file.h"

#include "base/error.h"
#include "os/machine.h"
#include "process/task_file_name.h"
#include "protocol/frame.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* The file begins with magic, version, zero, its size and the checksum of all that follows; then come build, kind,
 * code and system. */
enum { VERSION = 1, CHECKED_FROM = 32, BUILD_AT = CHECKED_FROM, STATUS_AT = BUILD_AT + OS_BUILD_ID_SIZE, BODY_AT = 72 };

_Static_assert(STATUS_AT + 16 + 4 == BODY_AT, "the body begins behind the status and 4 zero bytes");

static const char magic[8] = {'X', 'F', 'R', 'E', 'P', 'L', 'A', 'Y'};

bool replay_file_is_wanted(xf_end kind)
{
    switch (kind) {
    case XF_END_FAILED:
    case XF_END_EXITED:
    case XF_END_CRASHED:
    case XF_END_KILLED:
    case XF_END_PROTOCOL_ERROR:
    case XF_END_TIMED_OUT:
    case XF_END_MEMORY_LIMIT:
    case XF_END_CPU_LIMIT:
    case XF_END_OUT_OF_MEMORY:
        return true;
    default:
        return false;
    }
}

static uint64_t little_endian(const uint8_t *bytes)
{
    uint64_t word = 0;

    for (int i = 7; i >= 0; i--)
        word = word << 8 | bytes[i];
    return word;
}

/* FNV-1a, by words of 8 bytes because an input may be large, and by bytes at the end. */
static uint64_t checksum(const uint8_t *bytes, size_t size)
{
    uint64_t sum = 0xCBF29CE484222325U;
    size_t at = 0;

    for (; at + 8 <= size; at += 8) {
        sum = (sum ^ little_endian(bytes + at)) * 0x100000001B3U;
        sum ^= sum >> 29; /* otherwise the high bits of a word would change high bits only */
    }
    for (; at < size; at++)
        sum = (sum ^ bytes[at]) * 0x100000001B3U;
    return sum;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

static int put_number(xf_writer *file, uint64_t value)
{
    frame_fields field = {.size = 0};

    frame_put_u64(&field, value);
    return xf_writer_put(file, field.bytes, field.size);
}

static int put_replay_bytes(xf_writer *file, const void *bytes, size_t size)
{
    int rc = put_number(file, size);

    return rc < 0 ? rc : xf_writer_put(file, bytes, size);
}

/* With its terminating 0. */
static int put_replay_text(xf_writer *file, const char *text)
{
    return put_replay_bytes(file, text, strlen(text) + 1);
}

/* The directory as a path that does not depend on where this process is. */
static int put_directory(xf_writer *file, const char *directory)
{
    char path[4096];
    uv_fs_t request;
    size_t size = sizeof path;
    int rc;

    if (!directory)
        return put_replay_text(file, uv_cwd(path, &size) == 0 ? path : "");
    rc = uv_fs_realpath(NULL, &request, directory, NULL);
    rc = put_replay_text(file, rc == 0 ? request.ptr : directory);
    uv_fs_req_cleanup(&request);
    return rc;
}

static int put_environment(xf_writer *file, const char *const *environment)
{
    uint64_t count = 0;
    int rc;

    while (environment && environment[count])
        count++;
    rc = put_number(file, count);
    for (uint64_t i = 0; i < count && rc == 0; i++)
        rc = put_replay_text(file, environment[i]);
    return rc;
}

int replay_file_encode(xf_writer *file, const replay_case *what)
{
    static const uint8_t nothing[BODY_AT];
    int rc = xf_writer_put(file, nothing, BODY_AT);

    if (rc == 0)
        rc = put_number(file, what->declared_input);
    if (rc == 0)
        rc = put_number(file, what->declared_output);
    if (rc == 0)
        rc = put_number(file, what->item);
    if (rc == 0)
        rc = put_replay_text(file, what->task);
    if (rc == 0)
        rc = put_directory(file, what->directory);
    if (rc == 0)
        rc = put_environment(file, what->environment);
    if (rc == 0)
        rc = put_replay_text(file, what->initializer);
    if (rc == 0)
        rc = put_replay_bytes(file, what->initializer_input, what->initializer_size);
    return rc < 0 ? rc : put_replay_bytes(file, what->input, what->size);
}

void replay_file_seal(xf_writer *file, xf_status status)
{
    frame_fields head = {.size = 0}, facts = {.size = 0};
    uint8_t build[OS_BUILD_ID_SIZE];

    os_self_build(build);
    frame_put(&facts, build, sizeof build);
    frame_put_u32(&facts, (uint32_t)status.kind);
    frame_put_u32(&facts, (uint32_t)status.code);
    frame_put_u64(&facts, (uint64_t)status.system);
    memcpy(file->data + BUILD_AT, facts.bytes, facts.size);
    frame_put(&head, magic, sizeof magic);
    frame_put_u32(&head, VERSION);
    frame_put_u32(&head, 0);
    frame_put_u64(&head, file->size);
    frame_put_u64(&head, checksum((const uint8_t *)file->data + CHECKED_FROM, file->size - CHECKED_FROM));
    memcpy(file->data, head.bytes, head.size);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static int open_replay_file(const char *path, int flags)
{
    uv_fs_t request;
    int fd = uv_fs_open(NULL, &request, path, flags, 0666, NULL);

    uv_fs_req_cleanup(&request);
    return fd;
}

static int close_replay_file(int fd)
{
    uv_fs_t request;
    int rc = uv_fs_close(NULL, &request, fd, NULL);

    uv_fs_req_cleanup(&request);
    return rc;
}

/* Makes a file whose name nobody can foresee: somebody who may write to the directory could have put a link there,
 * which leads to a file of this user's.
 *   temporary  Set to its path, freed by the caller also on failure. */
static int open_temporary(const char *path, char **temporary)
{
    unsigned long long number;
    size_t size = strlen(path) + 32;
    int rc = uv_random(NULL, NULL, &number, sizeof number, 0, NULL);

    *temporary = malloc(size);
    if (!*temporary)
        return UV_ENOMEM;
    snprintf(*temporary, size, "%s.%016llx.tmp", path, number);
    return rc < 0 ? rc : open_replay_file(*temporary, UV_FS_O_WRONLY | UV_FS_O_CREAT | UV_FS_O_EXCL);
}

static void remove_file(const char *path)
{
    uv_fs_t request;

    uv_fs_unlink(NULL, &request, path, NULL);
    uv_fs_req_cleanup(&request);
}

static int write_replay_bytes(int fd, char *data, size_t size)
{
    enum { PART = 1 << 30 };
    uv_fs_t request;

    while (size > 0) {
        uv_buf_t part = uv_buf_init(data, size < PART ? (unsigned)size : PART);
        int count = uv_fs_write(NULL, &request, fd, &part, 1, -1, NULL);
        uv_fs_req_cleanup(&request);
        if (count <= 0)
            return count < 0 ? count : UV_EIO;
        data += count;
        size -= (size_t)count;
    }
    return 0;
}

/* Writes under another name first, so that a file of the final name is complete.  A link that has the final name by
 * then is replaced, and not followed. */
static int write_replay_file(const xf_writer *file, const char *path)
{
    uv_fs_t request;
    char *temporary;
    int fd, rc = os_self_check_file_size(file->size), closed;

    if (rc < 0)
        return rc;
    fd = open_temporary(path, &temporary);
    rc = fd < 0 ? fd : write_replay_bytes(fd, file->data, file->size);
    closed = fd < 0 ? 0 : close_replay_file(fd);
    if (rc == 0)
        rc = closed;
    if (rc == 0) {
        rc = uv_fs_rename(NULL, &request, temporary, path, NULL);
        uv_fs_req_cleanup(&request);
    }
    if (rc < 0 && fd >= 0)
        remove_file(temporary);
    if (rc < 0)
        rc = error_from_uv(rc, "%s", path);
    free(temporary);
    return rc;
}

/* Also a link that leads nowhere. */
static bool file_exists(const char *path)
{
    uv_fs_t request;
    int rc = uv_fs_lstat(NULL, &request, path, NULL);

    uv_fs_req_cleanup(&request);
    return rc == 0;
}

/* DIRECTORY/crossfork-TASK-PID-N.replay, with the id of this process and a number that counts up. */
static char *make_path(const char *directory, const char *task, unsigned number)
{
    char name[TASK_FILE_NAME_SIZE];
    size_t size = strlen(directory) + sizeof name + 64;
    char *path = malloc(size);

    task_file_name(name, task);
    if (path)
        snprintf(path, size, "%s/crossfork-%s-%d-%u.replay", directory, name, (int)uv_os_getpid(), number);
    return path;
}

int replay_file_save(xf_writer *file, const char *directory, const char *task, xf_status status, char **path)
{
    static _Atomic unsigned saved, number;
    int rc;

    if (atomic_fetch_add(&saved, 1) >= REPLAY_MOST)
        return error_detail(XF_ELIMIT, "%d files were saved already", REPLAY_MOST);
    replay_file_seal(file, status);
    *path = make_path(directory, task, atomic_fetch_add(&number, 1) + 1);
    while (*path && file_exists(*path)) {
        free(*path);
        *path = make_path(directory, task, atomic_fetch_add(&number, 1) + 1);
    }
    if (!*path)
        return error_detail(XF_ENOMEM, "a path");
    rc = write_replay_file(file, *path);
    if (rc < 0) {
        atomic_fetch_sub(&saved, 1);
        free(*path);
        *path = NULL;
    }
    return rc;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static int read_replay_file(int fd, const char *path, uint8_t **bytes, size_t *size)
{
    uv_fs_t request;
    size_t room;
    int rc = uv_fs_fstat(NULL, &request, fd, NULL);

    room = rc < 0 ? 0 : (size_t)request.statbuf.st_size;
    uv_fs_req_cleanup(&request);
    if (rc < 0)
        return error_from_uv(rc, "%s", path);
    *bytes = malloc(room + 1);
    if (!*bytes)
        return error_detail(XF_ENOMEM, "%s: %zu bytes", path, room);
    for (*size = 0; *size < room; *size += (size_t)rc) {
        size_t left = room - *size;
        uv_buf_t part = uv_buf_init((char *)*bytes + *size, left < 1 << 30 ? (unsigned)left : 1U << 30);
        rc = uv_fs_read(NULL, &request, fd, &part, 1, -1, NULL);
        uv_fs_req_cleanup(&request);
        if (rc < 0)
            return error_from_uv(rc, "%s", path);
        if (rc == 0)
            break;
    }
    return 0;
}

static const void *get_replay_bytes(frame_reader *reader, size_t *size)
{
    uint64_t wanted = frame_get_u64(reader);
    const void *bytes = reader->at;

    if (reader->bad || wanted > reader->left) {
        reader->bad = true;
        reader->left = 0;
        wanted = 0;
    }
    reader->at += wanted;
    reader->left -= (size_t)wanted;
    *size = (size_t)wanted;
    return bytes;
}

static const char *get_replay_text(frame_reader *reader)
{
    size_t size;
    const char *text = get_replay_bytes(reader, &size);

    if (size > 0 && memchr(text, 0, size) == text + size - 1)
        return text;
    reader->bad = true;
    return "";
}

static int get_environment(frame_reader *reader, replay_file *file)
{
    uint64_t count = frame_get_u64(reader);

    if (reader->bad || count > reader->left / 9) { /* a text has at least 9 bytes */
        reader->bad = true;
        return 0;
    }
    file->environment = calloc((size_t)count + 1, sizeof *file->environment);
    if (!file->environment)
        return error_detail(XF_ENOMEM, "%llu variables", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++)
        file->environment[i] = get_replay_text(reader);
    file->what.environment = file->environment;
    return 0;
}

static int decode_replay_file(replay_file *file, frame_reader *reader, const char *path)
{
    replay_case *what = &file->what;
    uint8_t unused[4];
    int rc;

    frame_get(reader, file->build, sizeof file->build);
    file->status.kind = (xf_end)frame_get_u32(reader);
    file->status.code = (int)frame_get_u32(reader);
    file->status.system = (int64_t)frame_get_u64(reader);
    frame_get(reader, unused, sizeof unused);
    what->declared_input = frame_get_u64(reader);
    what->declared_output = frame_get_u64(reader);
    what->item = frame_get_u64(reader);
    what->task = get_replay_text(reader);
    what->directory = get_replay_text(reader);
    rc = get_environment(reader, file);
    what->initializer = get_replay_text(reader);
    what->initializer_input = get_replay_bytes(reader, &what->initializer_size);
    what->input = get_replay_bytes(reader, &what->size);
    if (rc == 0 && (reader->bad || reader->left))
        rc = error_detail(XF_EPROTO, "%s: its parts do not fit together", path);
    return rc;
}

int replay_file_check(replay_file *file, size_t size, const char *path)
{
    frame_reader reader = {.at = file->bytes, .left = size};
    char begin[sizeof magic];
    uint32_t version, zero;
    uint64_t whole, sum;

    frame_get(&reader, begin, sizeof begin);
    version = frame_get_u32(&reader);
    zero = frame_get_u32(&reader);
    whole = frame_get_u64(&reader);
    sum = frame_get_u64(&reader);
    if (reader.bad || memcmp(begin, magic, sizeof magic) != 0)
        return error_detail(XF_EPROTO, "%s: this is not a replay file", path);
    if (version != VERSION || zero != 0)
        return error_detail(XF_EPROTO, "%s: its format is version %u, not %d", path, (unsigned)version, VERSION);
    if (whole != size)
        return error_detail(XF_EPROTO, "%s: it has %zu bytes of %llu", path, size, (unsigned long long)whole);
    if (sum != checksum(reader.at, reader.left))
        return error_detail(XF_EPROTO, "%s: it is damaged: the checksum differs", path);
    return decode_replay_file(file, &reader, path);
}

int replay_file_open(replay_file *file, const char *path)
{
    size_t size = 0;
    int rc, fd = open_replay_file(path, UV_FS_O_RDONLY);

    *file = (replay_file){0};
    if (fd < 0)
        return error_from_uv(fd, "%s", path);
    rc = read_replay_file(fd, path, &file->bytes, &size);
    close_replay_file(fd);
    if (rc == 0)
        rc = replay_file_check(file, size, path);
    if (rc < 0)
        replay_file_close(file);
    return rc;
}

void replay_file_close(replay_file *file)
{
    free(file->environment);
    free(file->bytes);
    *file = (replay_file){0};
}
