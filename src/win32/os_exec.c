/* Executes the running image anew, with CreateProcessW. */
#include "base/error.h"
#include "os_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#ifndef PROC_THREAD_ATTRIBUTE_JOB_LIST
#define PROC_THREAD_ATTRIBUTE_JOB_LIST 0x0002000D
#endif

/* ---- Paths ----------------------------------------------------------------------------------- */

/* Whether the path has MAX_PATH characters or more, as it stands or with its short names replaced by the long ones. */
static bool is_long_path(const wchar_t *path)
{
    return wcslen(path) >= MAX_PATH || (wcschr(path, L'~') && GetLongPathNameW(path, NULL, 0) > MAX_PATH);
}

/* Puts a long path into the form in which Wine's CreateProcessW takes it: short names, behind the prefix for long
 * paths. */
static void fit_path(wchar_t *path)
{
    wchar_t brief[MAX_PATH];
    DWORD length;

    if (!is_long_path(path))
        return;
    length = GetShortPathNameW(path, brief, MAX_PATH);
    if (length > 0 && length < MAX_PATH)
        wcscpy(path, brief);
    path_add_prefix(path);
}

/* Finds the path of this process's image, of any length, in a form that CreateProcessW takes; the caller frees it. */
static int running_image(wchar_t **path)
{
    enum { LONGEST = 32768, PREFIX = 7 };
    wchar_t *image = malloc((LONGEST + PREFIX) * sizeof *image);
    DWORD length;
    int rc;

    if (!image)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    length = GetModuleFileNameW(NULL, image, LONGEST);
    if (length == 0 || length == LONGEST) {
        rc = os_error(GetLastError(), "GetModuleFileNameW");
        goto free_image;
    }
    fit_path(image);
    *path = image;
    return 0;

free_image:
    free(image);
    return rc;
}

/* Checks a directory, and makes its path; the caller frees it.  Returns XF_ENOENT, XF_ENOTDIR or XF_EACCESS;
 * CreateProcessW has one error for all of these. */
static int wide_directory(const char *directory, wchar_t **path)
{
    wchar_t *wide;
    DWORD attributes;
    int rc = wide_text(directory, &wide);

    if (rc < 0)
        return rc;
    attributes = GetFileAttributesW(wide);
    if (attributes == INVALID_FILE_ATTRIBUTES)
        rc = os_error(GetLastError(), directory);
    else if (!(attributes & FILE_ATTRIBUTE_DIRECTORY))
        rc = os_error(ERROR_DIRECTORY, directory);
    if (rc < 0)
        free(wide);
    else
        *path = wide;
    return rc;
}

/* ---- The process ----------------------------------------------------------------------------- */

/* The strings that CreateProcessW takes. */
typedef struct launch_text {
    wchar_t *image;
    wchar_t *command;
    wchar_t *environment;
    wchar_t *directory; /* NULL: this process's own */
} launch_text;

enum { SECTION_TEXT = 48 }; /* characters at most */

/* Appends handle, size and flags of a section, which may be NULL, as os_self.c reads them. */
static wchar_t *write_section(wchar_t *end, HANDLE handle, const os_shm *shm)
{
    return end + swprintf(end, SECTION_TEXT, L",%llx,%llx,%x", (unsigned long long)(uintptr_t)handle,
                          (unsigned long long)(shm ? shm->size : 0), shm ? shm->flags : 0);
}

static int write_command(launch_text *launch, const os_child *child, const os_start *start,
                         const HANDLE inherited[INHERITED])
{
    size_t size = wcslen(launch->image) + 300;
    wchar_t *end;

    launch->command = malloc(size * sizeof *launch->command);
    if (!launch->command)
        return os_error(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    swprintf(launch->command, size, L"\"%ls\" %hs%llx,%llx", launch->image, CHILD_ARGUMENT,
             (unsigned long long)child->status->nonce, (unsigned long long)(uintptr_t)inherited[INHERITED_CHANNEL]);
    end = write_section(launch->command + wcslen(launch->command), inherited[INHERITED_BOX], start->box);
    for (int i = 0; i < OS_INPUTS; i++)
        end = write_section(end, inherited[INHERITED_INPUT + i], start->inputs[i]);
    return 0;
}

static int write_launch(launch_text *launch, const os_child *child, const os_start *start,
                        const HANDLE inherited[INHERITED])
{
    int rc = running_image(&launch->image);

    if (rc == 0)
        rc = write_command(launch, child, start, inherited);
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

/* Makes the attributes: the list of handles that the child inherits, which is in the caller's memory, and the job,
 * which the child is in from its first instruction on. */
static int open_attributes(LPPROC_THREAD_ATTRIBUTE_LIST *out, HANDLE *job, const HANDLE inherited[INHERITED],
                           HANDLE list_of[INHERITED])
{
    size_t size = 0, count = 0;
    LPPROC_THREAD_ATTRIBUTE_LIST list;
    int rc;

    for (int i = 0; i < INHERITED; i++)
        if (inherited[i])
            list_of[count++] = inherited[i];
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

/* Without this flag, the child of a program without a console would get a console of its own, with a window. */
static DWORD console_flag(void)
{
    return GetConsoleCP() == 0 ? DETACHED_PROCESS : 0;
}

static int create_process(os_child *child, const launch_text *launch, HANDLE inherited[INHERITED])
{
    STARTUPINFOEXW startup = {.StartupInfo = {.cb = sizeof startup,
                                              .dwFlags = STARTF_USESTDHANDLES,
                                              .hStdInput = inherited[INHERITED_STDIN],
                                              .hStdOutput = inherited[INHERITED_STDOUT],
                                              .hStdError = inherited[INHERITED_STDERR]}};
    HANDLE list_of[INHERITED]; /* the attributes refer to it */
    PROCESS_INFORMATION made;
    int rc = open_attributes(&startup.lpAttributeList, &child->job, inherited, list_of);

    if (rc < 0)
        return rc;
    if (CreateProcessW(launch->image, launch->command, NULL, NULL, TRUE,
                       EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT | CREATE_NEW_PROCESS_GROUP |
                           console_flag(),
                       launch->environment, launch->directory, &startup.StartupInfo, &made)) {
        CloseHandle(made.hThread);
        child->process = child->stream[OS_CHANNEL].process = made.hProcess;
        child->pid = made.dwProcessId;
    } else {
        rc = os_error(GetLastError(), "CreateProcessW");
    }
    DeleteProcThreadAttributeList(startup.lpAttributeList);
    free(startup.lpAttributeList);
    return rc;
}

int exec_again(os_child *child, const os_start *start, HANDLE inherited[INHERITED])
{
    launch_text launch = {0};
    int rc = write_launch(&launch, child, start, inherited);

    if (rc == 0)
        rc = create_process(child, &launch, inherited);
    free_launch(&launch);
    return rc;
}
