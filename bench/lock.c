/* w10: one process acquires and releases a lock.  w10c: two processes do so at the same time.  The bare peer is a
 * robust mutex of pthreads, which reports the death of its owner too. */
#include "bench.h"

#include <pthread.h>
#include <unistd.h>

enum { ALONE = 1000000, TOGETHER = 100000, CALLS = 5 };

/* Shared by both processes. */
typedef struct field {
    _Alignas(64) volatile uint64_t count; /* guarded by the lock */
    _Alignas(64) _Atomic uint32_t ready, stop;
    _Alignas(64) pthread_mutex_t mutex;
} field;

static field *common;

static void check(void)
{
    if (common->count == 0)
        bench_fail("w10", "nothing was counted");
}

/* ---- crossfork ------------------------------------------------------------------------------- */

typedef struct order {
    xf_ref field;
    xf_ref lock;
} order;

static xf_shm *shm;
static xf_lock *lock;
static xf_process *rival;

static void count(int times)
{
    for (int i = 0; i < times; i++) {
        bench_check("xf_lock_acquire", xf_lock_acquire(lock, XF_FOREVER));
        common->count++;
        bench_check("xf_lock_release", xf_lock_release(lock));
    }
}

XF_TASK(compete, const order *in, int *out)
{
    (void)call;
    bench_check("xf_shm_open", xf_shm_open(&shm, &in->field, XF_SHM_WRITE));
    bench_check("xf_lock_open", xf_lock_open(&lock, &in->lock));
    common = xf_shm_data(shm);
    atomic_store(&common->ready, 1);
    while (!atomic_load(&common->stop))
        count(1);
    *out = 0;
    return 0;
}

static void open_alone(void)
{
    bench_check("xf_shm_create", xf_shm_create(&shm, sizeof *common, NULL));
    bench_check("xf_lock_create", xf_lock_create(&lock, NULL));
    common = xf_shm_data(shm);
}

static void open_together(void)
{
    order order;

    open_alone();
    bench_check("xf_shm_ref", xf_shm_ref(shm, &order.field));
    bench_check("xf_lock_ref", xf_lock_ref(lock, &order.lock));
    bench_check("xf_process_start", xf_process_start(&rival, &compete, &order, sizeof order, NULL));
    while (!atomic_load(&common->ready))
        usleep(100);
}

static void count_alone(void)
{
    count(ALONE);
}

static void count_together(void)
{
    count(TOGETHER);
}

static void close_alone(void)
{
    xf_lock_free(lock);
    xf_shm_free(shm);
}

static void close_together(void)
{
    atomic_store(&common->stop, 1);
    bench_check("xf_process_join", xf_process_join(rival, NULL, XF_FOREVER));
    xf_process_free(rival);
    close_alone();
}

/* ---- Bare: a robust mutex -------------------------------------------------------------------- */

static pid_t bare_rival;

static void bare_count(int times)
{
    for (int i = 0; i < times; i++) {
        if (pthread_mutex_lock(&common->mutex) != 0)
            bench_fail("pthread_mutex_lock", NULL);
        common->count++;
        if (pthread_mutex_unlock(&common->mutex) != 0)
            bench_fail("pthread_mutex_unlock", NULL);
    }
}

static void bare_open(void)
{
    pthread_mutexattr_t attributes;

    common = bench_share(sizeof *common);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (pthread_mutex_init(&common->mutex, &attributes) != 0)
        bench_fail("pthread_mutex_init", NULL);
}

static void bare_open_together(void)
{
    bare_open();
    bare_rival = fork();
    if (bare_rival < 0)
        bench_fail("fork", NULL);
    if (bare_rival > 0)
        return;
    while (!atomic_load(&common->stop))
        bare_count(1);
    _exit(0);
}

static void bare_count_alone(void)
{
    bare_count(ALONE);
}

static void bare_count_together(void)
{
    bare_count(TOGETHER);
}

static void bare_close_together(void)
{
    atomic_store(&common->stop, 1);
    bench_reap(bare_rival);
}

/* ---- Workloads ------------------------------------------------------------------------------- */

static const bench_variant alone[] = {
    {"crossfork:lock", open_alone, count_alone, close_alone, CALLS, false, check},
    {"bare:robust-mutex", bare_open, bare_count_alone, NULL, CALLS, false, check},
};

static const bench_variant together[] = {
    {"crossfork:lock", open_together, count_together, close_together, CALLS, false, check},
    {"bare:robust-mutex", bare_open_together, bare_count_together, bare_close_together, CALLS, false, check},
};

static const bench_ratio ratios[] = {{"crossfork:lock", "bare:robust-mutex", 1.5}};

const bench_workload bench_w10 = {"w10", ALONE, 1, alone, BENCH_COUNT(alone), ratios, BENCH_COUNT(ratios), false};
const bench_workload bench_w10c = {"w10c", TOGETHER, 1, together, BENCH_COUNT(together), ratios, BENCH_COUNT(ratios),
                                   false};
