/* Goal: any process of the tree that has a reference of an object can open it; the object exists as long as a process
 * has it open, and leaves nothing behind. */
#include "objects/object_table.h"
#include "tasks.h"

#include <stdatomic.h>

enum { VERSION = 7, PATIENCE_MS = 60000, FREED_MS = 10000 };

/* The content of the objects of these tests. */
typedef struct notes {
    _Atomic uint32_t count;
    _Atomic uint32_t stage;
    _Atomic uint64_t sum;
} notes;

/* Resources of this process. */
typedef struct counts {
    size_t handles;
    size_t mappings;
} counts;

static counts count(void)
{
    return (counts){support_handles(), support_mappings()};
}

/* Counts without the supervisor, which stays for a while after the last process. */
static counts count_at_rest(void)
{
    assert_int_equal(xf_cleanup(), 0);
    return count();
}

static void expect_counts(counts before)
{
    counts after = count_at_rest();

    assert_int_equal(after.handles, before.handles);
    assert_int_equal(after.mappings, before.mappings);
}

static object *create(void)
{
    object *object = NULL;

    assert_int_equal(object_create(&object, XF_KIND_EVENT, VERSION, sizeof(notes), 0), 0);
    return object;
}

static xf_ref ref_of(object *object)
{
    xf_ref ref;

    assert_int_equal(object_ref(object, &ref), 0);
    return ref;
}

static notes *notes_of(const object *object)
{
    return object->body;
}

static void set_stage(object *object, uint32_t value)
{
    atomic_store(&notes_of(object)->stage, value);
    os_shm_wake(&object->shm, &notes_of(object)->stage, OS_ALL);
}

static void await_stage(object *object, uint32_t value)
{
    _Atomic uint32_t *stage = &notes_of(object)->stage;

    for (uint32_t seen; (seen = atomic_load(stage)) != value;)
        os_shm_wait(&object->shm, stage, seen, -1);
}

static int open_notes(object **object, const xf_ref *ref)
{
    return object_open(object, ref, XF_KIND_EVENT, VERSION);
}

/* Waits until no process has the object any more; a killed process may have it for a moment. */
static void expect_freed(const xf_ref *ref)
{
    object *object;

    assert_int_equal(open_notes(&object, ref), XF_ENOENT);
    assert_non_null(strstr(xf_error_detail(), "event"));
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Opens the object, counts itself in it, and returns the result of opening. */
XF_TASK(count_in, const xf_ref *in, int *out)
{
    object *object;

    *out = open_notes(&object, in);
    if (*out < 0)
        return 0;
    atomic_fetch_add(&notes_of(object)->count, 1);
    object_close(object);
    return 0;
}

/* Passes the reference to a child of its own, and returns its result. */
XF_TASK(count_in_below, const xf_ref *in, int *out)
{
    xf_process *child;
    xf_status status;
    int rc = xf_process_start(&child, &count_in, in, sizeof *in, NULL);

    if (rc < 0)
        return xf_fail(call, 1, "start: %s", xf_error_detail());
    xf_process_join(child, &status, XF_FOREVER);
    if (status.kind == XF_END_DONE)
        memcpy(out, xf_process_result(child, NULL), sizeof *out);
    xf_process_free(child);
    return status.kind == XF_END_DONE ? 0 : 1;
}

/* Creates an object, sends its reference, and keeps it open until it is asked to stop. */
XF_ENTRY(make_one)
{
    object *object;
    xf_ref ref;

    if (object_create(&object, XF_KIND_EVENT, VERSION, sizeof(notes), 0) < 0 || object_ref(object, &ref) < 0)
        return 1;
    xf_send(call, &ref, sizeof ref);
    xf_stop_requested(call, XF_FOREVER);
    object_close(object);
    return 0;
}

/* The same in a child of its own. */
XF_ENTRY(make_one_below)
{
    xf_process *child;
    xf_message message;

    if (xf_process_start(&child, &make_one, NULL, 0, NULL) < 0 || xf_process_receive(child, &message, XF_FOREVER) < 0)
        return 1;
    xf_send(call, message.data, message.size);
    xf_message_free(&message);
    xf_stop_requested(call, XF_FOREVER);
    xf_process_free(child);
    return 0;
}

/* Opens the object, reports that, and keeps it open until it is asked to stop. */
XF_ENTRY(keep)
{
    object *object;
    int64_t rc = open_notes(&object, xf_call_input(call, NULL));

    xf_send(call, &rc, sizeof rc);
    xf_stop_requested(call, XF_FOREVER);
    if (rc == 0)
        object_close(object);
    return 0;
}

/* Waits for a word of the object, and answers on it. */
XF_ENTRY(answer_once)
{
    object *object;

    if (open_notes(&object, xf_call_input(call, NULL)) < 0)
        return 1;
    await_stage(object, 1);
    set_stage(object, 2);
    object_close(object);
    return 0;
}

/* ---- Helpers --------------------------------------------------------------------------------- */

static int result_of(xf_task *task, const xf_ref *ref)
{
    xf_process *process = start(task, ref, sizeof *ref, NULL);
    int result;

    assert_int_equal(join(process).kind, XF_END_DONE);
    memcpy(&result, xf_process_result(process, NULL), sizeof result);
    xf_process_free(process);
    return result;
}

static xf_ref receive_ref(xf_process *process)
{
    xf_message message;
    xf_ref ref;

    assert_int_equal(xf_process_receive(process, &message, XF_FOREVER), 0);
    assert_int_equal(message.size, sizeof ref);
    memcpy(&ref, message.data, sizeof ref);
    xf_message_free(&message);
    return ref;
}

static void stop(xf_process *process)
{
    xf_process_terminate(process);
    expect_end(process, XF_END_DONE, 0);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void a_new_object_is_zero(void **state)
{
    object *object = create();

    (void)state;
    assert_int_equal(object->size, sizeof(notes));
    assert_int_equal((uintptr_t)object->body % 64, 0);
    for (size_t i = 0; i < sizeof(notes); i++)
        assert_int_equal(((const char *)object->body)[i], 0);
    object_close(object);
}

static void a_process_opens_an_object_once(void **state)
{
    object *object = create(), *again;
    xf_ref ref = ref_of(object);

    (void)state;
    assert_int_equal(open_notes(&again, &ref), 0);
    assert_ptr_equal(again, object);
    object_close(again);
    set_stage(object, 1); /* the object still works */
    object_close(object);
    expect_freed(&ref);
}

static void two_objects_have_two_references(void **state)
{
    object *one = create(), *other = create();
    xf_ref first = ref_of(one), second = ref_of(other);

    (void)state;
    assert_memory_not_equal(&first, &second, sizeof first);
    object_close(one);
    object_close(other);
}

static void a_reference_of_another_kind_is_refused(void **state)
{
    object *object = create(), *other;
    xf_ref ref = ref_of(object), none = {{0, 0}, XF_KIND_NONE, 0}, lie = ref;

    (void)state;
    assert_int_equal(object_open(&other, &ref, XF_KIND_QUEUE, VERSION), XF_EINVAL);
    assert_non_null(strstr(xf_error_detail(), "queue"));
    assert_int_equal(open_notes(&other, &none), XF_EINVAL);
    lie.kind = XF_KIND_QUEUE;
    assert_int_equal(object_open(&other, &lie, XF_KIND_QUEUE, VERSION), XF_EPROTO);
    assert_int_equal(object_open(&other, &ref, XF_KIND_EVENT, VERSION + 1), XF_EPROTO);
    object_close(object);
}

static void a_child_opens_what_its_parent_has(void **state)
{
    counts before = count_at_rest();
    object *object = create();
    xf_ref ref = ref_of(object);

    (void)state;
    assert_int_equal(result_of(&count_in, &ref), 0);
    assert_int_equal(atomic_load(&notes_of(object)->count), 1);
    object_close(object);
    expect_counts(before);
}

static void a_grandchild_opens_what_the_program_has(void **state)
{
    counts before = count_at_rest();
    object *object = create();
    xf_ref ref = ref_of(object);

    (void)state;
    assert_int_equal(result_of(&count_in_below, &ref), 0);
    assert_int_equal(atomic_load(&notes_of(object)->count), 1);
    object_close(object);
    expect_counts(before);
}

static void what_a_child_makes_is_opened_by_its_parent_and_siblings(void **state)
{
    counts before = count_at_rest();
    xf_process *maker = start(&make_one, NULL, 0, NULL);
    xf_ref ref = receive_ref(maker);
    object *object;

    (void)state;
    assert_int_equal(open_notes(&object, &ref), 0);
    assert_int_equal(result_of(&count_in, &ref), 0);
    assert_int_equal(result_of(&count_in_below, &ref), 0);
    assert_int_equal(atomic_load(&notes_of(object)->count), 2);
    stop(maker);
    assert_int_equal(result_of(&count_in, &ref), 0); /* this process has it open */
    object_close(object);
    expect_counts(before);
}

static void what_a_grandchild_makes_is_opened_by_a_cousin(void **state)
{
    counts before = count_at_rest();
    xf_process *maker = start(&make_one_below, NULL, 0, NULL);
    xf_ref ref = receive_ref(maker);

    (void)state;
    assert_int_equal(result_of(&count_in_below, &ref), 0);
    stop(maker);
    expect_freed(&ref);
    expect_counts(before);
}

/* The supervisor serves the child, while this thread does something else. */
static void a_child_opens_while_its_parent_does_something_else(void **state)
{
    object *object = create();
    xf_ref ref = ref_of(object);
    xf_process *process = start(&answer_once, &ref, sizeof ref, NULL);

    (void)state;
    set_stage(object, 1);
    await_stage(object, 2);
    expect_end(process, XF_END_DONE, 0);
    object_close(object);
}

static void a_pools_workers_open(void **state)
{
    enum { ITEMS = 200 };
    object *object = create();
    xf_ref refs[ITEMS];
    int results[ITEMS];
    xf_pool_options options = {.workers = 3};
    xf_pool *pool;

    (void)state;
    for (int i = 0; i < ITEMS; i++)
        refs[i] = ref_of(object);
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &count_in, .in = refs, .out = results, .count = ITEMS}), 0);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(results[i], 0);
    assert_int_equal(atomic_load(&notes_of(object)->count), ITEMS);
    xf_pool_free(pool);
    object_close(object);
}

/* ---- How long they are there ----------------------------------------------------------------- */

static void what_nobody_has_open_is_freed(void **state)
{
    object *object = create();
    xf_ref ref = ref_of(object);

    (void)state;
    object_close(object);
    assert_int_equal(result_of(&count_in, &ref), XF_ENOENT);
    assert_int_equal(result_of(&count_in_below, &ref), XF_ENOENT);
    expect_freed(&ref);
}

static void an_object_is_there_while_any_process_has_it_open(void **state)
{
    object *object = create();
    xf_ref ref = ref_of(object);
    xf_process *keeper = start(&keep, &ref, sizeof ref, NULL);

    (void)state;
    assert_int_equal(receive_number(keeper), 0);
    set_stage(object, 5);
    object_close(object);
    assert_int_equal(result_of(&count_in, &ref), 0);
    assert_int_equal(open_notes(&object, &ref), 0);
    assert_int_equal(atomic_load(&notes_of(object)->stage), 5);
    assert_int_equal(atomic_load(&notes_of(object)->count), 1);
    object_close(object);
    stop(keeper);
    expect_freed(&ref);
}

static void a_killed_process_closes_what_it_had_open(void **state)
{
    counts before = count_at_rest();
    xf_process *maker = start(&make_one, NULL, 0, NULL);
    xf_ref ref = receive_ref(maker);

    (void)state;
    assert_int_equal(result_of(&count_in, &ref), 0);
    xf_process_kill(maker);
    expect_end(maker, XF_END_TERMINATED, 0);
    expect_freed(&ref);
    expect_counts(before);
}

/* Creates an object, takes a reference, and frees the object. */
static int make_and_close(void)
{
    object *object;
    xf_ref ref;
    int rc = object_create(&object, XF_KIND_EVENT, VERSION, sizeof(notes), 0);

    if (rc < 0)
        return rc;
    rc = object_ref(object, &ref);
    object_close(object);
    return rc;
}

XF_TASK(make_many, const int *in, int *out)
{
    int rc = make_and_close();
    counts before = count(); /* after the first round, because the system keeps some things */

    for (int i = 1; i < *in && rc == 0; i++)
        rc = make_and_close();
    if (rc < 0)
        return xf_fail(call, 1, "%s", xf_error_detail());
    *out = count().handles == before.handles && count().mappings == before.mappings;
    return 0;
}

static void what_a_child_closes_is_forgotten(void **state)
{
    int times = 2 * OBJECT_CHILD_OFFERED_MAX, result;
    xf_process *process = start(&make_many, &times, sizeof times, NULL);

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    memcpy(&result, xf_process_result(process, NULL), sizeof result);
    assert_int_equal(result, 1);
    xf_process_free(process);
}

/* Creates objects and takes references until a call is refused. */
XF_TASK(make_too_many, const int *in, int *out)
{
    object *object;
    xf_ref ref;
    int rc = 0;

    for (*out = 0; rc == 0 && *out < *in; *out += rc == 0) {
        rc = object_create(&object, XF_KIND_EVENT, VERSION, sizeof(notes), 0);
        if (rc == 0)
            rc = object_ref(object, &ref);
    }
    return rc == XF_ELIMIT || rc == XF_EHANDLES ? 0 : xf_fail(call, 1, "%d: %s", *out, xf_error_detail());
}

static void a_child_cannot_fill_its_parents_table(void **state)
{
    int most = 2 * OBJECT_CHILD_OFFERED_MAX, result;
    counts before = count_at_rest();
    xf_process *process = start(&make_too_many, &most, sizeof most, NULL);

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    memcpy(&result, xf_process_result(process, NULL), sizeof result);
    assert_in_range(result, 50, OBJECT_CHILD_OFFERED_MAX);
    xf_process_free(process);
    expect_counts(before);
}

/* Returns how many segments it has mapped by itself; it does not inherit its parent's object. */
XF_TASK(count_mappings, const int *in, int *out)
{
    (void)in;
    *out = (int)support_mappings();
    return 0;
}

static int mappings_in_a_child(void)
{
    int nothing = 0, result;
    xf_process *process = start(&count_mappings, &nothing, sizeof nothing, NULL);

    assert_int_equal(join(process).kind, XF_END_DONE);
    memcpy(&result, xf_process_result(process, NULL), sizeof result);
    xf_process_free(process);
    return result;
}

static void a_child_has_nothing_mapped_that_it_did_not_open(void **state)
{
    int before = mappings_in_a_child();
    object *object = create();

    (void)state;
    assert_int_equal(mappings_in_a_child(), before);
    object_close(object);
}

/* ---- Threads --------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 100 };

typedef struct opener {
    uv_thread_t thread;
    const xf_ref *ref;
    int failed;
} opener;

static void open_and_close(void *arg)
{
    opener *opener = arg;
    object *object;

    for (int i = 0; i < ROUNDS; i++) {
        if (open_notes(&object, opener->ref) < 0) {
            opener->failed++;
            continue;
        }
        atomic_fetch_add(&notes_of(object)->count, 1);
        object_close(object);
    }
}

static int run_openers(const xf_ref *ref)
{
    opener openers[THREADS];
    int failed = 0;

    for (int i = 0; i < THREADS; i++) {
        openers[i] = (opener){.ref = ref};
        uv_thread_create(&openers[i].thread, open_and_close, &openers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        uv_thread_join(&openers[i].thread);
        failed += openers[i].failed;
    }
    return failed;
}

/* All threads ask at the same time, and one thread reads the answer to another one. */
XF_TASK(open_in_threads, const xf_ref *in, int *out)
{
    (void)call;
    *out = run_openers(in);
    return 0;
}

static void a_childs_threads_open_at_the_same_time(void **state)
{
    object *object = create();
    xf_ref ref = ref_of(object);

    (void)state;
    assert_int_equal(result_of(&open_in_threads, &ref), 0);
    assert_int_equal(atomic_load(&notes_of(object)->count), THREADS * ROUNDS);
    object_close(object);
    expect_freed(&ref);
}

static void run_in_thread(void *arg)
{
    opener *opener = arg;

    opener->failed = run_openers(opener->ref);
}

/* The task's own thread, which reads the answers, sleeps in xf_stop_requested. */
XF_ENTRY(open_while_it_waits)
{
    opener opener = {.ref = xf_call_input(call, NULL)};

    uv_thread_create(&opener.thread, run_in_thread, &opener);
    xf_send(call, "r", 1);
    while (!xf_stop_requested(call, XF_FOREVER))
        continue;
    uv_thread_join(&opener.thread);
    return opener.failed;
}

static void threads_open_while_the_task_waits_to_be_stopped(void **state)
{
    object *object = create();
    xf_ref ref = ref_of(object);
    xf_process *process = start(&open_while_it_waits, &ref, sizeof ref, NULL);
    xf_message message;

    (void)state;
    assert_int_equal(xf_process_receive(process, &message, XF_FOREVER), 0);
    xf_message_free(&message);
    while (atomic_load(&notes_of(object)->count) < THREADS * ROUNDS)
        assert_int_equal(xf_process_join(process, NULL, 1), XF_ETIMEDOUT);
    stop(process);
    object_close(object);
}

/* ---- Handles --------------------------------------------------------------------------------- */

/* Returns a handle to pass on: the writing end of a pipe, as an fd or HANDLE of the system. */
static intptr_t open_handle(void)
{
    os_shm shm;
    intptr_t handle;

    if (os_shm_create(&shm, OS_PAGE, 0) < 0)
        return -1;
    strcpy(shm.address, "handed over");
    handle = shm.handle;
    shm.handle = -1;
    os_shm_close(&shm);
    return handle;
}

static int is_that_handle(intptr_t handle)
{
    os_shm shm;
    int same;

    if (os_shm_open(&shm, handle, OS_PAGE, 0) < 0)
        return 0;
    same = strcmp(shm.address, "handed over") == 0;
    os_shm_close(&shm);
    return same;
}

/* Takes the handle, and returns 1 if it is the right one, or an error. */
XF_TASK(take_it, const xf_ref *in, int *out)
{
    intptr_t handle;

    (void)call;
    *out = xf_handle_take(in, &handle);
    if (*out == 0)
        *out = is_that_handle(handle);
    return 0;
}

XF_ENTRY(give_it)
{
    intptr_t handle = open_handle();
    xf_ref ref;

    if (xf_handle_ref(handle, &ref) < 0)
        return 1;
    os_handle_close(handle);
    xf_send(call, &ref, sizeof ref);
    xf_stop_requested(call, XF_FOREVER);
    return 0;
}

XF_ENTRY(give_it_below)
{
    xf_process *child;
    xf_message message;

    if (xf_process_start(&child, &give_it, NULL, 0, NULL) < 0 || xf_process_receive(child, &message, XF_FOREVER) < 0)
        return 1;
    xf_send(call, message.data, message.size);
    xf_message_free(&message);
    xf_stop_requested(call, XF_FOREVER);
    xf_process_free(child);
    return 0;
}

static xf_ref handle_ref(void)
{
    intptr_t handle = open_handle();
    xf_ref ref;

    assert_int_equal(xf_handle_ref(handle, &ref), 0);
    os_handle_close(handle);
    return ref;
}

static void a_handle_is_taken_once(void **state)
{
    counts before = count_at_rest();
    xf_ref ref = handle_ref();
    intptr_t handle;

    (void)state;
    assert_int_equal(result_of(&take_it, &ref), 1);
    assert_int_equal(result_of(&take_it, &ref), XF_ENOENT);
    assert_int_equal(xf_handle_take(&ref, &handle), XF_ENOENT);
    ref = handle_ref();
    assert_int_equal(xf_handle_take(&ref, &handle), 0);
    assert_true(is_that_handle(handle));
    expect_counts(before);
}

static void a_childs_handle_is_taken_by_its_parent_or_a_sibling(void **state)
{
    counts before = count_at_rest();
    intptr_t handle;

    (void)state;
    for (int i = 0; i < 2; i++) {
        xf_process *giver = start(i == 0 ? &give_it : &give_it_below, NULL, 0, NULL);
        xf_ref ref = receive_ref(giver);
        if (i == 0) {
            assert_int_equal(xf_handle_take(&ref, &handle), 0);
            assert_true(is_that_handle(handle));
        } else {
            assert_int_equal(result_of(&take_it, &ref), 1);
        }
        assert_int_equal(result_of(&take_it, &ref), XF_ENOENT);
        stop(giver);
    }
    expect_counts(before);
}

static void a_killed_process_takes_its_handles_along(void **state)
{
    counts before = count_at_rest();
    xf_task *const givers[] = {&give_it, &give_it_below};
    intptr_t handle;

    (void)state;
    for (int i = 0; i < 2; i++) {
        xf_process *giver = start(givers[i], NULL, 0, NULL);
        xf_ref ref = receive_ref(giver);
        xf_process_kill(giver);
        expect_end(giver, XF_END_TERMINATED, 0);
        assert_int_equal(xf_handle_take(&ref, &handle), XF_ENOENT);
    }
    expect_counts(before);
}

static void only_a_handle_can_be_handed_over(void **state)
{
    object *object = create();
    xf_ref ref = ref_of(object);
    intptr_t handle;

    (void)state;
    assert_int_equal(xf_handle_take(&ref, &handle), XF_EINVAL);
    assert_int_equal(xf_handle_ref(-1, &ref), XF_EINVAL);
    assert_int_equal(xf_handle_ref(0x7ffffff0, &ref), XF_EINVAL);
    object_close(object);
}

/* Lets libuv make what it makes once and keeps. */
static int warm_up(void **state)
{
    (void)state;
    (void)mappings_in_a_child();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_object_is_zero),
        cmocka_unit_test(a_process_opens_an_object_once),
        cmocka_unit_test(two_objects_have_two_references),
        cmocka_unit_test(a_reference_of_another_kind_is_refused),
        cmocka_unit_test(a_child_opens_what_its_parent_has),
        cmocka_unit_test(a_grandchild_opens_what_the_program_has),
        cmocka_unit_test(what_a_child_makes_is_opened_by_its_parent_and_siblings),
        cmocka_unit_test(what_a_grandchild_makes_is_opened_by_a_cousin),
        cmocka_unit_test(a_child_opens_while_its_parent_does_something_else),
        cmocka_unit_test(a_pools_workers_open),
        cmocka_unit_test(what_nobody_has_open_is_freed),
        cmocka_unit_test(an_object_is_there_while_any_process_has_it_open),
        cmocka_unit_test(a_killed_process_closes_what_it_had_open),
        cmocka_unit_test(what_a_child_closes_is_forgotten),
        cmocka_unit_test(a_child_cannot_fill_its_parents_table),
        cmocka_unit_test(a_child_has_nothing_mapped_that_it_did_not_open),
        cmocka_unit_test(a_childs_threads_open_at_the_same_time),
        cmocka_unit_test(threads_open_while_the_task_waits_to_be_stopped),
        cmocka_unit_test(a_handle_is_taken_once),
        cmocka_unit_test(a_childs_handle_is_taken_by_its_parent_or_a_sibling),
        cmocka_unit_test(a_killed_process_takes_its_handles_along),
        cmocka_unit_test(only_a_handle_can_be_handed_over),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
