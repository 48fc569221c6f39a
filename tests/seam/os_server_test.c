/* Goal: both twins keep every sentence of src/os/server.h. */
#include "seam.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

/* The server is the parent of the child's keeper. */
static int64_t server_of_keeper(int64_t keeper)
{
    char path[64], line[512] = "", *fields;
    long long server = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)keeper);
    file = fopen(path, "r");
    assert_non_null(file);
    fields = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    fclose(file);
    assert_non_null(fields);
    assert_int_equal(sscanf(fields, ") %*c %lld", &server), 1);
    return server;
}

/* Says the ids of this process and its parent, and waits. */
static void be_linked(const char *argument)
{
    char byte;

    (void)argument;
    say_number(uv_os_getpid());
    say_number(uv_os_getppid());
    hear_parent(&byte, 1);
}

static const seam_role roles[] = {
    {"linked", be_linked},
    {0},
};

/* ---- The server ------------------------------------------------------------------------------ */

#ifdef SIGSTOP
/* Stops the server of a new child, which is left to itself, so that it reads no request. */
static int64_t stop_server(os_start *start)
{
    kid kid = start_as(start);
    int64_t server_pid;

    hear_number(&kid);
    server_pid = server_of_keeper(hear_number(&kid));
    kill_and_finish(&kid);
    assert_int_equal(kill((pid_t)server_pid, SIGSTOP), 0);
    return server_pid;
}

static void a_closed_server_makes_what_it_was_asked_for(void **state)
{
    os_start start = role_start("linked");
    int64_t server_pid;
    kid kids[3];

    (void)state;
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    server_pid = stop_server(&start);
    start.first = "hello";
    start.first_size = sizeof "hello";
    for (int i = 0; i < 3; i++)
        kids[i] = start_as(&start);
    os_server_close(start.server);
    assert_int_equal(kill((pid_t)server_pid, SIGCONT), 0);
    for (int i = 0; i < 3; i++)
        expect_line(&kids[i], "hello");
    assert_true(support_has_ended(server_pid, SOON));
    for (int i = 0; i < 3; i++)
        finish_well(&kids[i]);
}

static void a_closed_server_that_hangs_ends_with_its_last_child(void **state)
{
    os_start start = role_start("linked");
    int64_t server_pid;
    kid kid;

    (void)state;
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    server_pid = stop_server(&start);
    kid = start_as(&start);
    os_server_close(start.server);
    assert_true(support_alive(server_pid));
    kill_and_finish(&kid);
    assert_false(support_alive(server_pid));
}

/* The system reports once that requests were lost, to whichever call comes next. */
static void what_a_killed_server_has_not_read_is_unstarted(void **state)
{
    os_start start = role_start("linked");
    kid kid, another;
    os_end end;

    (void)state;
    start.method = OS_SERVER;
    for (int asked_again = 0; asked_again < 2; asked_again++) {
        int64_t server_pid;
        assert_int_equal(os_server_open(&start.server), 0);
        server_pid = stop_server(&start);
        kid = start_as(&start);
        support_kill(server_pid);
        assert_true(support_has_ended(server_pid, SOON));
        if (asked_again)
            assert_int_equal(try_start(&another, &start), XF_EEND);
        end = finish(&kid);
        assert_int_equal(end.kind, OS_UNSTARTED);
        assert_int_equal(end.code, XF_ESYSTEM);
        os_server_close(start.server);
    }
}
#endif

static void a_server_that_was_killed_starts_nothing(void **state)
{
    os_start start = role_start("linked");
    int64_t server_pid;
    kid kid, another;
    os_end end;

    (void)state;
    if (!os.has_server)
        skip();
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    kid = start_as(&start);
    hear_number(&kid);
    server_pid = server_of_keeper(hear_number(&kid));
    support_kill(server_pid);
    assert_true(support_has_ended(server_pid, SOON));
    assert_int_equal(try_start(&another, &start), XF_EEND);
    os_server_close(start.server);
    os_child_kill(kid.child);
    end = finish(&kid);
    assert_true(end.kind == OS_KILLED && end.system == 9);
}

static void children_do_not_need_their_server_any_more(void **state)
{
    os_start start = role_start("wait");
    kid kid;

    (void)state;
    if (!os.has_server)
        skip();
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    kid = start_as(&start);
    pid_of(&kid);
    os_server_close(start.server);
    assert_true(support_alive(pid_of(&kid)));
    send_text(&kid, "go\n");
    finish_well(&kid);
}

static void a_server_can_be_opened_everywhere(void **state)
{
    os_start start = role_start("hello");
    kid kid;

    (void)state;
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    kid = start_as(&start);
    expect_line(&kid, "hello");
    finish_well(&kid);
    os_server_close(start.server);
    os_server_close(NULL);
}

static void use_everything(void)
{
    a_server_can_be_opened_everywhere(NULL);
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    expect_nothing_left(use_everything);
}

/* ---- The program ----------------------------------------------------------------------------- */

static const struct CMUnitTest tests[] = {
#ifdef SIGSTOP
    cmocka_unit_test(a_closed_server_makes_what_it_was_asked_for),
    cmocka_unit_test(a_closed_server_that_hangs_ends_with_its_last_child),
    cmocka_unit_test(what_a_killed_server_has_not_read_is_unstarted),
#endif
    cmocka_unit_test(a_server_that_was_killed_starts_nothing),
    cmocka_unit_test(children_do_not_need_their_server_any_more),
    cmocka_unit_test(a_server_can_be_opened_everywhere),
    cmocka_unit_test(nothing_is_left_behind),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
