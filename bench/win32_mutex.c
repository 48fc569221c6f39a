/* w10 and w10c on Windows, where there is no xf_bench: a lock beside a mutex of the system, which reports the death of
 * its owner too.  Prints one line of JSON for each, and the ratio of their times. */
#include <crossfork.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

enum { ROUNDS = 9 };

typedef enum peer { LOCK, MUTEX, PEERS } peer;

/* Shared by both processes. */
typedef struct field {
    _Alignas(64) volatile uint64_t count; /* guarded by the lock */
    _Alignas(64) _Atomic uint32_t ready, stop;
} field;

/* The rival's input. */
typedef struct order {
    xf_ref field;
    xf_ref thing; /* the lock, or the mutex, whose reference can be taken once */
    int peer;
} order;

static xf_shm *shm;
static field *common;
static xf_lock *lock;
static HANDLE mutex;

static void check(const char *what, int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, xf_error_detail());
    exit(1);
}

static void check_system(const char *what, BOOL done)
{
    if (done)
        return;
    fprintf(stderr, "%s: error %lu\n", what, (unsigned long)GetLastError());
    exit(1);
}

/* ---- Counting -------------------------------------------------------------------------------- */

static void count_with_lock(int times)
{
    for (int i = 0; i < times; i++) {
        check("xf_lock_acquire", xf_lock_acquire(lock, XF_FOREVER));
        common->count++;
        check("xf_lock_release", xf_lock_release(lock));
    }
}

static void count_with_mutex(int times)
{
    for (int i = 0; i < times; i++) {
        check_system("WaitForSingleObject", WaitForSingleObject(mutex, INFINITE) == WAIT_OBJECT_0);
        common->count++;
        check_system("ReleaseMutex", ReleaseMutex(mutex));
    }
}

/* A mutex makes a system call for each step, so fewer repetitions are as exact. */
static const struct {
    const char *name;
    void (*count)(int times);
    int alone, together;
} peers[PEERS] = {{"crossfork:lock", count_with_lock, 1000000, 100000},
                  {"bare:win32-mutex", count_with_mutex, 20000, 5000}};

/* ---- The rival ------------------------------------------------------------------------------- */

XF_TASK(compete, const order *in, uint64_t *out)
{
    intptr_t handle;

    (void)call;
    check("xf_shm_open", xf_shm_open(&shm, &in->field, XF_SHM_WRITE));
    common = xf_shm_data(shm);
    if (in->peer == LOCK) {
        check("xf_lock_open", xf_lock_open(&lock, &in->thing));
    } else {
        check("xf_handle_take", xf_handle_take(&in->thing, &handle));
        mutex = (HANDLE)handle;
    }
    atomic_store(&common->ready, 1);
    for (*out = 0; !atomic_load(&common->stop); ++*out)
        peers[in->peer].count(1);
    return 0;
}

static xf_process *start_rival(peer peer)
{
    order order = {.peer = peer};
    xf_process *rival;

    check("xf_shm_ref", xf_shm_ref(shm, &order.field));
    if (peer == LOCK)
        check("xf_lock_ref", xf_lock_ref(lock, &order.thing));
    else
        check("xf_handle_ref", xf_handle_ref((intptr_t)mutex, &order.thing));
    check("xf_process_start", xf_process_start(&rival, &compete, &order, sizeof order, NULL));
    while (!atomic_load(&common->ready))
        Sleep(1);
    return rival;
}

/* Returns how often the rival has counted. */
static uint64_t end_rival(xf_process *rival)
{
    uint64_t times;

    atomic_store(&common->stop, 1);
    check("xf_process_join", xf_process_join(rival, NULL, XF_FOREVER));
    if (!xf_process_result(rival, NULL)) {
        xf_report_print(xf_process_report(rival), stderr);
        exit(1);
    }
    times = *(const uint64_t *)xf_process_result(rival, NULL);
    xf_process_free(rival);
    return times;
}

/* ---- Measuring ------------------------------------------------------------------------------- */

/* Returns nanoseconds for each acquire and release. */
static double measure(peer peer, int times)
{
    LARGE_INTEGER begin, end, frequency;

    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&begin);
    peers[peer].count(times);
    QueryPerformanceCounter(&end);
    return (double)(end.QuadPart - begin.QuadPart) * 1e9 / (double)frequency.QuadPart / times;
}

static double measure_alone(peer peer)
{
    peers[peer].count(1000);
    return measure(peer, peers[peer].alone);
}

/* The two counts add up to the shared one, if the lock excludes. */
static double measure_together(peer peer)
{
    uint64_t others;
    double taken;
    xf_process *rival;

    common->count = 0;
    common->ready = common->stop = 0;
    rival = start_rival(peer);
    taken = measure(peer, peers[peer].together);
    others = end_rival(rival);
    if (common->count != others + (uint64_t)peers[peer].together) {
        fprintf(stderr, "%s: counts were lost\n", peers[peer].name);
        exit(1);
    }
    return taken;
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;

    return (a > b) - (a < b);
}

/* The rounds of both alternate, so that noise hits both. */
static void run(const char *workload, double (*once)(peer peer))
{
    double taken[PEERS][ROUNDS], ratios[ROUNDS];

    for (int round = 0; round < ROUNDS; round++) {
        for (peer peer = LOCK; peer < PEERS; peer++)
            taken[peer][round] = once(peer);
        ratios[round] = taken[LOCK][round] / taken[MUTEX][round];
    }
    for (peer peer = LOCK; peer < PEERS; peer++) {
        qsort(taken[peer], ROUNDS, sizeof(double), compare);
        printf("{\"peer\":\"%s\",\"workload\":\"%s\",\"per_item_ns\":%.1f}\n", peers[peer].name, workload,
               taken[peer][ROUNDS / 2]);
    }
    qsort(ratios, ROUNDS, sizeof(double), compare);
    printf("%s: lock / mutex %.4f (%.4f to %.4f)\n", workload, ratios[ROUNDS / 2], ratios[ROUNDS / 4],
           ratios[ROUNDS - 1 - ROUNDS / 4]);
}

int main(int argc, char **argv)
{
    xf_main(argc, argv);
    check("xf_shm_create", xf_shm_create(&shm, sizeof *common, NULL));
    check("xf_lock_create", xf_lock_create(&lock, NULL));
    common = xf_shm_data(shm);
    mutex = CreateMutexW(NULL, FALSE, NULL);
    check_system("CreateMutexW", mutex != NULL);
    run("w10", measure_alone);
    run("w10c", measure_together);
    CloseHandle(mutex);
    xf_lock_free(lock);
    xf_shm_free(shm);
    return 0;
}
