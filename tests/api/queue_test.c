/* Goal: the messages of a queue come out once, in order, at any size, even if processes that used it have ended. */
#include "tasks.h"

#include <stdatomic.h>

enum { MIB = 1024 * 1024, PATIENCE_MS = 60000 };

/* The input of the tasks. */
typedef struct order {
    xf_ref queue;
    xf_ref answers;
    uint64_t size;
    uint64_t count;
    uint64_t first;
} order;

static xf_queue *make(const xf_queue_options *options)
{
    xf_queue *queue = NULL;
    int rc = xf_queue_create(&queue, options);

    if (rc < 0)
        print_error("xf_queue_create: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    return queue;
}

static xf_ref ref_of(xf_queue *queue)
{
    xf_ref ref;

    assert_int_equal(xf_queue_ref(queue, &ref), 0);
    return ref;
}

static void put_number(xf_queue *queue, uint64_t number)
{
    assert_int_equal(xf_queue_put(queue, &number, sizeof number, PATIENCE_MS), 0);
}

static uint64_t get_number(xf_queue *queue)
{
    uint64_t number = 0;
    size_t size = 0;

    assert_int_equal(xf_queue_get_into(queue, &number, sizeof number, &size, PATIENCE_MS), 0);
    assert_int_equal(size, sizeof number);
    return number;
}

static void expect_nothing(xf_queue *queue, int code)
{
    xf_message message;

    assert_int_equal(xf_queue_get(queue, &message, 0), code);
}

static void drop_message(xf_queue *queue)
{
    xf_message message;

    assert_int_equal(xf_queue_get(queue, &message, 0), 0);
    xf_message_free(&message);
}

/* Returns a pattern that differs for each position and message. */
static uint64_t pattern(uint64_t message, size_t at)
{
    return (message + 1) * UINT64_C(0x9E3779B97F4A7C15) + at;
}

static void fill(void *data, size_t size, uint64_t message)
{
    uint64_t *words = data;

    for (size_t i = 0; i < size / sizeof *words; i++)
        words[i] = pattern(message, i);
}

static bool is_filled(const void *data, size_t size, uint64_t message)
{
    const uint64_t *words = data;

    for (size_t i = 0; i < size / sizeof *words; i++)
        if (words[i] != pattern(message, i))
            return false;
    return true;
}

/* ---- In one process -------------------------------------------------------------------------- */

static void messages_come_out_in_order(void **state)
{
    xf_queue *queue = make(NULL);

    (void)state;
    for (uint64_t i = 0; i < 5000; i++) /* more than the first ring holds */
        put_number(queue, i);
    for (uint64_t i = 0; i < 5000; i++)
        assert_int_equal(get_number(queue), i);
    expect_nothing(queue, XF_ETIMEDOUT);
    for (uint64_t i = 0; i < 20000; i++) { /* many laps of the ring */
        put_number(queue, i);
        assert_int_equal(get_number(queue), i);
    }
    xf_queue_free(queue);
}

static void messages_have_any_length(void **state)
{
    static const size_t sizes[] = {0, 1, 8, 143, 144, 145, 4000, 4096, 4097, 65536, 3 * MIB + 5};
    xf_queue *queue = make(NULL);
    char *data = malloc(4 * MIB);

    (void)state;
    fill(data, 4 * MIB, 3);
    for (int turn = 0; turn < 3; turn++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            assert_int_equal(xf_queue_put(queue, data, sizes[i], 0), 0);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            xf_message message;
            size_t size;
            assert_int_equal(xf_queue_peek(queue, &size, 0), 0);
            assert_int_equal(size, sizes[i]);
            assert_int_equal(xf_queue_get(queue, &message, 0), 0);
            assert_int_equal(message.size, sizes[i]);
            assert_memory_equal(message.data, data, sizes[i]);
            xf_message_free(&message);
        }
    }
    free(data);
    xf_queue_free(queue);
}

static void capacity_is_a_bound(void **state)
{
    static const size_t capacities[] = {1, 2, 3, 7, 16, 600};

    (void)state;
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        xf_queue *queue = make(&(xf_queue_options){.capacity = capacities[i]});
        uint64_t put = 0, got = 0;
        for (int turn = 0; turn < 5; turn++) {
            for (; put - got < capacities[i]; put++)
                put_number(queue, put);
            assert_int_equal(xf_queue_put(queue, &put, sizeof put, 0), XF_ETIMEDOUT);
            assert_int_equal(get_number(queue), got++);
            put_number(queue, put++);
            assert_int_equal(xf_queue_put(queue, &put, sizeof put, 1), XF_ETIMEDOUT);
            for (; got < put; got++)
                assert_int_equal(get_number(queue), got);
        }
        expect_nothing(queue, XF_ETIMEDOUT);
        xf_queue_free(queue);
    }
}

/* Memory is a bound too, and memory that was freed can be used again. */
static void memory_is_a_bound(void **state)
{
    xf_queue *queue = make(&(xf_queue_options){.capacity = 100, .memory_limit = MIB});
    char *data = calloc(1, 2 * MIB);
    xf_message message;
    int count = 0;

    (void)state;
    assert_int_equal(xf_queue_put(queue, data, 2 * MIB, XF_FOREVER), XF_ELIMIT);
    for (int turn = 0; turn < 3; turn++) {
        for (count = 0; xf_queue_put(queue, data, 100000, 0) == 0; count++) {
        }
        assert_in_range(count, 8, 10);
        assert_int_equal(xf_queue_put(queue, data, 100000, 1), XF_ETIMEDOUT);
        put_number(queue, 1); /* the ring itself has room for it */
        for (int i = 0; i < count; i++) {
            assert_int_equal(xf_queue_get(queue, &message, 0), 0);
            xf_message_free(&message);
        }
        assert_int_equal(get_number(queue), 1);
    }
    free(data);
    xf_queue_free(queue);
}

static void a_closed_queue_is_drained(void **state)
{
    xf_queue *queue = make(NULL);
    uint64_t number = 0;

    (void)state;
    for (uint64_t i = 0; i < 600; i++)
        put_number(queue, i);
    assert_int_equal(xf_queue_close(queue), 0);
    assert_int_equal(xf_queue_put(queue, &number, sizeof number, XF_FOREVER), XF_EEND);
    assert_int_equal(xf_queue_close(queue), 0);
    for (uint64_t i = 0; i < 600; i++)
        assert_int_equal(get_number(queue), i);
    expect_nothing(queue, XF_EEND);
    expect_nothing(queue, XF_EEND);
    xf_queue_free(queue);
}

static void a_full_queue_can_be_closed(void **state)
{
    xf_queue *queue = make(&(xf_queue_options){.capacity = 2});
    uint64_t number = 2;

    (void)state;
    put_number(queue, 0);
    put_number(queue, 1);
    assert_int_equal(xf_queue_close(queue), 0);
    assert_int_equal(xf_queue_put(queue, &number, sizeof number, XF_FOREVER), XF_EEND);
    assert_int_equal(get_number(queue), 0);
    assert_int_equal(xf_queue_put(queue, &number, sizeof number, XF_FOREVER), XF_EEND);
    assert_int_equal(get_number(queue), 1);
    expect_nothing(queue, XF_EEND);
    xf_queue_free(queue);
}

static void a_message_that_is_too_long_for_the_room_stays(void **state)
{
    xf_queue *queue = make(NULL);
    char room[10];
    size_t size = 0;

    (void)state;
    assert_int_equal(xf_queue_put(queue, "hello, world", 12, 0), 0);
    assert_int_equal(xf_queue_get_into(queue, room, sizeof room, &size, 0), XF_ESIZE);
    assert_int_equal(size, 12);
    put_number(queue, 7);
    assert_int_equal(xf_queue_get_into(queue, room, sizeof room, &size, 0), XF_ESIZE);
    drop_message(queue);
    assert_int_equal(get_number(queue), 7);
    xf_queue_free(queue);
}

static void batches_are_cut_where_the_bound_is(void **state)
{
    xf_queue *queue = make(&(xf_queue_options){.capacity = 4});
    const xf_bytes in[] = {{"a", 1}, {"bc", 2}, {"", 0}, {"d", 1}, {"e", 1}, {"f", 1}};
    xf_message out[6];

    (void)state;
    assert_int_equal(xf_queue_put_many(queue, in, 6, 0), 4);
    assert_int_equal(xf_queue_put_many(queue, in + 4, 2, 0), XF_ETIMEDOUT);
    assert_int_equal(xf_queue_get_many(queue, out, 6, 0), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(out[i].size, in[i].size);
        assert_memory_equal(out[i].data, in[i].data, in[i].size);
        xf_message_free(&out[i]);
    }
    assert_int_equal(xf_queue_get_many(queue, out, 6, 0), XF_ETIMEDOUT);
    xf_queue_free(queue);
}

static void slots_and_views_are_not_copied(void **state)
{
    xf_queue *queue = make(&(xf_queue_options){.capacity = 1});
    xf_queue_slot slot, other;
    xf_queue_message_view view;

    (void)state;
    assert_int_equal(xf_queue_reserve(queue, MIB, &slot, 0), 0);
    assert_int_equal(xf_queue_reserve(queue, MIB, &other, 0), 0);
    fill(slot.data, MIB, 1);
    fill(other.data, MIB, 2);
    put_number(queue, 5); /* goes first, because a reserved slot has no position yet */
    assert_int_equal(xf_queue_commit(queue, &slot, 0), XF_ETIMEDOUT);
    assert_int_equal(get_number(queue), 5);
    slot.size = MIB / 2;
    assert_int_equal(xf_queue_commit(queue, &slot, 0), 0);
    xf_queue_cancel(queue, &other);
    assert_int_equal(xf_queue_view(queue, &view, 0), 0);
    assert_int_equal(view.size, MIB / 2);
    assert_true(is_filled(view.data, view.size, 1));
    put_number(queue, 6); /* a view takes no position */
    assert_int_equal(get_number(queue), 6);
    assert_true(is_filled(view.data, view.size, 1));
    xf_queue_release(queue, &view);
    put_number(queue, 7);
    assert_int_equal(xf_queue_view(queue, &view, 0), 0);
    assert_int_equal(view.size, sizeof(uint64_t));
    xf_queue_release(queue, &view);
    expect_nothing(queue, XF_ETIMEDOUT);
    xf_queue_free(queue);
}

static void options_are_checked(void **state)
{
    xf_queue *queue;
    xf_ref none = {{0, 0}, 0, 0};

    (void)state;
    assert_int_equal(xf_queue_create(&queue, &(xf_queue_options){.capacity = XF_QUEUE_CAPACITY_MAX + 1}), XF_EINVAL);
    assert_int_equal(xf_queue_create(&queue, &(xf_queue_options){.message_size = 65537}), XF_EINVAL);
    assert_int_equal(xf_queue_create(&queue, &(xf_queue_options){.spin_us = -2}), XF_EINVAL);
    assert_int_equal(xf_queue_open(&queue, &none), XF_EINVAL);
    queue = make(NULL);
    assert_int_equal(xf_queue_task_done(queue), XF_ESTATE);
    assert_int_equal(xf_queue_join(queue, 0), XF_ESTATE);
    assert_int_equal(xf_queue_put_many(queue, NULL, 0, 0), XF_EINVAL);
    assert_int_equal(xf_queue_get_many(queue, NULL, 0, 0), XF_EINVAL);
    xf_queue_free(queue);
    xf_queue_free(NULL);
}

/* ---- Objects --------------------------------------------------------------------------------- */

static int encode_number(xf_writer *writer, const void *object)
{
    const int *number = object;

    xf_writer_put(writer, "number", 6);
    return *number < 0 ? -5 : xf_writer_put(writer, number, sizeof *number);
}

static int decode_number(const void *data, size_t size, void **object)
{
    int *number;

    if (size != 6 + sizeof *number)
        return -6;
    number = malloc(sizeof *number);
    memcpy(number, (const char *)data + 6, sizeof *number);
    *object = number;
    return 0;
}

static const xf_codec number_codec = {encode_number, decode_number, free};

static void a_put_that_cannot_be_encoded_changes_nothing(void **state)
{
    xf_queue *queue = make(&(xf_queue_options){.capacity = 2});
    int good = 3, bad = -1;
    void *object;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(xf_queue_put_object(queue, &number_codec, &bad, 0), XF_ECODEC);
    assert_int_equal(xf_queue_put_object(queue, &number_codec, &good, 0), 0);
    assert_int_equal(xf_queue_put_object(queue, &number_codec, &bad, 0), XF_ECODEC);
    put_number(queue, 0);
    assert_int_equal(xf_queue_put_object(queue, &number_codec, &good, 0), XF_ETIMEDOUT);
    assert_int_equal(xf_queue_get_object(queue, &number_codec, &object, 0), 0);
    assert_int_equal(*(int *)object, 3);
    free(object);
    assert_int_equal(xf_queue_get_object(queue, &number_codec, &object, 0), XF_ECODEC);
    expect_nothing(queue, XF_ETIMEDOUT);
    xf_queue_free(queue);
}

/* ---- Between processes ----------------------------------------------------------------------- */

static xf_queue *open_queue(const xf_ref *ref)
{
    xf_queue *queue = NULL;

    return xf_queue_open(&queue, ref) < 0 ? NULL : queue;
}

/* Puts count messages of size bytes. */
XF_TASK(produce, const order *in, uint64_t *out)
{
    xf_queue *queue = open_queue(&in->queue);
    char *data = malloc(in->size);
    int rc = 0;

    if (!queue || !data)
        return xf_fail(call, 1, "%s", xf_error_detail());
    for (uint64_t i = 0; i < in->count && rc == 0; i++) {
        fill(data, in->size, in->first + i);
        rc = xf_queue_put(queue, data, in->size, XF_FOREVER);
    }
    *out = in->count;
    free(data);
    xf_queue_free(queue);
    return rc < 0 ? xf_fail(call, 2, "%s: %s", xf_err_name(rc), xf_error_detail()) : 0;
}

/* Gets numbers until the queue ends, and puts their sum and their count into the other queue. */
XF_TASK(add_up, const order *in, uint64_t *out)
{
    xf_queue *queue = open_queue(&in->queue);
    uint64_t number, sum = 0;
    size_t size;
    int rc;

    (void)out;
    if (!queue)
        return xf_fail(call, 1, "%s", xf_error_detail());
    while ((rc = xf_queue_get_into(queue, &number, sizeof number, &size, XF_FOREVER)) == 0)
        sum += number;
    *out = sum;
    xf_queue_free(queue);
    return rc == XF_EEND ? 0 : xf_fail(call, 2, "%s: %s", xf_err_name(rc), xf_error_detail());
}

/* The producer has ended before anything is got. */
static void join_then_get(uint64_t size, uint64_t count)
{
    xf_queue *queue = make(NULL);
    order order = {.queue = ref_of(queue), .size = size, .count = count};
    xf_process *process = start(&produce, &order, sizeof order, NULL);

    expect_end(process, XF_END_DONE, 0);
    for (uint64_t i = 0; i < count; i++) {
        xf_queue_message_view view;
        assert_int_equal(xf_queue_view(queue, &view, 0), 0);
        assert_int_equal(view.size, size);
        assert_true(is_filled(view.data, view.size, i));
        xf_queue_release(queue, &view);
    }
    expect_nothing(queue, XF_ETIMEDOUT);
    xf_queue_free(queue);
}

static void joining_before_getting_works_at_1_mib(void **state)
{
    (void)state;
    join_then_get(MIB, 1);
    join_then_get(64, MIB / 64);
}

static void joining_before_getting_works_at_100_mib(void **state)
{
    (void)state;
    join_then_get(100 * (uint64_t)MIB, 1);
    join_then_get(MIB, 100);
}

static void joining_before_getting_works_at_1_gib(void **state)
{
    (void)state;
    join_then_get(LARGE_MIB * (uint64_t)MIB, 1);
    join_then_get(65536, LARGE_MIB * 16);
}

static uint64_t result_of(xf_process *process)
{
    xf_status status = join(process);
    const uint64_t *result = xf_process_result(process, NULL);
    uint64_t value;

    if (status.kind != XF_END_DONE)
        xf_report_print(xf_process_report(process), stderr);
    assert_non_null(result);
    value = *result;
    assert_int_equal(xf_process_free(process), 0);
    return value;
}

/* Puts numbers, each once. */
XF_TASK(count_up, const order *in, uint64_t *out)
{
    xf_queue *queue = open_queue(&in->queue);
    int rc = queue ? 0 : XF_EEND;

    *out = 0;
    for (uint64_t i = 0; i < in->count && rc == 0; i++) {
        uint64_t number = in->first + i;
        rc = xf_queue_put(queue, &number, sizeof number, XF_FOREVER);
        *out += number;
    }
    xf_queue_free(queue);
    return rc < 0 ? xf_fail(call, 1, "%s: %s", xf_err_name(rc), xf_error_detail()) : 0;
}

static void many_to_many(size_t capacity, uint64_t count)
{
    enum { SIDE = 3 };
    xf_queue *queue = make(&(xf_queue_options){.capacity = capacity});
    order order = {.queue = ref_of(queue), .count = count};
    xf_process *producers[SIDE], *consumers[SIDE];
    uint64_t put = 0, got = 0;

    for (int i = 0; i < SIDE; i++) {
        order.first = (uint64_t)i * count;
        producers[i] = start(&count_up, &order, sizeof order, NULL);
        consumers[i] = start(&add_up, &order, sizeof order, NULL);
    }
    for (int i = 0; i < SIDE; i++)
        put += result_of(producers[i]);
    assert_int_equal(xf_queue_close(queue), 0);
    for (int i = 0; i < SIDE; i++)
        got += result_of(consumers[i]);
    assert_int_equal(put, SIDE * count * (SIDE * count - 1) / 2);
    assert_int_equal(got, put);
    xf_queue_free(queue);
}

static void many_producers_and_consumers(void **state)
{
    (void)state;
    many_to_many(0, 20000);
    many_to_many(3, 5000);
    many_to_many(1, 2000);
}

/* The messages of one producer stay in order, whatever other producers put. */
static void each_producers_messages_stay_in_order(void **state)
{
    enum { SIDE = 3, COUNT = 10000 };
    xf_queue *queue = make(&(xf_queue_options){.capacity = 50});
    order order = {.queue = ref_of(queue), .count = COUNT};
    xf_process *producers[SIDE];
    uint64_t next[SIDE] = {0};

    (void)state;
    for (int i = 0; i < SIDE; i++) {
        order.first = (uint64_t)i << 32;
        producers[i] = start(&count_up, &order, sizeof order, NULL);
    }
    for (int i = 0; i < SIDE * COUNT; i++) {
        uint64_t number = get_number(queue);
        assert_in_range(number >> 32, 0, SIDE - 1);
        assert_int_equal(number & 0xFFFFFFFF, next[number >> 32]++);
    }
    for (int i = 0; i < SIDE; i++)
        result_of(producers[i]);
    xf_queue_free(queue);
}

/* Gets a reference of a queue through a queue, and answers there. */
XF_TASK(answer_into_that_queue, const order *in, uint64_t *out)
{
    xf_queue *queue = open_queue(&in->queue), *answers;
    xf_ref ref;
    size_t size;
    uint64_t number = 42;

    *out = 0;
    if (!queue || xf_queue_get_into(queue, &ref, sizeof ref, &size, XF_FOREVER) < 0)
        return xf_fail(call, 1, "%s", xf_error_detail());
    answers = open_queue(&ref);
    if (!answers || xf_queue_put(answers, &number, sizeof number, 0) < 0)
        return xf_fail(call, 2, "%s", xf_error_detail());
    xf_queue_free(answers);
    xf_queue_free(queue);
    return 0;
}

static void a_queue_goes_through_a_queue(void **state)
{
    xf_queue *queue = make(NULL), *answers = make(NULL);
    order order = {.queue = ref_of(queue)};
    xf_process *process = start(&answer_into_that_queue, &order, sizeof order, NULL);
    xf_ref ref = ref_of(answers);

    (void)state;
    assert_int_equal(xf_queue_put(queue, &ref, sizeof ref, 0), 0);
    assert_int_equal(get_number(answers), 42);
    expect_end(process, XF_END_DONE, 0);
    xf_queue_free(answers);
    xf_queue_free(queue);
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Each number n is a task that puts n tasks of n - 1. */
XF_TASK(branch, const order *in, uint64_t *out)
{
    xf_queue *queue = open_queue(&in->queue);
    uint64_t number;
    size_t size;
    int rc;

    *out = 0;
    while ((rc = xf_queue_get_into(queue, &number, sizeof number, &size, XF_FOREVER)) == 0) {
        uint64_t less = number - 1;
        for (uint64_t i = 0; i < number && rc == 0; i++)
            rc = xf_queue_put(queue, &less, sizeof less, XF_FOREVER);
        ++*out;
        if (rc < 0 || xf_queue_task_done(queue) < 0)
            break;
    }
    xf_queue_free(queue);
    return rc == XF_EEND ? 0 : xf_fail(call, 1, "%s: %s", xf_err_name(rc), xf_error_detail());
}

static void join_waits_until_all_is_done(void **state)
{
    enum { SIDE = 2, DEPTH = 7, ALL = 13700 }; /* 7 + 7*6 + ... + 7! and the first one */
    xf_queue *queue = make(&(xf_queue_options){.counts_tasks = true});
    order order = {.queue = ref_of(queue)};
    xf_process *workers[SIDE];
    uint64_t done = 0;

    (void)state;
    assert_int_equal(xf_queue_join(queue, 0), 0);
    put_number(queue, DEPTH);
    assert_int_equal(xf_queue_join(queue, 0), XF_ETIMEDOUT);
    for (int i = 0; i < SIDE; i++)
        workers[i] = start(&branch, &order, sizeof order, NULL);
    assert_int_equal(xf_queue_join(queue, PATIENCE_MS), 0);
    expect_nothing(queue, XF_ETIMEDOUT);
    assert_int_equal(xf_queue_close(queue), 0);
    for (int i = 0; i < SIDE; i++)
        done += result_of(workers[i]);
    assert_int_equal(done, ALL);
    xf_queue_free(queue);
}

static void a_task_is_not_done_twice(void **state)
{
    xf_queue *queue = make(&(xf_queue_options){.counts_tasks = true});

    (void)state;
    put_number(queue, 1);
    assert_int_equal(xf_queue_task_done(queue), XF_ESTATE);
    get_number(queue);
    assert_int_equal(xf_queue_join(queue, 0), XF_ETIMEDOUT);
    assert_int_equal(xf_queue_task_done(queue), 0);
    assert_int_equal(xf_queue_task_done(queue), XF_ESTATE);
    assert_int_equal(xf_queue_join(queue, 0), 0);
    xf_queue_free(queue);
}

/* ---- Death ----------------------------------------------------------------------------------- */

enum { DIE_WITH_SLOT, DIE_WITH_VIEW, DIE_WITH_TASK };

/* Takes a message, and dies before it acknowledges it. */
XF_TASK(die_with, const order *in, uint64_t *out)
{
    xf_queue *queue = open_queue(&in->queue);
    xf_queue_slot slot;
    xf_queue_message_view view;
    int rc = queue ? 0 : XF_EEND;

    (void)out;
    if (rc == 0 && in->first == DIE_WITH_SLOT)
        rc = xf_queue_reserve(queue, in->size, &slot, 0);
    else if (rc == 0)
        rc = xf_queue_view(queue, &view, 0);
    if (rc < 0)
        return xf_fail(call, 1, "%s: %s", xf_err_name(rc), xf_error_detail());
    support_kill_self();
}

static void run_to_death(xf_queue *queue, uint64_t how, uint64_t size)
{
    order order = {.queue = ref_of(queue), .first = how, .size = size};

    expect_end(start(&die_with, &order, sizeof order, NULL), XF_END_KILLED, 0);
}

/* A put needs the memory of a dead process, and gets it. */
static void memory_of_dead_processes_is_used_again(void **state)
{
    enum { LARGE = 600000 };
    xf_queue *queue = make(&(xf_queue_options){.memory_limit = MIB, .capacity = 10});
    char *data = calloc(1, LARGE);
    xf_queue_stats stats;
    xf_queue_loss losses[4];

    (void)state;
    run_to_death(queue, DIE_WITH_SLOT, LARGE);
    assert_int_equal(xf_queue_put(queue, data, LARGE, 0), 0); /* the memory is enough for one message only */
    assert_int_equal(xf_queue_stats_get(queue, &stats, losses, 4), 0);
    assert_int_equal(stats.lost, 0);
    run_to_death(queue, DIE_WITH_VIEW, 0);
    assert_int_equal(xf_queue_put(queue, data, LARGE, 0), 0);
    assert_int_equal(xf_queue_stats_get(queue, &stats, losses, 4), 1);
    assert_int_equal(stats.lost, 1);
    assert_int_equal(stats.messages, 1);
    assert_int_equal(losses[0].size, LARGE);
    assert_true(losses[0].pid > 0);
    free(data);
    xf_queue_free(queue);
}

/* The join of Python's JoinableQueue would wait for ever. */
static void join_does_not_wait_for_the_dead(void **state)
{
    xf_queue *queue = make(&(xf_queue_options){.counts_tasks = true});
    xf_queue_stats stats;

    (void)state;
    put_number(queue, 1);
    run_to_death(queue, DIE_WITH_TASK, 0);
    assert_int_equal(xf_queue_join(queue, PATIENCE_MS), 0);
    xf_queue_stats_get(queue, &stats, NULL, 0);
    assert_int_equal(stats.undone, 1);
    xf_queue_free(queue);
}

/* The queue lives as long as a process has it open, whichever process created it. */
static void nothing_is_left(void **state)
{
    size_t handles, mappings;

    (void)state;
    for (int i = 0; i < 2; i++) {
        handles = support_handles();
        mappings = support_mappings();
        for (int turn = 0; turn < 5; turn++) {
            xf_queue *queue = make(NULL), *again;
            xf_ref ref = ref_of(queue);
            put_number(queue, 1);
            run_to_death(queue, DIE_WITH_VIEW, 0);
            assert_int_equal(xf_queue_open(&again, &ref), 0);
            xf_queue_free(queue);
            put_number(again, 2);
            assert_int_equal(get_number(again), 2);
            xf_queue_free(again);
            assert_int_equal(xf_queue_open(&again, &ref), XF_ENOENT);
        }
        xf_cleanup();
    }
    assert_int_equal(support_handles(), handles);
    assert_int_equal(support_mappings(), mappings);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_in_order),
        cmocka_unit_test(messages_have_any_length),
        cmocka_unit_test(capacity_is_a_bound),
        cmocka_unit_test(memory_is_a_bound),
        cmocka_unit_test(a_closed_queue_is_drained),
        cmocka_unit_test(a_full_queue_can_be_closed),
        cmocka_unit_test(a_message_that_is_too_long_for_the_room_stays),
        cmocka_unit_test(batches_are_cut_where_the_bound_is),
        cmocka_unit_test(slots_and_views_are_not_copied),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(a_put_that_cannot_be_encoded_changes_nothing),
        cmocka_unit_test(joining_before_getting_works_at_1_mib),
        cmocka_unit_test(joining_before_getting_works_at_100_mib),
        cmocka_unit_test(joining_before_getting_works_at_1_gib),
        cmocka_unit_test(many_producers_and_consumers),
        cmocka_unit_test(each_producers_messages_stay_in_order),
        cmocka_unit_test(a_queue_goes_through_a_queue),
        cmocka_unit_test(join_waits_until_all_is_done),
        cmocka_unit_test(a_task_is_not_done_twice),
        cmocka_unit_test(memory_of_dead_processes_is_used_again),
        cmocka_unit_test(join_does_not_wait_for_the_dead),
        cmocka_unit_test(nothing_is_left),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
