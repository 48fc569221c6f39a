/* Starting children: what they are made with, and their jobs. */
#include "base/error.h"
#define _CRT_RAND_S
#include "os_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- Handles --------------------------------------------------------------------------------- */

static int give_copy(HANDLE own, HANDLE *inherited)
{
    HANDLE self = GetCurrentProcess();

    return DuplicateHandle(self, own, self, inherited, 0, TRUE, DUPLICATE_SAME_ACCESS)
               ? 0
               : os_error(GetLastError(), "DuplicateHandle");
}

static int give_null(int number, HANDLE *inherited)
{
    SECURITY_ATTRIBUTES inheritable = {sizeof inheritable, NULL, TRUE};
    DWORD access = number == 0 ? GENERIC_READ : GENERIC_WRITE | FILE_READ_ATTRIBUTES;
    HANDLE null = CreateFileW(L"NUL", access, FILE_SHARE_READ | FILE_SHARE_WRITE, &inheritable, OPEN_EXISTING, 0, NULL);

    if (null == INVALID_HANDLE_VALUE)
        return os_error(GetLastError(), "CreateFileW of NUL");
    *inherited = null;
    return 0;
}

/* Programs without a console, and those that closed a standard stream, have no handle or a stale one. */
static int give_own_stdio(int number, HANDLE *inherited)
{
    static const DWORD names[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    HANDLE own = GetStdHandle(names[number]);

    if (!own || own == INVALID_HANDLE_VALUE || give_copy(own, inherited) < 0)
        return give_null(number, inherited);
    return 0;
}

/* A file for standard input, or to append to. */
static int give_file(const char *path, int number, HANDLE *inherited)
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

/* Output and error may go to the same file. */
static int give_file_once(const os_start *start, int number, HANDLE inherited[3])
{
    if (number != 2 || !twins_share_output(start))
        return give_file(start->stdio_path[number], number, &inherited[number]);
    return give_copy(inherited[1], &inherited[2]);
}

static int open_stdio(os_child *child, xf_stdio kind, int number, HANDLE *inherited)
{
    HANDLE ours;
    int rc;

    if (kind == XF_STDIO_INHERIT)
        return give_own_stdio(number, inherited);
    if (kind != XF_STDIO_CAPTURE)
        return give_null(number, inherited);
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

/* What a child that crashes sets, to have a minidump written. */
static int give_dump_event(os_child *child, HANDLE *inherited)
{
    int rc;

    child->dump_asked = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!child->dump_asked)
        return os_error(GetLastError(), "CreateEventW");
    rc = give_copy(child->dump_asked, inherited);
    child->status->dump_event = (uintptr_t)*inherited;
    return rc;
}

static int open_inherited(os_child *child, const os_start *start, HANDLE inherited[INHERITED])
{
    int rc = open_channel(child, start, &inherited[INHERITED_CHANNEL]);

    for (int i = 0; i < 3 && rc == 0; i++)
        rc = start->stdio[i] == XF_STDIO_FILE ? give_file_once(start, i, &inherited[INHERITED_STDIN])
                                              : open_stdio(child, start->stdio[i], i, &inherited[INHERITED_STDIN + i]);
    if (rc == 0)
        rc = give_copy((HANDLE)start->box->handle, &inherited[INHERITED_BOX]);
    if (rc == 0 && start->input)
        rc = give_copy((HANDLE)start->input->handle, &inherited[INHERITED_INPUT]);
    if (rc == 0 && child->status->dump_at)
        rc = give_dump_event(child, &inherited[INHERITED_DUMP]);
    return rc;
}

/* ---- The job --------------------------------------------------------------------------------- */

/* The child and its descendants are in a job of their own, which nobody leaves.  This process has the only handle, so
 * the job and all in it end with this process.  No dialog is shown for a fault in it. */
static int open_job(os_child *child)
{
    child->job = CreateJobObjectW(NULL, NULL);
    if (!child->job)
        return os_error(GetLastError(), "CreateJobObjectW");
    return limit_job(child->job, &child->limits, &child->news);
}

/* ---- Starting -------------------------------------------------------------------------------- */

/* A child that was executed anew and finds another number here was not started by crossfork. */
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
