/* Goal: the results of processes that use a lock, a reader-writer lock or a semaphore at the same time are results that
 * one process after the other could have got, also when one of them is stopped or killed at a random instruction
 * (Linux).
 *
 * The death of a process is an operation too: from some time between its begin and its end on, a dead process owns what
 * the process owned.  XF_ETIMEDOUT is right only while a living process is in the way; for a reader-writer lock, also
 * while other processes try at the same time. */
#include "crossfork.h"
#include "keep_in_copies.h"
#include "linearizability.h"
#include "shmem/sync.h"
#include "tasks.h"

#include <sys/mman.h>

enum { DEATH, ACQUIRE, READ, RELEASE };

static const char *const kinds[] = {"death", "acquire", "read", "release"};

enum { ACTORS = HISTORY_WORKERS + 1 };

/* ---- Doing ----------------------------------------------------------------------------------- */

/* A kind of object, and its rules. */
typedef struct thing {
    int (*acquire)(void *object, int timeout_ms);
    int (*read)(void *object, int timeout_ms); /* NULL: the object has no readers */
    int (*release)(void *object);
    model model;
    bool owned; /* it comes back when its owner ends */
} thing;

/* The object of a run, and what this process owns of it. */
typedef struct stage {
    const thing *thing;
    void *object;
    bool may_wait; /* without timeout, because no owner is stopped */
    bool reads;
    int held;
} stage;

static int lock_acquire(void *object, int timeout_ms)
{
    return xf_lock_acquire(object, timeout_ms);
}

static int lock_release(void *object)
{
    return xf_lock_release(object);
}

static int rwlock_write(void *object, int timeout_ms)
{
    return xf_rwlock_write(object, timeout_ms);
}

static int rwlock_read(void *object, int timeout_ms)
{
    return xf_rwlock_read(object, timeout_ms);
}

static int rwlock_release(void *object)
{
    return xf_rwlock_release(object);
}

static int semaphore_acquire(void *object, int timeout_ms)
{
    return xf_semaphore_acquire(object, timeout_ms);
}

static int semaphore_release(void *object)
{
    return xf_semaphore_release(object);
}

static bool has_got(const operation *operation)
{
    return operation->kind != RELEASE && (operation->rc == 0 || operation->rc == XF_EOWNERDEAD);
}

static void operate(stage *stage, operation *operation)
{
    const thing *thing = stage->thing;
    int timeout_ms = (int)operation->value == 2 ? XF_FOREVER : (int)operation->value;

    history_begin(operation);
    if (operation->kind == ACQUIRE)
        operation->rc = thing->acquire(stage->object, timeout_ms);
    else if (operation->kind == READ)
        operation->rc = thing->read(stage->object, timeout_ms);
    else
        operation->rc = thing->release(stage->object);
    history_end(operation);
    if (has_got(operation)) {
        stage->held++;
        stage->reads = operation->kind == READ;
    } else if (operation->kind == RELEASE && operation->rc == 0) {
        stage->held--;
    }
}

static void enter(void *arg)
{
    (void)arg;
    (void)os_self_thread();
}

/* Chooses an operation, mostly a sensible one.  A reader-writer lock is not recursive, and no process waits without a
 * timeout while it owns something that others may wait for. */
static void choose(void *arg, operation *operation, uint64_t *seed)
{
    stage *stage = arg;
    uint64_t what = history_random(seed) % 8;

    operation->kind = what < (stage->held ? 5 : 1) ? RELEASE : stage->thing->read && what % 2 ? READ : ACQUIRE;
    if (operation->kind == READ && stage->held && stage->reads)
        operation->kind = RELEASE;
    operation->value = history_random(seed) % 2;
    if (stage->may_wait && stage->held == 0 && history_random(seed) % 8 == 0)
        operation->value = 2;
    operate(stage, operation);
}

/* ---- Judging --------------------------------------------------------------------------------- */

/* Who owns what; the dead own it until they are found. */
typedef struct holds {
    uint8_t held[ACTORS]; /* how often, or how many permits */
    uint8_t dead[ACTORS];
    uint8_t value;  /* of a number that nobody owns: the initial value and all releases */
    uint8_t taken;  /* of that value */
    uint8_t writer; /* 1 + who */
    uint8_t hurt;
} holds;

_Static_assert(sizeof(holds) <= HISTORY_STATE, "a state has room");

/* Returns another owner, living or dead; ACTORS when there is none. */
static int find_holder(const holds *holds, int but, bool dead)
{
    for (int i = 0; i < ACTORS; i++)
        if (i != but && holds->held[i] && holds->dead[i] == dead)
            return i;
    return ACTORS;
}

static unsigned held_in_all(const holds *holds)
{
    unsigned sum = 0;

    for (int i = 0; i < ACTORS; i++)
        sum += holds->held[i];
    return sum;
}

static bool inherit(holds *holds, int who)
{
    int dead = find_holder(holds, ACTORS, true);

    if (dead == ACTORS)
        return false;
    holds->held[dead]--;
    holds->held[who]++;
    return true;
}

/* A lock is a semaphore of one permit, except that its owner may acquire it again, or gets an error. */
static bool acquire_permit(const model *model, const operation *operation, holds *holds, int choice)
{
    int who = operation->who;
    bool is_lock = model->bound == 1;
    bool free = held_in_all(holds) < model->bound, pending = operation->end == 0;

    if (is_lock && holds->held[who]) {
        holds->held[who] += model->recursive;
        return pending ? model->recursive : operation->rc == (model->recursive ? 0 : XF_EDEADLK);
    }
    if (pending ? choice == 0 : operation->rc == 0) {
        holds->held[who]++;
        return free;
    }
    if (pending || operation->rc == XF_EOWNERDEAD) {
        int dead = find_holder(holds, ACTORS, true);
        bool inherits = inherit(holds, who);
        if (inherits && is_lock)
            holds->held[dead] = 0;
        return inherits;
    }
    return operation->rc == XF_ETIMEDOUT && !free && find_holder(holds, ACTORS, true) == ACTORS;
}

static bool apply_to_permits(const model *model, const operation *operation, uint8_t *state, int choice)
{
    holds *holds = (struct holds *)state;
    int who = operation->who;

    if (operation->kind == DEATH) {
        holds->dead[who] = true;
        return true;
    }
    if (holds->dead[who])
        return false;
    if (operation->kind == ACQUIRE)
        return acquire_permit(model, operation, holds, choice);
    if (operation->rc == XF_ESTATE || holds->held[who] == 0)
        return operation->rc == XF_ESTATE && holds->held[who] == 0;
    holds->held[who]--;
    return true;
}

/* An unbounded semaphore is a number that nobody owns. */
static bool apply_to_number(const model *model, const operation *operation, uint8_t *state, int choice)
{
    holds *holds = (struct holds *)state;
    unsigned value = (unsigned)model->bound + holds->value - holds->taken;

    (void)choice;
    if (operation->kind == DEATH) {
        holds->dead[operation->who] = true;
        return true;
    }
    if (holds->dead[operation->who] || (operation->rc != 0 && operation->rc != XF_ETIMEDOUT))
        return false;
    if (operation->kind == RELEASE) {
        holds->value++;
        return true;
    }
    if (operation->rc == XF_ETIMEDOUT)
        return value == 0;
    holds->taken++;
    return value > 0;
}

static bool is_in_a_writers_way(const void *arg, const operation *other)
{
    const operation *operation = arg;

    return other->who != operation->who && other->kind != RELEASE && history_overlap(operation, other);
}

static bool is_in_a_readers_way(const void *arg, const operation *other)
{
    return other->kind == ACQUIRE && is_in_a_writers_way(arg, other);
}

static bool begin_to_read(const operation *operation, holds *holds)
{
    int who = operation->who;

    if (operation->end && operation->rc == XF_EDEADLK)
        return holds->writer == who + 1;
    if (operation->end && operation->rc == XF_ETIMEDOUT)
        return (holds->writer && holds->writer != who + 1) || history_any(is_in_a_readers_way, operation);
    holds->held[who]++;
    return !holds->writer && (!operation->end || operation->rc == (holds->hurt ? XF_EOWNERDEAD : 0));
}

static bool begin_to_write(const operation *operation, holds *holds)
{
    int who = operation->who;
    bool has = holds->writer == who + 1 || holds->held[who];
    bool taken = holds->writer || find_holder(holds, ACTORS, false) < ACTORS;

    if (operation->end && operation->rc == XF_EDEADLK)
        return has;
    if (operation->end && operation->rc == XF_ETIMEDOUT)
        return (taken && !has) || history_any(is_in_a_writers_way, operation);
    holds->writer = (uint8_t)(who + 1);
    return !taken && (!operation->end || operation->rc == (holds->hurt ? XF_EOWNERDEAD : 0));
}

static void die(holds *holds, int who)
{
    holds->dead[who] = true;
    holds->held[who] = 0;
    if (holds->writer == who + 1) {
        holds->writer = 0;
        holds->hurt = true;
    }
}

static bool apply_to_rwlock(const model *model, const operation *operation, uint8_t *state, int choice)
{
    holds *holds = (struct holds *)state;
    int who = operation->who;

    (void)model, (void)choice;
    if (operation->kind == DEATH) {
        die(holds, who);
        return true;
    }
    if (holds->dead[who])
        return false;
    if (operation->kind == READ)
        return begin_to_read(operation, holds);
    if (operation->kind == ACQUIRE)
        return begin_to_write(operation, holds);
    if (holds->writer == who + 1)
        holds->writer = holds->hurt = 0;
    else if (holds->held[who])
        holds->held[who]--;
    else
        return operation->rc == XF_ESTATE;
    return operation->rc == 0;
}

#define MODEL(does, many, again) {.apply = does, .kinds = kinds, .bound = many, .recursive = again, .mortal = true}

static const thing lock = {lock_acquire, NULL, lock_release, MODEL(apply_to_permits, 1, false), true};
static const thing recursive = {lock_acquire, NULL, lock_release, MODEL(apply_to_permits, 1, true), true};
static const thing permits = {semaphore_acquire, NULL, semaphore_release, MODEL(apply_to_permits, 2, false), true};
static const thing number = {semaphore_acquire, NULL, semaphore_release, MODEL(apply_to_number, 1, false), false};
static const thing rwlock = {rwlock_write, rwlock_read, rwlock_release, MODEL(apply_to_rwlock, 1, false), true};

/* ---- The judge ------------------------------------------------------------------------------- */

/* A history that is known to be right or wrong: workers 0 and 1, and times in order unless operations overlap. */
typedef struct sample {
    const thing *thing;
    bool good;
    operation operations[4];
    operation death; /* of worker 0 */
} sample;

enum { LATER = XF_ETIMEDOUT, DEAD = XF_EOWNERDEAD, SELF = XF_EDEADLK, NOT = XF_ESTATE };

static const sample samples[] = {
    {&lock, true, {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, LATER, 3, 4}, {RELEASE, 0, 0, 0, 5, 6}}, {0}},
    {&lock, false, {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, 0, 3, 4}}, {0}}, /* two owners */
    {&lock, true, {{ACQUIRE, 0, 0, 0, 1, 2}, {RELEASE, 0, 0, 0, 3, 6}, {ACQUIRE, 1, 0, 0, 4, 5}}, {0}},
    {&lock, false, {{ACQUIRE, 1, 0, LATER, 1, 2}}, {0}},                       /* timed out without an owner */
    {&lock, false, {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 0, 0, 0, 3, 4}}, {0}}, /* acquired again */
    {&lock, true, {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 0, 0, SELF, 3, 4}}, {0}},
    {&lock, false, {{RELEASE, 0, 0, 0, 1, 2}}, {0}}, /* released by another process */
    {&lock, true, {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, DEAD, 5, 6}}, {DEATH, 0, 0, 0, 3, 4}},
    {&lock,
     false,
     {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, 0, 5, 6}},
     {DEATH, 0, 0, 0, 3, 4}}, /* the death is not reported */
    {&lock,
     false,
     {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, LATER, 5, 6}},
     {DEATH, 0, 0, 0, 3, 4}}, /* the dead owner is not found */
    {&lock,
     false,
     {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, DEAD, 3, 4}},
     {DEATH, 0, 0, 0, 5, 6}}, /* the death is reported too early */
    {&lock, true, {{ACQUIRE, 0, 0, 0, 1, 0}, {ACQUIRE, 1, 0, DEAD, 5, 6}}, {DEATH, 0, 0, 0, 3, 4}},
    {&lock, true, {{ACQUIRE, 0, 0, 0, 1, 0}, {ACQUIRE, 1, 0, 0, 5, 6}}, {DEATH, 0, 0, 0, 3, 4}},
    {&lock, false, {{ACQUIRE, 0, 0, 0, 3, 0}, {ACQUIRE, 1, 0, DEAD, 1, 2}}, {DEATH, 0, 0, 0, 4, 5}},
    {&recursive, true, {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 0, 0, 0, 3, 4}, {RELEASE, 0, 0, 0, 5, 6}}, {0}},
    {&recursive,
     false, /* released once, acquired twice */
     {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 0, 0, 0, 3, 4}, {RELEASE, 0, 0, 0, 5, 6}, {ACQUIRE, 1, 0, 0, 7, 8}},
     {0}},
    {&permits, true, {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, 0, 3, 4}, {ACQUIRE, 1, 0, LATER, 5, 6}}, {0}},
    {&permits,
     false,
     {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, 0, 3, 4}, {ACQUIRE, 1, 0, 0, 5, 6}},
     {0}}, /* three owners of two permits */
    {&permits,
     false,
     {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, LATER, 3, 4}},
     {0}}, /* timed out beside a free permit */
    {&number, true, {{ACQUIRE, 0, 0, 0, 1, 2}, {RELEASE, 1, 0, 0, 3, 4}, {ACQUIRE, 1, 0, 0, 5, 6}}, {0}},
    {&number,
     false,
     {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, 0, 5, 6}},
     {DEATH, 0, 0, 0, 3, 4}}, /* a number stays taken */
    {&rwlock, true, {{READ, 0, 0, 0, 1, 2}, {READ, 1, 0, 0, 3, 4}, {ACQUIRE, 1, 0, SELF, 5, 6}}, {0}},
    {&rwlock, false, {{READ, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, 0, 3, 4}}, {0}},  /* a writer beside a reader */
    {&rwlock, false, {{ACQUIRE, 0, 0, 0, 1, 2}, {READ, 1, 0, 0, 3, 4}}, {0}},  /* a reader beside a writer */
    {&rwlock, false, {{READ, 0, 0, 0, 1, 2}, {READ, 1, 0, LATER, 3, 4}}, {0}}, /* a reader timed out without a writer */
    {&rwlock, true, {{READ, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, 0, 5, 6}}, {DEATH, 0, 0, 0, 3, 4}},
    {&rwlock,
     false,
     {{READ, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, DEAD, 5, 6}},
     {DEATH, 0, 0, 0, 3, 4}}, /* a dead reader is reported */
    {&rwlock,
     true,
     {{ACQUIRE, 0, 0, 0, 1, 2}, {READ, 1, 0, DEAD, 5, 6}, {RELEASE, 1, 0, 0, 7, 8}, {READ, 1, 0, DEAD, 9, 10}},
     {DEATH, 0, 0, 0, 3, 4}},
    {&rwlock,
     false, /* the death is reported again after another process has written */
     {{ACQUIRE, 0, 0, 0, 1, 2}, {ACQUIRE, 1, 0, DEAD, 5, 6}, {RELEASE, 1, 0, 0, 7, 8}, {READ, 1, 0, DEAD, 9, 10}},
     {DEATH, 0, 0, 0, 3, 4}},
};

static void the_judge_is_not_blind(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        memset(shared, 0, sizeof *shared);
        memcpy(shared->operations, samples[i].operations, sizeof samples[i].operations);
        shared->deaths[0] = samples[i].death;
        if (history_is_in_order(&samples[i].thing->model, samples[i].good) != samples[i].good)
            fail_msg("sample %d is %s", (int)i, samples[i].good ? "good" : "bad");
    }
}

/* ---- Runs ------------------------------------------------------------------------------------ */

/* At the end all workers have ended: their property is recovered, and the object is as at first. */
static void expect_whole(stage *stage)
{
    int count = stage->thing->owned ? (int)stage->thing->model.bound : 0;

    for (int i = 0; i <= count; i++) {
        operation *last = history_own();
        last->kind = ACQUIRE;
        operate(stage, last);
    }
    for (int i = 0; i < count; i++) {
        operation *last = history_own();
        last->kind = RELEASE;
        operate(stage, last);
    }
}

static int count_reported_deaths(void)
{
    int reported = 0;

    for (int i = 0; i < HISTORY_WORKERS * HISTORY_TURNS; i++)
        reported += shared->operations[i].rc == XF_EOWNERDEAD;
    return reported;
}

/* A forked process does not inherit objects; these it does. */
static void *make_inherited(void *object)
{
    keep_in_copies(((sync_handle *)object)->object);
    return object;
}

static int run(const thing *thing, void *object, uint64_t seed, long steps, fate fate)
{
    stage stage = {.thing = thing, .object = object, .may_wait = fate == FATE_NONE && thing->owned};

    history_run(&(plan){enter, choose, &stage, seed, steps, fate});
    expect_whole(&stage);
    if (!history_is_in_order(&thing->model, true))
        fail_msg("no order for this, seed %llu, %ld steps, fate %d", (unsigned long long)seed, steps, (int)fate);
    return count_reported_deaths();
}

/* Calls make for a new object for each run. */
static void play(const thing *thing, void *(*make)(const model *model), void (*drop)(void *object))
{
    enum { STEPS = 700, EACH = 4 }; /* about as many instructions as a worker has; stepping is slow */
    long count = history_turns(100);
    uint64_t seed = 7;
    int reported = 0;

    for (long i = 0; i < count; i++) {
        fate fate = i % EACH || !history_can_step ? FATE_NONE : (enum fate)(1 + i / EACH % (FATES - 1));
        void *object = make_inherited(make(&thing->model));
        reported += run(thing, object, (uint64_t)i, (long)(history_random(&seed) % STEPS), fate);
        drop(object);
    }
    print_message("%ld histories, %d deaths reported\n", count, reported);
    assert_true(thing->owned ? reported > 0 : reported == 0); /* otherwise no process died where it matters */
}

static void *make_lock(const model *model)
{
    xf_lock *made;

    assert_int_equal(xf_lock_create(&made, &(xf_lock_options){.recursive = model->recursive}), 0);
    return made;
}

static void drop_lock(void *object)
{
    xf_lock_free(object);
}

static void *make_permits(const model *model)
{
    xf_semaphore *made;

    assert_int_equal(xf_semaphore_create(&made, &(xf_semaphore_options){.limit = (unsigned)model->bound}), 0);
    return made;
}

static void *make_number(const model *model)
{
    xf_semaphore *made;

    assert_int_equal(xf_semaphore_create(&made, &(xf_semaphore_options){.value = (unsigned)model->bound}), 0);
    return made;
}

static void drop_semaphore(void *object)
{
    xf_semaphore_free(object);
}

static void *make_rwlock(const model *model)
{
    xf_rwlock *made;

    (void)model;
    assert_int_equal(xf_rwlock_create(&made, NULL), 0);
    return made;
}

static void drop_rwlock(void *object)
{
    xf_rwlock_free(object);
}

static void processes_see_one_lock(void **state)
{
    (void)state;
    play(&lock, make_lock, drop_lock);
}

static void processes_see_one_recursive_lock(void **state)
{
    (void)state;
    play(&recursive, make_lock, drop_lock);
}

static void processes_see_as_many_permits(void **state)
{
    (void)state;
    play(&permits, make_permits, drop_semaphore);
}

static void processes_see_one_number(void **state)
{
    (void)state;
    play(&number, make_number, drop_semaphore);
}

static void processes_see_one_reader_writer_lock(void **state)
{
    (void)state;
    play(&rwlock, make_rwlock, drop_rwlock);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_judge_is_not_blind),           cmocka_unit_test(processes_see_one_lock),
        cmocka_unit_test(processes_see_one_recursive_lock), cmocka_unit_test(processes_see_as_many_permits),
        cmocka_unit_test(processes_see_one_number),         cmocka_unit_test(processes_see_one_reader_writer_lock),
    };

    history_open();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
