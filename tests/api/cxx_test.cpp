/* Goal: the headers are valid C++, tasks can be written in C++, and an uncaught exception ends in a report.
 *
 * Built as C++11 and as C++20. */
#include "crossfork.h"
#include "cxx_tasks.h"

#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <uv.h>
#include <vector>

extern "C" { // cmocka does not say so itself
#include "unit.h"
}

namespace
{

struct shape {
    double width, height;
};

} // namespace

XF_TASK(area, const shape *in, double *out)
{
    if (in->width < 0)
        return xf_fail(call, 3, "width %g is negative", in->width);
    *out = in->width * in->height;
    return 0;
}

XF_ENTRY(reverse)
{
    std::size_t size;
    const char *in = static_cast<const char *>(xf_call_input(call, &size));
    const std::string given(in, size), reversed(given.rbegin(), given.rend());
    char *out = static_cast<char *>(xf_call_output(call, size));

    if (!out)
        return XF_TASK_NO_MEMORY;
    reversed.copy(out, size);
    return 0;
}

XF_ENTRY(catch_what_is_thrown)
{
    try {
        throw std::runtime_error("a reason");
    } catch (const std::exception &error) {
        return xf_fail(call, 4, "%s", error.what());
    }
}

static volatile bool always = true;

__attribute__((noinline)) static void throw_something()
{
    if (always)
        throw std::runtime_error("nobody catches this");
}

XF_ENTRY(let_an_exception_go)
{
    (void)call;
    throw_something();
    return 0;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------ */

static xf_process *start(xf_task *task, const void *input, std::size_t size)
{
    xf_process *process = nullptr;
    xf_process_options options = xf_process_options();

    options.stderr_to = XF_STDIO_CAPTURE;
    assert_int_equal(xf_process_start(&process, task, input, size, &options), 0);
    return process;
}

static xf_status join(xf_process *process)
{
    xf_status status;

    assert_int_equal(xf_process_join(process, &status, XF_FOREVER), 0);
    return status;
}

static void a_pool_runs_a_task_in_cxx(void **)
{
    std::vector<shape> shapes(100, shape{2, 3});
    std::vector<double> areas(shapes.size());
    xf_pool *pool;

    xf_map map = {};

    map.task = &area;
    map.in = shapes.data();
    map.out = areas.data();
    map.count = shapes.size();
    assert_int_equal(xf_pool_create(&pool, nullptr), 0);
    assert_int_equal(xf_pool_map(pool, &map), 0);
    xf_pool_free(pool);
    for (double found : areas)
        assert_true(found == 6);
}

template <typename T> static void expect_result(xf_process *process, const T &due)
{
    std::size_t size;
    const void *output;

    assert_int_equal(join(process).kind, XF_END_DONE);
    output = xf_process_result(process, &size);
    assert_int_equal(size, sizeof due);
    assert_true(*static_cast<const T *>(output) == due);
    xf_process_free(process);
}

static void types_may_hold_commas(void **)
{
    const std::pair<int, long> in(1, 2);
    const int three[3] = {1, 2, 3};

    expect_result(start(&exchange, &in, sizeof in), std::pair<long, int>(2, 1));
    expect_result(start(&sum_of_three, three, sizeof three), 6);
}

static void a_task_needs_neither_input_nor_output(void **)
{
    const std::pair<int, long> wrong(2, 1);
    xf_process *process = start(&is_ordered, &wrong, sizeof wrong);

    assert_int_equal(join(process).code, 4);
    assert_string_equal(xf_process_report(process)->message, "2 comes after 1");
    xf_process_free(process);
    process = start(&do_nothing, nullptr, 0);
    assert_int_equal(join(process).kind, XF_END_DONE);
    xf_process_free(process);
    expect_result(start(&give_pair, nullptr, 0), std::pair<int, long>(3, 4));
    expect_result(start(&tasks::of_a_namespace, nullptr, 0), 6);
}

static void a_pool_runs_tasks_of_each_form(void **)
{
    std::vector<std::pair<int, long>> pairs(100);
    xf_pool *pool;
    xf_map map = {};

    assert_int_equal(xf_pool_create(&pool, nullptr), 0);
    map.task = &give_pair;
    map.out = pairs.data();
    map.count = pairs.size();
    assert_int_equal(xf_pool_map(pool, &map), 0);
    for (const std::pair<int, long> &found : pairs)
        assert_true(found.first == 3 && found.second == 4);
    map.task = &is_ordered;
    map.in = pairs.data();
    map.out = nullptr;
    assert_int_equal(xf_pool_map(pool, &map), 0);
    xf_pool_free(pool);
}

static void an_array_has_elements_of_a_type(void **)
{
    xf_array *array;

    assert_int_equal(xf_array_create(&array, 3, sizeof(int)), 0);
    XF_ARRAY_AT(array, int, 2) = 8;
    assert_int_equal(third_of(array), 8);
    xf_array_free(array);
}

static void a_failing_task_says_why(void **)
{
    const shape wrong = {-1, 1};
    xf_process *process = start(&area, &wrong, sizeof wrong);

    assert_int_equal(join(process).code, 3);
    assert_string_equal(xf_process_report(process)->message, "width -1 is negative");
    xf_process_free(process);
}

static void an_entry_takes_bytes_of_any_length(void **)
{
    xf_process *process = start(&reverse, "crossfork", 9);
    std::size_t size;
    const void *output;

    assert_int_equal(join(process).kind, XF_END_DONE);
    output = xf_process_result(process, &size);
    assert_int_equal(size, 9);
    assert_memory_equal(output, "krofssorc", 9);
    xf_process_free(process);
}

static void a_caught_exception_is_the_tasks_own_affair(void **)
{
    xf_process *process = start(&catch_what_is_thrown, nullptr, 0);
    xf_status status = join(process);

    assert_int_equal(status.kind, XF_END_FAILED);
    assert_int_equal(status.code, 4);
    assert_string_equal(xf_process_report(process)->message, "a reason");
    xf_process_free(process);
}

/* Without debug data of the C++ library its functions may have no names; those of this file have. */
static bool was_in(const xf_report *report, const char *function)
{
    for (std::size_t i = 0; i < report->stack_count; i++)
        if (std::strstr(report->stack[i].function, function))
            return true;
    return false;
}

static void an_exception_that_nobody_catches_is_a_crash_with_a_stack(void **)
{
    xf_process *process = start(&let_an_exception_go, nullptr, 0);
    xf_status status = join(process);
    const xf_report *report = xf_process_report(process);
    const bool reported =
        status.kind == XF_END_CRASHED && status.code == XF_CRASH_ABORT &&
        std::strstr(report->stderr_tail, "nobody catches this") &&
        (!XF_TEST_SYMBOLS || (was_in(report, "throw_something") && was_in(report, "let_an_exception_go")));

    if (!reported)
        xf_report_print(report, stderr);
    assert_true(reported);
    xf_process_free(process);
}

/* ---- Exceptions in an inline pool -------------------------------------------------------------------------------- */

XF_TASK(throw_at_zero, const int *in, int *out)
{
    std::string other = "this is destroyed on the way";

    if (*in == 0)
        throw std::runtime_error(other);
    *out = *in * 2;
    return 0;
}

static xf_pool *open_inline_pool()
{
    xf_pool_options options = xf_pool_options();
    xf_pool *pool = nullptr;

    options.workers = XF_POOL_INLINE;
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    return pool;
}

/* Whether an exception came out of the call. */
static bool maps_and_throws(xf_pool *pool, const std::vector<int> &in, xf_future **future, std::size_t chunk)
{
    xf_map map = {};

    map.task = &throw_at_zero;
    map.in = in.data();
    map.count = in.size();
    map.chunk = chunk;
    try {
        assert_int_equal(future ? xf_pool_map_async(future, pool, &map) : xf_pool_map(pool, &map), 0);
    } catch (const std::runtime_error &error) {
        assert_string_equal(error.what(), "this is destroyed on the way");
        return true;
    }
    return false;
}

static void an_exception_ends_its_item_and_the_pool_goes_on(void **)
{
    xf_pool *pool = open_inline_pool();

    for (std::size_t chunk = 0; chunk <= 20; chunk++) {
        assert_true(maps_and_throws(pool, {1, 2, 3, 0, 5, 6, 7, 8, 9}, nullptr, chunk));
        assert_true(maps_and_throws(pool, {0}, nullptr, chunk));
        assert_false(maps_and_throws(pool, {1, 2, 3, 4}, nullptr, chunk));
    }
    xf_pool_free(pool);
}

/* The future is set before the tasks run. */
static void a_future_says_which_item_an_exception_has_left(void **)
{
    xf_pool *pool = open_inline_pool();

    for (std::size_t chunk = 0; chunk <= 3; chunk++) {
        xf_future *future = nullptr;
        assert_true(maps_and_throws(pool, {1, 2, 3, 0, 5, 6}, &future, chunk));
        assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
        for (std::size_t i = 0; i < 6; i++)
            assert_int_equal(xf_future_status(future, i).kind, i < 3    ? XF_END_DONE
                                                               : i == 3 ? XF_END_FAILED
                                                                        : XF_END_CANCELLED);
        assert_string_equal(xf_future_report(future, 3)->message, "an exception left the task");
        assert_int_equal(*static_cast<const int *>(xf_future_result(future, 2, nullptr)), 6);
        xf_future_free(future);
    }
    xf_pool_free(pool);
}

static xf_pool *outer_pool;
static xf_future *submitted_before;

XF_TASK(submit_and_throw, const int *in, int *out)
{
    static const int one = 1;
    xf_map map = {};

    (void)in, (void)out;
    map.task = &throw_at_zero;
    map.in = &one;
    map.count = 1;
    assert_int_equal(xf_pool_map_async(&submitted_before, outer_pool, &map), 0);
    throw std::runtime_error("after that");
}

static void what_the_task_has_submitted_is_done(void **)
{
    int in = 1;
    bool thrown = false;
    xf_map map = {};

    outer_pool = open_inline_pool();
    map.task = &submit_and_throw;
    map.in = &in;
    map.count = 1;
    try {
        xf_pool_map(outer_pool, &map);
    } catch (const std::runtime_error &) {
        thrown = true;
    }
    assert_true(thrown);
    assert_int_equal(xf_future_wait(submitted_before, 60000), 0);
    assert_int_equal(*static_cast<const int *>(xf_future_result(submitted_before, 0, nullptr)), 2);
    xf_future_free(submitted_before);
    xf_pool_free(outer_pool);
}

static uv_sem_t first_runs, second_waits;

/* Throws while another thread waits for work of its own.  The time is for that thread to fall asleep, which is when it
 * would be left behind; it may also come too late for that. */
XF_TASK_BARE(throw_before_another)
{
    uv_sem_post(&first_runs);
    uv_sem_wait(&second_waits);
    uv_sleep(100);
    throw std::runtime_error("to the first thread");
}

enum { TIMEOUT_MS = 60000 };

static int await_alone(xf_future *future)
{
    return xf_future_wait(future, TIMEOUT_MS);
}

static int await_any(xf_future *future)
{
    return xf_future_wait_any(&future, 1, TIMEOUT_MS);
}

static int await_many_things(xf_future *future)
{
    std::vector<xf_wait_item> items(20);

    items[3].kind = XF_WAIT_FUTURE;
    items[3].future = future;
    return xf_wait(items.data(), static_cast<int>(items.size()), TIMEOUT_MS) == 1 ? 0 : -1;
}

static void count_call(xf_future *, void *calls)
{
    ++*static_cast<int *>(calls);
}

struct first_thread {
    xf_pool *pool;
    uv_thread_t thread;
    int calls;
    bool thrown;
};

static void map_what_throws_before_another(void *arg)
{
    first_thread *first = static_cast<first_thread *>(arg);
    xf_map map = {};

    map.task = &throw_before_another;
    map.count = 3;
    map.on_done = count_call;
    map.arg = &first->calls;
    try {
        xf_pool_map(first->pool, &map);
    } catch (const std::runtime_error &) {
        first->thrown = true;
    }
}

static void another_thread_runs_what_an_exception_has_left(int (*await)(xf_future *))
{
    static const int one = 1;
    first_thread first = {};
    xf_future *future = nullptr;
    xf_map map = {};

    first.pool = open_inline_pool();
    map.task = &throw_at_zero;
    map.in = &one;
    map.count = 1;
    assert_int_equal(uv_thread_create(&first.thread, map_what_throws_before_another, &first), 0);
    uv_sem_wait(&first_runs);
    assert_int_equal(xf_pool_map_async(&future, first.pool, &map), 0);
    uv_sem_post(&second_waits);
    assert_int_equal(await(future), 0);
    uv_thread_join(&first.thread);
    assert_true(first.thrown);
    assert_int_equal(*static_cast<const int *>(xf_future_result(future, 0, nullptr)), 2);
    assert_int_equal(first.calls, 1);
    xf_future_free(future);
    xf_pool_free(first.pool);
}

static void who_waits_runs_what_an_exception_has_left(void **)
{
    assert_int_equal(uv_sem_init(&first_runs, 0), 0);
    assert_int_equal(uv_sem_init(&second_waits, 0), 0);
    for (int (*await)(xf_future *) : {await_alone, await_any, await_many_things})
        another_thread_runs_what_an_exception_has_left(await);
    uv_sem_destroy(&first_runs);
    uv_sem_destroy(&second_waits);
}

static void throw_in_callback(xf_future *, void *)
{
    throw std::runtime_error("a callback");
}

static void an_exception_may_leave_a_callback(void **)
{
    xf_pool *pool = open_inline_pool();
    int in = 1, out = 0;
    bool thrown = false;
    xf_map map = {};

    map.task = &throw_at_zero;
    map.in = &in;
    map.out = &out;
    map.count = 1;
    map.on_done = throw_in_callback;
    try {
        xf_pool_map(pool, &map);
    } catch (const std::runtime_error &) {
        thrown = true;
    }
    assert_true(thrown);
    assert_false(maps_and_throws(pool, {1, 2, 3, 4}, nullptr, 1));
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_runs_a_task_in_cxx),
        cmocka_unit_test(types_may_hold_commas),
        cmocka_unit_test(a_task_needs_neither_input_nor_output),
        cmocka_unit_test(a_pool_runs_tasks_of_each_form),
        cmocka_unit_test(an_array_has_elements_of_a_type),
        cmocka_unit_test(a_failing_task_says_why),
        cmocka_unit_test(an_entry_takes_bytes_of_any_length),
        cmocka_unit_test(a_caught_exception_is_the_tasks_own_affair),
        cmocka_unit_test(an_exception_that_nobody_catches_is_a_crash_with_a_stack),
        cmocka_unit_test(an_exception_ends_its_item_and_the_pool_goes_on),
        cmocka_unit_test(a_future_says_which_item_an_exception_has_left),
        cmocka_unit_test(what_the_task_has_submitted_is_done),
        cmocka_unit_test(who_waits_runs_what_an_exception_has_left),
        cmocka_unit_test(an_exception_may_leave_a_callback),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
