/* w1: starts a child that does nothing, and joins it.  w1big: the same from a parent with 1 GiB of dirty heap. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { CALLS = 50, CALLS_BIG_FORK = 10 };

enum { BIG_MIB = 1024 };

/* ---- crossfork ------------------------------------------------------------------------------- */

XF_ENTRY(nothing)
{
    (void)call;
    return 0;
}

static void start_and_join(xf_start_method method)
{
    xf_process *process;
    xf_status status;

    bench_check("xf_process_start",
                xf_process_start(&process, &nothing, NULL, 0, &(xf_process_options){.start = method}));
    bench_check("xf_process_join", xf_process_join(process, &status, XF_FOREVER));
    if (status.kind != XF_END_DONE)
        bench_fail("a child", xf_end_name(status.kind));
    bench_check("xf_process_free", xf_process_free(process));
}

static void by_fork(void)
{
    start_and_join(XF_START_FORK);
}

static void by_spawn(void)
{
    start_and_join(XF_START_SPAWN);
}

static void by_server(void)
{
    start_and_join(XF_START_FORKSERVER);
}

static void clean_up(void)
{
    bench_check("xf_cleanup", xf_cleanup());
}

/* ---- Bare calls ------------------------------------------------------------------------------ */

static void bare_fork(void)
{
    pid_t pid = fork();

    if (pid < 0)
        bench_fail("fork", NULL);
    if (pid == 0)
        _exit(0);
    bench_reap(pid);
}

static void bare_spawn(void)
{
    char image[] = "/proc/self/exe", nothing_to_do[] = BENCH_NOTHING;
    char *arguments[] = {image, nothing_to_do, NULL};
    pid_t pid;

    errno = posix_spawn(&pid, image, NULL, NULL, arguments, environ);
    if (errno)
        bench_fail("posix_spawn", NULL);
    bench_reap(pid);
}

/* A small process that is forked early.  When it receives a byte, it forks, waits, and sends the status back. */
static struct {
    pid_t pid;
    int requests[2];
    int replies[2];
} zygote;

static _Noreturn void serve(void)
{
    char byte;

    while (read(zygote.requests[0], &byte, 1) == 1) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (waitpid(pid, &status, 0) != pid || write(zygote.replies[1], &status, sizeof status) != sizeof status)
            _exit(1);
    }
    _exit(0);
}

static void open_zygote(void)
{
    if (pipe2(zygote.requests, O_CLOEXEC) || pipe2(zygote.replies, O_CLOEXEC))
        bench_fail("pipe2", NULL);
    zygote.pid = fork();
    if (zygote.pid < 0)
        bench_fail("fork", NULL);
    if (zygote.pid == 0) {
        close(zygote.requests[1]);
        serve();
    }
    close(zygote.requests[0]);
    close(zygote.replies[1]);
}

static void bare_zygote(void)
{
    int status;

    if (write(zygote.requests[1], "x", 1) != 1 || read(zygote.replies[0], &status, sizeof status) != sizeof status)
        bench_fail("zygote", NULL);
    if (status != 0)
        bench_fail("a bare child", "did not end with 0");
}

static void close_zygote(void)
{
    close(zygote.requests[1]);
    close(zygote.replies[0]);
    bench_reap(zygote.pid);
}

/* ---- The workloads --------------------------------------------------------------------------- */

static void grow(void)
{
    size_t size = bench_size(bench_asked.heap, BIG_MIB) << 20;
    void *heap = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (heap == MAP_FAILED)
        bench_fail("mmap", NULL);
    memset(heap, 1, size);
}

static void open_zygote_and_grow(void)
{
    open_zygote();
    grow();
}

static const bench_variant w1_variants[] = {
    {"bare:fork", NULL, bare_fork, NULL, CALLS, false, NULL},
    {"crossfork:fork", NULL, by_fork, clean_up, CALLS, false, NULL},
    {"bare:zygote", open_zygote, bare_zygote, close_zygote, CALLS, false, NULL},
    {"crossfork:server", NULL, by_server, clean_up, CALLS, false, NULL},
    {"bare:posix_spawn", NULL, bare_spawn, NULL, CALLS, false, NULL},
    {"crossfork:spawn", NULL, by_spawn, clean_up, CALLS, false, NULL},
};

static const bench_ratio w1_ratios[] = {
    {"crossfork:fork", "bare:fork", 1.25},
    {"crossfork:server", "bare:zygote", 1.3},
    {"crossfork:spawn", "bare:posix_spawn", 1.3},
};

const bench_workload bench_w1 = {"w1", 1, 2, w1_variants, BENCH_COUNT(w1_variants), w1_ratios, BENCH_COUNT(w1_ratios),
                                 false};

static const bench_variant w1big_variants[] = {
    {"bare:fork", grow, bare_fork, NULL, CALLS_BIG_FORK, false, NULL},
    {"crossfork:fork", grow, by_fork, clean_up, CALLS_BIG_FORK, false, NULL},
    {"bare:zygote", open_zygote_and_grow, bare_zygote, close_zygote, CALLS, false, NULL},
    {"crossfork:server", grow, by_server, clean_up, CALLS, false, NULL},
    {"small:server", NULL, by_server, clean_up, CALLS, true, NULL},
    {"bare:posix_spawn", grow, bare_spawn, NULL, CALLS, false, NULL},
    {"crossfork:spawn", grow, by_spawn, clean_up, CALLS, false, NULL},
    {"small:spawn", NULL, by_spawn, clean_up, CALLS, true, NULL},
};

static const bench_ratio w1big_ratios[] = {
    {"crossfork:fork", "bare:fork", 1.25},        {"crossfork:server", "bare:zygote", 1.3},
    {"crossfork:spawn", "bare:posix_spawn", 1.3}, {"crossfork:server", "small:server", 1.1},
    {"crossfork:spawn", "small:spawn", 1.1},
};

const bench_workload bench_w1big = {
    "w1big", 1, 2, w1big_variants, BENCH_COUNT(w1big_variants), w1big_ratios, BENCH_COUNT(w1big_ratios), false};
