/* Goal: both twins keep every sentence of src/os/child.h about a child that runs and its end. */
#include "seam.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

/* ---- Roles ----------------------------------------------------------------------------------- */

static void be_self_exit(const char *argument)
{
    os_self_exit(atoi(argument));
}

static void exit_in_thread(void *argument)
{
    exit(atoi(argument));
}

static void be_thread_exit(const char *argument)
{
    in_thread(exit_in_thread, (void *)argument);
}

static void be_kill_self(const char *argument)
{
    (void)argument;
    support_kill_self();
}

static void be_box(const char *argument)
{
    test_box *box = above->box.address;

    snprintf(box->text, sizeof box->text, "%s", argument);
    say_number(atomic_load(&box->number));
    for (;;)
        continue;
}

static void be_input(const char *argument)
{
    const uint8_t *input = above->inputs[0].address;

    if (!input)
        say("none\n");
    else
        say(is_pattern(input, (size_t)atoll(argument)) ? "whole\n" : "broken\n");
}

static void be_signal(const char *argument)
{
    (void)argument;
    say(signal(SIGTERM, SIG_DFL) == SIG_DFL ? "default\n" : "changed\n");
}

/* Has a child of its own that spins, tells its pid, and waits. */
static void be_middle(const char *argument)
{
    os_child *child = start_below("spin");
    char byte;

    (void)argument;
    hear_below(child);
    say_number(pid_below(child));
    hear_parent(&byte, 1);
}

static void be_listening(const char *argument)
{
    char byte;

    (void)argument;
    hear_parent(&byte, 1);
}

static const seam_role roles[] = {
    {"self_exit", be_self_exit},
    {"thread_exit", be_thread_exit},
    {"kill_self", be_kill_self},
    {"box", be_box},
    {"input", be_input},
    {"signal", be_signal},
    {"middle", be_middle},
    {"listening", be_listening},
    {0},
};

static void a_child_maps_the_box(void **state)
{
    os_start start = role_start("box written");
    kid kid;

    (void)state;
    assert_int_equal(os_shm_create(&kid.box, sizeof(test_box), 0), 0);
    box_of(&kid)->number = 42;
    start.box = &kid.box;
    assert_int_equal(os_child_start(&kid.child, &start), 0);
    assert_int_equal(hear_number(&kid), 42);
    os_child_kill(kid.child);
    wait_end(&kid);
    assert_string_equal(box_of(&kid)->text, "written");
    close_kid(&kid);
}

static void a_child_maps_the_input(void **state)
{
    os_start start = role_start("input 1000000");
    os_shm input;
    kid kid;

    (void)state;
    assert_int_equal(os_shm_create(&input, 1000000, 0), 0);
    fill_pattern(input.address, input.size);
    start.inputs[0] = &input;
    kid = start_as(&start);
    os_shm_close(&input);
    expect_line(&kid, "whole");
    finish_well(&kid);
}

static void a_child_without_input_has_none(void **state)
{
    kid kid = start_role("input");

    (void)state;
    expect_line(&kid, "none");
    finish_well(&kid);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static void waiting_for_nothing_times_out(void **state)
{
    kid kid = start_role("wait");
    uint64_t begun;

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(os_child_wait(kid.child, 0), XF_ETIMEDOUT);
    begun = uv_hrtime();
    assert_int_equal(os_child_wait(kid.child, 50), XF_ETIMEDOUT);
    assert_true(uv_hrtime() - begun >= 30 * 1000000); /* the system's clock may tick in steps of 16 */
    kill_and_finish(&kid);
}

static void waiting_ends_when_there_is_something_to_read(void **state)
{
    kid kid = start_role("wait");

    (void)state;
    assert_int_equal(os_child_wait(kid.child, -1), 0);
    expect_line(&kid, "waiting");
    kill_and_finish(&kid);
}

static void waiting_reports_unread_output_again(void **state)
{
    kid kid = start_role("wait");
    char byte;

    (void)state;
    hear_stream(&kid, OS_CHANNEL, &byte, 1);
    for (int turn = 0; turn < 3; turn++)
        assert_int_equal(os_child_wait(kid.child, 0), 0);
    kill_and_finish(&kid);
}

static void waiting_ends_with_the_child(void **state)
{
    kid kid = start_role("wait");
    os_end end;

    (void)state;
    expect_line(&kid, "waiting");
    send_text(&kid, "!");
    while (os_child_end(kid.child, &end) == XF_EAGAIN) {
        assert_int_equal(os_child_wait(kid.child, -1), 0);
        drain(&kid, OS_CHANNEL);
    }
    assert_int_equal(end.kind, OS_EXITED);
    close_kid(&kid);
}

static void kill_from_thread(void *child)
{
    os_child_kill(child);
}

static void a_kill_from_another_thread_ends_the_wait(void **state)
{
    kid kid = start_role("wait");
    uv_thread_t thread;

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(uv_thread_create(&thread, kill_from_thread, kid.child), 0);
    assert_int_equal(os_child_wait(kid.child, -1), 0);
    uv_thread_join(&thread);
    assert_int_equal(finish(&kid).kind, OS_KILLED);
}

typedef struct brief_wait {
    os_child *child;
    int rc;
} brief_wait;

static void wait_briefly(void *arg)
{
    brief_wait *wait = arg;

    wait->rc = os_child_wait(wait->child, 0);
}

/* A thread may wait, see nothing and end; the next one still hears of everything. */
static void the_thread_that_waited_may_end(void **state)
{
    kid kid = start_role("wait");
    brief_wait wait = {.child = kid.child};
    uv_thread_t thread;

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(uv_thread_create(&thread, wait_briefly, &wait), 0);
    uv_thread_join(&thread);
    assert_int_equal(wait.rc, XF_ETIMEDOUT);
    assert_int_equal(os_child_wait(kid.child, 30), XF_ETIMEDOUT);
    send_text(&kid, "!");
    finish_well(&kid);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static void exit_codes_are_the_same(void **state)
{
    (void)state;
    expect_end("exit 0", OS_EXITED, 0);
    expect_end("exit 1", OS_EXITED, 1);
    expect_end("exit 3", OS_EXITED, 3);
    expect_end("exit 127", OS_EXITED, 127);
    expect_end("exit 255", OS_EXITED, 255);
    expect_end("thread_exit 5", OS_EXITED, 5);
}

/* A forked child does not come through main, and exits from its role. */
static void a_main_that_ends_early_is_an_exit(void **state)
{
    static const char *const additions[] = {"XF_TEST_END_EARLY=3", NULL};
    os_start start = role_start("exit 3");
    kid kid;
    os_end end;

    (void)state;
    start.environment = additions;
    kid = start_as(&start);
    end = finish(&kid);
    assert_int_equal(end.kind, OS_EXITED);
    assert_int_equal(end.code, 3);
}

static void os_self_exit_gives_its_code(void **state)
{
    (void)state;
    expect_end("self_exit 0", OS_EXITED, 0);
    expect_end("self_exit 1", OS_EXITED, 1);
    expect_end("self_exit 255", OS_EXITED, 255);
}

static void a_kill_is_no_exit(void **state)
{
    kid kid = start_role("spin");
    os_end end;

    (void)state;
    expect_line(&kid, "spinning");
    assert_int_equal(os_child_end(kid.child, &end), XF_EAGAIN);
    os_child_kill(kid.child);
    end = wait_end(&kid);
    assert_int_equal(end.kind, OS_KILLED);
    assert_int_equal(end.code, 0);
    os_child_kill(kid.child);
    close_kid(&kid);
}

static void a_kill_by_another_process_is_no_exit(void **state)
{
    kid kid = start_role("wait");
    os_end end;

    (void)state;
    expect_line(&kid, "waiting");
    support_kill(pid_of(&kid));
    end = finish(&kid);
    assert_int_equal(end.kind, OS_KILLED);
    assert_int_equal(end.code, 0);
    expect_end("kill_self", OS_KILLED, 0);
}

static void a_child_killed_at_once_is_killed(void **state)
{
    kid kid = start_role("spin");

    (void)state;
    os_child_kill(kid.child);
    assert_int_equal(finish(&kid).kind, OS_KILLED);
}

static void the_pid_is_the_childs(void **state)
{
    kid kid = start_role("pid");
    int64_t pid = hear_number(&kid);

    (void)state;
    hear_number(&kid);
    assert_int_equal(pid_of(&kid), pid);
    wait_end(&kid);
    assert_int_equal(os_child_pid(kid.child), pid);
    close_kid(&kid);
}

static void the_sentinel_becomes_ready_at_the_end(void **state)
{
    kid kid = start_role("wait");

    (void)state;
    expect_line(&kid, "waiting");
    assert_false(support_sentinel_ready(os_child_sentinel(kid.child), 0));
    send_text(&kid, "!");
    assert_true(support_sentinel_ready(os_child_sentinel(kid.child), PATIENCE));
    finish_well(&kid);
}

/* ---- Descendants ----------------------------------------------------------------------------- */

static void a_kill_takes_descendants(void **state)
{
    kid kid = start_role("middle");
    int64_t below = hear_number(&kid);

    (void)state;
    assert_true(support_alive(below));
    kill_and_finish(&kid);
    assert_true(support_has_ended(below, SOON));
}

static void descendants_end_with_the_child(void **state)
{
    kid kid = start_role("middle");
    int64_t below = hear_number(&kid);

    (void)state;
    send_text(&kid, "!");
    finish_well(&kid);
    assert_true(support_has_ended(below, SOON));
}

static void children_end_when_their_parent_is_killed(void **state)
{
    kid kid = start_role("middle");
    int64_t below = hear_number(&kid);

    (void)state;
    support_kill(pid_of(&kid));
    assert_true(support_sentinel_ready(os_child_sentinel(kid.child), PATIENCE));
    assert_true(support_has_ended(below, SOON)); /* before os_child_end takes it */
    finish(&kid);
}

static void an_interrupt_of_this_group_does_not_reach_a_child(void **state)
{
    kid kid = start_role("wait");
    void (*before)(int) = signal(SIGINT, SIG_IGN);
    bool sent;

    (void)state;
    expect_line(&kid, "waiting");
    sent = support_interrupt_group();
    signal(SIGINT, before);
    send_text(&kid, "!");
    finish_well(&kid);
    if (!sent)
        skip();
}

static void signals_are_back_at_their_default(void **state)
{
    void (*before)(int) = signal(SIGTERM, SIG_IGN);
    kid kid = start_role("signal");

    (void)state;
    signal(SIGTERM, before);
    expect_line(&kid, "default");
    finish_well(&kid);
}

static void this_process_is_not_a_child(void **state)
{
    char name[] = "os_test", other[] = "--other", *argv[] = {name, other, NULL};
    const os_inherited *inherited = (const void *)argv;

    (void)state;
    assert_int_equal(os_self_child(0, NULL, run_role, &inherited), 0);
    assert_null(inherited);
    inherited = (const void *)argv;
    assert_int_equal(os_self_child(1, argv, run_role, &inherited), 0);
    assert_null(inherited);
    assert_int_equal(os_self_child(2, argv, run_role, &inherited), 0);
    assert_null(inherited);
}

static void a_command_line_without_its_channel_is_refused(void **state)
{
    static const char *const lies[] = {"", "1,1", "x", "1,2,3,4,5,6", "ffffffffffffffff,0"};
    char name[] = "os_test", lie[64], *argv[] = {name, lie, NULL};
    const os_inherited *inherited;

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        snprintf(lie, sizeof lie, "--crossfork-child=%s", lies[i]);
        assert_int_equal(os_self_child(2, argv, run_role, &inherited), XF_EPROTO);
        assert_true(*xf_error_detail() != 0);
    }
}

static void use_everything(void)
{
    a_child_maps_the_input(NULL);
    a_kill_is_no_exit(NULL);
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    expect_nothing_left(use_everything);
}

/* ---- The program ----------------------------------------------------------------------------- */

static bool lets_go_of_a_child(void *arg)
{
    size_t handles = support_handles();

    os_child_let_go(arg);
    return support_handles() < handles;
}

/* It is neither killed nor unwatched, and its channel stays open. */
static void a_copy_lets_go_of_a_child(void **state)
{
    kid kid = start_role("listening");

    (void)state;
    assert_true(support_holds_in_copy(lets_go_of_a_child, kid.child));
    assert_int_equal(os_child_wait(kid.child, 10), XF_ETIMEDOUT);
    assert_int_equal(os_channel_write(os_child_channel(kid.child, OS_CHANNEL), "x", 1, -1, 0), 0);
    finish_well(&kid);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_copy_lets_go_of_a_child),
    cmocka_unit_test(a_child_maps_the_box),
    cmocka_unit_test(a_child_maps_the_input),
    cmocka_unit_test(a_child_without_input_has_none),
    cmocka_unit_test(waiting_for_nothing_times_out),
    cmocka_unit_test(waiting_ends_when_there_is_something_to_read),
    cmocka_unit_test(waiting_reports_unread_output_again),
    cmocka_unit_test(waiting_ends_with_the_child),
    cmocka_unit_test(a_kill_from_another_thread_ends_the_wait),
    cmocka_unit_test(the_thread_that_waited_may_end),
    cmocka_unit_test(exit_codes_are_the_same),
    cmocka_unit_test(a_main_that_ends_early_is_an_exit),
    cmocka_unit_test(os_self_exit_gives_its_code),
    cmocka_unit_test(a_kill_is_no_exit),
    cmocka_unit_test(a_kill_by_another_process_is_no_exit),
    cmocka_unit_test(a_child_killed_at_once_is_killed),
    cmocka_unit_test(the_pid_is_the_childs),
    cmocka_unit_test(the_sentinel_becomes_ready_at_the_end),
    cmocka_unit_test(a_kill_takes_descendants),
    cmocka_unit_test(descendants_end_with_the_child),
    cmocka_unit_test(children_end_when_their_parent_is_killed),
    cmocka_unit_test(an_interrupt_of_this_group_does_not_reach_a_child),
    cmocka_unit_test(signals_are_back_at_their_default),
    cmocka_unit_test(this_process_is_not_a_child),
    cmocka_unit_test(a_command_line_without_its_channel_is_refused),
    cmocka_unit_test(nothing_is_left_behind),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
