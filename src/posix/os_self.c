/* Turns this process into a child, if crossfork started it. */
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

static const char *const runtime_modules[] = {
    "libc.so", "libc-2.",   "libc.musl", "ld-musl", "libpthread.so", "libpthread-2.", "libstdc++",
    "libc++",  "libgcc_s.", "libtsan.",  "libasan", "libubsan.",     "libclang_rt.",  NULL};

const os_traits os = {.has_fork = true,
                      .has_server = true,
                      .attach_needs_ack = false,
                      .register_names = record_register_names,
                      .runtime_modules = runtime_modules};

/* ---- The command line ------------------------------------------------------------------------ */

/* Copies the second string of this process's command line; false when there is none, or it does not fit. */
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

/* ---- Becoming a child ------------------------------------------------------------------------ */

/* An address of NULL where the descriptor is no file; the parent learns of a file that cannot be mapped. */
static os_shm map_whole_file(int fd, input_access access)
{
    struct stat facts;
    os_shm shm;

    if (fstat(fd, &facts) < 0 || facts.st_size <= 0)
        return OS_SHM_NONE;
    shm = shm_map_inherited(fd, (size_t)facts.st_size, access);
    if (!shm.address)
        child_refuse(EXEC_NEWS, errno);
    return shm;
}

static int refuse_argument(void)
{
    return error_detail(XF_EPROTO, "%s is crossfork's own and needs a parent", CHILD_ARGUMENT);
}

/* The parent arms the lifeline for the process that it has executed, and then sends the first bytes.  The child arms it
 * for itself only after that, so that what it does stays. */
static void await_first(void)
{
    struct pollfd first = {.fd = EXEC_CHANNEL, .events = POLLIN};

    (void)fd_poll(&first, 1, -1);
}

/* A program whose main, or whose libraries, have started threads by now has no keeper, because the threads would be
 * lost.  Returns whether there is one. */
static bool divide_without_threads(child_fds *fds)
{
    bool divides = os_self_threads() <= 1;

    if (divides)
        child_divide(fds, false);
    else
        fcntl(fds->news, F_SETFD, FD_CLOEXEC);
    return divides;
}

static int become_child(const char *token, const os_inherited **out)
{
    static newborn self;
    unsigned long long nonce;
    int access[OS_INPUTS];
    os_inherited *inherited = &self.inherited;
    struct stat facts;
    bool has_keeper;
    child_fds fds = NO_CHILD_FDS;

    fds.news = EXEC_NEWS;
    if (sscanf(token, "%llx,%d,%d", &nonce, &access[0], &access[1]) != 1 + OS_INPUTS ||
        fstat(EXEC_CHANNEL, &facts) < 0 || !S_ISSOCK(facts.st_mode) || fstat(EXEC_LIFELINE, &facts) < 0 ||
        !S_ISFIFO(facts.st_mode) || fstat(EXEC_NEWS, &facts) < 0 || !S_ISSOCK(facts.st_mode))
        return refuse_argument();
    inherited->box = map_whole_file(EXEC_BOX, INPUT_BOX);
    if (inherited->box.size < sizeof(os_status) || ((os_status *)inherited->box.address)->nonce != nonce)
        return refuse_argument();
    has_keeper = divide_without_threads(&fds);
    for (int i = 0; i < OS_INPUTS; i++) {
        inherited->inputs[i] = access[i] ? map_whole_file(EXEC_INPUT + i, (input_access)access[i]) : OS_SHM_NONE;
        if (access[i] && !inherited->inputs[i].address)
            return refuse_argument();
    }
    if (has_keeper)
        fd_close(&fds.news);
    shm_copy_box(&inherited->box);
    self.channel = CHANNEL_OF(EXEC_CHANNEL);
    inherited->channel = &self.channel;
    fcntl(EXEC_CHANNEL, F_SETFD, FD_CLOEXEC);
    fcntl(EXEC_LIFELINE, F_SETFD, FD_CLOEXEC);
    await_first();
    child_tie_life(EXEC_LIFELINE, !has_keeper);
    limit_self(inherited->box.address);
    child_reset_signals();
    child_catch_exit();
    child_catch_faults(inherited->box.address);
    *out = inherited;
    return 0;
}

/* Who starts a privileged program makes the channel, too, and could have any task run with its rights. */
static int refuse_stranger(void)
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
        return refuse_stranger();
    if (strcmp(argument, SERVER_ARGUMENT) == 0) {
        fcntl(EXEC_CHANNEL, F_SETFD, FD_CLOEXEC);
        fcntl(EXEC_LIFELINE, F_SETFD, FD_CLOEXEC);
        server_run(EXEC_CHANNEL, entry);
    }
    return become_child(argument + strlen(CHILD_ARGUMENT), inherited);
}

_Noreturn void os_self_exit(int code)
{
    _exit(code);
}
