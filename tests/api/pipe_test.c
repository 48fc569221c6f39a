/* Goal: messages that are sent into one end of a pipe come out of the other, whole and in order; after the last one a
 * receiver learns that the other end is closed, in whatever way its process ended. */
#include "tasks.h"

enum { PATIENCE_MS = 60000, MIB = 1024 * 1024 };

static void make(xf_pipe **one, xf_pipe **other, const xf_pipe_options *options)
{
    int rc = xf_pipe_create(one, other, options);

    if (rc < 0)
        print_error("xf_pipe_create: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
}

static void send_text(xf_pipe *pipe, const char *text)
{
    assert_int_equal(xf_pipe_send(pipe, text, strlen(text), PATIENCE_MS), 0);
}

static void expect_text(xf_pipe *pipe, const char *text)
{
    xf_message message;
    int rc = xf_pipe_receive(pipe, &message, PATIENCE_MS);

    if (rc < 0)
        print_error("xf_pipe_receive: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    assert_int_equal(message.size, strlen(text));
    assert_memory_equal(message.data, text, message.size);
    xf_message_free(&message);
}

static void expect_code(xf_pipe *pipe, int timeout_ms, int code)
{
    xf_message message;

    assert_int_equal(xf_pipe_receive(pipe, &message, timeout_ms), code);
}

/* Starts a task that opens the end, and frees the end here. */
static xf_process *start_with(xf_task *task, xf_pipe *theirs)
{
    xf_process *process;
    xf_ref ref;

    assert_int_equal(xf_pipe_ref(theirs, &ref), 0);
    process = start(task, &ref, sizeof ref, NULL);
    return process;
}

static xf_pipe *open_pipe(xf_call *call)
{
    const xf_ref *ref = xf_call_input(call, NULL);
    xf_pipe *pipe = NULL;
    int rc = xf_pipe_open(&pipe, ref);

    if (rc < 0)
        xf_fail(call, rc, "xf_pipe_open: %s (%s)", xf_err_name(rc), xf_error_detail());
    return pipe;
}

/* ---- In one process -------------------------------------------------------------------------- */

static void both_directions_are_apart(void **state)
{
    xf_pipe *one, *other;
    size_t size;

    (void)state;
    make(&one, &other, NULL);
    send_text(one, "to the other");
    send_text(one, "");
    send_text(other, "to the one");
    assert_int_equal(xf_pipe_peek(other, &size, 0), 0);
    assert_int_equal(size, 12);
    expect_text(other, "to the other");
    expect_text(other, "");
    expect_code(other, 0, XF_ETIMEDOUT);
    assert_int_equal(xf_pipe_peek(other, &size, 1), XF_ETIMEDOUT);
    expect_text(one, "to the one");
    expect_code(one, 20, XF_ETIMEDOUT);
    xf_pipe_free(one);
    xf_pipe_free(other);
}

static void a_simplex_pipe_has_one_direction(void **state)
{
    xf_pipe *one, *other;

    (void)state;
    make(&one, &other, &(xf_pipe_options){.simplex = true});
    assert_int_equal(xf_pipe_send(one, "x", 1, 0), XF_ESTATE);
    expect_code(other, 0, XF_ESTATE);
    send_text(other, "x");
    expect_text(one, "x");
    xf_pipe_free(other);
    expect_code(one, XF_FOREVER, XF_EEND);
    xf_pipe_free(one);
}

static void a_full_pipe_makes_wait(void **state)
{
    xf_pipe *one, *other;

    (void)state;
    make(&one, &other, &(xf_pipe_options){.capacity = 2});
    send_text(one, "1");
    send_text(one, "2");
    assert_int_equal(xf_pipe_send(one, "3", 1, 0), XF_ETIMEDOUT);
    assert_int_equal(xf_pipe_send(one, "3", 1, 120), XF_ETIMEDOUT);
    expect_text(other, "1");
    send_text(one, "3");
    expect_text(other, "2");
    expect_text(other, "3");
    xf_pipe_free(one);
    xf_pipe_free(other);
}

static void a_freed_end_is_reported(void **state)
{
    xf_pipe *one, *other;
    size_t size;

    (void)state;
    make(&one, &other, NULL);
    send_text(one, "last words");
    xf_pipe_free(one);
    assert_int_equal(xf_pipe_send(other, "x", 1, XF_FOREVER), XF_EEND);
    expect_text(other, "last words");
    assert_int_equal(xf_pipe_peek(other, &size, XF_FOREVER), XF_EEND);
    expect_code(other, XF_FOREVER, XF_EEND);
    xf_pipe_free(other);
    xf_pipe_free(NULL);
}

static void options_are_checked(void **state)
{
    xf_pipe *one, *other;
    xf_ref ref;

    (void)state;
    assert_int_equal(xf_pipe_create(&one, &other, &(xf_pipe_options){.message_size = 65537}), XF_EINVAL);
    assert_int_equal(xf_pipe_create(&one, &other, &(xf_pipe_options){.spin_us = -2}), XF_EINVAL);
    assert_int_equal(xf_pipe_create(&one, &other, &(xf_pipe_options){.capacity = SIZE_MAX / 4 + 1}), XF_EINVAL);
    make(&one, &other, NULL);
    assert_int_equal(xf_pipe_ref(one, &ref), 0);
    xf_pipe_free(other);
    ref.reserved = 7;
    assert_int_equal(xf_pipe_open(&other, &ref), XF_EINVAL);
    ref.reserved = 0;
    ref.kind = XF_KIND_QUEUE;
    assert_int_equal(xf_pipe_open(&other, &ref), XF_EINVAL);
    xf_pipe_free(one);
}

/* ---- Between processes ----------------------------------------------------------------------- */

/* Answers until the other end is closed. */
XF_ENTRY(echo)
{
    xf_pipe *pipe = open_pipe(call);
    xf_message message;
    int rc = pipe ? 0 : XF_EEND;

    if (!pipe)
        return 1;
    while (rc == 0 && (rc = xf_pipe_receive(pipe, &message, XF_FOREVER)) == 0) {
        rc = xf_pipe_send(pipe, message.data, message.size, XF_FOREVER);
        xf_message_free(&message);
    }
    xf_pipe_free(pipe);
    return rc == XF_EEND ? 0 : xf_fail(call, 2, "%s (%s)", xf_err_name(rc), xf_error_detail());
}

static void messages_go_and_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 144, 145, 4096, 100000, 5 * MIB};
    char *data = malloc(5 * MIB);
    xf_pipe *one, *other;
    xf_process *process;

    (void)state;
    make(&one, &other, NULL);
    process = start_with(&echo, other);
    xf_pipe_free(other); /* the end is passed on, although the child may not have opened it yet */
    for (size_t i = 0; i < 5 * MIB; i++)
        data[i] = (char)(i * 7 + i / 4096);
    for (int turn = 0; turn < 200; turn++) {
        size_t size = sizes[turn % 7], got;
        xf_message message;
        assert_int_equal(xf_pipe_send(one, data, size, PATIENCE_MS), 0);
        assert_int_equal(xf_pipe_peek(one, &got, PATIENCE_MS), 0);
        assert_int_equal(got, size);
        assert_int_equal(xf_pipe_receive(one, &message, 0), 0);
        assert_int_equal(message.size, size);
        assert_memory_equal(message.data, data, size);
        xf_message_free(&message);
    }
    xf_pipe_free(one);
    expect_end(process, XF_END_DONE, 0);
    free(data);
}

/* Sends and dies. */
XF_ENTRY(say_and_die)
{
    xf_pipe *pipe = open_pipe(call);

    if (!pipe || xf_pipe_send(pipe, "I was here", 10, XF_FOREVER) < 0)
        return 1;
    support_kill_self();
}

static void a_killed_end_is_reported(void **state)
{
    xf_pipe *one, *other;
    xf_process *process;

    (void)state;
    make(&one, &other, NULL);
    process = start_with(&say_and_die, other);
    xf_pipe_free(other);
    expect_text(one, "I was here");
    expect_code(one, XF_FOREVER, XF_EEND);
    assert_int_equal(xf_pipe_send(one, "x", 1, XF_FOREVER), XF_EEND);
    expect_end(process, XF_END_KILLED, 0);
    xf_pipe_free(one);
}

/* Opens its end, reports that, and hangs. */
XF_ENTRY(open_and_hang)
{
    xf_pipe *pipe = open_pipe(call);

    if (!pipe)
        return 1;
    send_number(call, 1);
    hang();
    return 0;
}

static void a_sender_does_not_wait_for_the_dead(void **state)
{
    xf_pipe *one, *other;
    xf_process *process;

    (void)state;
    make(&one, &other, &(xf_pipe_options){.capacity = 1});
    process = start_with(&open_and_hang, other);
    xf_pipe_free(other);
    receive_number(process);
    send_text(one, "fills it");
    assert_int_equal(xf_pipe_send(one, "x", 1, 100), XF_ETIMEDOUT);
    xf_process_kill(process);
    assert_int_equal(xf_pipe_send(one, "x", 1, XF_FOREVER), XF_EEND);
    expect_end(process, XF_END_TERMINATED, 0);
    xf_pipe_free(one);
}

/* Several processes have the same end open: each message is received once. */
XF_ENTRY(count_messages)
{
    xf_pipe *pipe = open_pipe(call);
    xf_message message;
    int64_t count = 0;

    if (!pipe)
        return 1;
    send_number(call, -1);
    while (xf_pipe_receive(pipe, &message, XF_FOREVER) == 0) {
        count++;
        xf_message_free(&message);
    }
    xf_pipe_free(pipe);
    return send_number(call, count);
}

static void two_processes_share_an_end(void **state)
{
    enum { COUNT = 5000 };
    xf_process *first, *second;
    xf_pipe *one, *other;

    (void)state;
    make(&one, &other, &(xf_pipe_options){.capacity = 10});
    first = start_with(&count_messages, other);
    second = start_with(&count_messages, other);
    assert_int_equal(receive_number(first), -1);
    assert_int_equal(receive_number(second), -1);
    xf_pipe_free(other);
    for (int i = 0; i < COUNT; i++)
        send_text(one, "x");
    xf_pipe_free(one);
    assert_int_equal(receive_number(first) + receive_number(second), COUNT);
    expect_end(first, XF_END_DONE, 0);
    expect_end(second, XF_END_DONE, 0);
}

static void nothing_is_left(void **state)
{
    size_t handles = 0, mappings = 0;

    (void)state;
    for (int turn = 0; turn < 4; turn++) {
        xf_pipe *one, *other;
        xf_process *process;
        make(&one, &other, NULL);
        process = start_with(&say_and_die, other);
        xf_pipe_free(other);
        expect_end(process, XF_END_KILLED, 0);
        expect_text(one, "I was here");
        xf_pipe_free(one);
        xf_cleanup();
        if (turn == 1) {
            handles = support_handles();
            mappings = support_mappings();
        }
    }
    assert_int_equal(support_handles(), handles);
    assert_int_equal(support_mappings(), mappings);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_directions_are_apart),  cmocka_unit_test(a_simplex_pipe_has_one_direction),
        cmocka_unit_test(a_full_pipe_makes_wait),     cmocka_unit_test(a_freed_end_is_reported),
        cmocka_unit_test(options_are_checked),        cmocka_unit_test(messages_go_and_come_back),
        cmocka_unit_test(a_killed_end_is_reported),   cmocka_unit_test(a_sender_does_not_wait_for_the_dead),
        cmocka_unit_test(two_processes_share_an_end), cmocka_unit_test(nothing_is_left),
    };

    xf_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
