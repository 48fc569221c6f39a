/* This process as a child, and facts about it. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

const os_traits os = {
    .has_fork = true, .has_server = true, .attach_needs_ack = false, .register_names = record_register_names};

/* ---- Becoming a child ------------------------------------------------------------------------ */

static os_shm map_all(int fd)
{
    os_shm none = OS_SHM_NONE;
    struct stat facts;
    void *address;

    if (fstat(fd, &facts) < 0 || facts.st_size <= 0)
        return none;
    address = mmap(NULL, (size_t)facts.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return address == MAP_FAILED ? none : (os_shm){address, (size_t)facts.st_size, -1, 0};
}

static int not_for_people(void)
{
    return error_detail(XF_EPROTO, "%s is crossfork's own and needs a parent", CHILD_ARGUMENT);
}

static int become_child(const char *token, const os_inherited **out)
{
    static newborn self;
    unsigned long long nonce;
    int has_input;
    os_inherited *inherited = &self.inherited;
    struct stat facts;

    if (sscanf(token, "%llx,%d", &nonce, &has_input) != 2 || fstat(EXEC_CHANNEL, &facts) < 0 ||
        !S_ISSOCK(facts.st_mode) || fstat(EXEC_LIFELINE, &facts) < 0 || !S_ISFIFO(facts.st_mode))
        return not_for_people();
    inherited->box = map_all(EXEC_BOX);
    if (inherited->box.size < sizeof(os_status) || ((os_status *)inherited->box.address)->nonce != nonce)
        return not_for_people();
    inherited->input = has_input ? map_all(EXEC_INPUT) : OS_SHM_NONE;
    if (has_input && !inherited->input.address)
        return os_error(ENOMEM, "mmap of the input");
    self.channel = CHANNEL_OF(EXEC_CHANNEL);
    inherited->channel = &self.channel;
    fcntl(EXEC_CHANNEL, F_SETFD, FD_CLOEXEC);
    fcntl(EXEC_LIFELINE, F_SETFD, FD_CLOEXEC);
    close(EXEC_BOX);
    if (has_input)
        close(EXEC_INPUT);
    child_tie_life(EXEC_LIFELINE, inherited->box.address);
    limit_self(inherited->box.address);
    child_reset_signals();
    child_catch_exit();
    child_catch_faults(inherited->box.address);
    *out = inherited;
    return 0;
}

/* Copies the second string of this process's command line; false when there is none that fits. */
static bool second_argument(char *argument, size_t size)
{
    char line[8192];
    ssize_t count;
    size_t first;
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    count = read(fd, line, sizeof line - 1);
    close(fd);
    if (count <= 0)
        return false;
    line[count] = 0;
    first = strlen(line) + 1;
    return first < (size_t)count && (size_t)snprintf(argument, size, "%s", line + first) < size;
}

/* Who starts a privileged program makes the channel, too, and could have any task run with its rights. */
static int not_for_strangers(void)
{
    return error_detail(XF_EACCESS, "a program with more rights than who starts it is no child of crossfork");
}

int os_self_child(int argc, char **argv, os_entry entry, const os_inherited **inherited)
{
    char asked[128] = "";
    const char *argument = asked;

    if (argc > 1)
        argument = argv[1];
    else if (argc == 0)
        second_argument(asked, sizeof asked);
    *inherited = NULL;
    crash_remember_faults();
    if (strcmp(argument, SERVER_ARGUMENT) != 0 && strncmp(argument, CHILD_ARGUMENT, strlen(CHILD_ARGUMENT)) != 0)
        return 0;
    if (os_self_is_privileged())
        return not_for_strangers();
    if (strcmp(argument, SERVER_ARGUMENT) == 0) {
        fcntl(EXEC_CHANNEL, F_SETFD, FD_CLOEXEC);
        server_run(EXEC_CHANNEL, entry);
    }
    return become_child(argument + strlen(CHILD_ARGUMENT), inherited);
}

_Noreturn void os_self_exit(int code)
{
    _exit(code);
}
