/* Goal: shared memory has the same bytes in every process, grows for all, can be opened read-only, and ends with the
 * last process that has it open, not earlier. */
#include "crossfork.h"
#include "tasks.h"

#include <stdatomic.h>

enum { BYTES = 100000, GROWN = 3000000 };

/* The input of a task. */
typedef struct order {
    xf_ref ref;
    uint64_t size;
} order;

/* ---- Tasks ----------------------------------------------------------------------------------- */

static xf_shm *open_shm(xf_call *call, const xf_ref *ref, xf_shm_access access)
{
    xf_shm *shm;

    if (xf_shm_open(&shm, ref, access) == 0)
        return shm;
    xf_fail(call, 1, "xf_shm_open: %s", xf_error_detail());
    return NULL;
}

/* Fills the memory with the pattern that starts with 1. */
XF_TASK(fill, const order *in, uint64_t *out)
{
    xf_shm *shm = open_shm(call, &in->ref, XF_SHM_WRITE);
    unsigned char *data;

    if (!shm)
        return 1;
    data = xf_shm_data(shm);
    *out = xf_shm_size(shm);
    for (uint64_t i = 0; i < *out; i++)
        data[i] = (unsigned char)(i + 1);
    xf_shm_free(shm);
    return 0;
}

/* Adds its bytes up, with read-only access. */
XF_TASK(add_up, const order *in, uint64_t *out)
{
    xf_shm *shm = open_shm(call, &in->ref, XF_SHM_READ);

    if (!shm)
        return 1;
    for (size_t i = 0; i < xf_shm_size(shm); i++)
        *out += ((unsigned char *)xf_shm_data(shm))[i];
    if (xf_shm_grow(shm, in->size) != XF_ESTATE)
        return 2;
    xf_shm_free(shm);
    return 0;
}

XF_TASK(write_to_what_is_for_reading, const order *in, uint64_t *out)
{
    xf_shm *shm = open_shm(call, &in->ref, XF_SHM_READ);

    *(volatile char *)xf_shm_data(shm) = 1;
    *out = 1;
    return 0;
}

XF_TASK(grow, const order *in, uint64_t *out)
{
    xf_shm *shm = open_shm(call, &in->ref, XF_SHM_WRITE);
    char *data;

    if (!shm || xf_shm_grow(shm, in->size) < 0)
        return xf_fail(call, 1, "%s", xf_error_detail());
    data = xf_shm_data(shm);
    *out = xf_shm_size(shm);
    data[*out - 1] = 42;
    xf_shm_free(shm);
    return 0;
}

/* Grows the memory in small steps while others do so too: reads the size once a step, because it may change between
 * reads. */
XF_TASK(grow_slowly, const order *in, uint64_t *out)
{
    xf_shm *shm = open_shm(call, &in->ref, XF_SHM_WRITE);
    size_t size;

    *out = 0;
    if (!shm)
        return 1;
    for (size = xf_shm_size(shm); size < in->size; size = xf_shm_size(shm), ++*out) {
        size = size + 5000 < in->size ? size + 5000 : in->size;
        if (xf_shm_grow(shm, size) < 0)
            return xf_fail(call, 2, "%s", xf_error_detail());
    }
    xf_shm_free(shm);
    return 0;
}

/* Reports that the size has changed. */
XF_ENTRY(watch_size)
{
    xf_shm *shm = open_shm(call, xf_call_input(call, NULL), XF_SHM_WRITE);
    size_t size;
    void *data;

    if (!shm)
        return 1;
    size = xf_shm_size(shm);
    data = xf_shm_data(shm);
    xf_send(call, &size, sizeof size);
    while (xf_shm_size(shm) == size)
        xf_stop_requested(call, 1);
    size = xf_shm_size(shm);
    ((char *)data)[size - 1] = 43;
    xf_send(call, &size, sizeof size);
    xf_shm_free(shm);
    return 0;
}

/* Creates memory, writes to it, sends its reference, and waits to be killed. */
XF_ENTRY(make_and_wait)
{
    xf_shm *shm;
    xf_ref ref;

    if (xf_shm_create(&shm, BYTES, NULL) < 0 || xf_shm_ref(shm, &ref) < 0)
        return 1;
    strcpy(xf_shm_data(shm), "made by the dead");
    xf_send(call, &ref, sizeof ref);
    xf_stop_requested(call, XF_FOREVER);
    return 0;
}

/* Adds 1 as often as its input says, to one element by atomic operations and to another one under the lock. */
XF_TASK(count_up, const order *in, uint64_t *out)
{
    xf_array *array;

    if (xf_array_open(&array, &in->ref, sizeof(int64_t)) < 0)
        return xf_fail(call, 1, "%s", xf_error_detail());
    for (uint64_t i = 0; i < in->size; i++) {
        atomic_fetch_add(&XF_ARRAY_ATOMIC_AT(array, int64_t, 0), 1);
        if (xf_lock_acquire(xf_array_lock(array), XF_FOREVER) < 0)
            return 2;
        XF_ARRAY_AT(array, int64_t, 1)++;
        if (xf_lock_release(xf_array_lock(array)) < 0)
            return 3;
    }
    *out = xf_array_count(array);
    xf_array_free(array);
    return 0;
}

/* ---- Helpers --------------------------------------------------------------------------------- */

static xf_shm *create(size_t size, const xf_shm_options *options)
{
    xf_shm *shm = NULL;

    assert_int_equal(xf_shm_create(&shm, size, options), 0);
    assert_int_equal(xf_shm_size(shm), size);
    return shm;
}

static order order_of(xf_shm *shm, uint64_t size)
{
    order order = {.size = size};

    assert_int_equal(xf_shm_ref(shm, &order.ref), 0);
    return order;
}

static uint64_t result_of(xf_task *task, const order *order)
{
    xf_process *process = start(task, order, sizeof *order, NULL);
    uint64_t result;

    assert_int_equal(join(process).kind, XF_END_DONE);
    memcpy(&result, xf_process_result(process, NULL), sizeof result);
    xf_process_free(process);
    return result;
}

static bool all_zero(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i])
            return false;
    return true;
}

static size_t mappings_at_rest(void)
{
    assert_int_equal(xf_cleanup(), 0);
    return support_mappings();
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void new_memory_is_zero_and_starts_a_page(void **state)
{
    xf_shm *shm = create(BYTES, NULL);

    (void)state;
    assert_int_equal((uintptr_t)xf_shm_data(shm) % 4096, 0);
    assert_true(all_zero(xf_shm_data(shm), BYTES));
    memset(xf_shm_data(shm), 7, BYTES);
    xf_shm_free(shm);
    xf_shm_free(NULL);
}

static void wrong_options_are_refused(void **state)
{
    xf_shm_options too_small = {.limit = BYTES - 1}, too_large = {.limit = SIZE_MAX};
    xf_shm *shm;

    (void)state;
    assert_int_equal(xf_shm_create(&shm, 0, NULL), XF_EINVAL);
    assert_int_equal(xf_shm_create(&shm, BYTES, &too_small), XF_EINVAL);
    assert_non_null(strstr(xf_error_detail(), "99999"));
    assert_int_equal(xf_shm_create(&shm, BYTES, &too_large), XF_ENOMEM);
}

static void a_child_writes_and_a_child_reads(void **state)
{
    size_t before = mappings_at_rest();
    xf_shm *shm = create(BYTES, NULL);
    order order = order_of(shm, 2 * BYTES);
    uint64_t sum = 0;

    (void)state;
    assert_int_equal(result_of(&fill, &order), BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        assert_int_equal(((unsigned char *)xf_shm_data(shm))[i], (unsigned char)(i + 1));
        sum += (unsigned char)(i + 1);
    }
    assert_int_equal(result_of(&add_up, &order), sum);
    xf_shm_free(shm);
    assert_int_equal(mappings_at_rest(), before);
}

static void what_is_for_reading_cannot_be_written_to(void **state)
{
    xf_shm *shm = create(BYTES, NULL), *view;
    order order = order_of(shm, 0);

    (void)state;
    expect_end(start(&write_to_what_is_for_reading, &order, sizeof order, NULL), XF_END_CRASHED, XF_CRASH_ACCESS);
    assert_true(all_zero(xf_shm_data(shm), BYTES));
    assert_int_equal(xf_shm_open(&view, &order.ref, XF_SHM_READ),
                     0); /* read-only also in a process that has it open for writing */
    strcpy(xf_shm_data(shm), "seen");
    assert_string_equal(xf_shm_data(view), "seen");
    xf_shm_free(shm);
    assert_string_equal(xf_shm_data(view), "seen");
    xf_shm_free(view);
    assert_int_equal(xf_shm_open(&view, &order.ref, XF_SHM_READ), XF_ENOENT);
}

static void it_grows_for_all(void **state)
{
    xf_shm_options options = {.limit = GROWN};
    xf_shm *shm = create(BYTES, &options);
    order order = order_of(shm, GROWN - 1000);
    char *data = xf_shm_data(shm);

    (void)state;
    strcpy(data, "stays");
    assert_int_equal(result_of(&grow, &order), GROWN - 1000);
    assert_int_equal(xf_shm_size(shm), GROWN - 1000);
    assert_ptr_equal(xf_shm_data(shm), data);
    assert_string_equal(data, "stays");
    assert_true(all_zero(data + BYTES, GROWN - 1001 - BYTES));
    assert_int_equal(data[GROWN - 1001], 42);
    assert_int_equal(xf_shm_grow(shm, 10), 0); /* the memory is larger already */
    assert_int_equal(xf_shm_size(shm), GROWN - 1000);
    assert_int_equal(xf_shm_grow(shm, GROWN + 1), XF_ELIMIT);
    assert_int_equal(xf_shm_grow(shm, GROWN), 0);
    assert_int_equal(xf_shm_size(shm), GROWN);
    xf_shm_free(shm);
}

static void a_child_sees_it_grow(void **state)
{
    xf_shm_options options = {.limit = GROWN};
    xf_shm *shm = create(BYTES, &options);
    order order = order_of(shm, 0);
    xf_process *process = start(&watch_size, &order.ref, sizeof order.ref, NULL);

    (void)state;
    assert_int_equal(receive_number(process), BYTES);
    assert_int_equal(xf_shm_grow(shm, GROWN), 0);
    assert_int_equal(receive_number(process), GROWN);
    assert_int_equal(((char *)xf_shm_data(shm))[GROWN - 1], 43);
    expect_end(process, XF_END_DONE, 0);
    xf_shm_free(shm);
}

static void several_make_it_grow(void **state)
{
    enum { CHILDREN = 3 };
    xf_shm_options options = {.limit = GROWN};
    xf_shm *shm = create(1, &options);
    order order = order_of(shm, GROWN);
    xf_process *processes[CHILDREN];

    (void)state;
    for (int i = 0; i < CHILDREN; i++)
        processes[i] = start(&grow_slowly, &order, sizeof order, NULL);
    for (int i = 0; i < CHILDREN; i++)
        expect_end(processes[i], XF_END_DONE, 0);
    assert_int_equal(xf_shm_size(shm), GROWN);
    assert_true(all_zero(xf_shm_data(shm), GROWN));
    xf_shm_free(shm);
}

static void a_limit_costs_addresses_and_no_memory(void **state)
{
    xf_shm_options options = {.limit = (size_t)64 << 30, .huge_pages = true};
    xf_shm *shm = create(BYTES, &options);

    (void)state;
    assert_int_equal(xf_shm_grow(shm, GROWN), 0);
    ((char *)xf_shm_data(shm))[GROWN - 1] = 1;
    xf_shm_free(shm);
}

/* The death of the creator, or of another process, does not affect processes that have the memory open. */
static void it_outlives_its_maker(void **state)
{
    size_t before = mappings_at_rest();
    xf_process *maker = start(&make_and_wait, NULL, 0, NULL);
    order order = {.size = 2 * BYTES};
    xf_message message;
    xf_shm *shm;

    (void)state;
    assert_int_equal(xf_process_receive(maker, &message, XF_FOREVER), 0);
    memcpy(&order.ref, message.data, sizeof order.ref);
    xf_message_free(&message);
    assert_int_equal(xf_shm_open(&shm, &order.ref, XF_SHM_WRITE), 0);
    xf_process_kill(maker);
    expect_end(maker, XF_END_TERMINATED, 0);
    assert_string_equal(xf_shm_data(shm), "made by the dead");
    assert_true(result_of(&add_up, &order) > 0); /* the end of that process changes nothing either */
    expect_end(start(&write_to_what_is_for_reading, &order, sizeof order, NULL), XF_END_CRASHED, XF_CRASH_ACCESS);
    assert_string_equal(xf_shm_data(shm), "made by the dead");
    assert_int_equal(result_of(&fill, &order), BYTES);
    xf_shm_free(shm);
    assert_int_equal(xf_shm_open(&shm, &order.ref, XF_SHM_WRITE), XF_ENOENT);
    assert_int_equal(mappings_at_rest(), before);
}

static void an_array_is_counted_in(void **state)
{
    enum { CHILDREN = 3, TIMES = 5000 };
    size_t before = mappings_at_rest();
    xf_process *processes[CHILDREN];
    order order = {.size = TIMES};
    xf_array *array, *other;
    xf_shm *shm;

    (void)state;
    assert_int_equal(xf_array_create(&array, 2, sizeof(int64_t)), 0);
    assert_int_equal(xf_array_count(array), 2);
    assert_int_equal((uintptr_t)xf_array_data(array) % 64, 0);
    assert_int_equal(XF_ARRAY_AT(array, int64_t, 0), 0);
    assert_int_equal(xf_array_ref(array, &order.ref), 0);
    for (int i = 0; i < CHILDREN; i++)
        processes[i] = start(&count_up, &order, sizeof order, NULL);
    for (int i = 0; i < CHILDREN; i++)
        expect_end(processes[i], XF_END_DONE, 0);
    assert_int_equal(XF_ARRAY_AT(array, int64_t, 0), CHILDREN * TIMES);
    assert_int_equal(XF_ARRAY_AT(array, int64_t, 1), CHILDREN * TIMES);
    assert_int_equal(xf_array_open(&other, &order.ref, 4), XF_ESIZE);
    shm = create(BYTES, NULL);
    assert_int_equal(xf_shm_ref(shm, &order.ref), 0);
    assert_int_equal(xf_array_open(&other, &order.ref, 4), XF_EPROTO);
    assert_int_equal(xf_array_create(&other, 0, 4), XF_EINVAL);
    assert_int_equal(xf_array_create(&other, SIZE_MAX / 2, 4), XF_ENOMEM);
    xf_shm_free(shm);
    xf_array_free(array);
    xf_array_free(NULL);
    assert_int_equal(mappings_at_rest(), before);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_memory_is_zero_and_starts_a_page),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(a_child_writes_and_a_child_reads),
        cmocka_unit_test(what_is_for_reading_cannot_be_written_to),
        cmocka_unit_test(it_grows_for_all),
        cmocka_unit_test(a_child_sees_it_grow),
        cmocka_unit_test(several_make_it_grow),
        cmocka_unit_test(a_limit_costs_addresses_and_no_memory),
        cmocka_unit_test(it_outlives_its_maker),
        cmocka_unit_test(an_array_is_counted_in),
    };

    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
