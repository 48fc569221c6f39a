/* Starting children: their handles, and their jobs. */
#include "base/error.h"
#define _CRT_RAND_S
#include "os_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- Handles --------------------------------------------------------------------------------- */

static int copy_inheritable(HANDLE own, HANDLE *inherited)
{
    HANDLE self = GetCurrentProcess();

    return DuplicateHandle(self, own, self, inherited, 0, TRUE, DUPLICATE_SAME_ACCESS)
               ? 0
               : os_error(GetLastError(), "DuplicateHandle");
}

/* Copies a section's handle with the rights that a child may have. */
static int copy_section(const os_shm *shm, HANDLE *inherited)
{
    HANDLE self = GetCurrentProcess();
    bool owned = shm->flags & OS_SHM_OWNED;

    return DuplicateHandle(self, (HANDLE)shm->handle, self, inherited, owned ? SECTION_MAP_READ : 0, TRUE,
                           owned ? 0 : DUPLICATE_SAME_ACCESS)
               ? 0
               : os_error(GetLastError(), "DuplicateHandle");
}

static int open_null(int number, HANDLE *inherited)
{
    SECURITY_ATTRIBUTES inheritable = {sizeof inheritable, NULL, TRUE};
    DWORD access = number == 0 ? GENERIC_READ : GENERIC_WRITE | FILE_READ_ATTRIBUTES;
    HANDLE null = CreateFileW(L"NUL", access, FILE_SHARE_READ | FILE_SHARE_WRITE, &inheritable, OPEN_EXISTING, 0, NULL);

    if (null == INVALID_HANDLE_VALUE)
        return os_error(GetLastError(), "CreateFileW of NUL");
    *inherited = null;
    return 0;
}

/* Gives the child this process's own stream, or NUL when there is none: programs without a console, and those that
 * closed a standard stream, have no handle or a stale one. */
static int open_own_stdio(int number, HANDLE *inherited)
{
    static const DWORD names[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    HANDLE own = GetStdHandle(names[number]);

    if (!own || own == INVALID_HANDLE_VALUE || copy_inheritable(own, inherited) < 0)
        return open_null(number, inherited);
    return 0;
}

/* Opens a file to read from for standard input, or to append to for the other streams. */
static int open_file(const char *path, int number, HANDLE *inherited)
{
    SECURITY_ATTRIBUTES inheritable = {sizeof inheritable, NULL, TRUE};
    DWORD access = number == 0 ? GENERIC_READ : FILE_APPEND_DATA | FILE_READ_ATTRIBUTES | SYNCHRONIZE;
    HANDLE file;
    wchar_t *wide;
    int rc = wide_path(path, &wide);

    if (rc < 0)
        return rc;
    file = CreateFileW(wide, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, &inheritable,
                       number == 0 ? OPEN_EXISTING : OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE)
        rc = os_error(GetLastError(), path);
    else
        *inherited = file;
    free(wide);
    return rc;
}

/* Opens the file of a standard stream.  If output and error go to the same file, it is opened once for both. */
static int open_file_once(const os_start *start, int number, HANDLE inherited[3])
{
    if (number != 2 || !twins_share_output(start))
        return open_file(start->stdio_path[number], number, &inherited[number]);
    return copy_inheritable(inherited[1], &inherited[2]);
}

static int open_stdio(os_child *child, xf_stdio kind, int number, HANDLE *inherited)
{
    HANDLE ours;
    int rc;

    if (kind == XF_STDIO_INHERIT)
        return open_own_stdio(number, inherited);
    if (kind != XF_STDIO_CAPTURE)
        return open_null(number, inherited);
    rc = pipe_open(false, &ours, inherited);
    return rc < 0 ? rc : stream_open(&child->stream[number], ours, STREAM_OUTPUT);
}

/* Opens the channel and puts the first bytes into it, where they wait for the child. */
static int open_channel(os_child *child, const os_start *start, HANDLE *inherited)
{
    os_channel *channel = &child->stream[OS_CHANNEL];
    HANDLE ours;
    DWORD count;
    int rc = pipe_open(true, &ours, inherited);

    if (rc == 0)
        rc = stream_open(channel, ours, STREAM_TO_CHILD);
    if (rc < 0)
        return rc;
    channel->outbox.io = overlapped(channel->outbox.event);
    if (start->first_size == 0 || WriteFile(ours, start->first, (DWORD)start->first_size, NULL, &channel->outbox.io))
        return 0;
    rc = os_error(GetLastError(), "WriteFile of the first bytes");
    CancelIoEx(ours, &channel->outbox.io);
    GetOverlappedResult(ours, &channel->outbox.io, &count, TRUE);
    return rc;
}

/* Makes the event that a child sets when it crashes and waits for a minidump to be written. */
static int open_dump_event(os_child *child, HANDLE *inherited)
{
    int rc;

    child->dump_asked = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!child->dump_asked)
        return os_error(GetLastError(), "CreateEventW");
    rc = copy_inheritable(child->dump_asked, inherited);
    child->status->dump_event = (uintptr_t)*inherited;
    return rc;
}

static int open_inherited(os_child *child, const os_start *start, HANDLE inherited[INHERITED])
{
    int rc = open_channel(child, start, &inherited[INHERITED_CHANNEL]);

    for (int i = 0; i < 3 && rc == 0; i++)
        rc = start->stdio[i] == XF_STDIO_FILE ? open_file_once(start, i, &inherited[INHERITED_STDIN])
                                              : open_stdio(child, start->stdio[i], i, &inherited[INHERITED_STDIN + i]);
    if (rc == 0)
        rc = copy_section(start->box, &inherited[INHERITED_BOX]);
    for (int i = 0; i < OS_INPUTS && rc == 0; i++)
        if (start->inputs[i])
            rc = copy_section(start->inputs[i], &inherited[INHERITED_INPUT + i]);
    if (rc == 0 && child->status->dump_at)
        rc = open_dump_event(child, &inherited[INHERITED_DUMP]);
    return rc;
}

/* ---- The job --------------------------------------------------------------------------------- */

/* Makes a job for the child and its descendants, which none of them can leave.  Only this process has a handle of the
 * job, so the job and everything in it end with this process.  No dialog is shown for a fault in the job. */
static int open_job(os_child *child)
{
    child->job = CreateJobObjectW(NULL, NULL);
    if (!child->job)
        return os_error(GetLastError(), "CreateJobObjectW");
    return limit_job(child->job, &child->limits);
}

/* ---- Starting -------------------------------------------------------------------------------- */

/* Makes the number by which a child recognizes that crossfork started it: it finds the same number in its argument and
 * in its status block. */
static int make_nonce(uint64_t *nonce)
{
    unsigned half[2];

    if (rand_s(&half[0]) != 0 || rand_s(&half[1]) != 0)
        return error_detail(XF_ESYSTEM, "rand_s failed");
    *nonce = (uint64_t)half[0] << 32 | half[1];
    return 0;
}

int os_child_start(os_child **out, const os_start *start)
{
    HANDLE inherited[INHERITED] = {0};
    os_child *child;
    int rc;

    assert(start->first_size <= OS_FIRST_MAX);
    if (start->method == OS_FORK)
        return error_detail(XF_ENOTSUP, "Windows has no fork");
    child = calloc(1, sizeof *child);
    if (!child)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "calloc");
    child->status = start->box->address;
    if (child->status->record_at)
        child->record = (os_record_head *)((char *)child->status + child->status->record_at);
    if (start->limits)
        child->limits = *start->limits;
    child->status->limits = child->limits;
    rc = make_nonce(&child->status->nonce);
    if (rc == 0)
        rc = open_job(child);
    if (rc == 0)
        rc = open_inherited(child, start, inherited);
    if (rc == 0)
        rc = exec_again(child, start, inherited);
    for (int i = 0; i < INHERITED; i++)
        handle_close(&inherited[i]);
    if (rc < 0)
        child_free(child);
    else
        *out = child;
    return rc;
}
