/* The common part of the tests of the seam: seam.h. */
#include "seam.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

os_method method = OS_SPAWN;
os_server *server;
bool records;

/* ---- The parent's side ----------------------------------------------------------------------- */

os_start role_start(const char *role)
{
    return (os_start){.method = method,
                      .server = server,
                      .entry = run_role,
                      .stdio = {XF_STDIO_NULL, XF_STDIO_NULL, XF_STDIO_INHERIT},
                      .first = role,
                      .first_size = strlen(role) + 1};
}

int try_start(kid *kid, os_start *start)
{
    int rc;

    assert_int_equal(os_shm_create(&kid->box, sizeof(test_box), OS_SHM_WAITABLE), 0);
    start->box = &kid->box;
    if (records)
        ((test_box *)kid->box.address)->status.record_at = offsetof(test_box, record);
    rc = os_child_start(&kid->child, start);
    if (rc < 0)
        os_shm_close(&kid->box);
    return rc;
}

kid start_as(os_start *start)
{
    kid kid = {0};
    int rc = try_start(&kid, start);

    if (rc < 0)
        fail_msg("os_child_start: %s: %s", xf_err_name(rc), xf_error_detail());
    return kid;
}

kid start_role(const char *role)
{
    os_start start = role_start(role);

    return start_as(&start);
}

test_box *box_of(const kid *kid)
{
    return kid->box.address;
}

void hear_stream(kid *kid, int stream, void *data, size_t size)
{
    char *at = data;
    size_t count;

    while (size > 0) {
        int rc = os_channel_read(os_child_channel(kid->child, stream), at, size, &count, 0);
        if (rc == XF_EAGAIN) {
            assert_int_equal(os_child_wait(kid->child, PATIENCE), 0);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_in_range(count, 1, size);
        at += count;
        size -= count;
    }
}

void hear_line(kid *kid, char *line, size_t size)
{
    size_t length = 0;

    for (;;) {
        assert_true(length < size);
        hear_stream(kid, OS_CHANNEL, line + length, 1);
        if (line[length] == '\n')
            break;
        length++;
    }
    line[length] = 0;
}

void expect_line(kid *kid, const char *expected)
{
    char line[1024];

    hear_line(kid, line, sizeof line);
    assert_string_equal(line, expected);
}

int64_t hear_number(kid *kid)
{
    char line[64];

    hear_line(kid, line, sizeof line);
    return strtoll(line, NULL, 10);
}

void send_text(kid *kid, const char *text)
{
    assert_int_equal(os_channel_write(os_child_channel(kid->child, OS_CHANNEL), text, strlen(text), -1, 0), 0);
}

int drain(kid *kid, int stream)
{
    char dropped[4096];
    size_t count;
    int rc;

    do
        rc = os_channel_read(os_child_channel(kid->child, stream), dropped, sizeof dropped, &count, 0);
    while (rc == 0);
    return rc;
}

os_end wait_end(kid *kid)
{
    os_end end;
    int rc;

    for (;;) {
        for (int stream = 0; stream < OS_STREAMS; stream++)
            drain(kid, stream);
        rc = os_child_end(kid->child, &end);
        if (rc == 0)
            return end;
        assert_int_equal(rc, XF_EAGAIN);
        assert_int_equal(os_child_wait(kid->child, PATIENCE), 0);
    }
}

os_end wait_end_unread(kid *kid)
{
    os_end end;

    assert_true(support_sentinel_ready(os_child_sentinel(kid->child), PATIENCE));
    while (os_child_end(kid->child, &end) == XF_EAGAIN)
        assert_int_equal(os_child_wait(kid->child, PATIENCE), 0);
    return end;
}

void close_kid(kid *kid)
{
    os_child_close(kid->child);
    os_shm_close(&kid->box);
}

os_end finish(kid *kid)
{
    os_end end = wait_end(kid);

    close_kid(kid);
    return end;
}

void finish_well(kid *kid)
{
    os_end end = finish(kid);

    assert_int_equal(end.kind, OS_EXITED);
    assert_int_equal(end.code, 0);
}

void kill_and_finish(kid *kid)
{
    os_child_kill(kid->child);
    finish(kid);
}

void expect_end(const char *role, os_end_kind kind, int code)
{
    kid kid = start_role(role);
    os_end end = wait_end(&kid), again;

    if (end.kind != kind || end.code != code)
        fail_msg("%s: kind %d code %d system %lld", role, end.kind, end.code, (long long)end.system);
    if (kind == OS_EXITED)
        assert_int_equal(end.system, code);
    assert_int_equal(os_child_end(kid.child, &again), 0);
    assert_true(again.kind == end.kind && again.code == end.code && again.system == end.system);
    close_kid(&kid);
}

int64_t pid_of(kid *kid)
{
    os_end end;

    while (os_child_pid(kid->child) == 0) {
        int rc = os_child_end(kid->child, &end);
        if (rc == 0)
            break; /* it is known now */
        assert_int_equal(rc, XF_EAGAIN);
        assert_int_equal(os_child_wait(kid->child, PATIENCE), 0);
    }
    return os_child_pid(kid->child);
}

kid start_captured(const char *role)
{
    os_start start = role_start(role);

    start.stdio[1] = start.stdio[2] = XF_STDIO_CAPTURE;
    return start_as(&start);
}

void expect_stream(kid *kid, int stream, const char *expected)
{
    char heard[100] = "";

    hear_stream(kid, stream, heard, strlen(expected));
    assert_string_equal(heard, expected);
}

/* ---- The child's side ------------------------------------------------------------------------ */

const os_inherited *above;
static char first[OS_FIRST_MAX];
static size_t first_begin, first_end;

void require(bool condition)
{
    if (!condition)
        os_self_exit(98);
}

void hear_parent(void *data, size_t size)
{
    char *at = data;
    size_t count;

    while (size > 0) {
        count = first_end - first_begin;
        if (count > size)
            count = size;
        if (count > 0) {
            memcpy(at, first + first_begin, count);
            first_begin += count;
        } else {
            require(os_channel_read(above->channel, at, size, &count, -1) == 0);
        }
        at += count;
        size -= count;
    }
}

void say(const char *text)
{
    require(os_channel_write(above->channel, text, strlen(text), -1, -1) == 0);
}

void say_number(int64_t number)
{
    char line[32];

    snprintf(line, sizeof line, "%lld\n", (long long)number);
    say(line);
}

void in_thread(void (*run)(void *), void *argument)
{
    uv_thread_t thread;

    require(uv_thread_create(&thread, run, argument) == 0);
    uv_thread_join(&thread);
}

uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + at / 251);
}

void fill_pattern(uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size; at++)
        data[at] = pattern(at);
}

bool is_pattern(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size; at++)
        if (data[at] != pattern(at))
            return false;
    return true;
}

os_child *start_below(const char *role)
{
    static os_shm box;
    os_start start = role_start(role);
    os_child *child;

    require(os_shm_create(&box, sizeof(test_box), 0) == 0);
    start.box = &box;
    start.stdio[1] = XF_STDIO_INHERIT;
    if (method == OS_SERVER)
        require(os_server_open(&start.server) == 0);
    if (os_child_start(&child, &start) < 0) {
        fprintf(stderr, "os_child_start: %s\n", xf_error_detail());
        os_self_exit(97);
    }
    return child;
}

void hear_below(os_child *child)
{
    char byte;
    size_t count;

    while (os_channel_read(os_child_channel(child, OS_CHANNEL), &byte, 1, &count, 0) == XF_EAGAIN)
        require(os_child_wait(child, PATIENCE) == 0);
}

int64_t pid_below(os_child *child)
{
    os_end end;

    while (os_child_pid(child) == 0)
        require(os_child_end(child, &end) == XF_EAGAIN && os_child_wait(child, PATIENCE) == 0);
    return os_child_pid(child);
}

static void be_hello(const char *argument)
{
    (void)argument;
    say("hello\n");
}

static void be_pid(const char *argument)
{
    (void)argument;
    say_number(uv_os_getpid());
    say_number(uv_os_getppid());
}

static void be_exit(const char *argument)
{
    exit(atoi(argument));
}

/* Makes no system call once it has said so. */
static void be_spin(const char *argument)
{
    (void)argument;
    say("spinning\n");
    for (volatile unsigned turns = 0;; turns++)
        continue;
}

/* Ends when the parent asks for it. */
static void be_wait(const char *argument)
{
    char byte;

    (void)argument;
    say("waiting\n");
    hear_parent(&byte, 1);
}

static const seam_role common_roles[] = {
    {"hello", be_hello}, {"pid", be_pid}, {"exit", be_exit}, {"spin", be_spin}, {"wait", be_wait}, {0},
};

static const seam_role *own_roles;

static bool run_role_of(const seam_role *roles, const char *name, const char *argument)
{
    for (; roles->name; roles++)
        if (strcmp(name, roles->name) == 0) {
            roles->be(argument);
            return true;
        }
    return false;
}

/* Reads the role, which ends with a 0; the bytes after it are for the role. */
void run_role(const os_inherited *inherited)
{
    static char none[1];
    char *argument, *end;
    size_t count;

    above = inherited;
    first_end = 0;
    do {
        if (os_channel_read(above->channel, first + first_end, sizeof first - first_end, &count, -1) < 0)
            os_self_exit(97);
        first_end += count;
        end = memchr(first, 0, first_end);
    } while (!end);
    first_begin = (size_t)(end - first) + 1;
    argument = strchr(first, ' ');
    if (argument)
        *argument++ = 0;
    if (!run_role_of(own_roles, first, argument ? argument : none) &&
        !run_role_of(common_roles, first, argument ? argument : none))
        os_self_exit(96);
    os_self_exit(0);
}

/* ---- The program ----------------------------------------------------------------------------- */

/* A thread pool of the system's has handles of its own, now more and now fewer; what is lost each turn adds up. */
void expect_nothing_left(void (*use)(void))
{
    enum { TURNS = 8 };
    size_t handles, mappings;

    use();
    handles = support_handles();
    mappings = support_mappings();
    for (int turn = 0; turn < TURNS; turn++)
        use();
    assert_true(support_handles() < handles + TURNS);
    assert_int_equal(support_mappings(), mappings);
}

int open_method(void **state)
{
    const char *name = getenv("XF_START");

    (void)state;
    if (!name || strcmp(name, "spawn") == 0)
        method = OS_SPAWN;
    else if (strcmp(name, "fork") == 0)
        method = OS_FORK;
    else if (strcmp(name, "server") == 0)
        method = OS_SERVER;
    else
        return -1;
    return method == OS_SERVER ? os_server_open(&server) : 0;
}

int close_method(void **state)
{
    (void)state;
    os_server_close(server);
    return 0;
}

static int look_for_parent(int argc, char **argv)
{
    const os_inherited *inherited;
    int rc = os_self_child(argc, argv, run_role, &inherited);

    if (rc == 0 && inherited)
        run_role(inherited);
    return rc;
}

void seam_start(int argc, char **argv, const seam_role *roles)
{
    bool alone = getenv("XF_TEST_NO_ARGUMENTS") != NULL;
    const char *early = getenv("XF_TEST_END_EARLY");

    own_roles = roles;
    if (early)
        exit(atoi(early));
    if (look_for_parent(alone ? 0 : argc, alone ? NULL : argv) < 0)
        exit(95);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
}
