/* Turns this process into a child, if crossfork started it. */
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

/* The values that os_child_start has written behind CHILD_ARGUMENT. */
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

/* Maps an inherited section and closes its handle. */
static int map_inherited(os_shm *shm, uint64_t handle, uint64_t size, uint64_t flags)
{
    int rc = shm_map(shm, (HANDLE)(uintptr_t)handle, (size_t)size, (int)flags);

    if (rc == 0)
        os_shm_forget(shm);
    return rc;
}

static os_shm self_box;

/* Runs before main, so that a main which ends before it comes to os_self_child counts as an exit, too. */
XF_BEFORE_MAIN(find_status)
{
    char argument[ARGUMENT_MAX];
    child_token token;
    os_status *status;

    if (!second_argument(GetCommandLineW(), argument, sizeof argument) || !parse_argument(argument, &token) ||
        token.box_size < sizeof *status || map_inherited(&self_box, token.box, token.box_size, token.box_flags) < 0)
        return;
    status = self_box.address;
    if (status->nonce == token.nonce)
        child_take_status(status, (size_t)token.box_size);
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
    os_shm input = OS_SHM_NONE;
    int rc;

    if (!child_status() || child_status()->nonce != token->nonce || GetFileType(pipe) != FILE_TYPE_PIPE)
        return refuse_argument();
    if (token->input) {
        rc = map_inherited(&input, token->input, token->input_size, token->input_flags);
        if (rc < 0)
            return rc;
    }
    SetHandleInformation(pipe, HANDLE_FLAG_INHERIT, 0); /* so that the task's own children do not inherit it */
    rc = stream_open(&self.channel, pipe, STREAM_TO_PARENT);
    if (rc < 0)
        goto unmap_input;
    self.inherited = (os_inherited){&self.channel, self_box, input};
    child_get_ready();
    *out = &self.inherited;
    return 0;

unmap_input:
    os_shm_close(&input);
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
