/* Bare system calls that several workloads compare crossfork with. */
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void *bench_share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        bench_fail("mmap", NULL);
    memset(memory, 0, size);
    return memory;
}

void *bench_allocate(size_t size)
{
    void *memory = malloc(size);

    if (!memory)
        bench_fail("malloc", NULL);
    memset(memory, 0xFF, size); /* what calloc gives would not be mapped yet */
    return memory;
}

void bench_futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

void bench_futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, 2, NULL, NULL, 0);
}

void bench_reap(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            bench_fail("waitpid", NULL);
    if (status != 0)
        bench_fail("a bare child", "did not end with 0");
}

/* ---- A team ----------------------------------------------------------------------------------------------------- */

typedef struct team {
    _Alignas(64) _Atomic uint32_t turn;
    _Atomic bool over;
    _Alignas(64) _Atomic uint32_t busy;
} team;

static struct {
    team *shared;
    pid_t pids[2];
} bare;

static _Noreturn void follow(void (*work)(int me), int me)
{
    team *team = bare.shared;
    uint32_t turn = 0;

    for (;;) {
        while (atomic_load(&team->turn) == turn)
            bench_futex_wait(&team->turn, turn);
        turn = atomic_load(&team->turn);
        if (atomic_load(&team->over))
            _exit(0);
        work(me);
        if (atomic_fetch_sub(&team->busy, 1) == 1)
            bench_futex_wake(&team->busy);
    }
}

void bench_open_team(void (*work)(int me))
{
    bare.shared = bench_share(sizeof *bare.shared);
    for (int i = 0; i < 2; i++) {
        bare.pids[i] = fork();
        if (bare.pids[i] < 0)
            bench_fail("fork", NULL);
        if (bare.pids[i] == 0)
            follow(work, i);
    }
}

void bench_begin_team(void)
{
    atomic_store(&bare.shared->busy, 2);
    atomic_fetch_add(&bare.shared->turn, 1);
    bench_futex_wake(&bare.shared->turn);
}

void bench_await_team(void)
{
    uint32_t busy;

    while ((busy = atomic_load(&bare.shared->busy)) != 0)
        bench_futex_wait(&bare.shared->busy, busy);
}

void bench_close_team(void)
{
    atomic_store(&bare.shared->over, true);
    bench_begin_team();
    bench_reap(bare.pids[0]);
    bench_reap(bare.pids[1]);
}
