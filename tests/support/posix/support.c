/* What tests need of POSIX. */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/unistd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
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
        count += strstr(line, "/memfd:crossfork") != NULL || strstr(line, "/dev/zero (deleted)") != NULL;
    fclose(maps);
    return count;
}

bool support_make_writable(void *address, size_t size)
{
    return mprotect(address, size, PROT_READ | PROT_WRITE) == 0;
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

bool support_has_ended(int64_t pid, int timeout_ms)
{
    struct pollfd waiting = {.fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0), .events = POLLIN};
    int ready;

    if (waiting.fd < 0)
        return true;
    while ((ready = poll(&waiting, 1, timeout_ms)) < 0 && errno == EINTR)
        continue;
    syscall(SYS_close, waiting.fd); /* as it was made, or the thread sanitizer takes it for the last of that number */
    return ready == 1;
}

/* Of a zombie the link cannot be read. */
static bool runs(pid_t pid, const char *program)
{
    char path[64], image[4096];
    ssize_t length;

    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    length = readlink(path, image, sizeof image - 1);
    image[length < 0 ? 0 : length] = 0;
    return strcmp(image, program) == 0;
}

size_t support_same_program(int64_t *pids, size_t room)
{
    char own[4096] = "";
    size_t count = 0;
    DIR *processes = opendir("/proc");
    struct dirent *entry;

    if (!processes || readlink("/proc/self/exe", own, sizeof own - 1) < 0)
        abort();
    while ((entry = readdir(processes))) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        if (pid <= 0 || pid == getpid() || !runs(pid, own))
            continue;
        if (count < room)
            pids[count] = pid;
        count++;
    }
    closedir(processes);
    return count;
}

/* The first column of a table of the System V kind is a key, the second an id. */
static void list_table(const char *path, void (*found)(void *arg, const char *name), void *arg)
{
    char line[1024], name[64];
    long key, id;
    FILE *table = fopen(path, "r");

    while (table && fgets(line, sizeof line, table))
        if (sscanf(line, "%ld %ld", &key, &id) == 2) {
            snprintf(name, sizeof name, "%s: %ld", path, id);
            found(arg, name);
        }
    if (table)
        fclose(table);
}

/* Abstract names of sockets, which are the last thing in their lines; the system writes their first byte as '@'. */
static void list_sockets(void (*found)(void *arg, const char *name), void *arg)
{
    FILE *file = fopen("/proc/net/unix", "r");
    char line[512], *name;

    while (file && fgets(line, sizeof line, file))
        if ((name = strstr(line, "@crossfork-"))) {
            name[strcspn(name, "\n")] = 0;
            found(arg, name);
        }
    if (file)
        fclose(file);
}

void support_names(void (*found)(void *arg, const char *name), void *arg)
{
    DIR *directory = opendir("/dev/shm");
    struct dirent *entry;

    while (directory && (entry = readdir(directory)))
        if (entry->d_name[0] != '.')
            found(arg, entry->d_name);
    if (directory)
        closedir(directory);
    list_table("/proc/sysvipc/shm", found, arg);
    list_table("/proc/sysvipc/sem", found, arg);
    list_sockets(found, arg);
}

#define MADE_NAME "/crossfork_made_name"

void *support_make_name(void)
{
    int fd = shm_open(MADE_NAME, O_RDWR | O_CREAT, 0600);

    if (fd < 0)
        abort();
    close(fd);
    return NULL;
}

void support_drop_name(void *made)
{
    (void)made;
    shm_unlink(MADE_NAME);
}

void support_own_names(void)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET) < 0)
        return;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        (void)mount("none", "/dev/shm", "tmpfs", 0, "size=64m"); /* or it is the one of everybody */
}

void support_kill(int64_t pid)
{
    if (pid <= 0)
        abort(); /* 0 would be the group of the test, and of what runs it */
    kill((pid_t)pid, SIGKILL);
}

_Noreturn void support_kill_self(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

int64_t support_escape(void (*run)(void *arg), void *arg)
{
    int escaped[2];
    char byte;
    pid_t pid;

    if (pipe(escaped) < 0 || (pid = fork()) < 0)
        abort();
    close(escaped[pid != 0]);
    if (pid == 0) {
        setsid();
        close(escaped[1]);
        alarm(60);
        run(arg);
        _exit(0);
    }
    while (read(escaped[0], &byte, 1) < 0 && errno == EINTR)
        continue;
    close(escaped[0]);
    return pid;
}

void support_let_go(bool close_all)
{
    prctl(PR_SET_PDEATHSIG, 0);
    for (int fd = 3; fd < 256; fd++) {
        fcntl(fd, F_SETFL, 0);
        fcntl(fd, F_SETOWN, 0);
        fcntl(fd, F_SETSIG, 0);
    }
    for (int fd = 3; close_all && fd < 256; fd++)
        close(fd);
}

_Noreturn void support_become(const char *argument)
{
    char own[4096] = "";
    char *const arguments[] = {own, (char *)(uintptr_t)argument, NULL};

    if (readlink("/proc/self/exe", own, sizeof own - 1) < 0)
        abort();
    execv(own, arguments);
    abort();
}

bool support_sentinel_ready(intptr_t sentinel, int timeout_ms)
{
    struct pollfd waiting = {.fd = (int)sentinel, .events = POLLIN};

    int ready;

    while ((ready = poll(&waiting, 1, timeout_ms)) < 0 && errno == EINTR)
        continue;
    return ready == 1;
}

int support_run(const char *path, const char *argument)
{
    char *const arguments[] = {(char *)path, (char *)argument, NULL};
    int status;
    pid_t pid;

    if (posix_spawn(&pid, path, NULL, NULL, arguments, environ) != 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void support_lead_group(void)
{
    setpgid(0, 0);
}

static bool read_family(pid_t pid, pid_t *parent, pid_t *group)
{
    char path[64], line[1024] = "", *end;
    FILE *stat;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    stat = fopen(path, "r");
    if (!stat)
        return false;
    end = fgets(line, sizeof line, stat) ? strrchr(line, ')') : NULL; /* the name may hold anything */
    fclose(stat);
    return end && sscanf(end, ") %*c %d %d", parent, group) == 2;
}

static bool is_below_this(pid_t pid)
{
    pid_t group;

    while (pid > 1 && pid != getpid())
        if (!read_family(pid, &pid, &group))
            return false;
    return pid == getpid();
}

/* The group may be the test runner's too, so it goes to this process and its descendants only. */
bool support_interrupt_group(void)
{
    DIR *processes = opendir("/proc");
    struct dirent *entry;

    if (!processes)
        return false;
    while ((entry = readdir(processes))) {
        pid_t pid = (pid_t)atoi(entry->d_name), parent, group;
        if (pid > 0 && read_family(pid, &parent, &group) && group == getpgrp() && is_below_this(pid))
            kill(pid, SIGINT);
    }
    closedir(processes);
    return true;
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

bool support_can_dump(void)
{
    char pattern[2] = "|";
    struct rlimit limit = {0, 0};
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");

    if (file) {
        if (!fgets(pattern, sizeof pattern, file))
            pattern[0] = '|';
        fclose(file);
    }
    getrlimit(RLIMIT_CORE, &limit);
    return pattern[0] != '|' && pattern[0] != '/' && limit.rlim_max > 0;
}

bool support_limits(void)
{
    return true;
}

bool support_limits_memory(void)
{
#ifdef XF_SANITIZED
    return false;
#else
    return true;
#endif
}

void support_ignore_cpu_signal(void)
{
    signal(SIGXCPU, SIG_IGN);
}

/* futex_waitv came with Linux 5.16. */
bool support_be_older(void)
{
    struct sock_filter refuse[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_futex_waitv, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof refuse / sizeof *refuse, refuse};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

void support_leave_root(void)
{
    id_t user = 100000 + (id_t)getpid(); /* whose processes are this one's only */

    if (geteuid() == 0 && (setresgid(user, user, user) < 0 || setresuid(user, user, user) < 0))
        abort();
}

/* ---- cgroups(7), of the first or the second version ------------------------------------------ */

static void path_of_group(char *path, size_t size, const char *name)
{
    bool is_second = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;

    snprintf(path, size, "/sys/fs/cgroup/%s%s", is_second ? "" : "memory/", name);
}

static bool set_in_group(const char *group, const char *file, size_t value)
{
    char path[256];
    FILE *stream;
    bool done;

    snprintf(path, sizeof path, "%s/%s", group, file);
    stream = fopen(path, "r+");
    if (!stream)
        return false;
    done = fprintf(stream, "%zu", value) > 0;
    return fclose(stream) == 0 && done;
}

bool support_join_small_group(const char *name, size_t memory)
{
    char path[128];

    path_of_group(path, sizeof path, name);
    if (mkdir(path, 0755) < 0)
        return false;
    (void)(set_in_group(path, "memory.swap.max", 0) || set_in_group(path, "memory.swappiness", 0));
    return (set_in_group(path, "memory.max", memory) || set_in_group(path, "memory.limit_in_bytes", memory)) &&
           set_in_group(path, "cgroup.procs", (size_t)getpid());
}

void support_remove_small_group(const char *name)
{
    char path[128];

    path_of_group(path, sizeof path, name);
    rmdir(path);
}

bool support_mount_small_disk(const char *path)
{
    return mount("none", path, "tmpfs", 0, "size=64k") == 0;
}

void support_unmount_small_disk(const char *path)
{
    umount2(path, MNT_DETACH);
}

/* A copy that hangs is killed. */
bool support_holds_in_copy(bool (*holds)(void *arg), void *arg)
{
    enum { PATIENCE_S = 60 };
    int status = 1;
    pid_t copy = fork();

    if (copy == 0) {
        alarm(PATIENCE_S);
        _exit(holds(arg) ? 0 : 1);
    }
    return copy > 0 && waitpid(copy, &status, 0) == copy && status == 0;
}

static void do_nothing(int number)
{
    (void)number;
}

void support_interrupt_calls(int milliseconds)
{
    struct sigaction action = {.sa_handler = do_nothing}; /* without SA_RESTART */
    struct timeval every = {.tv_usec = milliseconds * 1000};

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){every, every}, NULL);
}
