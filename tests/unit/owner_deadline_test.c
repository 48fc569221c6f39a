/* Goal: a wait does not time out because of an owner that died before the timeout, wherever between two readings of the
 * clock the timeout passes.
 *
 * The test replaces the clock: it stands still, and at the N-th reading it jumps behind the timeout; N is 1, 2, 3, ...
 */
#include "os/identity.h"
#include "tasks.h"

#include <stdatomic.h>

enum { TIMEOUT_MS = 1000, LOOKS = 8 }; /* two at first, and then up to three for each check */

/* ---- The clock ------------------------------------------------------------------------------- */

static _Atomic int looks_left;
static uint64_t stopped_at;
static _Atomic uint64_t ahead; /* of the system's clock, in nanoseconds */

uint64_t __real_uv_hrtime(void);
uint64_t __wrap_uv_hrtime(void);

static void stop_clock(int looks)
{
    stopped_at = __wrap_uv_hrtime();
    atomic_store(&looks_left, looks);
}

uint64_t __wrap_uv_hrtime(void)
{
    int left = atomic_load(&looks_left);

    if (left > 1) {
        atomic_store(&looks_left, left - 1);
        return stopped_at;
    }
    if (left == 1) {
        atomic_store(&ahead, stopped_at + (uint64_t)TIMEOUT_MS * 1000000 - __real_uv_hrtime());
        atomic_store(&looks_left, 0);
    }
    return __real_uv_hrtime() + atomic_load(&ahead);
}

/* ---- What is held ---------------------------------------------------------------------------- */

typedef struct kind {
    const char *name;
    int (*hold)(void *object);                 /* called by the thread that dies */
    int (*take)(void *object, int timeout_ms); /* called by the next owner */
    int (*release)(void *object);
    int death_code;
} kind;

static int take_lock(void *object, int timeout_ms)
{
    return xf_lock_acquire(object, timeout_ms);
}

static int hold_lock(void *object)
{
    return xf_lock_acquire(object, 0);
}

static int release_lock(void *object)
{
    return xf_lock_release(object);
}

static int take_to_write(void *object, int timeout_ms)
{
    return xf_rwlock_write(object, timeout_ms);
}

static int take_to_read(void *object, int timeout_ms)
{
    return xf_rwlock_read(object, timeout_ms);
}

static int hold_to_write(void *object)
{
    return xf_rwlock_write(object, 0);
}

static int hold_to_read(void *object)
{
    return xf_rwlock_read(object, 0);
}

static int release_rwlock(void *object)
{
    return xf_rwlock_release(object);
}

static int take_permit(void *object, int timeout_ms)
{
    return xf_semaphore_acquire(object, timeout_ms);
}

static int hold_permit(void *object)
{
    return xf_semaphore_acquire(object, 0);
}

static int release_permit(void *object)
{
    return xf_semaphore_release(object);
}

static const kind a_lock = {"lock", hold_lock, take_lock, release_lock, XF_EOWNERDEAD};
static const kind a_writer = {"writer, writer", hold_to_write, take_to_write, release_rwlock, XF_EOWNERDEAD};
static const kind a_reader = {"writer, reader", hold_to_write, take_to_read, release_rwlock, XF_EOWNERDEAD};
static const kind a_patient_writer = {"reader, writer", hold_to_read, take_to_write, release_rwlock, 0};
static const kind a_permit = {"permit", hold_permit, take_permit, release_permit, XF_EOWNERDEAD};

typedef struct holder {
    const kind *kind;
    void *object;
    int rc;
    uint64_t number; /* of its thread */
} holder;

/* The thread exits while it owns the object. */
static void run_holder(void *arg)
{
    holder *self = arg;

    self->number = os_self_thread();
    self->rc = self->kind->hold(self->object);
}

static void hold_and_die(const kind *kind, void *object)
{
    holder holder = {kind, object, XF_ESTATE, 0};
    uv_thread_t thread;

    assert_int_equal(uv_thread_create(&thread, run_holder, &holder), 0);
    uv_thread_join(&thread);
    while (os_thread_lives(holder.number)) /* for the system it may live a moment longer than for the join */
        ;
    assert_true(holder.rc == 0 || holder.rc == XF_EOWNERDEAD); /* the owner before died with the lock */
}

static void expect_death_code(const kind *kind, void *object)
{
    for (int looks = 1; looks <= LOOKS; looks++) {
        int rc;
        hold_and_die(kind, object);
        stop_clock(looks);
        rc = kind->take(object, TIMEOUT_MS);
        if (rc != kind->death_code)
            fail_msg("%s: over at look %d: %s", kind->name, looks, xf_err_name(rc));
        assert_int_equal(atomic_load(&looks_left), 0);
        assert_int_equal(kind->release(object), 0);
    }
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void a_lock_is_had_from_the_dead(void **state)
{
    xf_lock *lock;

    (void)state;
    assert_int_equal(xf_lock_create(&lock, NULL), 0);
    expect_death_code(&a_lock, lock);
    xf_lock_free(lock);
}

static void a_reader_writer_lock_is_had_from_the_dead(void **state)
{
    xf_rwlock *rwlock;

    (void)state;
    assert_int_equal(xf_rwlock_create(&rwlock, NULL), 0);
    expect_death_code(&a_writer, rwlock);
    expect_death_code(&a_patient_writer, rwlock);
    expect_death_code(&a_reader, rwlock);
    xf_rwlock_free(rwlock);
}

static void a_permit_is_had_from_the_dead(void **state)
{
    xf_semaphore *semaphore;

    (void)state;
    assert_int_equal(xf_semaphore_create(&semaphore, &(xf_semaphore_options){.limit = 1}), 0);
    expect_death_code(&a_permit, semaphore);
    xf_semaphore_free(semaphore);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_is_had_from_the_dead),
        cmocka_unit_test(a_reader_writer_lock_is_had_from_the_dead),
        cmocka_unit_test(a_permit_is_had_from_the_dead),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
