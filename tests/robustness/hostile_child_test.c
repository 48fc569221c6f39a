/* Goal: a child that is broken or hostile causes a clear error, costs bounded memory, and makes nobody hang.
 *
 * The child is this program again.  Instead of calling xf_main it sends what the test wants over its channel. */
#include "os/identity.h"
#include "protocol/black_box.h"
#include "protocol/frame.h"
#include "tasks.h"

#include <uv.h>

XF_ENTRY(any_task)
{
    (void)call;
    return 0;
}

/* ---- In the child ---------------------------------------------------------------------------- */

static const os_inherited *inherited;

static void say(const void *bytes, size_t size)
{
    if (os_channel_write(inherited->channel, bytes, size, -1, -1) < 0)
        os_self_exit(9);
}

static void say_frame(frame_type type, const frame_fields *fields, uint64_t attached, os_shm *segment)
{
    uint8_t bytes[FRAME_HEADER + sizeof fields->bytes];
    size_t size = fields ? fields->size : 0;
    uint64_t token = segment ? (uint64_t)segment->handle : 12345;

    frame_put_header(bytes, &(frame){.type = type, .size = size, .attached = attached, .token = token});
    if (size > 0)
        memcpy(bytes + FRAME_HEADER, fields->bytes, size);
    if (os_channel_write(inherited->channel, bytes, FRAME_HEADER + size, segment ? segment->handle : -1, -1) < 0)
        os_self_exit(9);
}

static void say_hello(bool of_this_build)
{
    frame_fields fields = {.size = 0};
    uint8_t build[OS_BUILD_ID_SIZE];

    os_self_build(build);
    build[0] ^= !of_this_build;
    frame_put_u32(&fields, FRAME_VERSION);
    frame_put(&fields, build, sizeof build);
    frame_put_u64(&fields, 1);
    frame_put_u64(&fields, 2);
    say_frame(FRAME_HELLO, &fields, 0, NULL);
}

static void say_bye(frame_outcome outcome)
{
    frame_fields fields = {.size = 0};

    frame_put_u32(&fields, outcome);
    frame_put_u32(&fields, 0);
    say_frame(FRAME_BYE, &fields, 0, NULL);
}

static void say_small_segment(uint64_t size)
{
    os_shm segment;

    if (os_shm_create(&segment, 4096, 0) < 0)
        os_self_exit(8);
    say_frame(FRAME_RESULT, NULL, size, &segment);
}

/* Sends a question for an object, or an offer of a segment that is too small or holds no object. */
static void say_about_object(frame_type type, uint64_t size)
{
    xf_ref ref = {{1, 2}, XF_KIND_LOCK, 0};
    frame_fields fields = {.size = 0};
    os_shm segment;

    frame_put_u32(&fields, 1);
    frame_put(&fields, &ref, sizeof ref);
    frame_put_u32(&fields, 0);
    if (size > 0 && os_shm_create(&segment, OS_PAGE, 0) < 0)
        os_self_exit(8);
    say_frame(type, &fields, size, size > 0 ? &segment : NULL);
}

static void say_endlessly(void)
{
    static const uint8_t noise[4096] = {1, 2, 3};

    for (;;)
        say(noise, sizeof noise);
}

/* Changes what the parent has written for the child, sends a message, and crashes when it is killed. */
static void spoil_status(os_status *status)
{
    status->record_at = UINT64_MAX / 3;
    status->dump_at = UINT64_MAX / 3;
    atomic_store(&status->crash, 1000);
    say_frame(FRAME_MESSAGE, NULL, 0, NULL);
}

static void misbehave(const char *how)
{
    static const uint8_t huge[FRAME_HEADER] = {0xFF, 0xFF, 0xFF, 0xFF, FRAME_LOG};
    static const uint8_t unknown[FRAME_HEADER] = {0, 0, 0, 0, 99};
    static const uint8_t cut[FRAME_HEADER + 3] = {100, 0, 0, 0, FRAME_MESSAGE};

    if (strcmp(how, "noise") == 0)
        say_endlessly();
    if (strcmp(how, "no hello") == 0)
        say_bye(FRAME_OUTCOME_DONE);
    say_hello(strcmp(how, "other build") != 0);
    if (strcmp(how, "huge") == 0)
        say(huge, sizeof huge);
    if (strcmp(how, "unknown") == 0)
        say(unknown, sizeof unknown);
    if (strcmp(how, "cut") == 0)
        say(cut, sizeof cut);
    if (strcmp(how, "no segment") == 0)
        say_frame(FRAME_RESULT, NULL, 100000, NULL);
    if (strcmp(how, "small segment") == 0)
        say_small_segment(1 << 20);
    if (strcmp(how, "endless segment") == 0)
        say_small_segment(UINT64_MAX);
    if (strcmp(how, "small object") == 0)
        say_about_object(FRAME_OFFER, 1 << 20);
    if (strcmp(how, "false object") == 0)
        say_about_object(FRAME_OFFER, OS_PAGE);
    if (strcmp(how, "no object") == 0)
        say_about_object(FRAME_OFFER, 0);
    if (strcmp(how, "cut question") == 0)
        say_frame(FRAME_ASK, NULL, 0, NULL);
    if (strcmp(how, "deaf") == 0)
        for (;;)
            say_about_object(FRAME_ASK, 0);
    if (strcmp(how, "no result") == 0)
        say_bye(FRAME_OUTCOME_DONE);
    if (strcmp(how, "outcome") == 0)
        say_bye((frame_outcome)77);
    if (strcmp(how, "offsets") == 0)
        spoil_status(inherited->box.address);
    if (strcmp(how, "after bye") == 0)
        say_bye(FRAME_OUTCOME_FAILED), say_hello(true);
}

/* Sends its frames, and then waits to be killed, or exits. */
static void run_hostile_child(int argc, char **argv, const char *how)
{
    char byte;
    size_t count;

    if (os_self_child(argc, argv, NULL, &inherited) < 0 || !inherited)
        return;
    atomic_store(&((black_box *)inherited->box.address)->phase,
                 strcmp(how, "phase") == 0 ? 0xFFFFFFFFU : XF_PHASE_RUNNING);
    misbehave(how);
    if (strcmp(how, "cut") == 0 || strcmp(how, "phase") == 0)
        os_self_exit(0);
    while (os_channel_read(inherited->channel, &byte, 1, &count, -1) == 0)
        continue;
    os_self_exit(0);
}

/* ---- In the parent --------------------------------------------------------------------------- */

static void check(const char *how, xf_end kind, int code, const char *message)
{
    char setting[64];
    const char *const additions[] = {setting, NULL};
    xf_process_options options = {.start = XF_START_SPAWN, .environment = additions};
    size_t before = support_memory();
    xf_process *process;

    snprintf(setting, sizeof setting, "XF_TEST_HOSTILE=%s", how);
    process = start(&any_task, NULL, 0, &options);
    join(process);
    assert_true(support_memory() < before + (64 << 20));
    if (!strstr(xf_process_report(process)->message, message))
        fail_msg("%s: %s", how, xf_process_report(process)->message);
    expect_end(process, kind, code);
    assert_int_equal(xf_cleanup(), 0);
}

static void a_hostile_length(void **state)
{
    (void)state;
    check("huge", XF_END_PROTOCOL_ERROR, XF_EPROTO, "a frame of 4294967295 bytes");
}

static void an_unknown_type(void **state)
{
    (void)state;
    check("unknown", XF_END_PROTOCOL_ERROR, XF_EPROTO, "unknown type 99");
}

static void a_frame_cut_short(void **state)
{
    (void)state;
    check("cut", XF_END_EXITED, 0, "in the middle of a frame");
}

static void endless_noise(void **state)
{
    (void)state;
    check("noise", XF_END_PROTOCOL_ERROR, XF_EPROTO, "frame");
}

static void no_hello_frame(void **state)
{
    (void)state;
    check("no hello", XF_END_PROTOCOL_ERROR, XF_EPROTO, "before HELLO");
}

static void another_build(void **state)
{
    (void)state;
    check("other build", XF_END_START_FAILED, XF_EBUILD, "another build");
}

static void a_segment_that_did_not_come(void **state)
{
    (void)state;
    check("no segment", XF_END_PROTOCOL_ERROR, XF_EPROTO, "no handle");
}

static void a_segment_that_is_too_small(void **state)
{
    (void)state;
    check("small segment", XF_END_PROTOCOL_ERROR, XF_EPROTO, "segment");
}

static void a_segment_of_all_there_is(void **state)
{
    (void)state;
    check("endless segment", XF_END_PROTOCOL_ERROR, XF_EPROTO, "segment");
}

static void an_object_that_is_too_small(void **state)
{
    (void)state;
    check("small object", XF_END_PROTOCOL_ERROR, XF_EPROTO, "1048576");
}

static void an_object_that_is_none(void **state)
{
    (void)state;
    check("false object", XF_END_PROTOCOL_ERROR, XF_EPROTO, "lock");
}

static void an_object_that_did_not_come(void **state)
{
    (void)state;
    check("no object", XF_END_PROTOCOL_ERROR, XF_EPROTO, "about an object");
}

static void a_question_that_is_cut_short(void **state)
{
    (void)state;
    check("cut question", XF_END_PROTOCOL_ERROR, XF_EPROTO, "about an object");
}

static void questions_without_end(void **state)
{
    (void)state;
    check("deaf", XF_END_PROTOCOL_ERROR, XF_EPROTO, "does not read");
}

static void done_without_a_result(void **state)
{
    (void)state;
    check("no result", XF_END_PROTOCOL_ERROR, XF_EPROTO, "BYE");
}

static void an_unknown_outcome(void **state)
{
    (void)state;
    check("outcome", XF_END_PROTOCOL_ERROR, XF_EPROTO, "outcome 77");
}

static void a_frame_after_the_goodbye(void **state)
{
    (void)state;
    check("after bye", XF_END_PROTOCOL_ERROR, XF_EPROTO, "after BYE");
}

static void a_phase_that_is_none(void **state)
{
    (void)state;
    check("phase", XF_END_EXITED, 0, "exited inside the task");
}

/* The parent looks where the child is, and for its dump, where it wanted them and not where the child says. */
static void a_status_that_was_changed(void **state)
{
    const char *const additions[] = {"XF_TEST_HOSTILE=offsets", NULL};
    const xf_process_options options = {.start = XF_START_SPAWN, .environment = additions, .dumps = "."};
    xf_process *process = start(&any_task, NULL, 0, &options);
    xf_message message;
    xf_stack stack;
    xf_status status;

    (void)state;
    assert_int_equal(xf_process_receive(process, &message, XF_FOREVER), 0);
    xf_message_free(&message);
    if (xf_process_stack(process, &stack) == 0)
        xf_stack_free(&stack);
    xf_process_kill(process);
    status = join(process);
    assert_string_not_equal(xf_end_name(status.kind), xf_end_name(XF_END_DONE));
    xf_process_free(process);
    assert_int_equal(xf_cleanup(), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hostile_length),
        cmocka_unit_test(an_unknown_type),
        cmocka_unit_test(a_frame_cut_short),
        cmocka_unit_test(endless_noise),
        cmocka_unit_test(no_hello_frame),
        cmocka_unit_test(another_build),
        cmocka_unit_test(a_segment_that_did_not_come),
        cmocka_unit_test(a_segment_that_is_too_small),
        cmocka_unit_test(a_segment_of_all_there_is),
        cmocka_unit_test(an_object_that_is_too_small),
        cmocka_unit_test(an_object_that_is_none),
        cmocka_unit_test(an_object_that_did_not_come),
        cmocka_unit_test(a_question_that_is_cut_short),
        cmocka_unit_test(questions_without_end),
        cmocka_unit_test(done_without_a_result),
        cmocka_unit_test(an_unknown_outcome),
        cmocka_unit_test(a_frame_after_the_goodbye),
        cmocka_unit_test(a_phase_that_is_none),
        cmocka_unit_test(a_status_that_was_changed),
    };
    char how[64];
    size_t size = sizeof how;

    if (uv_os_getenv("XF_TEST_HOSTILE", how, &size) == 0)
        run_hostile_child(argc, argv, how);
    xf_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
