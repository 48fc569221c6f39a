/* Executes the running image anew. */
#include "base/error.h"
#include "os_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMAGE "/proc/self/exe"

/* Descriptors that the image finds at fixed numbers, from EXEC_CHANNEL on. */
enum { PASSED = EXEC_END - EXEC_CHANNEL };

static void list_passed(child_fds *fds, int *passed[PASSED])
{
    passed[0] = &fds->channel;
    passed[1] = &fds->lifeline;
    passed[2] = &fds->box;
    passed[3] = &fds->news;
    for (int i = 0; i < OS_INPUTS; i++)
        passed[4 + i] = &fds->inputs[i];
}

#ifdef XF_CLOSEFROM
static int add_file_actions(posix_spawn_file_actions_t *actions, const child_fds *fds)
{
    child_fds own = *fds;
    int *passed[PASSED], error = 0;

    list_passed(&own, passed);

    for (int i = 0; i < 3 && !error; i++)
        error = posix_spawn_file_actions_adddup2(actions, fds->stdio[i], i);
    if (fds->directory >= 0 && !error)
        error = posix_spawn_file_actions_addfchdir_np(actions, fds->directory);
    for (int i = 0; i < PASSED && !error; i++)
        if (*passed[i] >= 0)
            error = posix_spawn_file_actions_adddup2(actions, *passed[i], EXEC_CHANNEL + i);
        else
            error = posix_spawn_file_actions_addclose(actions, EXEC_CHANNEL + i);
    return error ? error : posix_spawn_file_actions_addclosefrom_np(actions, EXEC_END);
}

static int set_spawn_attributes(posix_spawnattr_t *attributes)
{
    sigset_t all, stops;

    sigfillset(&all);
    child_list_terminal_stops(&stops);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setsigmask(attributes, &stops);
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
    child_fds own = *fds;
    int *passed[PASSED];

    list_passed(&own, passed);
    setpgid(0, 0);
    for (int i = 0; i < 3; i++)
        if (fds->stdio[i] == i ? fcntl(i, F_SETFD, 0) < 0 : dup2(fds->stdio[i], i) < 0)
            return -1;
    if (fds->directory >= 0 && fchdir(fds->directory) < 0)
        return -1;
    for (int i = 0; i < PASSED; i++)
        if (*passed[i] < 0)
            close(EXEC_CHANNEL + i);
        else if (dup2(*passed[i], EXEC_CHANNEL + i) < 0)
            return -1;
    child_close_range(EXEC_END, ~0U);
    for (int number = 1; number < NSIG; number++)
        child_reset_signal(number);
    return 0;
}

static _Noreturn void become_image(char *const *arguments, char *const *environment, const child_fds *fds,
                                   volatile int *error)
{
    sigset_t stops;

    child_list_terminal_stops(&stops);
    if (prepare_image(fds) == 0 && pthread_sigmask(SIG_SETMASK, &stops, NULL) == 0)
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
    child_fds own = *fds;
    int *from[PASSED], *to[PASSED];

    *lifted = *fds;
    list_passed(&own, from);
    list_passed(lifted, to);
    for (int i = 0; i < PASSED; i++)
        *to[i] = -1;
    for (int i = 0; i < PASSED; i++)
        if (*from[i] >= 0 && (*to[i] = fcntl(*from[i], F_DUPFD_CLOEXEC, EXEC_END)) < 0)
            return os_error(errno, "fcntl F_DUPFD_CLOEXEC");
    return 0;
}

/* ---- A program that was started through the loader ------------------------------------------- */

static char loaded_program[4096]; /* its path; "": the running image is the program itself */

/* Sets the address at which the program is, which dl_iterate_phdr reports first. */
static int visit_program(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size;
    *(uintptr_t *)arg = (uintptr_t)object->dlpi_phdr;
    return 1;
}

/* Finds the path of the file that is mapped at that address; false when it is the running image. */
static bool is_mapped_apart(uintptr_t address, const char *image, char *path, size_t size)
{
    char line[sizeof loaded_program + 100], *name;
    unsigned long start, end;
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");

    while (maps && !found && fgets(line, sizeof line, maps)) {
        found = sscanf(line, "%lx-%lx", &start, &end) == 2 && start <= address && address < end;
        line[strcspn(line, "\n")] = 0;
    }
    if (maps)
        fclose(maps);
    name = found ? strchr(line, '/') : NULL;
    return name && strcmp(name, image) != 0 && (size_t)snprintf(path, size, "%s", name) < size;
}

/* "ld.so program": the running image is ld.so, and executing it anew does not execute the program. */
static void find_loaded_program(void)
{
    char image[sizeof loaded_program] = "";
    uintptr_t address = 0;

    dl_iterate_phdr(visit_program, &address);
    if (readlink(IMAGE, image, sizeof image - 1) < 0 ||
        !is_mapped_apart(address, image, loaded_program, sizeof loaded_program))
        loaded_program[0] = 0;
}

static const char *through_loader(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_loaded_program);
    return *loaded_program ? loaded_program : NULL;
}

/* ---- Executing ------------------------------------------------------------------------------- */

int exec_again(pid_t *pid, const char *argument, char *const *environment, const child_fds *fds)
{
    char *loaded = (char *)through_loader();
    char *arguments[] = {program_invocation_name, loaded ? loaded : (char *)argument, loaded ? (char *)argument : NULL,
                         NULL};
    child_fds lifted;
    int *passed[PASSED], error, rc = lift_for_exec(fds, &lifted);

    if (rc < 0)
        goto close_lifted;
    error = execute_image(pid, arguments, environment, &lifted);
    if (error)
        rc = error == E2BIG ? environment_error(environment) : os_error(error, "executing " IMAGE);

close_lifted:
    list_passed(&lifted, passed);
    for (int i = 0; i < PASSED; i++)
        fd_close(passed[i]);
    return rc;
}
