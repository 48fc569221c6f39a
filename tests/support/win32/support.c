/* What tests need of Windows. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>
#include <windows.h>
#include <winternl.h>

#include <psapi.h>
#include <tlhelp32.h>

/* Where GetProcessHandleCount only ever says 0, as on Wine, every value that could be a handle is tried: the lowest
 * free one is given away first, so a long gap is the end.  Wine's list of all handles (SystemHandleInformation) is not
 * asked for: its server dies of it while any process has no handle at all, as one that is starting. */
static size_t tried_handles(void)
{
    enum { STEP = 4, GAP = 1024 * STEP };
    size_t count = 0;
    DWORD flags;

    for (uintptr_t value = STEP, last = 0; value < last + GAP; value += STEP)
        if (GetHandleInformation((HANDLE)value, &flags)) {
            count++;
            last = value;
        }
    return count;
}

static void CALLBACK never(void *unused, BOOLEAN timed_out)
{
    (void)unused, (void)timed_out;
}

/* The system's thread that waits for registered handles ends when there was none for some seconds, and takes its own
 * handles along; one that is never set keeps it. */
static void keep_wait_thread(void)
{
    static HANDLE event, wait;

    if (event)
        return;
    event = CreateEventW(NULL, TRUE, FALSE, NULL);
    RegisterWaitForSingleObject(&wait, event, never, NULL, INFINITE, WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD);
}

size_t support_handles(void)
{
    DWORD count;

    keep_wait_thread();
    if (GetProcessHandleCount(GetCurrentProcess(), &count) && count > 0)
        return count;
    return tried_handles();
}

/* The next region of this process's memory behind *at that has all these properties; false at the end. */
static bool next_region(char **at, DWORD state, DWORD type, MEMORY_BASIC_INFORMATION *region)
{
    while (VirtualQuery(*at, region, sizeof *region)) {
        *at = (char *)region->BaseAddress + region->RegionSize;
        if (region->State == state && region->Type == type)
            return true;
    }
    return false;
}

/* Mappings of files are the loader's. */
size_t support_mappings(void)
{
    MEMORY_BASIC_INFORMATION region;
    wchar_t file[MAX_PATH];
    char *at = NULL;
    size_t count = 0;

    while (next_region(&at, MEM_COMMIT, MEM_MAPPED, &region))
        count += region.BaseAddress == region.AllocationBase &&
                 GetMappedFileNameW(GetCurrentProcess(), region.BaseAddress, file, MAX_PATH) == 0;
    return count;
}

bool support_make_writable(void *address, size_t size)
{
    DWORD before;

    return VirtualProtect(address, size, PAGE_READWRITE, &before);
}

bool support_alive(int64_t pid)
{
    return !support_has_ended(pid, 0);
}

bool support_has_ended(int64_t pid, int timeout_ms)
{
    HANDLE process = OpenProcess(SYNCHRONIZE, FALSE, (DWORD)pid);
    bool has_ended;

    if (!process)
        return true;
    has_ended = WaitForSingleObject(process, timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms) == WAIT_OBJECT_0;
    CloseHandle(process);
    return has_ended;
}

size_t support_same_program(int64_t *pids, size_t room)
{
    PROCESSENTRY32W entry = {.dwSize = sizeof entry};
    HANDLE processes = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    wchar_t own[MAX_PATH];
    size_t count = 0;

    GetModuleFileNameW(NULL, own, MAX_PATH);
    for (BOOL more = Process32FirstW(processes, &entry); more; more = Process32NextW(processes, &entry)) {
        if (entry.th32ProcessID == GetCurrentProcessId() || _wcsicmp(entry.szExeFile, wcsrchr(own, L'\\') + 1) != 0 ||
            !support_alive(entry.th32ProcessID))
            continue;
        if (count < room)
            pids[count] = entry.th32ProcessID;
        count++;
    }
    CloseHandle(processes);
    return count;
}

#ifndef DIRECTORY_QUERY
#define DIRECTORY_QUERY 1
#endif

/* What the headers for programs leave out. */
typedef struct directory_entry {
    UNICODE_STRING name, type;
} directory_entry;

typedef NTSTATUS(NTAPI *open_directory)(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *);
typedef NTSTATUS(NTAPI *query_directory)(HANDLE, directory_entry *, ULONG, BOOLEAN, BOOLEAN, ULONG *, ULONG *);

static void tell(void (*found)(void *arg, const char *name), void *arg, const wchar_t *name, int length)
{
    char text[4 * MAX_PATH];
    int size = WideCharToMultiByte(CP_UTF8, 0, name, length, text, sizeof text - 1, NULL, NULL);

    text[size] = 0;
    found(arg, text);
}

/* Named objects of the session: those that are created without a prefix. */
static void list_objects(void (*found)(void *arg, const char *name), void *arg)
{
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    open_directory open = (open_directory)(void (*)(void))GetProcAddress(ntdll, "NtOpenDirectoryObject");
    query_directory query = (query_directory)(void (*)(void))GetProcAddress(ntdll, "NtQueryDirectoryObject");
    wchar_t path[64];
    UNICODE_STRING name = {.Buffer = path, .MaximumLength = sizeof path};
    OBJECT_ATTRIBUTES attributes = {.Length = sizeof attributes, .ObjectName = &name};
    union {
        directory_entry entry;
        char room[4096];
    } part;
    DWORD session = 0;
    ULONG context = 0;
    HANDLE directory;

    ProcessIdToSessionId(GetCurrentProcessId(), &session);
    swprintf(path, sizeof path / sizeof *path, L"\\Sessions\\%lu\\BaseNamedObjects", session);
    name.Length = (USHORT)(wcslen(path) * sizeof *path);
    if (open(&directory, DIRECTORY_QUERY, &attributes) < 0)
        abort();
    while (query(directory, &part.entry, sizeof part, TRUE, FALSE, &context, NULL) == 0)
        tell(found, arg, part.entry.name.Buffer, part.entry.name.Length / (int)sizeof(wchar_t));
    CloseHandle(directory);
}

void support_names(void (*found)(void *arg, const char *name), void *arg)
{
    WIN32_FIND_DATAW pipe;
    HANDLE pipes = FindFirstFileW(L"\\\\.\\pipe\\*", &pipe);

    list_objects(found, arg);
    if (pipes == INVALID_HANDLE_VALUE)
        return; /* Wine cannot list them */
    do
        tell(found, arg, pipe.cFileName, (int)wcslen(pipe.cFileName));
    while (FindNextFileW(pipes, &pipe));
    FindClose(pipes);
}

void *support_make_name(void)
{
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, L"crossfork_made_name");

    if (!event)
        abort();
    return event;
}

void support_drop_name(void *made)
{
    CloseHandle(made);
}

void support_own_names(void)
{
}

void support_kill(int64_t pid)
{
    HANDLE process = OpenProcess(PROCESS_TERMINATE, FALSE, (DWORD)pid);

    if (!process)
        return;
    TerminateProcess(process, 1);
    CloseHandle(process);
}

_Noreturn void support_kill_self(void)
{
    TerminateProcess(GetCurrentProcess(), 1);
    abort();
}

/* Nobody leaves a job that does not allow it. */
int64_t support_escape(void (*run)(void *arg), void *arg)
{
    (void)run, (void)arg;
    return 0;
}

static bool is_stream(HANDLE handle)
{
    return handle == GetStdHandle(STD_INPUT_HANDLE) || handle == GetStdHandle(STD_OUTPUT_HANDLE) ||
           handle == GetStdHandle(STD_ERROR_HANDLE);
}

void support_let_go(bool close_all)
{
    for (uintptr_t value = 4; close_all && value < 4096; value += 4)
        if (!is_stream((HANDLE)value))
            CloseHandle((HANDLE)value);
}

bool support_sentinel_ready(intptr_t sentinel, int timeout_ms)
{
    DWORD timeout = timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms;

    return WaitForSingleObject((HANDLE)sentinel, timeout) == WAIT_OBJECT_0;
}

static wchar_t *wide_long_path(const char *path)
{
    static const wchar_t prefix[] = L"\\\\?\\";
    int size = MultiByteToWideChar(CP_UTF8, 0, path, -1, NULL, 0);
    wchar_t *wide = malloc((size_t)size * sizeof *wide + sizeof prefix);

    wcscpy(wide, prefix);
    MultiByteToWideChar(CP_UTF8, 0, path, -1, wide + wcslen(prefix), size);
    for (wchar_t *at = wide; *at; at++)
        if (*at == L'/')
            *at = L'\\';
    return wide;
}

static int run_program(const char *path, const char *argument, DWORD flags)
{
    STARTUPINFOW startup = {.cb = sizeof startup,
                            .dwFlags = STARTF_USESTDHANDLES,
                            .hStdInput = GetStdHandle(STD_INPUT_HANDLE),
                            .hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE),
                            .hStdError = GetStdHandle(STD_ERROR_HANDLE)};
    PROCESS_INFORMATION made;
    wchar_t *wide = wide_long_path(path);
    wchar_t line[64];
    DWORD code;
    BOOL started;

    swprintf(line, sizeof line / sizeof *line, L"program %hs", argument);
    started = CreateProcessW(wide, line, NULL, NULL, TRUE, flags, NULL, NULL, &startup, &made);
    free(wide);
    if (!started)
        return -1;
    WaitForSingleObject(made.hProcess, INFINITE);
    GetExitCodeProcess(made.hProcess, &code);
    CloseHandle(made.hThread);
    CloseHandle(made.hProcess);
    return (int)code;
}

int support_run(const char *path, const char *argument)
{
    return run_program(path, argument, 0);
}

/* A child has no console, and a program that it starts would get one: Wine waits for ever for the display of that. */
_Noreturn void support_become(const char *argument)
{
    char own[4 * MAX_PATH];
    wchar_t wide[MAX_PATH];

    GetModuleFileNameW(NULL, wide, MAX_PATH);
    WideCharToMultiByte(CP_UTF8, 0, wide, -1, own, sizeof own, NULL, NULL);
    exit(run_program(own, argument, DETACHED_PROCESS));
}

static bool is_wine(void)
{
    return GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version") != NULL;
}

/* A Ctrl-C goes to all that share a console, so this process gets one of its own, and its children share that.  Wine
 * cannot send one, and the process behind its consoles would keep the test runner's pipes open. */
void support_lead_group(void)
{
    static const DWORD names[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    HANDLE streams[3];

    if (is_wine())
        return;
    for (int i = 0; i < 3; i++)
        streams[i] = GetStdHandle(names[i]);
    FreeConsole();
    AllocConsole();
    for (int i = 0; i < 3; i++)
        SetStdHandle(names[i], streams[i]);
}

static uint64_t start_time(DWORD pid)
{
    HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    FILETIME started = {0}, ended, kernel, user;

    if (process)
        GetProcessTimes(process, &started, &ended, &kernel, &user);
    if (process)
        CloseHandle(process);
    return (uint64_t)started.dwHighDateTime << 32 | started.dwLowDateTime;
}

/* Whether a process that ran before this one, such as a test runner, shares the console. */
static bool console_is_shared(void)
{
    DWORD pids[256], count = GetConsoleProcessList(pids, 256), self = GetCurrentProcessId();

    if (count == 0 || count > 256)
        return true;
    for (DWORD i = 0; i < count; i++)
        if (pids[i] != self && start_time(pids[i]) <= start_time(self))
            return true;
    return false;
}

/* The console must be this process's and its children's alone. */
bool support_interrupt_group(void)
{
    return !console_is_shared() && GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0);
}

size_t support_memory(void)
{
    MEMORY_BASIC_INFORMATION region;
    char *at = NULL;
    size_t total = 0;

    while (next_region(&at, MEM_COMMIT, MEM_PRIVATE, &region))
        total += region.RegionSize;
    return total;
}

bool support_can_dump(void)
{
    return true;
}

bool support_limits(void)
{
    return !GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version");
}

bool support_limits_memory(void)
{
    return support_limits();
}

void support_ignore_cpu_signal(void)
{
}

bool support_be_older(void)
{
    return false;
}

void support_leave_root(void)
{
}

bool support_join_small_group(const char *name, size_t memory)
{
    (void)name, (void)memory;
    return false;
}

void support_remove_small_group(const char *name)
{
    (void)name;
}

bool support_mount_small_disk(const char *path)
{
    (void)path;
    return false;
}

void support_unmount_small_disk(const char *path)
{
    (void)path;
}

bool support_holds_in_copy(bool (*holds)(void *arg), void *arg)
{
    (void)holds, (void)arg;
    return true;
}

void support_interrupt_calls(int milliseconds)
{
    (void)milliseconds;
}
