/* Goal: both twins keep every sentence of src/os/server.h. */
#include "seam.h"

static const seam_role roles[] = {
    {0},
};

/* ---- The server ------------------------------------------------------------------------------ */

static void a_server_that_was_killed_starts_nothing(void **state)
{
    os_start start = role_start("pid");
    int64_t server_pid;
    kid kid;
    int rc;

    (void)state;
    if (!os.has_server)
        skip();
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    kid = start_as(&start);
    hear_number(&kid);
    server_pid = hear_number(&kid);
    finish_well(&kid);
    support_kill(server_pid);
    assert_true(support_has_ended(server_pid, SOON));
    rc = try_start(&kid, &start);
    assert_int_equal(rc, XF_EEND);
    os_server_close(start.server);
}

static void a_server_takes_its_children_along(void **state)
{
    os_start start = role_start("spin");
    int64_t pid;
    kid kid;
    os_end end;

    (void)state;
    if (!os.has_server)
        skip();
    start.method = OS_SERVER;
    assert_int_equal(os_server_open(&start.server), 0);
    kid = start_as(&start);
    expect_line(&kid, "spinning");
    pid = pid_of(&kid);
    os_server_close(start.server);
    assert_true(support_has_ended(pid, SOON));
    end = finish(&kid);
    assert_true(end.kind == OS_KILLED || end.kind == OS_LOST);
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
    cmocka_unit_test(a_server_that_was_killed_starts_nothing),
    cmocka_unit_test(a_server_takes_its_children_along),
    cmocka_unit_test(a_server_can_be_opened_everywhere),
    cmocka_unit_test(nothing_is_left_behind),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
