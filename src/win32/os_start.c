/* Starting children: CreateProcessW of the running image. */
#include "base/error.h"
#define _CRT_RAND_S
#include "os_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PROC_THREAD_ATTRIBUTE_JOB_LIST
#define PROC_THREAD_ATTRIBUTE_JOB_LIST 0x0002000D
#endif

/* What a child is made with: handles that are inheritable, each made for this child alone and closed once it runs.
 * Only children whose creator names no handles in a list could inherit one meanwhile; ours all have such a list. */
enum { GIVEN_STDIN, GIVEN_STDOUT, GIVEN_STDERR, GIVEN_CHANNEL, GIVEN_BOX, GIVEN_INPUT, GIVEN_DUMP, GIVEN };

/* ---- Handles --------------------------------------------------------------------------------- */

static int give_copy(HANDLE own, HANDLE *given)
{
    HANDLE self = GetCurrentProcess();

    return DuplicateHandle(self, own, self, given, 0, TRUE, DUPLICATE_SAME_ACCESS)
               ? 0
               : os_error(GetLastError(), "DuplicateHandle");
}

static int give_null(int number, HANDLE *given)
{
    SECURITY_ATTRIBUTES inheritable = {sizeof inheritable, NULL, TRUE};
    DWORD access = number == 0 ? GENERIC_READ : GENERIC_WRITE | FILE_READ_ATTRIBUTES;
    HANDLE null = CreateFileW(L"NUL", access, FILE_SHARE_READ | FILE_SHARE_WRITE, &inheritable, OPEN_EXISTING, 0, NULL);

    if (null == INVALID_HANDLE_VALUE)
        return os_error(GetLastError(), "CreateFileW of NUL");
    *given = null;
    return 0;
}

/* Programs without a console, and those that closed a standard stream, have no handle or a stale one. */
static int give_own_stdio(int number, HANDLE *given)
{
    static const DWORD names[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    HANDLE own = GetStdHandle(names[number]);

    if (!own || own == INVALID_HANDLE_VALUE || give_copy(own, given) < 0)
        return give_null(number, given);
    return 0;
}

/* A file for standard input, or to append to. */
static int give_file(const char *path, int number, HANDLE *given)
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
        *given = file;
    free(wide);
    return rc;
}

/* Output and error may go to the same file. */
static int give_file_once(const os_start *start, int number, HANDLE given[3])
{
    if (number != 2 || start->stdio[1] != XF_STDIO_FILE || strcmp(start->stdio_path[1], start->stdio_path[2]) != 0)
        return give_file(start->stdio_path[number], number, &given[number]);
    return give_copy(given[1], &given[2]);
}

static int open_stdio(os_child *child, xf_stdio kind, int number, HANDLE *given)
{
    HANDLE ours;
    int rc;

    if (kind == XF_STDIO_INHERIT)
        return give_own_stdio(number, given);
    if (kind != XF_STDIO_CAPTURE)
        return give_null(number, given);
    rc = pipe_open(false, &ours, given);
    return rc < 0 ? rc : stream_open(&child->stream[number], ours);
}

/* Opens the channel and puts the greeting into it, where it waits for the child. */
static int open_channel(os_child *child, const os_start *start, HANDLE *given)
{
    HANDLE ours;
    DWORD count;
    int rc = pipe_open(true, &ours, given);

    if (rc == 0)
        rc = stream_open(&child->stream[OS_CHANNEL], ours);
    if (rc < 0)
        return rc;
    child->outbox.event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!child->outbox.event)
        return os_error(GetLastError(), "CreateEventW");
    child->outbox.io = overlapped(child->outbox.event);
    if (start->greeting_size == 0 ||
        WriteFile(ours, start->greeting, (DWORD)start->greeting_size, NULL, &child->outbox.io))
        return 0;
    rc = os_error(GetLastError(), "WriteFile of the greeting");
    CancelIoEx(ours, &child->outbox.io);
    GetOverlappedResult(ours, &child->outbox.io, &count, TRUE);
    return rc;
}

/* What a child that crashes sets, to have a minidump written. */
static int give_dump_event(os_child *child, HANDLE *given)
{
    int rc;

    child->dump_asked = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!child->dump_asked)
        return os_error(GetLastError(), "CreateEventW");
    rc = give_copy(child->dump_asked, given);
    child->note->dump_event = (uintptr_t)*given;
    return rc;
}

static int open_given(os_child *child, const os_start *start, HANDLE given[GIVEN])
{
    int rc = open_channel(child, start, &given[GIVEN_CHANNEL]);

    for (int i = 0; i < 3 && rc == 0; i++)
        rc = start->stdio[i] == XF_STDIO_FILE ? give_file_once(start, i, &given[GIVEN_STDIN])
                                              : open_stdio(child, start->stdio[i], i, &given[GIVEN_STDIN + i]);
    if (rc == 0)
        rc = give_copy((HANDLE)start->box->handle, &given[GIVEN_BOX]);
    if (rc == 0 && start->input)
        rc = give_copy((HANDLE)start->input->handle, &given[GIVEN_INPUT]);
    if (rc == 0 && child->note->dump_at)
        rc = give_dump_event(child, &given[GIVEN_DUMP]);
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

/* ---- The process ----------------------------------------------------------------------------- */

/* What CreateProcessW wants in writing. */
typedef struct launch_text {
    wchar_t *image;
    wchar_t *command;
    wchar_t *environment;
    wchar_t *directory; /* NULL: this process's own */
} launch_text;

static int write_command(launch_text *launch, const os_child *child, const os_start *start, const HANDLE given[GIVEN])
{
    size_t size = wcslen(launch->image) + 200;

    launch->command = malloc(size * sizeof *launch->command);
    if (!launch->command)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    swprintf(launch->command, size, L"\"%ls\" %hs%llx,%llx,%llx,%llx,%x,%llx,%llx,%x", launch->image, CHILD_ARGUMENT,
             (unsigned long long)child->note->nonce, (unsigned long long)(uintptr_t)given[GIVEN_CHANNEL],
             (unsigned long long)(uintptr_t)given[GIVEN_BOX], (unsigned long long)start->box->size, start->box->flags,
             (unsigned long long)(uintptr_t)given[GIVEN_INPUT],
             (unsigned long long)(start->input ? start->input->size : 0), start->input ? start->input->flags : 0);
    return 0;
}

static int write_launch(launch_text *launch, const os_child *child, const os_start *start, const HANDLE given[GIVEN])
{
    int rc = running_image(&launch->image);

    if (rc == 0)
        rc = write_command(launch, child, start, given);
    if (rc == 0)
        rc = merge_environment(start->environment, &launch->environment);
    if (rc == 0 && start->directory)
        rc = wide_directory(start->directory, &launch->directory);
    return rc;
}

static void free_launch(launch_text *launch)
{
    free(launch->image);
    free(launch->command);
    free(launch->environment);
    free(launch->directory);
}

/* The list of what the child inherits, in memory of the caller's, and the job that it is in from its first instruction
 * on. */
static int open_attributes(LPPROC_THREAD_ATTRIBUTE_LIST *out, HANDLE *job, const HANDLE given[GIVEN],
                           HANDLE list_of[GIVEN])
{
    size_t size = 0, count = 0;
    LPPROC_THREAD_ATTRIBUTE_LIST list;
    int rc;

    for (int i = 0; i < GIVEN; i++)
        if (given[i])
            list_of[count++] = given[i];
    InitializeProcThreadAttributeList(NULL, 2, 0, &size);
    list = malloc(size);
    if (!list)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    if (!InitializeProcThreadAttributeList(list, 2, 0, &size)) {
        rc = os_error(GetLastError(), "InitializeProcThreadAttributeList");
        goto free_list;
    }
    if (!UpdateProcThreadAttribute(list, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, list_of, count * sizeof *list_of, NULL,
                                   NULL) ||
        !UpdateProcThreadAttribute(list, 0, PROC_THREAD_ATTRIBUTE_JOB_LIST, job, sizeof *job, NULL, NULL)) {
        rc = os_error(GetLastError(), "UpdateProcThreadAttribute");
        goto delete_list;
    }
    *out = list;
    return 0;

delete_list:
    DeleteProcThreadAttributeList(list);
free_list:
    free(list);
    return rc;
}

/* A child of a program without a console would get a console of its own, with a window. */
static DWORD console_flag(void)
{
    return GetConsoleCP() == 0 ? DETACHED_PROCESS : 0;
}

static int create_process(os_child *child, const launch_text *launch, HANDLE given[GIVEN])
{
    STARTUPINFOEXW startup = {.StartupInfo = {.cb = sizeof startup,
                                              .dwFlags = STARTF_USESTDHANDLES,
                                              .hStdInput = given[GIVEN_STDIN],
                                              .hStdOutput = given[GIVEN_STDOUT],
                                              .hStdError = given[GIVEN_STDERR]}};
    HANDLE list_of[GIVEN]; /* the attributes refer to it */
    PROCESS_INFORMATION made;
    int rc = open_attributes(&startup.lpAttributeList, &child->job, given, list_of);

    if (rc < 0)
        return rc;
    if (CreateProcessW(launch->image, launch->command, NULL, NULL, TRUE,
                       EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT | CREATE_NEW_PROCESS_GROUP |
                           console_flag(),
                       launch->environment, launch->directory, &startup.StartupInfo, &made)) {
        CloseHandle(made.hThread);
        child->process = made.hProcess;
        child->pid = made.dwProcessId;
    } else {
        rc = os_error(GetLastError(), "CreateProcessW");
    }
    DeleteProcThreadAttributeList(startup.lpAttributeList);
    free(startup.lpAttributeList);
    return rc;
}

static int start_process(os_child *child, const os_start *start, HANDLE given[GIVEN])
{
    launch_text launch = {0};
    int rc = write_launch(&launch, child, start, given);

    if (rc == 0)
        rc = create_process(child, &launch, given);
    free_launch(&launch);
    return rc;
}

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
    HANDLE given[GIVEN] = {0};
    os_child *child;
    int rc;

    assert(start->greeting_size <= OS_GREETING_MAX);
    if (start->method == OS_FORK)
        return error_detail(XF_ENOTSUP, "Windows has no fork");
    child = calloc(1, sizeof *child);
    if (!child)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "calloc");
    child->note = start->box->address;
    if (start->limits)
        child->limits = *start->limits;
    child->note->limits = child->limits;
    rc = make_nonce(&child->note->nonce);
    if (rc == 0)
        rc = open_job(child);
    if (rc == 0)
        rc = open_given(child, start, given);
    if (rc == 0)
        rc = start_process(child, start, given);
    for (int i = 0; i < GIVEN; i++)
        handle_close(&given[i]);
    if (rc < 0)
        child_free(child);
    else
        *out = child;
    return rc;
}
