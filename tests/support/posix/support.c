/* What tests need of POSIX. */
#include "support.h"
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *directory = opendir(path);

    if (!directory)
        abort();
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 3; /* ".", ".." and the directory's own descriptor */
}

size_t support_handles(void)
{
    return count_entries("/proc/self/fd");
}

size_t support_mappings(void)
{
    char line[4096];
    size_t count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");

    if (!maps)
        abort();
    while (fgets(line, sizeof line, maps))
        count += strstr(line, "/memfd:crossfork") != NULL;
    fclose(maps);
    return count;
}

bool support_alive(int64_t pid)
{
    char path[64], state = 'X';
    FILE *stat;

    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    stat = fopen(path, "r");
    if (!stat)
        return false;
    if (fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X';
    fclose(stat);
    return state != 'Z' && state != 'X';
}

bool support_gone(int64_t pid, int timeout_ms)
{
    struct pollfd waiting = {.fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0), .events = POLLIN};
    bool gone;

    if (waiting.fd < 0)
        return true;
    gone = poll(&waiting, 1, timeout_ms) == 1;
    close(waiting.fd);
    return gone || !support_alive(pid);
}

void support_kill(int64_t pid)
{
    kill((pid_t)pid, SIGKILL);
}

_Noreturn void support_kill_self(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

bool support_sentinel_ready(intptr_t sentinel, int timeout_ms)
{
    struct pollfd waiting = {.fd = (int)sentinel, .events = POLLIN};

    return poll(&waiting, 1, timeout_ms) == 1;
}

bool support_interrupt_group(void)
{
    return kill(0, SIGINT) == 0;
}

size_t support_memory(void)
{
    long total, resident;
    FILE *statm = fopen("/proc/self/statm", "r");

    if (!statm || fscanf(statm, "%ld %ld", &total, &resident) != 2)
        abort();
    fclose(statm);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}
