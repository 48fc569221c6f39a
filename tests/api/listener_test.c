/* Goal: programs that have nothing in common but a name find each other, exchange messages, and hand their ends to
 * children. */
#include "listener_peers.h"

/* ---- Messages -------------------------------------------------------------------------------- */

static void messages_go_and_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 144, 145, 4096, 100000, 64 * MIB};
    xf_listener_options options = {WITH_KEY};
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &options);
    program *program = start_role("echo", name);
    xf_pipe *pipe = accept_one(listener);
    char *data = malloc(64 * MIB), *room = malloc(64 * MIB);
    size_t got;

    (void)state;
    for (size_t i = 0; i < 64 * MIB; i++)
        data[i] = (char)(i * 7 + i / 4096);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(xf_pipe_send(pipe, data, sizes[i], PATIENCE_MS), 0);
        assert_int_equal(xf_pipe_peek(pipe, &got, PATIENCE_MS), 0);
        assert_int_equal(got, sizes[i]);
        memset(room, 0, sizes[i]);
        assert_int_equal(xf_pipe_receive_into(pipe, room, sizes[i], &got, 0), 0);
        assert_int_equal(got, sizes[i]);
        assert_memory_equal(room, data, sizes[i]);
    }
    xf_pipe_free(pipe);
    assert_int_equal(program_end(program, NULL), 0);
    xf_listener_free(listener);
    free(data);
    free(room);
}

static void twenty_programs_are_served_at_once(void **state)
{
    enum { PROGRAMS = 20 };
    xf_listener_options options = {WITH_KEY};
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &options);
    program *programs[PROGRAMS];
    xf_pipe *pipes[PROGRAMS];
    char text[24];

    (void)state;
    for (int i = 0; i < PROGRAMS; i++)
        programs[i] = start_role("echo", name);
    for (int i = 0; i < PROGRAMS; i++)
        pipes[i] = accept_one(listener);
    for (int i = 0; i < PROGRAMS; i++) {
        snprintf(text, sizeof text, "number %d", i);
        send_text(pipes[i], text);
    }
    for (int i = 0; i < PROGRAMS; i++) {
        snprintf(text, sizeof text, "number %d", i);
        expect_text(pipes[i], text);
        xf_pipe_free(pipes[i]);
    }
    for (int i = 0; i < PROGRAMS; i++)
        assert_int_equal(program_end(programs[i], NULL), 0);
    xf_listener_free(listener);
}

/* The smaller of both limits counts, in both directions. */
static void messages_are_as_long_as_both_sides_want(void **state)
{
    const char *name = fresh_name();
    xf_listener_options large = {.pipe.memory_limit = 4 * MIB};
    xf_connect_options small = {.memory_limit = MIB};
    xf_listener *listener = listen_as(name, &large);
    static char data[2 * MIB];
    connector connector;
    xf_pipe *mine, *theirs;

    (void)state;
    begin_connecting(&connector, name, &small);
    mine = accept_one(listener);
    theirs = end_connecting(&connector);
    assert_int_equal(xf_pipe_send(mine, data, sizeof data, 0), XF_ELIMIT);
    assert_int_equal(xf_pipe_send(theirs, data, sizeof data, 0), XF_ELIMIT);
    assert_int_equal(xf_pipe_send(theirs, data, MIB / 2, 0), 0);
    xf_pipe_free(mine);
    xf_pipe_free(theirs);
    xf_listener_free(listener);
}

/* ---- Children of either program -------------------------------------------------------------- */

/* Sends a text through the pipe that it got. */
XF_TASK(send_from_child, const xf_ref *in, int *out)
{
    xf_pipe *pipe;

    (void)call;
    *out = xf_pipe_open(&pipe, in);
    if (*out == 0)
        *out = xf_pipe_send(pipe, "from a child", 12, XF_FOREVER);
    if (*out == 0)
        xf_pipe_free(pipe);
    return 0;
}

static void expect_text_through(xf_pipe *through, xf_pipe *comes_out)
{
    xf_ref ref;
    xf_process *process;

    assert_int_equal(xf_pipe_ref(through, &ref), 0);
    process = start(&send_from_child, &ref, sizeof ref, NULL);
    expect_text(comes_out, "from a child");
    expect_end(process, XF_END_DONE, 0);
}

static void an_end_can_be_handed_to_a_child(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL);
    connector connector;
    xf_pipe *mine, *theirs;

    (void)state;
    begin_connecting(&connector, name, NULL);
    mine = accept_one(listener);
    theirs = end_connecting(&connector);
    expect_text_through(mine, theirs);
    xf_pipe_free(mine);
    expect_closed(theirs);
    xf_listener_free(listener);
}

/* A name, and what a child does with it. */
typedef struct errand {
    char name[OS_NAME_MAX + 1];
    bool listens;
} errand;

XF_TASK(run_errand, const errand *in, int *out)
{
    xf_listener *listener = NULL;
    xf_pipe *pipe = NULL;

    *out = in->listens ? xf_listener_create(&listener, in->name, NULL) : xf_connect(&pipe, in->name, NULL, XF_FOREVER);
    if (*out == 0 && in->listens)
        *out = send_number(call, 1);
    if (*out == 0 && in->listens)
        *out = xf_listener_accept(listener, &pipe, XF_FOREVER);
    if (*out == 0)
        *out = xf_pipe_send(pipe, "from a child", 12, XF_FOREVER);
    xf_pipe_free(pipe);
    xf_listener_free(listener);
    return 0;
}

static void a_child_connects_and_listens(void **state)
{
    errand errand = {.listens = false};
    xf_listener *listener;
    xf_process *process;
    xf_pipe *pipe;

    (void)state;
    strcpy(errand.name, fresh_name());
    listener = listen_as(errand.name, NULL);
    process = start(&run_errand, &errand, sizeof errand, NULL);
    pipe = accept_one(listener);
    xf_listener_free(listener);
    expect_text(pipe, "from a child");
    expect_closed(pipe);
    expect_end(process, XF_END_DONE, 0);

    errand.listens = true;
    process = start(&run_errand, &errand, sizeof errand, NULL);
    receive_number(process);
    assert_int_equal(xf_connect(&pipe, errand.name, NULL, PATIENCE_MS), 0);
    expect_text(pipe, "from a child");
    expect_closed(pipe);
    expect_end(process, XF_END_DONE, 0);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void a_name_is_taken_once(void **state)
{
    xf_listener_options options = {WITH_KEY};
    const char *name = fresh_name();
    char large[OS_NAME_MAX + 1] = "T";
    xf_listener *listener = listen_as(name, &options), *second = NULL;
    program *program = start_role("listen", name);

    (void)state;
    assert_int_equal(program_number(program), XF_EEXIST);
    program_end(program, NULL);
    assert_int_equal(xf_listener_create(&second, name, &options), XF_EEXIST);
    assert_non_null(strstr(xf_error_detail(), name));
    strcpy(large + 1, name + 1);
    assert_int_equal(xf_listener_create(&second, large, &options), XF_EEXIST);
    expect_service(listener, large, &(xf_connect_options){WITH_KEY});
    xf_listener_free(listener);
    listener = listen_as(name, &options);
    xf_listener_free(listener);
    xf_listener_free(NULL);
}

static void a_name_is_free_when_its_listener_was_killed(void **state)
{
    xf_connect_options with_key = {WITH_KEY};
    const char *name = fresh_name();
    program *program = start_role("listen", name);
    xf_listener *listener;
    xf_pipe *pipe;

    (void)state;
    assert_int_equal(program_number(program), 0);
    assert_int_equal(xf_connect(&pipe, name, &with_key, PATIENCE_MS), 0);
    expect_text(pipe, "welcome");
    kill_program(program);
    expect_closed(pipe);
    assert_int_equal(xf_connect(&pipe, name, &with_key, PATIENCE_MS), XF_ENOENT);
    listener = listen_as(name, NULL);
    expect_service(listener, name, NULL);
    xf_listener_free(listener);
}

static void names_are_checked(void **state)
{
    static const char *const bad[] = {"",
                                      "a/b",
                                      "a\\b",
                                      "a b",
                                      "\xc3\xa4",
                                      "a:b",
                                      "0123456789012345678901234567890123456789012345678901234567890123"};
    xf_listener *listener;
    xf_pipe *pipe;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(xf_listener_create(&listener, bad[i], NULL), XF_EINVAL);
        assert_int_equal(xf_connect(&pipe, bad[i], NULL, 0), XF_EINVAL);
    }
    listener = listen_as("012345678901234567890123456789012345678901234567890123456789012", NULL);
    xf_listener_free(listener);
}

static void options_are_checked(void **state)
{
    xf_listener *listener;

    (void)state;
    assert_int_equal(xf_listener_create(&listener, "x", &(xf_listener_options){.handshake_ms = -1}), XF_EINVAL);
    assert_int_equal(xf_listener_create(&listener, "x", &(xf_listener_options){.pipe.message_size = 65537}), XF_EINVAL);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static void run_stopper(void *arg)
{
    xf_listener_stop(arg);
}

static void waits_end(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener;
    uv_thread_t thread;
    xf_pipe *pipe;

    (void)state;
    assert_int_equal(xf_connect(&pipe, name, NULL, PATIENCE_MS), XF_ENOENT);
    assert_non_null(strstr(xf_error_detail(), name));
    listener = listen_as(name, NULL);
    assert_int_equal(xf_listener_accept(listener, &pipe, 0), XF_ETIMEDOUT);
    assert_int_equal(xf_listener_accept(listener, &pipe, 20), XF_ETIMEDOUT);
    assert_int_equal(xf_connect(&pipe, name, NULL, 20), XF_ETIMEDOUT); /* nobody accepts */
    assert_int_equal(xf_connect(&pipe, name, NULL, 0), XF_ETIMEDOUT);
    expect_service(listener, name, NULL); /* connections that timed out do no harm */
    assert_int_equal(uv_thread_create(&thread, run_stopper, listener), 0);
    assert_int_equal(xf_listener_accept(listener, &pipe, XF_FOREVER), XF_EEND);
    uv_thread_join(&thread);
    assert_int_equal(xf_listener_accept(listener, &pipe, XF_FOREVER), XF_EEND);
    xf_listener_free(listener);
}

static void run_acceptor(void *arg)
{
    xf_pipe *pipe = accept_one(arg);

    expect_text(pipe, "ping");
    send_text(pipe, "pong");
    expect_closed(pipe);
}

static void several_threads_accept(void **state)
{
    enum { THREADS = 4 };
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL);
    uv_thread_t threads[THREADS];
    xf_pipe *pipes[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(uv_thread_create(&threads[i], run_acceptor, listener), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(xf_connect(&pipes[i], name, NULL, PATIENCE_MS), 0);
    for (int i = 0; i < THREADS; i++)
        send_text(pipes[i], "ping");
    for (int i = 0; i < THREADS; i++) {
        expect_text(pipes[i], "pong");
        xf_pipe_free(pipes[i]);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&threads[i]);
    xf_listener_free(listener);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_and_come_back),
        cmocka_unit_test(twenty_programs_are_served_at_once),
        cmocka_unit_test(messages_are_as_long_as_both_sides_want),
        cmocka_unit_test(an_end_can_be_handed_to_a_child),
        cmocka_unit_test(a_child_connects_and_listens),
        cmocka_unit_test(a_name_is_taken_once),
        cmocka_unit_test(a_name_is_free_when_its_listener_was_killed),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(waits_end),
        cmocka_unit_test(several_threads_accept),
    };

    if (argc > 3 && strcmp(argv[1], "as") == 0)
        return run_role(argv[2], argv[3]);
    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
