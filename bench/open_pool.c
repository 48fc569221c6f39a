/* w8: opens a pool of two workers, runs one task, closes the pool and joins it. */
#include "bench.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

extern char **environ;

enum { CALLS = 30, WORKERS = 2 };

static size_t workers(void)
{
    return bench_size(bench_asked.workers, WORKERS);
}

/* ---- crossfork ------------------------------------------------------------------------------- */

XF_TASK(cube, const double *in, double *out)
{
    (void)call;
    *out = *in * *in * *in;
    return 0;
}

/* An eager pool starts all workers, as the bare variants do; another pool starts only as many as it has work for. */
static void open_and_close(xf_start_method method, bool eager)
{
    xf_process_options process = {.start = method};
    xf_pool_options options = {.workers = (int)workers(), .eager = eager, .process = &process};
    xf_pool *pool = bench_open_pool(&options);
    double in = 3, out = 0;

    bench_check("xf_pool_map", xf_pool_map(pool, &(xf_map){.task = &cube, .in = &in, .out = &out, .count = 1}));
    if (out != 27)
        bench_fail("w8", "a cube is wrong");
    xf_pool_close(pool);
    bench_check("xf_pool_join", xf_pool_join(pool, XF_FOREVER));
    xf_pool_free(pool);
}

static void clean_up(void)
{
    bench_check("xf_cleanup", xf_cleanup());
}

static void by_fork(void)
{
    open_and_close(XF_START_FORK, true);
}

static void by_spawn(void)
{
    open_and_close(XF_START_SPAWN, true);
}

/* Includes the start and the end of the server. */
static void by_server(void)
{
    open_and_close(XF_START_FORKSERVER, true);
    clean_up();
}

/* Uses the server that an earlier call started. */
static void by_kept_server(void)
{
    open_and_close(XF_START_FORKSERVER, true);
}

static void by_default(void)
{
    open_and_close(XF_START_FORKSERVER, false);
}

/* ---- Bare: processes on shared memory -------------------------------------------------------- */

typedef struct board {
    _Atomic uint32_t taken;
    _Atomic uint32_t done;
    _Atomic uint32_t over;
    double in, out;
} board;

static void work(board *board)
{
    if (atomic_fetch_add(&board->taken, 1) == 0) {
        board->out = board->in * board->in * board->in;
        atomic_store(&board->done, 1);
        bench_futex_wake(&board->done);
    }
    while (!atomic_load(&board->over))
        bench_futex_wait(&board->over, 0);
}

static board *map_board(int memory)
{
    void *address = mmap(NULL, sizeof(board), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);

    if (address == MAP_FAILED)
        bench_fail("mmap", NULL);
    return address;
}

void bench_bare_worker(int memory)
{
    work(map_board(memory));
}

static pid_t bare_fork(board *board, int memory)
{
    pid_t pid = fork();

    (void)memory;
    if (pid < 0)
        bench_fail("fork", NULL);
    if (pid == 0) {
        work(board);
        _exit(0);
    }
    return pid;
}

static pid_t bare_spawn(board *board, int memory)
{
    char image[] = "/proc/self/exe", worker[] = BENCH_WORKER, number[16];
    char *arguments[] = {image, worker, number, NULL};
    pid_t pid;

    (void)board;
    snprintf(number, sizeof number, "%d", memory);
    errno = posix_spawn(&pid, image, NULL, NULL, arguments, environ);
    if (errno)
        bench_fail("posix_spawn", NULL);
    return pid;
}

static void run_bare(pid_t (*start)(board *, int))
{
    int memory = memfd_create("w8", 0);
    board *board;
    pid_t pids[workers()];

    if (memory < 0 || ftruncate(memory, sizeof *board))
        bench_fail("memfd_create", NULL);
    board = map_board(memory);
    board->in = 3;
    for (size_t i = 0; i < workers(); i++)
        pids[i] = start(board, memory);
    while (!atomic_load(&board->done))
        bench_futex_wait(&board->done, 0);
    if (board->out != 27)
        bench_fail("w8", "a bare cube is wrong");
    atomic_store(&board->over, 1);
    bench_futex_wake(&board->over);
    for (size_t i = 0; i < workers(); i++)
        bench_reap(pids[i]);
    munmap(board, sizeof *board);
    close(memory);
}

static void run_bare_fork(void)
{
    run_bare(bare_fork);
}

static void run_bare_spawn(void)
{
    run_bare(bare_spawn);
}

/* ---- The workload ---------------------------------------------------------------------------- */

static const bench_variant variants[] = {
    {"bare:fork", NULL, run_bare_fork, NULL, CALLS, false, NULL},
    {"crossfork:fork", NULL, by_fork, clean_up, CALLS, false, NULL},
    {"crossfork:server", NULL, by_server, NULL, CALLS, false, NULL},
    {"crossfork:server-kept", NULL, by_kept_server, clean_up, CALLS, false, NULL},
    {"crossfork:lazy", NULL, by_default, clean_up, CALLS, false, NULL},
    {"bare:posix_spawn", NULL, run_bare_spawn, NULL, CALLS, false, NULL},
    {"crossfork:spawn", NULL, by_spawn, clean_up, CALLS, false, NULL},
};

static const bench_ratio ratios[] = {
    {"crossfork:fork", "bare:fork", 1.3},         {"crossfork:server", "bare:fork", 1.8},
    {"crossfork:server-kept", "bare:fork", 1.8},  {"crossfork:lazy", "bare:fork", 1.8},
    {"crossfork:spawn", "bare:posix_spawn", 1.4},
};

const bench_workload bench_w8 = {"w8", 1, 2, variants, BENCH_COUNT(variants), ratios, BENCH_COUNT(ratios), false};
