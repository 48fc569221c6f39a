/* Helpers of the tests of listeners.  The other program is the test program again, started with "as ROLE NAME". */
#ifndef LISTENER_PEERS_H
#define LISTENER_PEERS_H

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
static inline const char *fresh_name(void)
{
    static char name[OS_NAME_MAX + 1];
    static int number;

    snprintf(name, sizeof name, "test-%lld.%d_", (long long)uv_os_getpid(), number++);
    return name;
}

static inline xf_listener *listen_as(const char *name, const xf_listener_options *options)
{
    xf_listener *listener = NULL;
    int rc = xf_listener_create(&listener, name, options);

    if (rc < 0)
        print_error("xf_listener_create: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    return listener;
}

static inline xf_pipe *accept_one(xf_listener *listener)
{
    xf_pipe *pipe = NULL;
    int rc = xf_listener_accept(listener, &pipe, PATIENCE_MS);

    if (rc < 0)
        print_error("xf_listener_accept: %s (%s)\n", xf_err_name(rc), xf_error_detail());
    assert_int_equal(rc, 0);
    return pipe;
}

static inline void send_text(xf_pipe *pipe, const char *text)
{
    assert_int_equal(xf_pipe_send(pipe, text, strlen(text), PATIENCE_MS), 0);
}

static inline void expect_text(xf_pipe *pipe, const char *text)
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

static inline void expect_closed(xf_pipe *pipe)
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

static inline void run_connector(void *arg)
{
    connector *self = arg;

    self->rc = xf_connect(&self->pipe, self->name, &self->options, PATIENCE_MS);
    snprintf(self->detail, sizeof self->detail, "%s", self->rc < 0 ? xf_error_detail() : "");
}

static inline void begin_connecting(connector *self, const char *name, const xf_connect_options *options)
{
    *self = (connector){.name = name};
    if (options)
        self->options = *options;
    assert_int_equal(uv_thread_create(&self->thread, run_connector, self), 0);
}

static inline xf_pipe *end_connecting(connector *self)
{
    uv_thread_join(&self->thread);
    if (self->rc < 0)
        print_error("xf_connect: %s (%s)\n", xf_err_name(self->rc), self->detail);
    assert_int_equal(self->rc, 0);
    return self->pipe;
}

static inline void expect_refusal(connector *self, int code, const char *why)
{
    uv_thread_join(&self->thread);
    if (self->rc != code || !strstr(self->detail, why))
        print_error("xf_connect: %s (%s)\n", xf_err_name(self->rc), self->detail);
    assert_int_equal(self->rc, code);
    assert_non_null(strstr(self->detail, why));
}

/* Connects with the options, and exchanges messages. */
static inline void expect_service(xf_listener *listener, const char *name, const xf_connect_options *options)
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
    expect_closed(mine);
}

/* ---- Roles of another program ---------------------------------------------------------------- */

static inline xf_pipe *connect_as_role(const char *name)
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

/* Answers until the other end is closed. */
static inline int role_echo(const char *name)
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
static inline int role_die(const char *name)
{
    xf_pipe *pipe = connect_as_role(name);

    if (xf_pipe_send(pipe, "I was here", 10, XF_FOREVER) < 0)
        return 3;
    support_kill_self();
}

/* Listens, prints the result, sends to the first program that connects, and hangs. */
static inline int role_listen(const char *name)
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

/* Sends the message ASK of the handshake, prints the result, and hangs. */
static inline int role_ask(const char *name)
{
    static const handshake_key none;
    handshake_session session = {.key = &none, .name = name};
    handshake_message ask = {.kind = HANDSHAKE_ASK, .argument = XF_KIND_PIPE, .size = MIB};

    printf("%d\n",
           os_endpoint_connect(&session.channel, name, PATIENCE_MS) < 0 || handshake_send(&session, &ask, -1) < 0);
    fflush(stdout);
    hang();
    return 3;
}

static inline int run_role(const char *role, const char *name)
{
    if (strcmp(role, "echo") == 0)
        return role_echo(name);
    if (strcmp(role, "die") == 0)
        return role_die(name);
    if (strcmp(role, "listen") == 0)
        return role_listen(name);
    return role_ask(name);
}

static inline program *start_role(const char *role, const char *name)
{
    const char *const arguments[] = {"as", role, name, NULL};

    return program_start(NULL, arguments, NULL);
}

static inline void kill_program(program *program)
{
    int64_t pid = program_pid(program);

    support_kill(pid);
    assert_true(support_has_ended(pid, PATIENCE_MS));
    program_end(program, NULL);
}

#endif
