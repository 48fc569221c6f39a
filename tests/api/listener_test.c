/* Goal: programs that know nothing of each other but a name find each other, each is sure whom it talks to, and nobody
 * who is silent, broken, hostile or killed keeps the others from it.
 *
 * The other program is this one again, started with "as ROLE NAME"; what no honest program says is said over a link. */
#include "base/clock.h"
#include "base/error.h"
#include "objects/object.h"
#include "program.h"
#include "rendezvous/handshake.h"
#include "tasks.h"

enum { PATIENCE_MS = 60000, MIB = 1024 * 1024 };

static const uint8_t secret[32] = "0123456789abcdef0123456789abcde";
static const uint8_t other_secret[32] = "0123456789abcdef0123456789abcdf";

#define WITH_KEY .key = {.bytes = secret, .size = sizeof secret}

/* A name that no other run of the tests uses. */
static const char *fresh_name(void)
{
    static char name[OS_NAME_MAX + 1];
    static int number;

    snprintf(name, sizeof name, "test-%lld.%d_", (long long)uv_os_getpid(), number++);
    return name;
}

static xf_listener *listen_as(const char *name, const xf_listener_options *options)
{
    xf_listener *listener = NULL;
    int rc = xf_listener_create(&listener, name, options);

    if (rc < 0)
        print_error("xf_listener_create: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    return listener;
}

static xf_pipe *accept_one(xf_listener *listener)
{
    xf_pipe *pipe = NULL;
    int rc = xf_listener_accept(listener, &pipe, PATIENCE_MS);

    if (rc < 0)
        print_error("xf_listener_accept: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    return pipe;
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

static void expect_gone(xf_pipe *pipe)
{
    xf_message message;

    assert_int_equal(xf_pipe_receive(pipe, &message, PATIENCE_MS), XF_EEND);
    xf_pipe_free(pipe);
}

/* ---- A thread that connects ------------------------------------------------------------------ */

typedef struct connector {
    const char *name;
    xf_connect_options options;
    uv_thread_t thread;
    xf_pipe *pipe;
    int rc;
    char detail[256];
} connector;

static void run_connector(void *arg)
{
    connector *self = arg;

    self->rc = xf_connect(&self->pipe, self->name, &self->options, PATIENCE_MS);
    snprintf(self->detail, sizeof self->detail, "%s", self->rc < 0 ? xf_error_detail() : "");
}

static void begin_connecting(connector *self, const char *name, const xf_connect_options *options)
{
    *self = (connector){.name = name};
    if (options)
        self->options = *options;
    assert_int_equal(uv_thread_create(&self->thread, run_connector, self), 0);
}

static xf_pipe *end_connecting(connector *self)
{
    uv_thread_join(&self->thread);
    if (self->rc < 0)
        print_error("xf_connect: %s (%s)\n", xf_err_name(self->rc), self->detail);
    assert_int_equal(self->rc, 0);
    return self->pipe;
}

static void expect_refusal(connector *self, int code, const char *why)
{
    uv_thread_join(&self->thread);
    if (self->rc != code || !strstr(self->detail, why))
        print_error("xf_connect: %s (%s)\n", xf_err_name(self->rc), self->detail);
    assert_int_equal(self->rc, code);
    assert_non_null(strstr(self->detail, why));
}

/* Connects, with the options that are said, and sends something through. */
static void expect_service(xf_listener *listener, const char *name, const xf_connect_options *options)
{
    connector connector;
    xf_pipe *mine, *theirs;

    begin_connecting(&connector, name, options);
    mine = accept_one(listener);
    theirs = end_connecting(&connector);
    send_text(theirs, "ping");
    expect_text(mine, "ping");
    send_text(mine, "pong");
    expect_text(theirs, "pong");
    xf_pipe_free(theirs);
    expect_gone(mine);
}

/* ---- Roles of another program ---------------------------------------------------------------- */

static xf_pipe *connect_as_role(const char *name)
{
    xf_connect_options options = {WITH_KEY};
    xf_pipe *pipe = NULL;
    int rc = xf_connect(&pipe, name, &options, PATIENCE_MS);

    if (rc < 0) {
        fprintf(stderr, "xf_connect: %s (%s)\n", xf_err_name(rc), xf_error_detail());
        exit(2);
    }
    return pipe;
}

/* Answers until the other end has gone. */
static int role_echo(const char *name)
{
    xf_pipe *pipe = connect_as_role(name);
    xf_message message;
    int rc;

    while ((rc = xf_pipe_receive(pipe, &message, XF_FOREVER)) == 0) {
        rc = xf_pipe_send(pipe, message.data, message.size, XF_FOREVER);
        xf_message_free(&message);
    }
    xf_pipe_free(pipe);
    return rc == XF_EEND ? 0 : 3;
}

/* Sends and dies. */
static int role_die(const char *name)
{
    xf_pipe *pipe = connect_as_role(name);

    if (xf_pipe_send(pipe, "I was here", 10, XF_FOREVER) < 0)
        return 3;
    support_kill_self();
}

/* Listens, says so, sends to the first who comes, and hangs. */
static int role_listen(const char *name)
{
    xf_listener_options options = {WITH_KEY};
    xf_listener *listener;
    xf_pipe *pipe;
    int rc = xf_listener_create(&listener, name, &options);

    printf("%d\n", rc);
    fflush(stdout);
    if (rc < 0)
        return 0;
    rc = xf_listener_accept(listener, &pipe, XF_FOREVER);
    if (rc == 0)
        rc = xf_pipe_send(pipe, "welcome", 7, XF_FOREVER);
    if (rc == 0)
        hang();
    return 3;
}

/* Gets as far as asking, says so, and hangs. */
static int role_ask(const char *name)
{
    static const hello_key none;
    talk talk = {.key = &none, .name = name};
    hello ask = {.kind = HELLO_ASK, .what = XF_KIND_PIPE, .size = MIB};

    printf("%d\n", os_link_open(&talk.link, name, PATIENCE_MS) < 0 || talk_say(&talk, &ask, -1) < 0);
    fflush(stdout);
    hang();
    return 3;
}

static int run_role(const char *role, const char *name)
{
    if (strcmp(role, "echo") == 0)
        return role_echo(name);
    if (strcmp(role, "die") == 0)
        return role_die(name);
    if (strcmp(role, "listen") == 0)
        return role_listen(name);
    return role_ask(name);
}

static program *start_role(const char *role, const char *name)
{
    const char *const arguments[] = {"as", role, name, NULL};

    return program_start(NULL, arguments, NULL);
}

static void kill_program(program *program)
{
    int64_t pid = program_pid(program);

    support_kill(pid);
    assert_true(support_gone(pid, PATIENCE_MS));
    program_end(program, NULL);
}

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

/* Greets through the pipe that it is handed. */
XF_TASK(greet, const xf_ref *in, int *out)
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

static void expect_greeting(xf_pipe *through, xf_pipe *comes_out)
{
    xf_ref ref;
    xf_process *process;

    assert_int_equal(xf_pipe_ref(through, &ref), 0);
    process = start(&greet, &ref, sizeof ref, NULL);
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
    expect_greeting(mine, theirs);
    xf_pipe_free(mine);
    expect_gone(theirs);
    xf_listener_free(listener);
}

/* A name, and what a child does at it. */
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
    expect_gone(pipe);
    expect_end(process, XF_END_DONE, 0);

    errand.listens = true;
    process = start(&run_errand, &errand, sizeof errand, NULL);
    receive_number(process);
    assert_int_equal(xf_connect(&pipe, errand.name, NULL, PATIENCE_MS), 0);
    expect_text(pipe, "from a child");
    expect_gone(pipe);
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
    expect_gone(pipe);
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
    expect_service(listener, name, NULL); /* and those do no harm */
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
    expect_gone(pipe);
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

/* ---- Keys ------------------------------------------------------------------------------------ */

static void expect_both_refuse(const xf_key *here, const xf_key *there, const char *here_told, const char *there_told)
{
    const char *name = fresh_name();
    xf_listener_options options = {.key = *here};
    xf_connect_options theirs = {.key = *there}, right = {.key = *here};
    xf_listener *listener = listen_as(name, &options);
    connector connector;
    xf_pipe *pipe;

    begin_connecting(&connector, name, &theirs);
    assert_int_equal(xf_listener_accept(listener, &pipe, PATIENCE_MS), XF_EACCESS);
    assert_non_null(strstr(xf_error_detail(), here_told));
    expect_refusal(&connector, XF_EACCESS, there_told);
    expect_service(listener, name, &right);
    xf_listener_free(listener);
}

static void who_has_another_key_is_refused(void **state)
{
    xf_key key = {.bytes = secret, .size = sizeof secret}, none = {0};
    xf_key other = {.bytes = other_secret, .size = sizeof other_secret};

    (void)state;
    expect_both_refuse(&key, &other, "same key", "another key");
    expect_both_refuse(&key, &none, "no key", "wants a key");
    expect_both_refuse(&none, &key, "has a key", "has no key");
}

static void keys_are_checked(void **state)
{
    static const uint8_t much[1025];
    const xf_key bad[] = {{.bytes = secret, .size = 15},
                          {.bytes = secret},
                          {.size = 16},
                          {.bytes = much, .size = sizeof much},
                          {.bytes = secret, .size = 32, .file = "file"}};
    xf_listener *listener;
    xf_pipe *pipe;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(xf_listener_create(&listener, "x", &(xf_listener_options){.key = bad[i]}), XF_EINVAL);
        assert_int_equal(xf_connect(&pipe, "x", &(xf_connect_options){.key = bad[i]}, 0), XF_EINVAL);
    }
    listener = listen_as(fresh_name(), &(xf_listener_options){.key = {.bytes = much, .size = 1024}});
    xf_listener_free(listener);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void set_mode(const char *path, int mode)
{
    uv_fs_t request;

    assert_int_equal(uv_fs_chmod(NULL, &request, path, mode, NULL), 0);
    uv_fs_req_cleanup(&request);
}

static void a_key_is_read_from_a_private_file(void **state)
{
    xf_listener_options from_file = {.key.file = "listener_test.key"};
    const char *name = fresh_name();
    xf_listener *listener;
    static const uint8_t much[1025];
    int code = os.has_fork ? XF_EACCESS : 0; /* Windows: not looked at */

    (void)state;
    write_file("listener_test.key", secret, sizeof secret);
    set_mode("listener_test.key", 0600);
    listener = listen_as(name, &from_file);
    expect_service(listener, name, &(xf_connect_options){WITH_KEY});
    expect_service(listener, name, &(xf_connect_options){.key.file = "listener_test.key"});
    xf_listener_free(listener);
    set_mode("listener_test.key", 0640);
    listener = NULL;
    assert_int_equal(xf_listener_create(&listener, name, &from_file), code);
    xf_listener_free(listener);
    set_mode("listener_test.key", 0600);
    write_file("listener_test.key", much, sizeof much);
    assert_int_equal(xf_listener_create(&listener, name, &from_file), XF_ELIMIT);
    write_file("listener_test.key", much, 15);
    assert_int_equal(xf_listener_create(&listener, name, &from_file), XF_EINVAL);
    assert_int_equal(remove("listener_test.key"), 0);
    assert_int_equal(xf_listener_create(&listener, name, &from_file), XF_ENOENT);
}

/* ---- Guests that do not say what they should ------------------------------------------------- */

static const hello_key no_key;
static const hello_key right_key = {.size = sizeof secret, .bytes = "0123456789abcdef0123456789abcde"};

static void arrive(talk *talk, const char *name, const hello_key *key)
{
    *talk = (struct talk){.key = key, .name = name};
    assert_int_equal(os_link_open(&talk->link, name, PATIENCE_MS), 0);
}

static void say(talk *talk, hello_kind kind)
{
    hello message = {.kind = kind, .what = XF_KIND_PIPE, .size = MIB};

    assert_int_equal(talk_say(talk, &message, -1), 0);
}

/* Waits for what comes next, which the other side has said or is about to say by itself. */
static int hear(talk *talk, hello_kind kind, hello *message)
{
    int rc;

    while ((rc = talk_hear(talk, kind, message)) == XF_EAGAIN)
        assert_int_equal(os_door_wait(NULL, &talk->link, 1, PATIENCE_MS), 0);
    return rc;
}

/* Lets the listener look after those who have come, none of whom gets a pipe. */
static void let_look(xf_listener *listener)
{
    xf_pipe *pipe;

    assert_int_equal(xf_listener_accept(listener, &pipe, 1), XF_ETIMEDOUT);
}

/* The same until it has answered. */
static int hear_from(xf_listener *listener, talk *talk, hello_kind kind, hello *message)
{
    int rc;

    while ((rc = talk_hear(talk, kind, message)) == XF_EAGAIN)
        let_look(listener);
    return rc;
}

/* Says one thing after the other, up to that many. */
static void talk_up_to(xf_listener *listener, talk *talk, int steps)
{
    hello heard;
    intptr_t handle;

    if (steps >= 1)
        say(talk, HELLO_ASK);
    if (steps >= 2) {
        assert_int_equal(hear_from(listener, talk, HELLO_CHALLENGE, &heard), 0);
        say(talk, HELLO_PROOF);
    }
    if (steps >= 3) {
        assert_int_equal(hear_from(listener, talk, HELLO_GRANT, &heard), 0);
        assert_int_equal(os_link_take(talk->link, heard.token, &handle), 0);
        os_handle_close(handle);
    }
}

/* Whoever says nothing more keeps nobody waiting, and when it goes it leaves nothing. */
static void one_who_stops_keeps_nobody(void **state)
{
    xf_listener_options options = {WITH_KEY};
    xf_connect_options with_key = {WITH_KEY};
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &options);
    size_t handles, mappings;
    talk talk;

    (void)state;
    expect_service(listener, name, &with_key);
    assert_int_equal(xf_cleanup(), 0); /* what the tests before have left may go at any moment */
    handles = support_handles();
    mappings = support_mappings();
    for (int steps = 0; steps <= 3; steps++) {
        arrive(&talk, name, &right_key);
        talk_up_to(listener, &talk, steps);
        expect_service(listener, name, &with_key);
        os_link_close(talk.link);
        while (support_handles() != handles || support_mappings() != mappings)
            let_look(listener);
        expect_service(listener, name, &with_key);
    }
    xf_listener_free(listener);
}

static void one_who_says_nothing_is_turned_away(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &(xf_listener_options){.handshake_ms = 20});
    hello heard;
    talk talk;

    (void)state;
    arrive(&talk, name, &no_key);
    assert_int_equal(hear_from(listener, &talk, HELLO_CHALLENGE, &heard), XF_ETIMEDOUT);
    assert_int_equal(hear_from(listener, &talk, HELLO_CHALLENGE, &heard), XF_EEND);
    os_link_close(talk.link);
    xf_listener_free(listener);
}

/* There is room for so many who say nothing; the next waits until one of them has gone. */
static void there_is_room_for_some_who_say_nothing(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL);
    os_link *links[OS_LINKS_MAX];
    connector connector;
    xf_pipe *mine;

    (void)state;
    for (int i = 0; i < OS_LINKS_MAX; i++) {
        assert_int_equal(os_link_open(&links[i], name, PATIENCE_MS), 0);
        let_look(listener);
    }
    begin_connecting(&connector, name, NULL);
    for (int i = 0; i < 20; i++)
        let_look(listener);
    for (int i = 0; i < OS_LINKS_MAX; i++)
        os_link_close(links[i]);
    mine = accept_one(listener);
    xf_pipe_free(end_connecting(&connector));
    expect_gone(mine);
    xf_listener_free(listener);
}

static void one_who_is_killed_is_let_go(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL);
    program *program = start_role("ask", name);

    (void)state;
    assert_int_equal(program_number(program), 0);
    let_look(listener);
    kill_program(program);
    expect_service(listener, name, NULL);
    xf_listener_free(listener);
}

static void a_peer_that_is_killed_is_told(void **state)
{
    xf_listener_options options = {WITH_KEY};
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &options);
    program *program = start_role("die", name);
    xf_pipe *pipe = accept_one(listener);

    (void)state;
    expect_text(pipe, "I was here");
    expect_gone(pipe);
    program_end(program, NULL);
    xf_listener_free(listener);
}

static void write_bytes(os_link *link, const void *data, size_t size)
{
    uint8_t bytes[OS_LINK_WRITE_MAX];

    memcpy(bytes, data, size);
    assert_int_equal(os_link_write(link, bytes, size, -1), 0);
}

static void garbage_is_let_go(void **state)
{
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, NULL);
    uint8_t noise[OS_LINK_WRITE_MAX];
    uint64_t number = 88172645463325252;
    size_t count;
    os_link *link;

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof noise; i++) {
            number ^= number << 13, number ^= number >> 7, number ^= number << 17;
            noise[i] = (uint8_t)number;
        }
        if (round % 2)
            memcpy(noise, "xfh\1\1\0\0\0", 8); /* looks well at first */
        assert_int_equal(os_link_open(&link, name, PATIENCE_MS), 0);
        write_bytes(link, noise, round < 10 ? sizeof noise : HELLO_SIZE);
        expect_service(listener, name, NULL);
        while (os_link_read(link, noise, sizeof noise, &count) != XF_EEND)
            let_look(listener);
        os_link_close(link);
    }
    xf_listener_free(listener);
}

/* Says a PROOF as it is: its bytes are those after the first HELLO_SIZE - sizeof proof->bytes - sizeof proof->ref. */
static void write_proof(talk *talk, const hello *proof)
{
    uint8_t bytes[HELLO_SIZE] = {'x', 'f', 'h', 1, HELLO_PROOF};

    memcpy(bytes + HELLO_SIZE - sizeof proof->bytes - sizeof proof->ref, proof->bytes, sizeof proof->bytes);
    write_bytes(talk->link, bytes, sizeof bytes);
}

/* Whoever has seen how another proved itself cannot do the same again. */
static void a_proof_is_good_once(void **state)
{
    xf_listener_options options = {WITH_KEY};
    const char *name = fresh_name();
    xf_listener *listener = listen_as(name, &options);
    hello proof = {.kind = HELLO_PROOF}, heard;
    uint8_t ask[HELLO_SIZE];
    talk talk;
    xf_pipe *pipe;

    (void)state;
    arrive(&talk, name, &right_key);
    say(&talk, HELLO_ASK);
    memcpy(ask, talk.ask, sizeof ask);
    assert_int_equal(hear_from(listener, &talk, HELLO_CHALLENGE, &heard), 0);
    assert_int_equal(talk_say(&talk, &proof, -1), 0);
    os_link_close(talk.link);
    arrive(&talk, name, &right_key);
    write_bytes(talk.link, ask, sizeof ask);
    memcpy(talk.ask, ask, sizeof ask);
    assert_int_equal(hear_from(listener, &talk, HELLO_CHALLENGE, &heard), 0);
    write_proof(&talk, &proof);
    assert_int_equal(xf_listener_accept(listener, &pipe, PATIENCE_MS), XF_EACCESS);
    assert_int_equal(hear(&talk, HELLO_GRANT, &heard), XF_EACCESS);
    os_link_close(talk.link);
    xf_listener_free(listener);
}

/* ---- Hosts that do not say what they should -------------------------------------------------- */

/* A door, and somebody who connects to it. */
typedef struct trap {
    char name[OS_NAME_MAX + 1];
    os_door *door;
    connector connector;
    talk talk;
    uint8_t said[HELLO_SIZE];
} trap;

static void read_whole(talk *talk, uint8_t said[HELLO_SIZE])
{
    size_t have = 0, count;
    int rc;

    while (have < HELLO_SIZE) {
        rc = os_link_read(talk->link, said + have, HELLO_SIZE - have, &count);
        if (rc == XF_EAGAIN)
            assert_int_equal(os_door_wait(NULL, &talk->link, 1, PATIENCE_MS), 0);
        else
            assert_int_equal(rc, 0);
        have += rc == 0 ? count : 0;
    }
}

/* Somebody connects, and has asked. */
static void set_trap(trap *trap, const xf_connect_options *options)
{
    int rc;

    strcpy(trap->name, fresh_name());
    assert_int_equal(os_door_open(&trap->door, trap->name), 0);
    begin_connecting(&trap->connector, trap->name, options);
    trap->talk = (talk){.key = &no_key, .name = trap->name};
    while ((rc = os_door_admit(trap->door, &trap->talk.link)) == XF_EAGAIN)
        assert_int_equal(os_door_wait(trap->door, NULL, 0, PATIENCE_MS), 0);
    assert_int_equal(rc, 0);
    read_whole(&trap->talk, trap->said);
}

static void spring_trap(trap *trap, int code, const char *why)
{
    expect_refusal(&trap->connector, code, why);
    os_link_close(trap->talk.link);
    os_door_close(trap->door);
}

/* Goes on to where something is granted. */
static void set_grant_trap(trap *trap, const xf_connect_options *options)
{
    hello challenge = {.kind = HELLO_CHALLENGE}, heard;

    set_trap(trap, options);
    memcpy(trap->talk.ask, trap->said, HELLO_SIZE);
    assert_int_equal(talk_say(&trap->talk, &challenge, -1), 0);
    assert_int_equal(hear(&trap->talk, HELLO_PROOF, &heard), 0);
}

static void a_host_of_another_kind_is_seen(void **state)
{
    uint8_t noise[HELLO_SIZE] = {'x', 'f', 'h', 99};
    hello refusal = {.kind = HELLO_REFUSE, .code = 7};
    trap trap;

    (void)state;
    set_trap(&trap, NULL);
    write_bytes(trap.talk.link, noise, sizeof noise);
    spring_trap(&trap, XF_EPROTO, "version 99");
    set_trap(&trap, NULL);
    memset(noise, 'z', sizeof noise);
    write_bytes(trap.talk.link, noise, sizeof noise);
    spring_trap(&trap, XF_EPROTO, "not crossfork");
    set_trap(&trap, NULL);
    assert_int_equal(talk_say(&trap.talk, &refusal, -1), 0);
    spring_trap(&trap, XF_EPROTO, "code 7");
}

static void a_host_that_goes_is_seen(void **state)
{
    trap trap;

    (void)state;
    set_trap(&trap, NULL);
    os_link_close(trap.talk.link);
    expect_refusal(&trap.connector, XF_EEND, "gone");
    os_door_close(trap.door);
}

/* One that does not have the key, and says again what it hears. */
static void a_mirror_is_no_host(void **state)
{
    xf_connect_options with_key = {WITH_KEY};
    trap trap;

    (void)state;
    set_trap(&trap, &with_key);
    trap.said[4] = HELLO_CHALLENGE;
    write_bytes(trap.talk.link, trap.said, HELLO_SIZE);
    read_whole(&trap.talk, trap.said);
    trap.said[4] = HELLO_GRANT;
    write_bytes(trap.talk.link, trap.said, HELLO_SIZE);
    spring_trap(&trap, XF_EACCESS, "same key");
}

static void what_is_granted_is_checked(void **state)
{
    hello grant = {.kind = HELLO_GRANT, .ref = {{1, 2}, XF_KIND_PIPE, 0}, .size = OS_PAGE};
    xf_pipe_options large = {.memory_limit = 2 * MIB};
    xf_connect_options small = {.memory_limit = MIB};
    xf_pipe *one, *other;
    object *object;
    os_shm shm;
    trap trap;

    (void)state;
    assert_int_equal(os_shm_create(&shm, OS_PAGE, 0), 0);
    set_grant_trap(&trap, NULL);
    assert_int_equal(talk_say(&trap.talk, &grant, shm.handle), 0);
    spring_trap(&trap, XF_EPROTO, "not the pipe");
    set_grant_trap(&trap, NULL);
    grant.size = (uint64_t)1 << 40;
    assert_int_equal(talk_say(&trap.talk, &grant, shm.handle), 0);
    spring_trap(&trap, XF_EPROTO, "segment");
    set_grant_trap(&trap, NULL);
    assert_int_equal(talk_say(&trap.talk, &grant, -1), 0);
    spring_trap(&trap, XF_EPROTO, "came with");
    set_grant_trap(&trap, NULL);
    grant.ref.kind = XF_KIND_SHM;
    assert_int_equal(talk_say(&trap.talk, &grant, shm.handle), 0);
    spring_trap(&trap, XF_EPROTO, "not asked for");
    os_shm_close(&shm);

    assert_int_equal(xf_pipe_create(&one, &other, &large), 0);
    assert_int_equal(xf_pipe_ref(other, &grant.ref), 0);
    grant.what = grant.ref.reserved;
    assert_int_equal(object_hold(&object, &grant.ref), 0);
    grant.ref = object->ref;
    grant.size = object->shm.size;
    grant.flags = (uint32_t)object->shm.flags;
    set_grant_trap(&trap, &small);
    assert_int_equal(talk_say(&trap.talk, &grant, object->shm.handle), 0);
    spring_trap(&trap, XF_EPROTO, "more memory");
    object_close(object);
    xf_pipe_free(one);
    xf_pipe_free(other);
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
        cmocka_unit_test(who_has_another_key_is_refused),
        cmocka_unit_test(keys_are_checked),
        cmocka_unit_test(a_key_is_read_from_a_private_file),
        cmocka_unit_test(one_who_stops_keeps_nobody),
        cmocka_unit_test(one_who_says_nothing_is_turned_away),
        cmocka_unit_test(there_is_room_for_some_who_say_nothing),
        cmocka_unit_test(one_who_is_killed_is_let_go),
        cmocka_unit_test(a_peer_that_is_killed_is_told),
        cmocka_unit_test(garbage_is_let_go),
        cmocka_unit_test(a_proof_is_good_once),
        cmocka_unit_test(a_host_of_another_kind_is_seen),
        cmocka_unit_test(a_host_that_goes_is_seen),
        cmocka_unit_test(a_mirror_is_no_host),
        cmocka_unit_test(what_is_granted_is_checked),
    };

    if (argc > 3 && strcmp(argv[1], "as") == 0)
        return run_role(argv[2], argv[3]);
    if (argc > 1 && strncmp(argv[1], "--", 2) != 0)
        cmocka_set_test_filter(argv[1]);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
