/* Turns this process into a child, if crossfork started it. */
#include "base/error.h"
#include "os_private.h"

#include <stdlib.h>
#include <string.h>

static const char *const register_names[OS_REGISTERS_MAX] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                             "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                             "r12", "r13", "r14", "r15", "rip", "eflags"};

static const char *const runtime_modules[] = {"ucrtbase", "msvcr",       "vcruntime", "msvcp",
                                              "ntdll.",   "kernelbase.", "kernel32.", "libstdc++",
                                              "libc++",   "libgcc_s",    NULL};

const os_traits os = {.has_fork = false,
                      .has_server = false,
                      .attach_needs_ack = true,
                      .register_names = register_names,
                      .runtime_modules = runtime_modules};

enum { ARGUMENT_MAX = 300 };

/* ---- The command line ------------------------------------------------------------------------ */

/* A section, as os_child_start passes it on. */
typedef struct passed_section {
    uint64_t handle; /* 0: none */
    uint64_t size;
    uint64_t flags;
} passed_section;

/* The values that os_child_start has written behind CHILD_ARGUMENT. */
typedef struct child_token {
    uint64_t nonce;
    uint64_t channel;
    passed_section box;
    passed_section inputs[OS_INPUTS];
} child_token;

/* Reads a number and the character behind it; false when there is no number. */
static bool parse_number(const char **text, uint64_t *number, char *behind)
{
    char *end;

    *number = strtoull(*text, &end, 16);
    if (end == *text)
        return false;
    *behind = *end;
    *text = *end ? end + 1 : end;
    return true;
}

static bool parse_section(const char **text, passed_section *section, char *behind)
{
    return parse_number(text, &section->handle, behind) && *behind == ',' &&
           parse_number(text, &section->size, behind) && *behind == ',' && parse_number(text, &section->flags, behind);
}

static bool parse_argument(const char *text, child_token *token)
{
    char behind;

    if (strncmp(text, CHILD_ARGUMENT, strlen(CHILD_ARGUMENT)) != 0)
        return false;
    text += strlen(CHILD_ARGUMENT);
    if (!parse_number(&text, &token->nonce, &behind) || behind != ',' ||
        !parse_number(&text, &token->channel, &behind) || behind != ',' || !parse_section(&text, &token->box, &behind))
        return false;
    for (int i = 0; i < OS_INPUTS; i++)
        if (behind != ',' || !parse_section(&text, &token->inputs[i], &behind))
            return false;
    return behind == 0;
}

/* Copies the second string of a command line as os_child_start writes it, "program" argument; false when it does not
 * fit. */
static bool second_argument(const wchar_t *line, char *word, size_t size)
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

/* Maps an inherited section; the handle stays open. */
static int map_inherited(os_shm *shm, const passed_section *section)
{
    int flags = (int)section->flags;

    if (flags & OS_SHM_OWNED)
        flags |= OS_SHM_READONLY;
    return shm_map(shm, (HANDLE)(uintptr_t)section->handle, (size_t)section->size, flags);
}

static os_shm self_box;

/* Runs before main, so that a main which ends before it comes to os_self_child counts as an exit, too.  The handle
 * stays open until then: a DLL of the program may have a copy of this library linked into it, in which this runs
 * first. */
XF_BEFORE_MAIN(find_status)
{
    char argument[ARGUMENT_MAX];
    child_token token;
    os_status *status;

    if (!second_argument(GetCommandLineW(), argument, sizeof argument) || !parse_argument(argument, &token) ||
        token.box.size < sizeof *status || map_inherited(&self_box, &token.box) < 0)
        return;
    SetHandleInformation((HANDLE)self_box.handle, HANDLE_FLAG_INHERIT, 0);
    status = self_box.address;
    if (status->nonce == token.nonce)
        child_take_status(status, (size_t)token.box.size);
}

static int refuse_argument(void)
{
    return error_detail(XF_EPROTO, "%s is crossfork's own and needs a parent", CHILD_ARGUMENT);
}

static int become_child(const child_token *token, const os_inherited **out)
{
    static struct {
        os_channel channel;
        os_inherited inherited;
    } self;
    HANDLE pipe = (HANDLE)(uintptr_t)token->channel;
    int rc = 0;

    if (!child_status() || child_status()->nonce != token->nonce || GetFileType(pipe) != FILE_TYPE_PIPE)
        return refuse_argument();
    for (int i = 0; i < OS_INPUTS; i++)
        self.inherited.inputs[i] = OS_SHM_NONE;
    for (int i = 0; i < OS_INPUTS && rc == 0; i++)
        if (token->inputs[i].handle)
            rc = map_inherited(&self.inherited.inputs[i], &token->inputs[i]);
    for (int i = 0; i < OS_INPUTS; i++)
        os_shm_forget(&self.inherited.inputs[i]);
    if (rc < 0)
        goto unmap_inputs;
    SetHandleInformation(pipe, HANDLE_FLAG_INHERIT, 0); /* so that the task's own children do not inherit it */
    rc = stream_open(&self.channel, pipe, STREAM_TO_PARENT);
    if (rc < 0)
        goto unmap_inputs;
    self.inherited.channel = &self.channel;
    os_shm_forget(&self_box);
    self.inherited.box = self_box;
    child_get_ready();
    *out = &self.inherited;
    return 0;

unmap_inputs:
    for (int i = 0; i < OS_INPUTS; i++)
        os_shm_close(&self.inherited.inputs[i]);
    return rc;
}

int os_self_child(int argc, char **argv, os_entry entry, const os_inherited **inherited)
{
    char asked[ARGUMENT_MAX] = "";
    const char *argument = asked;
    child_token token;

    (void)entry;
    if (argc > 1)
        argument = argv[1];
    else if (argc == 0 && !second_argument(GetCommandLineW(), asked, sizeof asked))
        *asked = 0;
    *inherited = NULL;
    if (strncmp(argument, CHILD_ARGUMENT, strlen(CHILD_ARGUMENT)) != 0)
        return 0;
    return parse_argument(argument, &token) ? become_child(&token, inherited) : refuse_argument();
}

_Noreturn void os_self_exit(int code)
{
    child_mark_leaving();
    TerminateProcess(GetCurrentProcess(), (UINT)code);
    abort();
}
