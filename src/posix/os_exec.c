/* Executes the running image anew. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMAGE "/proc/self/exe"

#ifdef XF_CLOSEFROM
static int add_file_actions(posix_spawn_file_actions_t *actions, const child_fds *fds)
{
    const int targets[][2] = {
        {fds->channel, EXEC_CHANNEL}, {fds->lifeline, EXEC_LIFELINE}, {fds->box, EXEC_BOX}, {fds->input, EXEC_INPUT}};
    int error = 0;

    for (int i = 0; i < 3 && !error; i++)
        error = posix_spawn_file_actions_adddup2(actions, fds->stdio[i], i);
    if (fds->directory >= 0 && !error)
        error = posix_spawn_file_actions_addfchdir_np(actions, fds->directory);
    for (int i = 0; i < 4 && !error; i++)
        if (targets[i][0] >= 0)
            error = posix_spawn_file_actions_adddup2(actions, targets[i][0], targets[i][1]);
        else
            error = posix_spawn_file_actions_addclose(actions, targets[i][1]);
    return error ? error : posix_spawn_file_actions_addclosefrom_np(actions, EXEC_END);
}

static int set_spawn_attributes(posix_spawnattr_t *attributes)
{
    sigset_t all, none;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setsigmask(attributes, &none);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

static int execute_image(pid_t *pid, char *const *arguments, char *const *environment, const child_fds *fds)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error;

    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    error = add_file_actions(&actions, fds);
    if (!error)
        error = set_spawn_attributes(&attributes);
    if (!error)
        error = posix_spawn(pid, IMAGE, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}
#else
/* Runs in the child of vfork, which shares its parent's memory until it executes: all signals are blocked, and the
 * functions that it calls are the system's.  It closes the descriptors that are not for the image.  The parent cannot
 * mark them close-on-exec for this, because other threads may start programs meanwhile that are to inherit them. */
static int prepare_image(const child_fds *fds)
{
    const int targets[][2] = {
        {fds->channel, EXEC_CHANNEL}, {fds->lifeline, EXEC_LIFELINE}, {fds->box, EXEC_BOX}, {fds->input, EXEC_INPUT}};

    setpgid(0, 0);
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] == i ? fcntl(i, F_SETFD, 0) < 0 : dup2(fds->stdio[i], i) < 0)
            return -1;
    if (fds->directory >= 0 && fchdir(fds->directory) < 0)
        return -1;
    for (int i = 0; i < 4; i++)
        if (targets[i][0] < 0)
            close(targets[i][1]);
        else if (dup2(targets[i][0], targets[i][1]) < 0)
            return -1;
    child_close_range(EXEC_END, ~0U);
    for (int number = 1; number < NSIG; number++)
        child_reset_signal(number);
    return 0;
}

static _Noreturn void become_image(char *const *arguments, char *const *environment, const child_fds *fds,
                                   volatile int *error)
{
    sigset_t none;

    sigemptyset(&none);
    if (prepare_image(fds) == 0 && pthread_sigmask(SIG_SETMASK, &none, NULL) == 0)
        execve(IMAGE, arguments, environment);
    *error = errno;
    _exit(127);
}

/* Does what posix_spawn does.  posix_spawn is not used here because it cannot close descriptors that it does not know
 * of in every C library. */
static int execute_image(pid_t *pid, char *const *arguments, char *const *environment, const child_fds *fds)
{
    volatile int error = 0; /* the child sets it */
    int cancelling;
    sigset_t all, before;
    pid_t child;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    child = vfork();
    if (child == 0)
        become_image(arguments, environment, fds, &error);
    if (child < 0)
        error = errno;
    else if (error)
        waitpid(child, NULL, 0);
    *pid = child;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setcancelstate(cancelling, NULL);
    return error;
}
#endif

/* Copies the descriptors to numbers above those that the image finds them at, so that setting up one does not overwrite
 * another; -1 stays -1. */
static int lift_for_exec(const child_fds *fds, child_fds *lifted)
{
    const int *from[] = {&fds->channel, &fds->lifeline, &fds->box, &fds->input};
    int *to[] = {&lifted->channel, &lifted->lifeline, &lifted->box, &lifted->input};

    *lifted = *fds;
    for (int i = 0; i < 4; i++)
        *to[i] = -1;
    for (int i = 0; i < 4; i++)
        if (*from[i] >= 0 && (*to[i] = fcntl(*from[i], F_DUPFD_CLOEXEC, EXEC_END)) < 0)
            return os_error(errno, "fcntl F_DUPFD_CLOEXEC");
    return 0;
}

int exec_again(pid_t *pid, const char *argument, char *const *environment, const child_fds *fds)
{
    char *arguments[] = {program_invocation_name, (char *)argument, NULL};
    child_fds lifted;
    int error, rc = lift_for_exec(fds, &lifted);

    if (rc < 0)
        goto close_lifted;
    error = execute_image(pid, arguments, environment, &lifted);
    if (error)
        rc = os_error(error, "executing " IMAGE);

close_lifted:
    fd_close(&lifted.channel);
    fd_close(&lifted.lifeline);
    fd_close(&lifted.box);
    fd_close(&lifted.input);
    return rc;
}
