/* This process as a child, and facts about it. */
#include "../error.h"
#include "os_private.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

const os_traits os = {.has_fork = false, .has_server = false, .attach_needs_ack = true, .ring_wakes_one = true};

enum { ARGUMENT_MAX = 200, STACK_GUARANTEE = 16384, FATAL_APP_EXIT = 0x40000015 };

/* ---- The command line ------------------------------------------------------------------------------------------- */

/* What os_child_start wrote behind CHILD_ARGUMENT. */
typedef struct child_token {
    uint64_t nonce;
    uint64_t channel;
    uint64_t box;
    uint64_t box_size;
    uint64_t input;
    uint64_t input_size;
    uint64_t bell;
    uint64_t input_bell;
} child_token;

static bool parse_argument(const char *text, child_token *token)
{
    uint64_t *fields[] = {&token->nonce, &token->channel,    &token->box,  &token->box_size,
                          &token->input, &token->input_size, &token->bell, &token->input_bell};

    if (strncmp(text, CHILD_ARGUMENT, strlen(CHILD_ARGUMENT)) != 0)
        return false;
    text += strlen(CHILD_ARGUMENT);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char *end;
        *fields[i] = strtoull(text, &end, 16);
        if (end == text || *end != (i + 1 < sizeof fields / sizeof *fields ? ',' : 0))
            return false;
        text = end + 1;
    }
    return true;
}

/* Finds the first argument in a command line as os_child_start writes it: "program" argument. */
static bool second_word(const wchar_t *line, char *word, size_t size)
{
    bool quoted = *line == L'"';
    size_t length = 0;

    line += quoted;
    line += wcscspn(line, quoted ? L"\"" : L" \t");
    line += quoted && *line;
    line += wcsspn(line, L" \t");
    while (line[length] > L' ' && line[length] < 0x7F && length + 1 < size) {
        word[length] = (char)line[length];
        length++;
    }
    word[length] = 0;
    return line[length] == 0;
}

/* ---- How this process ends -------------------------------------------------------------------------------------- */

static os_note *self_note; /* NULL: this process is nobody's child */
static DWORD exit_slot = FLS_OUT_OF_INDEXES;

static _Noreturn void end_by_crash(xf_crash crash, DWORD code)
{
    atomic_store(&self_note->crash, (int32_t)crash + 1);
    TerminateProcess(GetCurrentProcess(), code);
    abort();
}

/* Some systems end the thread only, or with exit code 0.  Handlers that the program has installed come first, and there
 * is stack left for this by SetThreadStackGuarantee. */
static LONG CALLBACK on_exception(EXCEPTION_POINTERS *exception)
{
    if (exception->ExceptionRecord->ExceptionCode == EXCEPTION_STACK_OVERFLOW)
        end_by_crash(XF_CRASH_STACK_OVERFLOW, EXCEPTION_STACK_OVERFLOW);
    return EXCEPTION_CONTINUE_SEARCH;
}

static void on_abort(int number)
{
    (void)number;
    end_by_crash(XF_CRASH_ABORT, FATAL_APP_EXIT);
}

static void note_leaving(void)
{
    if (self_note)
        atomic_store(&self_note->leaving, 1);
}

static void guarantee_stack(void)
{
    ULONG size = STACK_GUARANTEE;

    SetThreadStackGuarantee(&size);
}

static void CALLBACK on_thread_storage_end(void *value)
{
    typedef BOOLEAN(WINAPI * question)(void);
    question shutting_down =
        (question)(void (*)(void))GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "RtlDllShutdownInProgress");

    (void)value;
    if (shutting_down && shutting_down())
        note_leaving();
}

/* The system calls this when a thread begins, and when the process ends by ExitProcess, which exit() comes to; not for
 * TerminateProcess and not for a fault.  Wine leaves out the latter for programs, but ends the storage of the thread
 * that calls ExitProcess, so each thread has some. */
static void WINAPI on_thread_or_exit(void *module, DWORD reason, void *reserved)
{
    (void)module, (void)reserved;
    if (!self_note)
        return;
    if (reason == DLL_PROCESS_DETACH)
        note_leaving();
    if (reason == DLL_THREAD_ATTACH) {
        guarantee_stack();
        FlsSetValue(exit_slot, self_note);
    }
}

#ifdef _MSC_VER
#pragma comment(linker, "/INCLUDE:_tls_used")
#pragma comment(linker, "/INCLUDE:on_thread_or_exit_hook")
#pragma const_seg(".CRT$XLD")
extern const PIMAGE_TLS_CALLBACK on_thread_or_exit_hook;
const PIMAGE_TLS_CALLBACK on_thread_or_exit_hook = on_thread_or_exit;
#pragma const_seg()
#else
static const PIMAGE_TLS_CALLBACK on_thread_or_exit_hook __attribute__((section(".CRT$XLD"), used)) = on_thread_or_exit;
#endif

/* Maps an inherited section and closes its handle; NULL when it is not one of that size. */
static void *map_inherited(uint64_t handle, uint64_t size)
{
    void *address = MapViewOfFile((HANDLE)(uintptr_t)handle, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, (size_t)size);

    if (address)
        CloseHandle((HANDLE)(uintptr_t)handle);
    return address;
}

/* Runs before main, so that a main which ends before it comes to os_self_child reads as an exit as well. */
XF_BEFORE_MAIN(find_note)
{
    char argument[ARGUMENT_MAX];
    child_token token;
    os_note *note;

    if (!second_word(GetCommandLineW(), argument, sizeof argument) || !parse_argument(argument, &token) ||
        token.box_size < sizeof *note)
        return;
    note = map_inherited(token.box, token.box_size);
    if (note && note->nonce == token.nonce) {
        self_note = note;
        exit_slot = FlsAlloc(on_thread_storage_end);
        FlsSetValue(exit_slot, note);
        atomic_store(&note->armed, 1);
    }
}

/* ---- Becoming a child ------------------------------------------------------------------------------------------- */

static BOOL WINAPI ignore_interrupts(DWORD event)
{
    return event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT;
}

/* No dialogs, no ends by Ctrl-C, and an end that can be read from the note.  What the program did about abort() before
 * it came here stays. */
static void get_ready(void)
{
    void (*before)(int);

    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
    SetConsoleCtrlHandler(ignore_interrupts, TRUE);
    AddVectoredExceptionHandler(0, on_exception);
    guarantee_stack();
    _set_error_mode(_OUT_TO_STDERR);
#if defined(_UCRT) || defined(_MSC_VER)
    _set_abort_behavior(0, _WRITE_ABORT_MSG | _CALL_REPORTFAULT);
#endif
    before = signal(SIGABRT, on_abort);
    if (before != SIG_DFL && before != SIG_ERR)
        signal(SIGABRT, before);
}

static int not_for_people(void)
{
    return error_detail(XF_EPROTO, "%s is crossfork's own and needs a parent", CHILD_ARGUMENT);
}

static int open_events(os_parent *parent)
{
    parent->readable = CreateEventW(NULL, TRUE, FALSE, NULL);
    parent->writable = parent->readable ? CreateEventW(NULL, TRUE, FALSE, NULL) : NULL;
    if (parent->writable)
        return 0;
    handle_close(&parent->readable);
    return os_error(GetLastError(), "CreateEventW");
}

static int become_child(const child_token *token, os_parent **out)
{
    static os_parent parent;
    void *input = NULL;
    int rc;

    if (!self_note || self_note->nonce != token->nonce ||
        GetFileType((HANDLE)(uintptr_t)token->channel) != FILE_TYPE_PIPE)
        return not_for_people();
    if (token->input) {
        input = map_inherited(token->input, token->input_size);
        if (!input)
            return os_error(GetLastError(), "MapViewOfFile of the input");
    }
    rc = open_events(&parent);
    if (rc < 0)
        goto unmap_input;
    parent.channel = (HANDLE)(uintptr_t)token->channel;
    parent.given.box = (os_shm){self_note, (size_t)token->box_size, -1, (intptr_t)token->bell};
    parent.given.input =
        input ? (os_shm){input, (size_t)token->input_size, -1, (intptr_t)token->input_bell} : OS_SHM_NONE;
    SetHandleInformation(parent.channel, HANDLE_FLAG_INHERIT, 0); /* for the task's own children */
    if (token->bell)
        SetHandleInformation((HANDLE)parent.given.box.bell, HANDLE_FLAG_INHERIT, 0);
    if (token->input_bell)
        SetHandleInformation((HANDLE)parent.given.input.bell, HANDLE_FLAG_INHERIT, 0);
    get_ready();
    *out = &parent;
    return 0;

unmap_input:
    if (input)
        UnmapViewOfFile(input);
    return rc;
}

int os_self_child(int argc, char **argv, os_entry entry, os_parent **parent)
{
    char asked[ARGUMENT_MAX] = "";
    const char *argument = asked;
    child_token token;

    (void)entry;
    if (argc > 1)
        argument = argv[1];
    else if (argc == 0 && !second_word(GetCommandLineW(), asked, sizeof asked))
        *asked = 0;
    *parent = NULL;
    if (strncmp(argument, CHILD_ARGUMENT, strlen(CHILD_ARGUMENT)) != 0)
        return 0;
    return parse_argument(argument, &token) ? become_child(&token, parent) : not_for_people();
}

/* ---- The channel ------------------------------------------------------------------------------------------------ */

/* Waits for what was begun; after timeout_ms it is cancelled, unless it ends just then. */
static int finish(os_parent *parent, OVERLAPPED *io, HANDLE event, int timeout_ms, DWORD *count)
{
    DWORD system;

    if (WaitForSingleObject(event, timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms) == WAIT_TIMEOUT)
        CancelIoEx(parent->channel, io);
    if (GetOverlappedResult(parent->channel, io, count, TRUE))
        return 0;
    system = GetLastError();
    if (system == ERROR_OPERATION_ABORTED)
        return XF_ETIMEDOUT;
    return pipe_has_ended(system) ? XF_EEND : os_error(system, "the channel");
}

int os_parent_read(os_parent *parent, void *data, size_t size, int timeout_ms, size_t *count)
{
    DWORD got, system, part = size < INT32_MAX ? (DWORD)size : INT32_MAX;
    OVERLAPPED io;
    int rc;

    do {
        io = (OVERLAPPED){.hEvent = parent->readable};
        if (!ReadFile(parent->channel, data, part, NULL, &io)) {
            system = GetLastError();
            if (system != ERROR_IO_PENDING)
                return pipe_has_ended(system) ? XF_EEND : os_error(system, "ReadFile");
        }
        rc = finish(parent, &io, parent->readable, timeout_ms, &got);
    } while (rc == 0 && got == 0); /* nobody writes nothing, but it can be done */
    if (rc == 0)
        *count = got;
    return rc;
}

static int write_part(os_parent *parent, const char *data, size_t size, DWORD *count)
{
    enum { PART = 65536 }; /* the system copies what does not fit into the pipe */
    OVERLAPPED io = {.hEvent = parent->writable};
    DWORD system;

    if (!WriteFile(parent->channel, data, size < PART ? (DWORD)size : PART, NULL, &io)) {
        system = GetLastError();
        if (system != ERROR_IO_PENDING)
            return pipe_has_ended(system) ? XF_EEND : os_error(system, "WriteFile");
    }
    return finish(parent, &io, parent->writable, -1, count);
}

/* An attached segment's handle stays open for the parent, which takes it and closes it. */
int os_parent_write(os_parent *parent, const void *data, size_t size, os_shm *attached)
{
    const char *left = data;
    DWORD count;

    while (size > 0) {
        int rc = write_part(parent, left, size, &count);
        if (rc < 0)
            return rc;
        left += count;
        size -= count;
    }
    if (attached) {
        attached->handle = -1;
        os_shm_close(attached);
    }
    return 0;
}

const os_given *os_parent_given(const os_parent *parent)
{
    return &parent->given;
}

_Noreturn void os_self_exit(int code)
{
    note_leaving();
    TerminateProcess(GetCurrentProcess(), (UINT)code);
    abort();
}

/* ---- Facts ------------------------------------------------------------------------------------------------------ */

/* A build id of the linker, as debuggers know it: "RSDS", 16 bytes, and a number. */
static const uint8_t *find_build_id(const uint8_t *image, const IMAGE_NT_HEADERS *headers)
{
    const IMAGE_DATA_DIRECTORY *directory = &headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_DEBUG];
    const IMAGE_DEBUG_DIRECTORY *entries = (const void *)(image + directory->VirtualAddress);

    for (size_t i = 0; i < directory->Size / sizeof *entries; i++) {
        const uint8_t *data = image + entries[i].AddressOfRawData;
        if (entries[i].Type == IMAGE_DEBUG_TYPE_CODEVIEW && entries[i].SizeOfData >= 4 + OS_BUILD_ID_SIZE &&
            memcmp(data, "RSDS", 4) == 0)
            return data + 4;
    }
    return NULL;
}

void os_self_build(uint8_t build[OS_BUILD_ID_SIZE])
{
    const uint8_t *image = (const uint8_t *)GetModuleHandleW(NULL);
    const IMAGE_NT_HEADERS *headers = (const void *)(image + ((const IMAGE_DOS_HEADER *)image)->e_lfanew);
    const DWORD facts[OS_BUILD_ID_SIZE / sizeof(DWORD)] = {
        headers->FileHeader.TimeDateStamp, headers->OptionalHeader.CheckSum, headers->OptionalHeader.SizeOfImage,
        headers->OptionalHeader.AddressOfEntryPoint, headers->OptionalHeader.SizeOfInitializedData};
    const uint8_t *id = find_build_id(image, headers);

    memcpy(build, id ? id : (const void *)facts, OS_BUILD_ID_SIZE);
}

int os_self_threads(void)
{
    return 0;
}
