/* This process as a child, and facts about it. */
#include "base/error.h"
#include "os_private.h"

#include <stdlib.h>
#include <string.h>

static const char *const register_names[OS_REGISTERS_MAX] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                             "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                             "r12", "r13", "r14", "r15", "rip", "eflags"};

const os_traits os = {
    .has_fork = false, .has_server = false, .attach_needs_ack = true, .register_names = register_names};

enum { ARGUMENT_MAX = 200 };

/* ---- The command line ------------------------------------------------------------------------ */

/* What os_child_start wrote behind CHILD_ARGUMENT. */
typedef struct child_token {
    uint64_t nonce;
    uint64_t channel;
    uint64_t box;
    uint64_t box_size;
    uint64_t box_flags;
    uint64_t input;
    uint64_t input_size;
    uint64_t input_flags;
} child_token;

static bool parse_argument(const char *text, child_token *token)
{
    uint64_t *fields[] = {&token->nonce,     &token->channel, &token->box,        &token->box_size,
                          &token->box_flags, &token->input,   &token->input_size, &token->input_flags};

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

/* ---- Becoming a child ------------------------------------------------------------------------ */

/* Maps an inherited section and closes its handle. */
static int map_inherited(os_shm *shm, uint64_t handle, uint64_t size, uint64_t flags)
{
    int rc = shm_map(shm, (HANDLE)(uintptr_t)handle, (size_t)size, (int)flags);

    if (rc == 0)
        os_shm_forget(shm);
    return rc;
}

static os_shm self_box;

/* Runs before main, so that a main which ends before it comes to os_self_child reads as an exit as well. */
XF_BEFORE_MAIN(find_note)
{
    char argument[ARGUMENT_MAX];
    child_token token;
    os_note *note;

    if (!second_word(GetCommandLineW(), argument, sizeof argument) || !parse_argument(argument, &token) ||
        token.box_size < sizeof *note || map_inherited(&self_box, token.box, token.box_size, token.box_flags) < 0)
        return;
    note = self_box.address;
    if (note->nonce == token.nonce)
        child_take_note(note, (size_t)token.box_size);
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
    os_shm input = OS_SHM_NONE;
    int rc;

    if (!child_note() || child_note()->nonce != token->nonce ||
        GetFileType((HANDLE)(uintptr_t)token->channel) != FILE_TYPE_PIPE)
        return not_for_people();
    if (token->input) {
        rc = map_inherited(&input, token->input, token->input_size, token->input_flags);
        if (rc < 0)
            return rc;
    }
    rc = open_events(&parent);
    if (rc < 0)
        goto unmap_input;
    parent.channel = (HANDLE)(uintptr_t)token->channel;
    parent.given = (os_given){self_box, input};
    SetHandleInformation(parent.channel, HANDLE_FLAG_INHERIT, 0); /* for the task's own children */
    child_get_ready();
    *out = &parent;
    return 0;

unmap_input:
    os_shm_close(&input);
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

/* ---- The channel ----------------------------------------------------------------------------- */

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

/* An attached handle stays open for the parent, which takes it and closes it. */
int os_parent_write(os_parent *parent, const void *data, size_t size, intptr_t attached)
{
    const char *left = data;
    DWORD count;

    (void)attached;
    while (size > 0) {
        int rc = write_part(parent, left, size, &count);
        if (rc < 0)
            return rc;
        left += count;
        size -= count;
    }
    return 0;
}

/* The parent has put it among our handles. */
int os_parent_take(os_parent *parent, uint64_t token, intptr_t *handle)
{
    (void)parent;
    if (token == 0 || token > INT32_MAX)
        return error_detail(XF_EPROTO, "no segment came with the frame");
    *handle = (intptr_t)token;
    return 0;
}

const os_given *os_parent_given(const os_parent *parent)
{
    return &parent->given;
}

_Noreturn void os_self_exit(int code)
{
    child_note_leaving();
    TerminateProcess(GetCurrentProcess(), (UINT)code);
    abort();
}
