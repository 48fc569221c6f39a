/* Goal: a task that writes beyond its output, or into the pool's books, ends its own item, and changes nothing of any
 * other. */
#include "pool/worker.h"
#include "pool_tasks.h"

enum { OUTPUT = 16, LARGE = 100000, NEIGHBOURS = 64 };

/* What an item writes behind its output. */
typedef struct overrun {
    size_t output;
    size_t bytes;
    int value;
} overrun;

static int write_beyond(xf_call *call, size_t size, const overrun *order)
{
    char *out = xf_call_output(call, size);

    if (!out)
        return XF_TASK_NO_MEMORY;
    memset(out, 0x5A, size);
    for (size_t i = 0; i < order->bytes; i++)
        ((volatile char *)out)[size + i] = (char)order->value;
    return 0;
}

XF_ENTRY(overrun_any)
{
    const overrun *order = xf_call_input(call, NULL);

    return write_beyond(call, order->output, order);
}

/* Damages what lies behind its output, and hides that: it writes the guard bytes back. */
XF_ENTRY(overrun_secretly)
{
    const overrun *order = xf_call_input(call, NULL);
    char *out = xf_call_output(call, order->output), guard[64];

    if (!out)
        return XF_TASK_NO_MEMORY;
    memcpy(guard, out + order->output, sizeof guard);
    memset(out, order->value, order->output + order->bytes);
    memcpy(out + order->output, guard, sizeof guard);
    return 0;
}

/* In memory of the pool: how far the two tasks below have come. */
typedef struct meeting {
    _Atomic int step; /* 1: the first has its output; 2: the second, too, behind it; 3: the first has overrun it */
} meeting;

static meeting *await_step(xf_call *call, int step)
{
    meeting *meeting = (void *)(uintptr_t)xf_call_input(call, NULL);

    while (atomic_load(&meeting->step) < step)
        ;
    return meeting;
}

XF_ENTRY(overrun_the_next)
{
    meeting *meeting = await_step(call, 0);
    char *out = xf_call_output(call, LARGE);

    atomic_store(&meeting->step, 1);
    await_step(call, 2);
    memset(out, 0xFF, (size_t)3 * LARGE);
    atomic_store(&meeting->step, 3);
    return 0;
}

XF_ENTRY(be_overrun)
{
    meeting *meeting = await_step(call, 1);
    char *out = xf_call_output(call, LARGE);

    atomic_store(&meeting->step, 2);
    await_step(call, 3);
    memset(out, 0x5A, LARGE);
    return 0;
}

/* A task of one size without a batch function of XF_TASK's. */
static int overrun_by_hand(xf_call *call)
{
    return write_beyond(call, OUTPUT, xf_call_input(call, NULL));
}

static xf_task overrun_sized = {
    .name = "overrun_sized", .entry = overrun_by_hand, .input_size = sizeof(overrun), .output_size = OUTPUT};

XF_BEFORE_MAIN(register_overrun_sized)
{
    (void)xf_task_register(&overrun_sized);
}

typedef struct line {
    char at[OUTPUT];
} line;

/* With a batch function, which writes outputs in their places. */
XF_TASK(overrun_line, const overrun *in, line *out)
{
    memset(out, 0x5A, sizeof *out);
    for (size_t i = 0; i < in->bytes; i++)
        ((volatile char *)out)[sizeof *out + i] = (char)in->value;
    return 0;
}

static xf_future *submit_overrun(xf_pool *pool, xf_task *task, const overrun *order)
{
    xf_future *future;

    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = task, .in = order, .size = sizeof *order}), 0);
    return future;
}

static void expect_output(xf_future *future, size_t output)
{
    size_t size;
    const char *out;

    assert_int_equal(xf_future_wait(future, 60000), 0);
    out = xf_future_result(future, 0, &size);
    assert_int_equal(size, output);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(out[i], 0x5A);
    xf_future_free(future);
}

/* The item has crashed: the guard bytes were overwritten, or the page behind was reached. */
static void expect_crash(xf_future *future, size_t item, const overrun *order)
{
    xf_status status;
    const xf_report *report;
    char text[64];

    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    status = xf_future_status(future, item);
    report = xf_future_report(future, item);
    assert_int_equal(status.kind, XF_END_CRASHED);
    assert_null(xf_future_result(future, item, NULL));
    if (status.code == XF_CRASH_OVERRUN) {
        snprintf(text, sizeof text, "wrote %zu bytes beyond its output", order->bytes < 64 ? order->bytes : 64);
        assert_string_equal(report->message, text);
    } else {
        assert_int_equal(status.code, XF_CRASH_ACCESS);
    }
}

/* Among items of its kind that do nothing wrong, before and after it. */
static void expect_only_it_crashes(xf_task *task, const overrun *order)
{
    xf_pool *pool = open_workers(2);
    xf_future *others[NEIGHBOURS], *future;

    for (int i = 0; i < NEIGHBOURS / 2; i++)
        others[i] = submit_overrun(pool, task, &(overrun){.output = order->output});
    future = submit_overrun(pool, task, order);
    for (int i = NEIGHBOURS / 2; i < NEIGHBOURS; i++)
        others[i] = submit_overrun(pool, task, &(overrun){.output = order->output});
    expect_crash(future, 0, order);
    xf_future_free(future);
    for (int i = 0; i < NEIGHBOURS; i++)
        expect_output(others[i], order->output);
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

/* Outputs of up to a page are not where others can be reached from them. */
static void a_small_output_that_is_overrun_costs_its_item(void **state)
{
    static const size_t bytes[] = {1, 8, 48, 49, 200, 256, 400, 100000, 1000000};

    (void)state;
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        for (int value = 0; value <= 0xFF; value += 0xFF) {
            overrun order = {OUTPUT, bytes[i], value};
            expect_only_it_crashes(&overrun_any, &order);
            expect_only_it_crashes(&overrun_sized, &order);
            expect_only_it_crashes(&overrun_line, &order);
        }
}

static void an_output_of_a_page_that_is_overrun_costs_its_item(void **state)
{
    (void)state;
    expect_only_it_crashes(&overrun_any, &(overrun){4096, 1, 7});
    expect_only_it_crashes(&overrun_any, &(overrun){4000, 90, 7});
    expect_only_it_crashes(&overrun_any, &(overrun){65, 1, 7});
}

/* A large output is written in its place, with guard bytes behind it. */
static void a_large_output_that_is_overrun_a_little_costs_its_item(void **state)
{
    (void)state;
    expect_only_it_crashes(&overrun_any, &(overrun){LARGE, 1, 7});
    expect_only_it_crashes(&overrun_any, &(overrun){LARGE, 64, 0});
    expect_only_it_crashes(&overrun_any, &(overrun){4097, 10, 7});
}

/* What lies behind may be damaged then, but every item of every future has its end, and the program lives. */
static void await_done(xf_pool *pool, uint64_t count)
{
    while (stats_of(pool).done < count)
        ;
}

/* Submits an item whose output lies in front of those of others, which have run by then: an item that begins while the
 * place of its output is being overwritten may be taken for the one that does it. */
static xf_future *submit_in_front(xf_pool *pool, xf_task *task, const overrun *order, xf_future *others[NEIGHBOURS])
{
    uint64_t done = stats_of(pool).done;
    xf_future *hole = submit_overrun(pool, &overrun_any, &(overrun){.output = order->output});
    size_t memory;

    await_done(pool, done + 1);
    for (int i = 0; i < NEIGHBOURS; i++)
        others[i] = submit_overrun(pool, &overrun_any, &(overrun){.output = i % 2 ? LARGE : OUTPUT});
    await_done(pool, done + 1 + NEIGHBOURS);
    memory = stats_of(pool).memory;
    xf_future_free(hole);
    while (stats_of(pool).memory == memory) /* a worker that looks for work may hold it for a moment */
        ;
    return submit_overrun(pool, task, order);
}

/* The ends and sizes of the others are as they would be without it.  Returns how many outputs are damaged. */
static int expect_others(xf_future *others[NEIGHBOURS])
{
    int damaged = 0;
    size_t size;

    for (int i = 0; i < NEIGHBOURS; i++) {
        assert_int_equal(xf_future_wait(others[i], 60000), 0);
        assert_non_null(xf_future_result(others[i], 0, &size));
        assert_int_equal(size, i % 2 ? LARGE : OUTPUT);
        damaged += *(const unsigned char *)xf_future_result(others[i], 0, NULL) == 0xFF;
        xf_future_free(others[i]);
    }
    return damaged;
}

static void a_large_output_that_is_overrun_by_far_changes_no_end(void **state)
{
    static const size_t bytes[] = {400, 5000, 100000, 1000000};

    (void)state;
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        xf_pool *pool = open_workers(2);
        overrun order = {LARGE, bytes[i], 0xFF};
        xf_future *others[NEIGHBOURS], *future = submit_in_front(pool, &overrun_any, &order, others);
        expect_crash(future, 0, &order);
        xf_future_free(future);
        expect_others(others);
        expect_squares(pool, 1000, NULL);
        xf_pool_free(pool);
    }
}

/* The guard bytes of an output that runs are overwritten from outside: those in front of it say so. */
static void an_overrun_is_not_blamed_on_what_it_reaches(void **state)
{
    xf_pool *pool = open_workers(2);
    meeting *meeting = xf_pool_buffer_alloc(pool, sizeof *meeting);
    xf_future *first, *second;
    xf_map map = {.in = meeting, .size = sizeof *meeting};

    (void)state;
    assert_non_null(meeting);
    atomic_init(&meeting->step, 0);
    map.task = &overrun_the_next;
    assert_int_equal(xf_pool_submit(&first, pool, &map), 0);
    map.task = &be_overrun;
    assert_int_equal(xf_pool_submit(&second, pool, &map), 0);
    expect_output(second, LARGE);
    expect_crash(first, 0, &(overrun){LARGE, 2 * LARGE, 0xFF});
    xf_future_free(first);
    xf_pool_buffer_free(pool, meeting);
    xf_pool_free(pool);
}

/* Nobody can notice that.  Outputs may be damaged, but no end, size or place of one. */
static void an_overrun_that_is_hidden_changes_no_end(void **state)
{
    xf_pool *pool = open_workers(2);
    xf_future *others[NEIGHBOURS], *hidden;

    (void)state;
    for (int round = 0; round < 4; round++) {
        hidden = submit_in_front(pool, &overrun_secretly, &(overrun){LARGE, 300000, 0xFF}, others);
        assert_int_equal(xf_future_wait(hidden, 60000), 0);
        xf_future_free(hidden);
        assert_true(expect_others(others) > 0);
    }
    expect_squares(pool, 1000, NULL);
    xf_pool_free(pool);
}

/* Many outputs of one size are written in their places; behind all of them there are guard bytes. */
static void the_end_of_a_map_is_guarded(void **state)
{
    xf_pool *pool = open_workers(2);
    line out[10], *shared = xf_pool_buffer_alloc(pool, sizeof out);
    overrun in[10] = {[9] = {OUTPUT, 5, 7}};

    (void)state;
    for (int i = 0; i < 3; i++) {
        xf_map map = {.task = &overrun_line, .in = in, .out = i < 2 ? out : shared, .count = 10, .chunk = i ? 3 : 0};
        xf_future *future = NULL;
        assert_int_equal(xf_pool_map_async(&future, pool, &map), 0);
        expect_crash(future, 9, &in[9]);
        assert_int_equal(xf_future_failures(future), 1);
        xf_future_free(future);
    }
    in[9].bytes = 0;
    assert_int_equal(xf_pool_map(pool, &(xf_map){.task = &overrun_line, .in = in, .out = shared, .count = 10}), 0);
    xf_pool_buffer_free(pool, shared);
    xf_pool_free(pool);
}

/* With guard_pages each item of a map is on its own. */
static void guard_pages_keep_the_items_of_a_map_apart(void **state)
{
    xf_pool *pool = open_pool(&(xf_pool_options){.workers = 2, .guard_pages = true});
    overrun in[100] = {[20] = {OUTPUT, 1, 7}, [50] = {OUTPUT, 48, 0}, [70] = {OUTPUT, 49, 7}};
    line out[100];
    xf_future *future = NULL;

    (void)state;
    assert_int_equal(
        xf_pool_map_async(&future, pool,
                          &(xf_map){.task = &overrun_line, .in = in, .out = out, .count = 100, .chunk = 7}),
        0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    assert_int_equal(xf_future_failures(future), 3);
    expect_crash(future, 20, &in[20]);
    expect_crash(future, 50, &in[50]);
    expect_crash(future, 70, &in[70]);
    assert_int_equal(xf_future_status(future, 20).code, XF_CRASH_OVERRUN);
    assert_int_equal(xf_future_status(future, 70).code, XF_CRASH_ACCESS);
    for (size_t i = 0; i < 100; i++)
        for (size_t k = 0; k < sizeof(line) && in[i].bytes == 0; k++)
            assert_int_equal(out[i].at[k], 0x5A);
    xf_future_free(future);
    expect_only_it_crashes(&overrun_any, &(overrun){LARGE, 100, 7});
    xf_pool_free(pool);
}

/* ---- The books ------------------------------------------------------------------------------- */

enum { BOOK_INPUT, BOOK_LARGE_INPUT, BOOK_HEAD, BOOK_JOBS, BOOK_TASKS, BOOK_ORDERS, BOOK_ENTRIES, BOOKS };

/* Where the part of the books is, in a worker. */
static volatile char *part_of_books(const xf_call *call, int part)
{
    const pool_segment *segment = &((worker *)call->backend_arg)->segment;
    void *const parts[BOOKS] = {[BOOK_HEAD] = segment->head,
                                [BOOK_JOBS] = segment->jobs,
                                [BOOK_TASKS] = segment->tasks,
                                [BOOK_ORDERS] = segment->orders,
                                [BOOK_ENTRIES] = (void *)segment->ring_entries[0]};

    return parts[part] ? parts[part] : (volatile char *)(uintptr_t)xf_call_input(call, NULL);
}

/* Tries to make the part writable, and writes to it. */
XF_ENTRY(write_to_books)
{
    volatile char *part = part_of_books(call, *(const int *)xf_call_input(call, NULL));
    uintptr_t page = (uintptr_t)part / OS_PAGE * OS_PAGE;

    if (support_make_writable((void *)page, OS_PAGE))
        return 1;
    *part = 1;
    return 2;
}

static void a_write_to_the_books_is_an_access_violation(void **state)
{
    xf_pool *pool = open_workers(1);
    static int in[5000];
    xf_future *future, *other;

    (void)state;
    assert_true(stats_of(pool).sealed);
    for (int part = 0; part < BOOKS; part++) {
        in[0] = part;
        assert_int_equal(xf_pool_submit(&future, pool,
                                        &(xf_map){.task = &write_to_books,
                                                  .in = in,
                                                  .size = part == BOOK_LARGE_INPUT ? sizeof in : sizeof *in}),
                         0);
        other = submit_overrun(pool, &overrun_any, &(overrun){.output = OUTPUT});
        assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
        assert_int_equal(xf_future_status(future, 0).kind, XF_END_CRASHED);
        assert_int_equal(xf_future_status(future, 0).code, XF_CRASH_ACCESS);
        xf_future_free(future);
        expect_output(other, OUTPUT);
    }
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_output_that_is_overrun_costs_its_item),
        cmocka_unit_test(an_output_of_a_page_that_is_overrun_costs_its_item),
        cmocka_unit_test(a_large_output_that_is_overrun_a_little_costs_its_item),
        cmocka_unit_test(a_large_output_that_is_overrun_by_far_changes_no_end),
        cmocka_unit_test(an_overrun_is_not_blamed_on_what_it_reaches),
        cmocka_unit_test(an_overrun_that_is_hidden_changes_no_end),
        cmocka_unit_test(the_end_of_a_map_is_guarded),
        cmocka_unit_test(guard_pages_keep_the_items_of_a_map_apart),
        cmocka_unit_test(a_write_to_the_books_is_an_access_violation),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
