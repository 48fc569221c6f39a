/* Bare peers: system calls that several workloads compare crossfork with. */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
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
    memset(memory, 0xFF, size); /* calloc's pages would not be mapped yet */
    return memory;
}

void bench_futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

void bench_futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
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

/* Two processes that spin for each other on one core meet only when one of them sleeps, and on a busy machine the
 * scheduler puts them on one core.  So each process that has to be hot gets a core of its own, if there are two.
 *   n  0: the process that asks; 1: the process that answers */
void bench_keep_to_core(int n)
{
    static cpu_set_t all; /* as this process found them; a worker starts from all that exist */
    cpu_set_t one;
    int core = -1;

    CPU_ZERO(&one);
    if (n == 0 && sched_getaffinity(0, sizeof all, &all))
        bench_fail("sched_getaffinity", NULL);
    if (n == 1 && CPU_COUNT(&all) == 0)
        for (int i = 0; i < CPU_SETSIZE; i++)
            CPU_SET(i, &all);
    for (; n >= 0; n--)
        do
            core++;
        while (core < CPU_SETSIZE && !CPU_ISSET(core, &all));
    if (core == CPU_SETSIZE)
        return;
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one); /* fails where there is no second core */
}

enum { POST_SPIN_US = 50 };

/* ---- A child that waits on a word in shared memory ------------------------------------------- */

/* A number that only grows, and the value that came with it. */
typedef struct post {
    _Alignas(64) _Atomic uint32_t number;
    _Atomic uint32_t asleep; /* the reader waits in the kernel for the next number */
    uint64_t value;
} post;

static struct {
    post *posts; /* the one to the child, and the one from it */
    uint64_t spin_ns;
    pid_t pid;
} posted;

static uint64_t await(post *post, uint32_t number)
{
    uint64_t until = posted.spin_ns ? bench_now_ns() + posted.spin_ns : 0;

    while (until && bench_now_ns() < until)
        for (int i = 0; i < 20; i++)
            if (atomic_load_explicit(&post->number, memory_order_acquire) == number)
                return post->value;
    while (atomic_load(&post->number) != number) {
        atomic_store(&post->asleep, 1);
        if (atomic_load(&post->number) != number)
            bench_futex_wait(&post->asleep, 1);
    }
    return post->value;
}

/* The writer clears the sleeper's mark, so that each sleep costs one call.  The sleeper waits on the mark: if the
 * writer clears it late, after the sleeper has set it again, it ends that sleep too. */
static void put(post *post, uint64_t value)
{
    post->value = value;
    atomic_fetch_add(&post->number, 1);
    if (atomic_load(&post->asleep) && atomic_exchange(&post->asleep, 0))
        bench_futex_wake(&post->asleep);
}

static _Noreturn void answer(void)
{
    for (uint32_t number = 1;; number++) {
        uint64_t value = await(&posted.posts[0], number);
        if (value == 0)
            _exit(0);
        put(&posted.posts[1], 3 * value);
    }
}

static void open_post(uint64_t spin_us)
{
    posted.posts = bench_share(2 * sizeof *posted.posts);
    posted.spin_ns = 1000 * spin_us;
    posted.pid = fork();
    if (posted.pid < 0)
        bench_fail("fork", NULL);
    if (posted.pid == 0) {
        if (spin_us)
            bench_keep_to_core(1);
        answer();
    }
}

void bench_open_post_hot(void)
{
    bench_keep_to_core(0);
    open_post(POST_SPIN_US);
}

void bench_open_post_asleep(void)
{
    open_post(0);
}

void bench_ask_post(void)
{
    static uint64_t question;

    question++;
    put(&posted.posts[0], question);
    if (await(&posted.posts[1], (uint32_t)question) != 3 * question)
        bench_fail("a bare child", "a bare answer is wrong");
}

void bench_close_post(void)
{
    put(&posted.posts[0], 0);
    bench_reap(posted.pid);
}

/* ---- A team ---------------------------------------------------------------------------------- */

typedef struct team {
    _Alignas(64) _Atomic uint32_t turn;
    _Atomic bool over;
    _Alignas(64) _Atomic uint32_t busy;
} team;

static struct {
    team *shared;
    size_t members;
    pid_t pids[BENCH_TEAM];
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

void bench_open_team(void (*work)(int me), size_t members)
{
    if (members > BENCH_TEAM)
        bench_fail("a team", "is too large");
    bare.shared = bench_share(sizeof *bare.shared);
    bare.members = members;
    for (size_t i = 0; i < members; i++) {
        bare.pids[i] = fork();
        if (bare.pids[i] < 0)
            bench_fail("fork", NULL);
        if (bare.pids[i] == 0)
            follow(work, (int)i);
    }
}

void bench_begin_team(void)
{
    atomic_store(&bare.shared->busy, (uint32_t)bare.members);
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
    for (size_t i = 0; i < bare.members; i++)
        bench_reap(bare.pids[i]);
}
