/* Goal: the report of an item says what is known of that item, and of no other. */
#include "pool_tasks.h"

#include <string.h>
#include <time.h>

enum { ITEMS = 40 };

typedef enum deed { FINE_DEED, FAIL_DEED, SAY_DEED, DIE_DEED, NO_ROOM_DEED } deed;

static int log_and_do(xf_call *call, deed what, int number)
{
    xf_log(call, XF_LOG_WARNING, "first line of %d", number);
    xf_log(call, XF_LOG_INFO, "second line of %d", number);
    if (what == FAIL_DEED)
        return xf_fail(call, 5, "reason of %d", number);
    if (what == DIE_DEED)
        abort();
    return what == SAY_DEED ? 6 : 0;
}

typedef struct step {
    deed what;
    int number;
} step;

XF_TASK(do_step, const step *in, int *out)
{
    *out = in->number;
    return log_and_do(call, in->what, in->number);
}

/* The same task without a batch function. */
XF_ENTRY(do_step_alone)
{
    const step *in = xf_call_input(call, NULL);

    if (in->what == NO_ROOM_DEED)
        return xf_call_output(call, (size_t)1 << 40) ? 0 : -9;
    return log_and_do(call, in->what, in->number);
}

XF_ENTRY(log_much)
{
    const int *in = xf_call_input(call, NULL);

    for (int i = 0; i < *in; i++)
        xf_log(call, XF_LOG_INFO, "line %d", i);
    return 1;
}

static double seconds_now(void)
{
    uv_timeval64_t now;

    uv_gettimeofday(&now);
    return (double)now.tv_sec + (double)now.tv_usec / 1e6;
}

static void expect_own_lines(const xf_report *report, int number)
{
    char text[64];

    assert_int_equal(report->log_count, 2);
    assert_int_equal(report->log_total, 2);
    snprintf(text, sizeof text, "first line of %d", number);
    assert_string_equal(report->log[0].text, text);
    assert_int_equal(report->log[0].level, XF_LOG_WARNING);
    snprintf(text, sizeof text, "second line of %d", number);
    assert_string_equal(report->log[1].text, text);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(report->log[i].item, report->item);
        assert_string_equal(report->log[i].task, report->task);
        assert_int_equal(report->log[i].pid, report->pid);
        assert_true(report->log[i].time >= report->started && report->log[i].time <= report->ended);
    }
}

static void expect_report(xf_future *future, size_t item, const step *what, double begun)
{
    const xf_report *report = xf_future_report(future, item);
    char text[64] = "";

    assert_non_null(report);
    assert_true(report->pid > 0);
    assert_true(report->ended <= seconds_now());
    if (what->what == FAIL_DEED)
        snprintf(text, sizeof text, "reason of %d", what->number);
    if (what->what != DIE_DEED) {
        assert_true(report->started >= begun && report->ended >= report->started);
        assert_string_equal(report->message, text);
    }
    if (report->started >= begun)
        expect_own_lines(report, what->number);
}

static void fill_steps(step *steps, xf_bytes *bytes)
{
    for (int i = 0; i < ITEMS; i++) {
        steps[i] = (step){i % 3 == 1 ? FAIL_DEED : i % 3 == 2 ? SAY_DEED : FINE_DEED, 1000 + i};
        bytes[i] = (xf_bytes){&steps[i], sizeof steps[i]};
    }
}

/* Chunks of many items by the batch function, or of one, or items by the entry. */
static void check_map(xf_pool *pool, bool alone, size_t chunk)
{
    step steps[ITEMS];
    xf_bytes bytes[ITEMS];
    double begun = seconds_now();
    xf_future *future;
    xf_map map = {.task = alone ? &do_step_alone : &do_step, .count = ITEMS, .chunk = chunk};

    fill_steps(steps, bytes);
    if (alone)
        map.bytes = bytes;
    else
        map.in = steps;
    assert_int_equal(xf_pool_map_async(&future, pool, &map), 0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (size_t i = 0; i < ITEMS; i++)
        if (steps[i].what != FINE_DEED)
            expect_report(future, i, &steps[i], begun);
    xf_future_free(future);
}

static void a_failed_item_has_its_lines_its_pid_and_its_times(void **state)
{
    (void)state;
    for (int workers = XF_POOL_INLINE; workers <= 2; workers += workers < 0 ? 2 : 1) {
        xf_pool *pool = open_workers(workers);
        for (int i = 0; i < 6; i++)
            check_map(pool, i % 2, (size_t[]){0, 1, ITEMS}[i / 2]);
        xf_pool_free(pool);
    }
}

static const xf_report *run_one(xf_pool *pool, xf_task *task, const void *in, size_t size, xf_future **future)
{
    assert_int_equal(xf_pool_submit(future, pool, &(xf_map){.task = task, .in = in, .size = size}), 0);
    assert_int_equal(xf_future_wait(*future, 60000), XF_EFAILED);
    return xf_future_report(*future, 0);
}

/* All of these are item 0, on one worker. */
static void single_items_are_not_mixed_up(void **state)
{
    xf_pool *pool = open_workers(1);

    (void)state;
    for (int i = 0; i < 20; i++) {
        const step what = {i % 5 == 4 ? DIE_DEED : FAIL_DEED, 7000 + i};
        xf_future *future;
        const xf_report *report = run_one(pool, i % 2 ? &do_step : &do_step_alone, &what, sizeof what, &future);
        assert_int_equal(report->log_count, 2);
        assert_int_equal(report->log_total, 2);
        assert_int_equal(atoi(strrchr(report->log[1].text, ' ') + 1), what.number);
        xf_future_free(future);
    }
    xf_pool_free(pool);
}

/* One worker runs the items of a chunk one after the other, and dies in the last one. */
static void a_death_does_not_have_the_lines_of_other_items(void **state)
{
    xf_pool *pool = open_workers(1);

    (void)state;
    for (int alone = 0; alone < 2; alone++) {
        step steps[4] = {{FINE_DEED, 1}, {FAIL_DEED, 2}, {FINE_DEED, 3}, {DIE_DEED, 4}};
        xf_bytes bytes[4];
        xf_future *future;
        xf_map map = {.task = alone ? &do_step_alone : &do_step, .count = 4, .chunk = 4};
        for (int i = 0; i < 4; i++)
            bytes[i] = (xf_bytes){&steps[i], sizeof steps[i]};
        map.in = alone ? NULL : steps;
        map.bytes = alone ? bytes : NULL;
        assert_int_equal(xf_pool_map_async(&future, pool, &map), 0);
        assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
        assert_int_equal(xf_future_status(future, 3).kind, XF_END_CRASHED);
        assert_int_equal(xf_future_report(future, 3)->log_count, 2);
        assert_string_equal(xf_future_report(future, 3)->log[0].text, "first line of 4");
        assert_string_equal(xf_future_report(future, 1)->log[0].text, "first line of 2");
        xf_future_free(future);
    }
    xf_pool_free(pool);
}

static void the_last_lines_are_kept(void **state)
{
    xf_pool *pool = open_workers(1);
    const int many = 100;
    xf_future *future;
    const xf_report *report = run_one(pool, &log_much, &many, sizeof many, &future);

    (void)state;
    assert_int_equal(report->log_count, XF_REPORT_LOG_LINES);
    assert_int_equal(report->log_total, many);
    assert_string_equal(report->log[XF_REPORT_LOG_LINES - 1].text, "line 99");
    xf_future_free(future);
    xf_pool_free(pool);
}

static void a_refused_output_is_the_reason_of_a_failure(void **state)
{
    const step what = {NO_ROOM_DEED, 1};

    (void)state;
    for (int workers = XF_POOL_INLINE; workers <= 1; workers += 2) {
        xf_pool *pool = open_pool(&(xf_pool_options){.workers = workers, .memory_limit = 8 << 20});
        xf_future *future;
        const xf_report *report = run_one(pool, &do_step_alone, &what, sizeof what, &future);
        assert_int_equal(report->status.code, -9);
        assert_non_null(strstr(report->message, "memory_limit"));
        assert_non_null(strstr(report->message, "8388608"));
        xf_future_free(future);
        xf_pool_free(pool);
    }
}

typedef struct asker {
    xf_future *future;
    uv_thread_t thread;
    const xf_report *report;
    size_t frames;
} asker;

static void ask_for_report(void *arg)
{
    asker *asker = arg;

    asker->report = xf_future_report(asker->future, 0);
    asker->frames = asker->report->stack_count;
}

/* The thread sanitizer sees what they write. */
static void threads_may_ask_for_a_report_at_the_same_time(void **state)
{
    const step what = {DIE_DEED, 1};
    xf_pool *pool = open_workers(1);
    asker askers[4] = {{0}};
    xf_future *future = NULL;

    (void)state;
    assert_int_equal(xf_pool_map_async(&future, pool, &(xf_map){.task = &do_step, .in = &what, .count = 1}), 0);
    assert_int_equal(xf_future_wait(future, 60000), XF_EFAILED);
    for (int i = 0; i < 4; i++) {
        askers[i].future = future;
        assert_int_equal(uv_thread_create(&askers[i].thread, ask_for_report, &askers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        uv_thread_join(&askers[i].thread);
    for (int i = 1; i < 4; i++) {
        assert_ptr_equal(askers[i].report, askers[0].report);
        assert_int_equal(askers[i].frames, askers[0].frames);
    }
    xf_future_free(future);
    xf_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_item_has_its_lines_its_pid_and_its_times),
        cmocka_unit_test(single_items_are_not_mixed_up),
        cmocka_unit_test(a_death_does_not_have_the_lines_of_other_items),
        cmocka_unit_test(the_last_lines_are_kept),
        cmocka_unit_test(a_refused_output_is_the_reason_of_a_failure),
        cmocka_unit_test(threads_may_ask_for_a_report_at_the_same_time),
    };

    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
