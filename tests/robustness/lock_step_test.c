/* Goal: a process that has or acquires a lock, a permit or the like can be killed after any instruction; the next
 * process gets the lock, and a return code says if the dead owner may have left something half done (Linux).
 *
 * A forked process stops, runs for N instructions of this program, and is killed there; N is 1, 2, 3, ... until the
 * process ends by itself; after 200, only each seventh.  Instructions of other libraries do not count: for the shared
 * memory, a kill in another library is a kill before or after the call.  Their number also differs from run to run,
 * because the clock is read again when it changes meanwhile. */
#include "crossfork.h"
#include "keep_in_copies.h"
#include "shmem/lock.h"
#include "shmem/sync.h"
#include "single_step.h"
#include "tasks.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PROMPT_MS = 10000, STEPS_MAX = 20000 };

/* Two words that are equal unless a process is between begin and end. */
typedef struct field {
    volatile uint64_t first, second;
} field;

static field *common;

/* A kind of object. */
typedef struct kind {
    int (*begin)(void *object, int timeout_ms);
    int (*end)(void *object);
    bool excludes; /* no other process is between begin and end */
    int fresh;     /* the result of begin without a death */
} kind;

static int lock_begin(void *object, int timeout_ms)
{
    return xf_lock_acquire(object, timeout_ms);
}

static int lock_end(void *object)
{
    return xf_lock_release(object);
}

static int write_begin(void *object, int timeout_ms)
{
    return xf_rwlock_write(object, timeout_ms);
}

static int read_begin(void *object, int timeout_ms)
{
    return xf_rwlock_read(object, timeout_ms);
}

static int rwlock_end(void *object)
{
    return xf_rwlock_release(object);
}

static int permit_begin(void *object, int timeout_ms)
{
    return xf_semaphore_acquire(object, timeout_ms);
}

static int permit_end(void *object)
{
    return xf_semaphore_release(object);
}

static const kind a_lock = {lock_begin, lock_end, true, 0};
static const kind a_writer = {write_begin, rwlock_end, true, 0};
static const kind a_reader = {read_begin, rwlock_end, false, 0};
static const kind a_permit = {permit_begin, permit_end, true, 0};

/* ---- The one that is killed ------------------------------------------------------------------ */

/* A forked process does not inherit objects; these it does. */
static void *inherit(void *object)
{
    keep_in_copies(((sync_handle *)object)->object);
    return object;
}

static _Noreturn void run_victim(const kind *kind, void *object)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    (void)os_self_thread();
    raise(SIGSTOP);
    if (kind->begin(object, XF_FOREVER) < 0)
        _exit(2);
    if (kind->excludes) {
        common->first++;
        common->second++;
    }
    if (kind->end(object) < 0)
        _exit(3);
    _exit(0);
}

static pid_t start_victim(const kind *kind, void *object)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        run_victim(kind, object);
    assert_true(await_stop(pid));
    return pid;
}

/* ---- Nobody waits ---------------------------------------------------------------------------- */

/* The next process acquires the object, with XF_EOWNERDEAD if it has to, and after that all is as before. */
static void expect_whole(const kind *kind, void *object, int steps, uint64_t *reported)
{
    int rc = kind->begin(object, PROMPT_MS);

    if (rc != kind->fresh && !(kind->excludes && rc == XF_EOWNERDEAD))
        fail_msg("after %d steps: %s", steps, xf_err_name(rc));
    if (common->first != common->second && rc != XF_EOWNERDEAD)
        fail_msg("after %d steps the death is not reported", steps);
    *reported += rc == XF_EOWNERDEAD;
    common->second = common->first;
    assert_int_equal(kind->end(object), 0);
    assert_int_equal(kind->begin(object, 0), kind->fresh);
    assert_int_equal(kind->end(object), 0);
}

static void kill_after_each_step(const kind *kind, void *object)
{
    uint64_t reported = 0;
    int steps = 1;

    while (steps < STEPS_MAX && step_and_kill(start_victim(kind, object), steps)) {
        expect_whole(kind, object, steps, &reported);
        steps += stride(steps);
    }
    assert_in_range(steps, 20, STEPS_MAX - 1);
    if (kind->excludes)
        assert_in_range(reported, 1, steps); /* some of the killed processes had it */
    printf("           %d steps, %d deaths reported\n", steps, (int)reported);
}

static void a_lock_is_left_after_any_instruction(void **state)
{
    xf_lock *lock;

    (void)state;
    assert_int_equal(xf_lock_create(&lock, NULL), 0);
    kill_after_each_step(&a_lock, inherit(lock));
    xf_lock_free(lock);
}

static void a_writer_is_killed_after_any_instruction(void **state)
{
    xf_rwlock *rwlock;

    (void)state;
    assert_int_equal(xf_rwlock_create(&rwlock, NULL), 0);
    kill_after_each_step(&a_writer, inherit(rwlock));
    xf_rwlock_free(rwlock);
}

/* A killed reader does not block a writer. */
static void a_reader_is_killed_after_any_instruction(void **state)
{
    xf_rwlock *rwlock;
    int steps = 1;

    (void)state;
    assert_int_equal(xf_rwlock_create(&rwlock, NULL), 0);
    inherit(rwlock);
    for (; steps < STEPS_MAX && step_and_kill(start_victim(&a_reader, rwlock), steps); steps += stride(steps)) {
        assert_int_equal(xf_rwlock_write(rwlock, PROMPT_MS), 0);
        assert_int_equal(xf_rwlock_release(rwlock), 0);
    }
    assert_in_range(steps, 20, STEPS_MAX - 1);
    xf_rwlock_free(rwlock);
}

static void a_permit_is_left_after_any_instruction(void **state)
{
    xf_semaphore_options options = {.limit = 1};
    xf_semaphore *semaphore;

    (void)state;
    assert_int_equal(xf_semaphore_create(&semaphore, &options), 0);
    kill_after_each_step(&a_permit, inherit(semaphore));
    xf_semaphore_free(semaphore);
}

/* ---- Somebody waits -------------------------------------------------------------------------- */

typedef struct waiter {
    uv_thread_t thread;
    xf_lock *lock;
    int rc;
} waiter;

static void wait_in_thread(void *arg)
{
    waiter *self = arg;

    self->rc = xf_lock_acquire(self->lock, PROMPT_MS);
    if (self->rc == 0 || self->rc == XF_EOWNERDEAD)
        xf_lock_release(self->lock);
}

/* Stops while it has the lock. */
static _Noreturn void run_holder(xf_lock *lock)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    if (xf_lock_acquire(lock, 0) < 0)
        _exit(2);
    raise(SIGSTOP);
    if (xf_lock_release(lock) < 0)
        _exit(3);
    _exit(0);
}

/* The waiter gets the lock even if the dead process did not wake it. */
static void a_sleeper_gets_the_lock_after_any_instruction(void **state)
{
    bool killed = true;
    xf_lock *lock;
    int steps = 1;

    (void)state;
    assert_int_equal(xf_lock_create(&lock, NULL), 0);
    inherit(lock);
    while (killed && steps < STEPS_MAX) {
        waiter waiter = {.lock = lock};
        pid_t pid = fork();
        if (pid == 0)
            run_holder(lock);
        assert_true(await_stop(pid));
        uv_thread_create(&waiter.thread, wait_in_thread, &waiter);
        while (atomic_load(&lock_of(lock)->changes.sleepers) == 0)
            uv_sleep(0);
        killed = step_and_kill(pid, steps++);
        uv_thread_join(&waiter.thread);
        if (waiter.rc != 0 && waiter.rc != XF_EOWNERDEAD)
            fail_msg("after %d steps: %s", steps - 1, xf_err_name(waiter.rc));
    }
    assert_in_range(steps, 20, STEPS_MAX - 1);
    xf_lock_free(lock);
}

/* ---- A permit that moves --------------------------------------------------------------------- */

/* A thread that does what it is asked to do, step by step. */
typedef struct helper {
    uv_thread_t thread;
    uv_sem_t go, done;
    xf_semaphore *semaphore;
    uint64_t name;
    int rc;
} helper;

static void run_helper(void *arg)
{
    helper *self = arg;

    self->name = os_self_thread();
    uv_sem_post(&self->done);
    for (uv_sem_wait(&self->go); self->semaphore; uv_sem_wait(&self->go)) {
        self->rc = xf_semaphore_acquire(self->semaphore, 0);
        uv_sem_post(&self->done);
        uv_sem_wait(&self->go);
        if (self->rc == 0)
            self->rc = xf_semaphore_release(self->semaphore);
        uv_sem_post(&self->done);
    }
}

static int tell_helper(helper *helper)
{
    uv_sem_post(&helper->go);
    uv_sem_wait(&helper->done);
    return helper->rc;
}

static void end_helper(helper *helper)
{
    helper->semaphore = NULL;
    uv_sem_post(&helper->go);
    uv_thread_join(&helper->thread);
    uv_sem_destroy(&helper->go);
    uv_sem_destroy(&helper->done);
}

/* Starts a thread that searches for permits in another order than this one: see semaphore.c. */
static void start_helper(helper *helper, xf_semaphore *semaphore)
{
    for (;;) {
        helper->semaphore = semaphore;
        uv_sem_init(&helper->go, 0);
        uv_sem_init(&helper->done, 0);
        uv_thread_create(&helper->thread, run_helper, helper);
        uv_sem_wait(&helper->done);
        if (helper->name % 2 != os_self_thread() % 2)
            return;
        end_helper(helper);
    }
}

/* Polls. */
static _Noreturn void run_poller(xf_semaphore *semaphore)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    (void)os_self_thread();
    raise(SIGSTOP);
    if (xf_semaphore_acquire(semaphore, 0) < 0)
        _exit(2);
    _exit(xf_semaphore_release(semaphore) < 0 ? 3 : 0);
}

/* Starts a process that searches in the same order as this thread. */
static pid_t start_poller(xf_semaphore *semaphore)
{
    for (;;) {
        pid_t pid = fork();
        if (pid == 0)
            run_poller(semaphore);
        assert_true(await_stop(pid));
        if ((uint64_t)pid % 2 == os_self_thread() % 2)
            return pid;
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
}

/* One of two permits is free at any time; which one changes while the poller searches. */
static void a_poll_finds_the_permit_that_is_free(void **state)
{
    xf_semaphore_options options = {.limit = 2};
    xf_semaphore *semaphore;
    bool stopped = true;
    helper helper;
    int steps = 1;

    (void)state;
    assert_int_equal(xf_semaphore_create(&semaphore, &options), 0);
    start_helper(&helper, inherit(semaphore));
    for (; stopped && steps < STEPS_MAX; steps++) {
        pid_t pid = start_poller(semaphore);
        int status = 0;
        assert_int_equal(xf_semaphore_acquire(semaphore, 0), 0);
        stopped = step(pid, steps);
        assert_int_equal(xf_semaphore_release(semaphore), 0);
        assert_int_equal(tell_helper(&helper), 0);
        if (stopped) {
            assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
            assert_int_equal(waitpid(pid, &status, 0), pid);
        }
        if (status != 0)
            fail_msg("moved after %d steps, it was not found: %d", steps, WEXITSTATUS(status));
        assert_int_equal(tell_helper(&helper), 0);
    }
    assert_in_range(steps, 20, STEPS_MAX - 1);
    printf("           %d steps\n", steps);
    end_helper(&helper);
    xf_semaphore_free(semaphore);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_is_left_after_any_instruction),
        cmocka_unit_test(a_writer_is_killed_after_any_instruction),
        cmocka_unit_test(a_reader_is_killed_after_any_instruction),
        cmocka_unit_test(a_permit_is_left_after_any_instruction),
        cmocka_unit_test(a_sleeper_gets_the_lock_after_any_instruction),
        cmocka_unit_test(a_poll_finds_the_permit_that_is_free),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return common == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
