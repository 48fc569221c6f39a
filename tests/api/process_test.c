/* Goal: a registered function runs in a child, and its status, its output and its messages come back. */
#include "tasks.h"

#include <uv.h>

XF_TASK(square, const double *in, double *out)
{
    (void)call;
    *out = *in * *in;
    return 0;
}

XF_ENTRY(reverse)
{
    size_t size;
    const char *in = xf_call_input(call, &size);
    char *out = xf_call_output(call, size);

    if (!out)
        return XF_TASK_NO_MEMORY;
    for (size_t i = 0; i < size; i++)
        out[i] = in[size - 1 - i];
    return 0;
}

/* Reports that it runs, and runs until it is asked to stop. */
XF_ENTRY(wait_for_stop)
{
    send_number(call, 1);
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

/* Sets its progress, and reports that. */
XF_ENTRY(come_half_way)
{
    xf_progress(call, 50, 100);
    send_number(call, 1);
    return xf_stop_requested(call, XF_FOREVER) ? 0 : 1;
}

/* Reports that it runs, and never stops by itself. */
XF_ENTRY(spin_for_ever)
{
    send_number(call, 1);
    for (;;)
        ;
    return 0;
}

XF_ENTRY(fail_with_reason)
{
    return xf_fail(call, 7, "%s number %d", "reason", 12);
}

XF_ENTRY(return_five)
{
    (void)call;
    return 5;
}

XF_ENTRY(fail_at_length)
{
    size_t size = 1 << 20;
    char *text = malloc(size + 1);

    memset(text, 'x', size);
    text[size] = 0;
    xf_fail(call, 3, "%s", text);
    free(text);
    return 3;
}

/* Sends as many bytes as the input says, in one message, and returns as many. */
XF_ENTRY(send_and_return)
{
    size_t size = *(const size_t *)xf_call_input(call, NULL);
    char *out = xf_call_output(call, size);

    if (!out)
        return XF_TASK_NO_MEMORY;
    memset(out, 'r', size);
    return xf_send(call, out, size);
}

XF_ENTRY(count_to_1000)
{
    for (int64_t i = 0; i < 1000; i++)
        send_number(call, i);
    return 0;
}

XF_ENTRY(log_and_die)
{
    for (int i = 0; i < 50; i++)
        xf_log(call, XF_LOG_INFO, "line %d", i);
    support_kill_self();
}

XF_ENTRY(log_many)
{
    int lines = *(const int *)xf_call_input(call, NULL);

    for (int i = 0; i < lines; i++)
        if (xf_log(call, XF_LOG_DEBUG, "%d of %lld", i, (long long)uv_os_getpid()) < 0)
            return 1;
    return 0;
}

XF_ENTRY(print_both)
{
    (void)call;
    printf("to the output\n");
    fprintf(stderr, "to the error stream\n");
    return 0;
}

XF_ENTRY(get_variable)
{
    static char value[1 << 20];
    size_t size = sizeof value;

    if (uv_os_getenv("XF_TEST_VARIABLE", value, &size) != 0)
        return 1;
    memcpy(xf_call_output(call, size + 1), value, size + 1);
    return 0;
}

XF_ENTRY(get_directory)
{
    size_t size = 4096;
    char *out = xf_call_output(call, size);

    return uv_cwd(out, &size) == 0 ? 0 : 1;
}

XF_ENTRY(read_input_stream)
{
    (void)call;
    return getchar() == EOF ? 0 : 1;
}

XF_ENTRY(print_much)
{
    (void)call;
    for (int i = 0; i < 100000; i++)
        printf("%08d\n", i);
    return 0;
}

static void a_task_gives_its_result(void **state)
{
    double x = 3;
    size_t size;
    xf_process *process = start(&square, &x, sizeof x, NULL);

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_true(*(const double *)xf_process_result(process, &size) == 9);
    assert_int_equal(size, sizeof x);
    xf_process_free(process);
}

static void input_and_output_have_any_length(void **state)
{
    static const size_t sizes[] = {0, 1, 8, 4095, 32768, 32769, 65536, 1 << 20, 10000019};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size;
        char *in = malloc(sizes[i] + 1);
        const char *out;
        xf_process *process;
        for (size_t k = 0; k < sizes[i]; k++)
            in[k] = (char)(k * 31 + 7);
        process = start(&reverse, in, sizes[i], NULL);
        assert_int_equal(join(process).kind, XF_END_DONE);
        out = xf_process_result(process, &size);
        assert_int_equal(size, sizes[i]);
        for (size_t k = 0; k < size; k++)
            if (out[k] != in[size - 1 - k])
                fail_msg("byte %zu of %zu differs", k, size);
        xf_process_free(process);
        free(in);
    }
}

static void a_join_that_times_out_leaves_the_process_joinable(void **state)
{
    xf_process *process = start(&wait_for_stop, NULL, 0, NULL);

    (void)state;
    assert_int_equal(receive_number(process), 1);
    assert_int_equal(xf_process_join(process, NULL, 0), XF_ETIMEDOUT);
    assert_int_equal(xf_process_join(process, NULL, 20), XF_ETIMEDOUT);
    assert_true(xf_process_alive(process));
    assert_null(xf_process_report(process));
    assert_null(xf_process_result(process, NULL));
    xf_process_terminate(process);
    expect_end(process, XF_END_DONE, 0);
}

static void an_ended_process_can_be_joined_again(void **state)
{
    xf_process *process = start(&return_five, NULL, 0, NULL);

    (void)state;
    assert_int_equal(join(process).code, 5);
    assert_false(xf_process_alive(process));
    assert_int_equal(xf_process_join(process, NULL, 0), 0);
    xf_process_kill(process);
    xf_process_terminate(process);
    expect_end(process, XF_END_FAILED, 5);
}

static void a_failing_task_says_why(void **state)
{
    xf_process *process = start(&fail_with_reason, NULL, 0, NULL);

    (void)state;
    assert_int_equal(join(process).kind, XF_END_FAILED);
    assert_string_equal(xf_process_report(process)->message, "reason number 12");
    assert_null(xf_process_result(process, NULL));
    expect_end(process, XF_END_FAILED, 7);
}

static void a_large_error_text_arrives_whole(void **state)
{
    xf_process *process = start(&fail_at_length, NULL, 0, NULL);

    (void)state;
    assert_int_equal(join(process).kind, XF_END_FAILED);
    assert_int_equal(strlen(xf_process_report(process)->message), 1 << 20);
    expect_end(process, XF_END_FAILED, 3);
}

/* Joins first, then reads: with a plain pipe this order makes the child hang. */
static void check_join_before_get(size_t size)
{
    xf_message message;
    size_t result_size;
    const char *result;
    xf_process *process = start(&send_and_return, &size, sizeof size, NULL);

    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_true(support_has_ended(xf_process_pid(process), 0));
    result = xf_process_result(process, &result_size);
    assert_int_equal(result_size, size);
    assert_int_equal(xf_process_receive(process, &message, 0), 0);
    assert_int_equal(message.size, size);
    xf_process_free(process);
    result = message.data; /* a message outlives its process */
    assert_int_equal(result[0], 'r');
    for (size_t i = 0; i < size; i += 4093)
        if (result[i] != 'r')
            fail_msg("byte %zu is %d", i, result[i]);
    assert_int_equal(result[size - 1], 'r');
    xf_message_free(&message);
}

static void join_before_get_at_1_mib(void **state)
{
    (void)state;
    check_join_before_get((size_t)1 << 20);
}

static void join_before_get_at_100_mib(void **state)
{
    (void)state;
    check_join_before_get((size_t)100 << 20);
}

static void join_before_get_at_1_gib(void **state)
{
    (void)state;
    check_join_before_get((size_t)LARGE_MIB << 20);
}

static void messages_come_in_order_and_then_end(void **state)
{
    xf_message message;
    xf_process *process = start(&count_to_1000, NULL, 0, NULL);

    (void)state;
    join(process);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(receive_number(process), i);
    assert_int_equal(xf_process_receive(process, &message, XF_FOREVER), XF_EEND);
    xf_process_free(process);
}

static void receive_times_out_while_the_task_runs(void **state)
{
    xf_message message;
    xf_process *process = start(&wait_for_stop, NULL, 0, NULL);

    (void)state;
    receive_number(process);
    assert_int_equal(xf_process_receive(process, &message, 0), XF_ETIMEDOUT);
    assert_int_equal(xf_process_receive(process, &message, 10), XF_ETIMEDOUT);
    xf_process_free(process);
}

static void too_many_messages_end_the_child(void **state)
{
    xf_process_options options = {.message_limit = 1000};
    xf_process *process = start(&count_to_1000, NULL, 0, &options);

    (void)state;
    expect_end(process, XF_END_PROTOCOL_ERROR, XF_ELIMIT);
}

static void the_last_log_line_before_a_kill_is_in_the_report(void **state)
{
    const xf_report *report;
    xf_process *process = start(&log_and_die, NULL, 0, NULL);

    (void)state;
    assert_int_equal(join(process).kind, XF_END_KILLED);
    report = xf_process_report(process);
    assert_int_equal(report->log_total, 50);
    assert_int_equal(report->log_count, XF_REPORT_LOG_LINES);
    assert_string_equal(report->log[report->log_count - 1].text, "line 49");
    assert_string_equal(report->log[0].text, "line 18");
    assert_int_equal(report->phase, XF_PHASE_RUNNING);
    xf_process_free(process);
}

typedef struct expected_lines {
    int next;
    int64_t pid;
    bool torn;
} expected_lines;

static void check_line(xf_process *process, const xf_log_line *line, void *arg)
{
    expected_lines *expected = arg;
    char wanted[64];

    (void)process;
    if (expected->next == 0)
        expected->pid = strtoll(strstr(line->text, " of ") + 4, NULL, 10);
    snprintf(wanted, sizeof wanted, "%d of %lld", expected->next++, (long long)expected->pid);
    expected->torn |= strcmp(line->text, wanted) != 0 || line->level != XF_LOG_DEBUG || line->source != XF_SOURCE_LOG ||
                      strcmp(line->task, "log_many") != 0 || line->pid != expected->pid;
}

static void four_chatty_children_lose_and_mix_no_line(void **state)
{
    int lines = 100000;
    expected_lines expected[4] = {{0, 0, false}};
    xf_process *processes[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        processes[i] = start(&log_many, &lines, sizeof lines,
                             &(xf_process_options){.on_log = check_line, .on_log_arg = &expected[i]});
    for (int i = 0; i < 4; i++) {
        assert_int_equal(join(processes[i]).kind, XF_END_DONE);
        assert_int_equal(expected[i].next, lines);
        assert_false(expected[i].torn);
        assert_int_equal(expected[i].pid, xf_process_pid(processes[i]));
        xf_process_free(processes[i]);
    }
}

/* Counts lines, and adds the number of dropped lines that a line reports. */
static void count_line(xf_process *process, const xf_log_line *line, void *arg)
{
    int *counts = arg, dropped;

    (void)process;
    if (sscanf(line->text, "%d lines were left out, beyond 10 a second", &dropped) == 1 &&
        line->level == XF_LOG_WARNING)
        counts[1] += dropped;
    else
        counts[0]++;
}

static void lines_beyond_the_rate_are_counted_and_the_last_are_kept(void **state)
{
    int lines = 100000, counts[2] = {0, 0};
    char last[64];
    xf_process *process = start(&log_many, &lines, sizeof lines,
                                &(xf_process_options){.on_log = count_line, .on_log_arg = counts, .log_rate = 10});
    const xf_report *report;

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    report = xf_process_report(process);
    assert_int_equal(counts[0] + counts[1], lines);
    assert_true(counts[0] >= 10 && counts[0] < lines / 10);
    assert_int_equal(report->log_total, lines);
    snprintf(last, sizeof last, "%d of %lld", lines - 1, (long long)report->pid);
    assert_string_equal(report->log[report->log_count - 1].text, last);
    xf_process_free(process);
}

static void progress_is_seen_while_the_task_runs(void **state)
{
    uint64_t done = 1, total = 1;
    xf_process *process = start(&come_half_way, NULL, 0, NULL);

    (void)state;
    receive_number(process);
    assert_int_equal(xf_process_progress(process, &done, &total), 0);
    assert_int_equal(done, 50);
    assert_int_equal(total, 100);
    xf_process_terminate(process);
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_int_equal(xf_process_progress(process, &done, &total), XF_ESTATE);
    xf_process_free(process);
}

static void join_in_callback(xf_process *process, const xf_log_line *line, void *arg)
{
    (void)line;
    ((int *)arg)[0] = xf_process_join(process, NULL, XF_FOREVER);
    ((int *)arg)[1] = xf_process_free(process);
}

static void a_callback_cannot_wait_for_its_own_process(void **state)
{
    int lines = 1, codes[2] = {0, 0};
    xf_process *process =
        start(&log_many, &lines, sizeof lines, &(xf_process_options){.on_log = join_in_callback, .on_log_arg = codes});

    (void)state;
    expect_end(process, XF_END_DONE, 0);
    assert_int_equal(codes[0], XF_EDEADLK);
    assert_int_equal(codes[1], XF_EDEADLK);
}

static void terminate_is_polite_first(void **state)
{
    xf_process *process = start(&wait_for_stop, NULL, 0, NULL);

    (void)state;
    receive_number(process);
    xf_process_terminate(process);
    expect_end(process, XF_END_DONE, 0);
}

static void terminate_kills_after_the_grace(void **state)
{
    xf_process *process = start(&spin_for_ever, NULL, 0, &(xf_process_options){.grace_ms = 50});

    (void)state;
    receive_number(process);
    xf_process_terminate(process);
    expect_end(process, XF_END_TERMINATED, 0);
}

static void terminate_works_while_nobody_joins(void **state)
{
    xf_process *process = start(&spin_for_ever, NULL, 0, &(xf_process_options){.grace_ms = -1});

    (void)state;
    receive_number(process);
    xf_process_terminate(process);
    assert_true(support_sentinel_ready(xf_process_sentinel(process), 60000));
    expect_end(process, XF_END_TERMINATED, 0);
}

static void kill_ends_it_at_once(void **state)
{
    xf_process *process = start(&spin_for_ever, NULL, 0, NULL);
    int64_t pid = xf_process_pid(process);

    (void)state;
    assert_true(pid > 0);
    receive_number(process);
    assert_true(support_alive(pid));
    xf_process_kill(process);
    assert_int_equal(join(process).kind, XF_END_TERMINATED);
    assert_true(support_has_ended(pid, 0));
    expect_end(process, XF_END_TERMINATED, 0);
}

static void free_of_a_running_process_kills_it(void **state)
{
    xf_process *process = start(&spin_for_ever, NULL, 0, NULL);
    int64_t pid = xf_process_pid(process);

    (void)state;
    receive_number(process);
    assert_int_equal(xf_process_free(process), 0);
    assert_true(support_has_ended(pid, 0));
    assert_int_equal(xf_process_free(NULL), 0);
}

static void a_detached_process_is_freed_when_it_ends(void **state)
{
    xf_process *process = start(&spin_for_ever, NULL, 0, NULL);
    int64_t pid = xf_process_pid(process);

    (void)state;
    receive_number(process);
    xf_process_detach(process);
    assert_true(support_alive(pid));
    assert_int_equal(xf_cleanup(), XF_EBUSY);
    support_kill(pid);
    assert_true(support_has_ended(pid, 60000));
    while (xf_cleanup() == XF_EBUSY)
        uv_os_getppid(); /* the supervisor frees it soon */
}

/* The supervisor hears of the end at the same time. */
static void a_process_is_detached_as_it_ends(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        xf_process *process = start(&wait_for_stop, NULL, 0, NULL);
        xf_process_kill(process);
        assert_int_equal(join(process).kind, XF_END_TERMINATED);
        xf_process_detach(process);
    }
}

static void the_sentinel_becomes_ready_at_the_end(void **state)
{
    xf_process *process = start(&wait_for_stop, NULL, 0, NULL);

    (void)state;
    receive_number(process);
    assert_false(support_sentinel_ready(xf_process_sentinel(process), 0));
    xf_process_terminate(process);
    assert_true(support_sentinel_ready(xf_process_sentinel(process), 60000));
    assert_int_equal(xf_process_join(process, NULL, 60000), 0);
    expect_end(process, XF_END_DONE, 0);
}

static void join_thread(void *process)
{
    xf_process_join(process, NULL, XF_FOREVER);
}

static void two_threads_may_join(void **state)
{
    uv_thread_t threads[2];
    xf_process *process = start(&wait_for_stop, NULL, 0, NULL);

    (void)state;
    uv_thread_create(&threads[0], join_thread, process);
    uv_thread_create(&threads[1], join_thread, process);
    receive_number(process);
    xf_process_terminate(process);
    uv_thread_join(&threads[0]);
    uv_thread_join(&threads[1]);
    expect_end(process, XF_END_DONE, 0);
}

static void a_process_has_a_name_and_a_report(void **state)
{
    const xf_report *report;
    xf_process *process = start(&return_five, NULL, 0, &(xf_process_options){.name = "the fifth"});

    (void)state;
    assert_string_equal(xf_process_name(process), "the fifth");
    join(process);
    report = xf_process_report(process);
    assert_string_equal(report->name, "the fifth");
    assert_string_equal(report->task, "return_five");
    assert_string_equal(report->kind_name, "failed");
    assert_int_equal(report->phase, XF_PHASE_ENDED);
    assert_int_equal(report->pid, xf_process_pid(process));
    assert_true(report->ended >= report->started && report->started > 1e9);
    xf_process_free(process);
}

static void captured_streams_come_back(void **state)
{
    char *output;
    xf_process_options options = {.stdout_to = XF_STDIO_CAPTURE, .stderr_to = XF_STDIO_CAPTURE};
    xf_process *process = start(&print_both, NULL, 0, &options);

    (void)state;
    join(process);
    assert_int_equal(xf_process_output(process, 1, &output, NULL), 0);
    assert_non_null(strstr(output, "to the output"));
    assert_null(strstr(output, "to the error stream"));
    xf_memory_free(output);
    assert_non_null(strstr(xf_process_report(process)->stderr_tail, "to the error stream"));
    expect_end(process, XF_END_DONE, 0);
}

static void capture_keeps_the_newest(void **state)
{
    char *output;
    size_t size;
    xf_process_options options = {.stdout_to = XF_STDIO_CAPTURE, .capture_limit = 1000};
    xf_process *process = start(&print_much, NULL, 0, &options);

    (void)state;
    join(process);
    assert_int_equal(xf_process_output(process, 1, &output, &size), 0);
    assert_int_equal(size, 1000);
    assert_non_null(strstr(output, "00099999"));
    xf_memory_free(output);
    assert_int_equal(xf_process_output(process, 2, &output, &size), XF_EINVAL);
    expect_end(process, XF_END_DONE, 0);
}

static void the_input_stream_is_empty(void **state)
{
    (void)state;
    expect_end(start(&read_input_stream, NULL, 0, NULL), XF_END_DONE, 0);
}

static void the_environment_is_added_to(void **state)
{
    const char *const additions[] = {"XF_TEST_VARIABLE=gr\xC3\xBC\xC3\x9F", NULL};
    xf_process *process = start(&get_variable, NULL, 0, &(xf_process_options){.environment = additions});

    (void)state;
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_string_equal(xf_process_result(process, NULL), "gr\xC3\xBC\xC3\x9F");
    xf_process_free(process);
    uv_os_setenv("XF_TEST_VARIABLE", "set later");
    process = start(&get_variable, NULL, 0, NULL);
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_string_equal(xf_process_result(process, NULL), "set later");
    xf_process_free(process);
    uv_os_unsetenv("XF_TEST_VARIABLE");
}

static void a_variable_is_removed(void **state)
{
    const char *const removed[] = {"XF_TEST_VARIABLE", NULL};
    xf_pool_options options = {.workers = 1, .process = &(xf_process_options){.environment = removed}};
    xf_pool *pool;
    xf_future *future;

    (void)state;
    uv_os_setenv("XF_TEST_VARIABLE", "set");
    expect_end(start(&get_variable, NULL, 0, options.process), XF_END_FAILED, 1);
    assert_int_equal(xf_pool_create(&pool, &options), 0);
    assert_int_equal(xf_pool_submit(&future, pool, &(xf_map){.task = &get_variable}), 0);
    assert_int_equal(xf_future_wait(future, XF_FOREVER), XF_EFAILED);
    assert_int_equal(xf_future_status(future, 0).code, 1);
    xf_future_free(future);
    xf_pool_free(pool);
    uv_os_unsetenv("XF_TEST_VARIABLE");
}

/* Starts a child with a variable of so many bytes, with its name.  It arrives whole, or the start fails and names it.
 * Returns whether it arrived. */
static bool arrives_whole(size_t length)
{
    char *variable = malloc(length + 1);
    const char *const environment[] = {variable, NULL};
    const xf_process_options options = {.environment = environment};
    xf_process *process;
    int rc;

    assert_non_null(variable);
    memset(variable, 'x', length);
    memcpy(variable, "XF_TEST_VARIABLE=", 17);
    variable[length] = 0;
    rc = xf_process_start(&process, &get_variable, NULL, 0, &options);
    if (rc == 0) {
        assert_int_equal(join(process).kind, XF_END_DONE);
        assert_string_equal(xf_process_result(process, NULL), variable + 17);
        xf_process_free(process);
    } else {
        assert_int_equal(rc, XF_ELIMIT);
        assert_non_null(strstr(xf_error_detail(), "XF_TEST_VARIABLE has"));
    }
    free(variable);
    return rc == 0;
}

static void a_variable_is_not_cut(void **state)
{
    (void)state;
    assert_true(arrives_whole(20000));
    assert_true(arrives_whole(32766));
    for (size_t length = 32767; length < 1000000; length += length / 4)
        arrives_whole(length);
    for (size_t length = 131070; length < 131074; length++)
        arrives_whole(length);
}

/* The same for one that the program has set itself. */
static void an_own_variable_is_not_cut(void **state)
{
    char value[50001];
    xf_process *process = NULL;
    int rc;

    (void)state;
    memset(value, 'y', sizeof value - 1);
    value[sizeof value - 1] = 0;
    if (uv_os_setenv("XF_TEST_VARIABLE", value) != 0)
        skip();
    rc = xf_process_start(&process, &get_variable, NULL, 0, NULL);
    assert_true(rc == 0 || (rc == XF_ELIMIT && strstr(xf_error_detail(), "XF_TEST_VARIABLE has")));
    if (rc == 0 && join(process).kind == XF_END_DONE)
        assert_string_equal(xf_process_result(process, NULL), value);
    xf_process_free(process);
    uv_os_unsetenv("XF_TEST_VARIABLE");
}

static void a_change_without_a_name_is_refused(void **state)
{
    const char *const nothing[] = {"", NULL}, *const nameless[] = {"XF_TEST_VARIABLE=1", "=x", NULL};
    xf_process *process;

    (void)state;
    assert_int_equal(xf_process_start(&process, &get_variable, NULL, 0, &(xf_process_options){.environment = nothing}),
                     XF_EINVAL);
    assert_int_equal(xf_process_start(&process, &get_variable, NULL, 0, &(xf_process_options){.environment = nameless}),
                     XF_EINVAL);
    assert_non_null(strstr(xf_error_detail(), "\"=x\""));
}

static void the_directory_is_the_childs_own(void **state)
{
    char directory[4096], before[4096], after[4096];
    size_t size = sizeof directory, before_size = sizeof before, after_size = sizeof after;
    xf_process *process;

    (void)state;
    assert_int_equal(uv_os_tmpdir(directory, &size), 0);
    uv_cwd(before, &before_size);
    process = start(&get_directory, NULL, 0, &(xf_process_options){.directory = directory});
    assert_int_equal(join(process).kind, XF_END_DONE);
    assert_int_equal(strncmp(xf_process_result(process, NULL), directory, strlen(directory) - 1), 0);
    uv_cwd(after, &after_size);
    assert_string_equal(before, after);
    xf_process_free(process);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_gives_its_result),
        cmocka_unit_test(input_and_output_have_any_length),
        cmocka_unit_test(a_join_that_times_out_leaves_the_process_joinable),
        cmocka_unit_test(an_ended_process_can_be_joined_again),
        cmocka_unit_test(a_failing_task_says_why),
        cmocka_unit_test(a_large_error_text_arrives_whole),
        cmocka_unit_test(join_before_get_at_1_mib),
        cmocka_unit_test(join_before_get_at_100_mib),
        cmocka_unit_test(join_before_get_at_1_gib),
        cmocka_unit_test(messages_come_in_order_and_then_end),
        cmocka_unit_test(receive_times_out_while_the_task_runs),
        cmocka_unit_test(too_many_messages_end_the_child),
        cmocka_unit_test(the_last_log_line_before_a_kill_is_in_the_report),
        cmocka_unit_test(four_chatty_children_lose_and_mix_no_line),
        cmocka_unit_test(lines_beyond_the_rate_are_counted_and_the_last_are_kept),
        cmocka_unit_test(progress_is_seen_while_the_task_runs),
        cmocka_unit_test(a_callback_cannot_wait_for_its_own_process),
        cmocka_unit_test(terminate_is_polite_first),
        cmocka_unit_test(terminate_kills_after_the_grace),
        cmocka_unit_test(terminate_works_while_nobody_joins),
        cmocka_unit_test(kill_ends_it_at_once),
        cmocka_unit_test(free_of_a_running_process_kills_it),
        cmocka_unit_test(a_detached_process_is_freed_when_it_ends),
        cmocka_unit_test(a_process_is_detached_as_it_ends),
        cmocka_unit_test(the_sentinel_becomes_ready_at_the_end),
        cmocka_unit_test(two_threads_may_join),
        cmocka_unit_test(a_process_has_a_name_and_a_report),
        cmocka_unit_test(captured_streams_come_back),
        cmocka_unit_test(capture_keeps_the_newest),
        cmocka_unit_test(the_input_stream_is_empty),
        cmocka_unit_test(the_environment_is_added_to),
        cmocka_unit_test(a_variable_is_removed),
        cmocka_unit_test(a_variable_is_not_cut),
        cmocka_unit_test(an_own_variable_is_not_cut),
        cmocka_unit_test(a_change_without_a_name_is_refused),
        cmocka_unit_test(the_directory_is_the_childs_own),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
