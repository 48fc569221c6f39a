/* Goal: both twins keep every sentence of src/os/channel.h for the channels of parent and child.  Those of endpoints
 * are in os_endpoint_test.c. */
#include "seam.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

/* ---- Roles ----------------------------------------------------------------------------------- */

static void be_echo(const char *argument)
{
    size_t left = (size_t)atoll(argument);
    char part[1000];

    while (left > 0) {
        size_t count = left < sizeof part ? left : sizeof part;
        hear_parent(part, count);
        require(os_channel_write(above->channel, part, count, -1, -1) == 0);
        left -= count;
    }
}

/* The bytes after the role are a pattern of so many bytes. */
static void be_first(const char *argument)
{
    static uint8_t rest[OS_FIRST_MAX];
    size_t size = (size_t)atoll(argument);

    require(size <= sizeof rest);
    hear_parent(rest, size);
    say(is_pattern(rest, size) ? "whole\n" : "broken\n");
}

/* Writes so many bytes at once. */
static void be_flood(const char *argument)
{
    size_t size = (size_t)atoll(argument);
    uint8_t *data = malloc(size);

    require(data != NULL);
    fill_pattern(data, size);
    require(os_channel_write(above->channel, data, size, -1, -1) == 0);
}

/* Reads nothing until the box says how much there is. */
static void be_gather(const char *argument)
{
    test_box *box = above->box.address;
    uint8_t *data;
    size_t size;

    (void)argument;
    say("waiting\n");
    while ((size = (size_t)atomic_load(&box->number)) == 0)
        continue;
    data = malloc(size);
    require(data != NULL);
    hear_parent(data, size);
    say(is_pattern(data, size) ? "whole\n" : "broken\n");
}

static void be_impatient(const char *argument)
{
    char byte;
    size_t count;

    (void)argument;
    require(os_channel_read(above->channel, &byte, 1, &count, 0) == XF_EAGAIN);
    require(os_channel_read(above->channel, &byte, 1, &count, 30) == XF_ETIMEDOUT);
    say("timed out\n");
    require(os_channel_read(above->channel, &byte, 1, &count, PATIENCE) == 0);
    require(byte == '!' && count == 1);
    say("heard\n");
}

/* What goes with a handle. */
typedef struct message {
    uint64_t size; /* of the segment */
    uint64_t unused;
    uint8_t token[OS_TOKEN_SIZE];
} message;

_Static_assert(offsetof(message, token) == OS_TOKEN_AT, "the token is where the seam puts it");

static uint64_t token_of(const message *message)
{
    uint64_t token = 0;

    for (int i = 0; i < OS_TOKEN_SIZE; i++)
        token |= (uint64_t)message->token[i] << (8 * i);
    return token;
}

static void attach(size_t size, size_t claimed)
{
    os_shm shm;
    message frame = {.size = claimed};

    require(os_shm_create(&shm, size, 0) == 0);
    fill_pattern(shm.address, size);
    require(os_channel_write(above->channel, &frame, sizeof frame, shm.handle, -1) == 0);
    os_shm_close(&shm);
}

/* Attaches segments of these sizes, and waits until the parent reports that it has taken all of them. */
static void be_attach(const char *argument)
{
    char byte;

    for (char *end; *argument; argument = end + (*end == ' ')) {
        size_t size = (size_t)strtoull(argument, &end, 10);
        attach(size, size);
    }
    hear_parent(&byte, 1);
}

static void be_attach_smaller(const char *argument)
{
    char byte;

    (void)argument;
    attach(PAGE, PAGE + 1);
    hear_parent(&byte, 1);
}

static void be_attach_and_end(const char *argument)
{
    (void)argument;
    attach(PAGE, PAGE);
}

/* Takes as many segments as it is said to, and one that does not come. */
static void be_taking(const char *argument)
{
    message frame;
    intptr_t handle;
    os_shm shm;

    for (int left = atoi(argument); left > 0; left--) {
        hear_parent(&frame, sizeof frame);
        require(os_channel_take(above->channel, token_of(&frame), &handle) == 0);
        require(os_shm_open(&shm, handle, (size_t)frame.size, OS_SHM_WAITABLE) == 0);
        say(is_pattern(shm.address, (size_t)frame.size) ? "whole\n" : "broken\n");
        os_shm_close(&shm);
    }
    require(os_channel_take(above->channel, 0, &handle) == XF_EPROTO);
}

static void be_stdout(const char *argument)
{
    fprintf(stdout, "out %s", argument);
    fflush(stdout);
    fprintf(stderr, "err %s", argument);
    fflush(stderr);
}

static const seam_role roles[] = {{"echo", be_echo},
                                  {"first", be_first},
                                  {"flood", be_flood},
                                  {"gather", be_gather},
                                  {"impatient", be_impatient},
                                  {"attach", be_attach},
                                  {"attach_smaller", be_attach_smaller},
                                  {"attach_and_end", be_attach_and_end},
                                  {"taking", be_taking},
                                  {"stdout", be_stdout},
                                  {0}};

/* ---- Talking --------------------------------------------------------------------------------- */

static void the_largest_first_message_arrives(void **state)
{
    static uint8_t whole[OS_FIRST_MAX];
    size_t role = (size_t)snprintf((char *)whole, sizeof whole, "first %d", OS_FIRST_MAX - 12) + 1;
    os_start start = role_start("");
    kid kid;

    (void)state;
    assert_int_equal(role, 12);
    fill_pattern(whole + role, sizeof whole - role);
    start.first = whole;
    start.first_size = sizeof whole;
    kid = start_as(&start);
    expect_line(&kid, "whole");
    finish_well(&kid);
}

static void reading_gives_bytes_then_nothing_then_the_end(void **state)
{
    kid kid = start_role("wait");
    char byte;
    size_t count;

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(os_channel_read(os_child_channel(kid.child, OS_CHANNEL), &byte, 1, &count, 0), XF_EAGAIN);
    send_text(&kid, "!");
    wait_end_unread(&kid);
    assert_int_equal(os_channel_read(os_child_channel(kid.child, OS_CHANNEL), &byte, 1, &count, 0), XF_EEND);
    assert_int_equal(os_channel_read(os_child_channel(kid.child, OS_CHANNEL), &byte, 1, &count, 0), XF_EEND);
    close_kid(&kid);
}

static void a_stream_that_is_not_captured_is_at_its_end(void **state)
{
    kid kid = start_role("hello");
    char byte;
    size_t count;

    (void)state;
    assert_int_equal(os_channel_read(os_child_channel(kid.child, OS_STDOUT), &byte, 1, &count, 0), XF_EEND);
    assert_int_equal(os_channel_read(os_child_channel(kid.child, OS_STDERR), &byte, 1, &count, 0), XF_EEND);
    finish_well(&kid);
}

static void what_was_sent_can_be_read_after_the_end(void **state)
{
    kid kid = start_role("hello");

    (void)state;
    wait_end_unread(&kid);
    expect_line(&kid, "hello");
    assert_int_equal(drain(&kid, OS_CHANNEL), XF_EEND);
    close_kid(&kid);
}

typedef struct busy_reader {
    os_child *child;
    uv_sem_t looked;
    _Atomic bool stop;
} busy_reader;

static void look_and_be_busy(void *arg)
{
    busy_reader *reader = arg;
    char byte;
    size_t count;

    if (os_channel_read(os_child_channel(reader->child, OS_CHANNEL), &byte, 1, &count, 0) == XF_EAGAIN)
        uv_sem_post(&reader->looked);
    while (!atomic_load(&reader->stop))
        continue;
}

/* The thread that looked before has other things to do when the last bytes come. */
static void the_last_bytes_are_there_at_once_after_the_end(void **state)
{
    (void)state;
    for (int turn = 0; turn < 20; turn++) {
        kid kid = start_role("echo 5");
        busy_reader reader = {.child = kid.child};
        uv_thread_t thread;
        char heard[8];
        size_t count;
        assert_int_equal(uv_sem_init(&reader.looked, 0), 0);
        assert_int_equal(uv_thread_create(&thread, look_and_be_busy, &reader), 0);
        uv_sem_wait(&reader.looked);
        send_text(&kid, "12345");
        wait_end_unread(&kid);
        assert_int_equal(os_channel_read(os_child_channel(kid.child, OS_CHANNEL), heard, sizeof heard, &count, 0), 0);
        assert_int_equal(count, 5);
        assert_memory_equal(heard, "12345", 5);
        assert_int_equal(os_channel_read(os_child_channel(kid.child, OS_CHANNEL), heard, sizeof heard, &count, 0),
                         XF_EEND);
        atomic_store(&reader.stop, true);
        uv_thread_join(&thread);
        uv_sem_destroy(&reader.looked);
        close_kid(&kid);
    }
}

static void bytes_go_both_ways(void **state)
{
    kid kid = start_role("echo 300000");
    uint8_t sent[100], heard[100];

    (void)state;
    for (int turn = 0; turn < 3000; turn++) {
        memset(sent, turn, sizeof sent);
        assert_int_equal(os_channel_write(os_child_channel(kid.child, OS_CHANNEL), sent, sizeof sent, -1, 0), 0);
        if (turn % 10 == 9) /* a thousand bytes are a part of the echo */
            for (int part = turn - 9; part <= turn; part++) {
                hear_stream(&kid, OS_CHANNEL, heard, sizeof heard);
                memset(sent, part, sizeof sent);
                assert_memory_equal(heard, sent, sizeof sent);
            }
    }
    finish_well(&kid);
}

static void a_large_write_waits_until_it_is_read(void **state)
{
    enum { SIZE = 8 << 20 };
    kid kid = start_role("flood 8388608");
    uint8_t *heard = malloc(SIZE);

    (void)state;
    assert_non_null(heard);
    hear_stream(&kid, OS_CHANNEL, heard, SIZE);
    assert_true(is_pattern(heard, SIZE));
    free(heard);
    finish_well(&kid);
}

/* A child that does not read: writing never waits, and of a write that was refused nothing arrives. */
static void a_full_channel_refuses_whole_writes(void **state)
{
    enum { PART = 500, LIMIT = 64 << 20 };
    kid kid = start_role("gather");
    uint8_t part[PART];
    size_t total = 0;
    int rc;

    (void)state;
    expect_line(&kid, "waiting");
    for (;;) {
        for (size_t at = 0; at < PART; at++)
            part[at] = pattern(total + at);
        rc = os_channel_write(os_child_channel(kid.child, OS_CHANNEL), part, PART, -1, 0);
        if (rc < 0)
            break;
        total += PART;
        assert_true(total < LIMIT);
    }
    assert_int_equal(rc, XF_EAGAIN);
    atomic_store(&box_of(&kid)->number, (int64_t)total);
    expect_line(&kid, "whole");
    finish_well(&kid);
}

static void a_parents_reading_times_out(void **state)
{
    kid kid = start_role("wait");
    os_channel *channel = os_child_channel(kid.child, OS_CHANNEL);
    uint64_t begun;
    size_t count;
    char byte;

    (void)state;
    expect_line(&kid, "waiting");
    assert_int_equal(os_channel_read(channel, &byte, 1, &count, 0), XF_EAGAIN);
    begun = uv_hrtime();
    assert_int_equal(os_channel_read(channel, &byte, 1, &count, 50), XF_ETIMEDOUT);
    assert_true(uv_hrtime() - begun >= 30 * 1000000); /* the system's clock may tick in steps of 16 */
    send_text(&kid, "!");
    assert_int_equal(os_channel_read(channel, &byte, 1, &count, -1), XF_EEND);
    finish_well(&kid);
}

static void a_parents_reading_waits(void **state)
{
    kid kid = start_captured("stdout text");
    size_t count;
    char byte;

    (void)state;
    for (int stream = OS_STDOUT; stream <= OS_STDERR; stream++)
        assert_int_equal(os_channel_read(os_child_channel(kid.child, stream), &byte, 1, &count, PATIENCE), 0);
    finish_well(&kid);
}

/* A child that does not read: a write waits for as long as it is said to, and of what it refuses nothing arrives. */
static void a_parents_writing_waits_for_room(void **state)
{
    enum { PART = 500, REST = 1 << 20 };
    kid kid = start_role("gather");
    os_channel *channel = os_child_channel(kid.child, OS_CHANNEL);
    uint8_t part[PART], *rest = malloc(REST);
    size_t total = 0;
    int rc;

    (void)state;
    assert_non_null(rest);
    expect_line(&kid, "waiting");
    for (;;) {
        for (size_t at = 0; at < PART; at++)
            part[at] = pattern(total + at);
        rc = os_channel_write(channel, part, PART, -1, 30);
        if (rc < 0)
            break;
        total += PART;
    }
    assert_int_equal(rc, XF_ETIMEDOUT);
    for (size_t at = 0; at < REST; at++)
        rest[at] = pattern(total + at);
    atomic_store(&box_of(&kid)->number, (int64_t)(total + REST));
    assert_int_equal(os_channel_write(channel, rest, REST, -1, -1), 0);
    expect_line(&kid, "whole");
    free(rest);
    finish_well(&kid);
}

static void writing_to_a_child_that_has_ended_is_the_end(void **state)
{
    kid kid = start_role("hello");

    (void)state;
    wait_end(&kid);
    assert_int_equal(os_channel_write(os_child_channel(kid.child, OS_CHANNEL), "!", 1, -1, 0), XF_EEND);
    close_kid(&kid);
}

static void a_childs_reading_times_out(void **state)
{
    kid kid = start_role("impatient");

    (void)state;
    expect_line(&kid, "timed out");
    send_text(&kid, "!");
    expect_line(&kid, "heard");
    finish_well(&kid);
}

/* ---- Attached segments ----------------------------------------------------------------------- */

static int take(kid *kid, uint64_t token, size_t size, os_shm *shm)
{
    intptr_t handle;
    int rc = os_channel_take(os_child_channel(kid->child, OS_CHANNEL), token, &handle);

    return rc < 0 ? rc : os_shm_open(shm, handle, size, 0);
}

static void take_one(kid *kid, size_t size)
{
    message frame;
    os_shm shm;

    hear_stream(kid, OS_CHANNEL, &frame, sizeof frame);
    assert_int_equal(frame.size, size);
    assert_int_equal(take(kid, token_of(&frame), size, &shm), 0);
    assert_int_equal(shm.size, size);
    assert_true(is_pattern(shm.address, size));
    os_shm_close(&shm);
}

static void attached_segments_are_taken(void **state)
{
    size_t mappings = support_mappings();
    kid kid = start_role("attach 1 65536 5000000");

    (void)state;
    take_one(&kid, 1);
    take_one(&kid, 65536);
    take_one(&kid, 5000000);
    send_text(&kid, "!");
    finish_well(&kid);
    assert_int_equal(support_mappings(), mappings);
}

static void a_taken_segment_outlives_the_child(void **state)
{
    kid kid = start_role("attach 65536");
    message frame;
    os_shm shm;

    (void)state;
    hear_stream(&kid, OS_CHANNEL, &frame, sizeof frame);
    assert_int_equal(take(&kid, token_of(&frame), PAGE, &shm), 0);
    kill_and_finish(&kid);
    assert_true(is_pattern(shm.address, PAGE));
    os_shm_close(&shm);
}

static void a_segment_smaller_than_said_is_refused(void **state)
{
    kid kid = start_role("attach_smaller");
    size_t handles, mappings = support_mappings();
    message frame;
    os_shm shm;

    (void)state;
    hear_stream(&kid, OS_CHANNEL, &frame, sizeof frame);
    handles = support_handles();
    assert_int_equal(take(&kid, token_of(&frame), (size_t)frame.size, &shm), XF_EPROTO);
    assert_true(support_handles() <= handles);
    assert_int_equal(support_mappings(), mappings);
    send_text(&kid, "!");
    finish_well(&kid);
}

static void what_is_not_attached_is_refused(void **state)
{
    static const uint64_t tokens[] = {0, 1, 3, 0x7ffffff0, 0xffffffff, (uint64_t)1 << 40, UINT64_MAX - 1, UINT64_MAX};
    kid kid = start_role("wait");
    os_shm shm;

    (void)state;
    expect_line(&kid, "waiting");
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        assert_int_equal(take(&kid, tokens[i], PAGE, &shm), XF_EPROTO);
    send_text(&kid, "!");
    finish_well(&kid);
}

static void a_segment_cannot_be_taken_twice(void **state)
{
    kid kid = start_role("attach 65536");
    message frame;
    os_shm shm;

    (void)state;
    hear_stream(&kid, OS_CHANNEL, &frame, sizeof frame);
    assert_int_equal(take(&kid, token_of(&frame), PAGE, &shm), 0);
    os_shm_close(&shm);
    assert_int_equal(take(&kid, token_of(&frame), PAGE, &shm), XF_EPROTO);
    send_text(&kid, "!");
    finish_well(&kid);
}

static void a_child_takes_what_it_is_given(void **state)
{
    const size_t sizes[] = {1, 65536, 5000000};
    size_t handles = support_handles();
    kid kid = start_role("taking 3");

    (void)state;
    for (int i = 0; i < 3; i++) {
        message frame = {.size = sizes[i]};
        os_shm shm;
        assert_int_equal(os_shm_create(&shm, sizes[i], OS_SHM_WAITABLE), 0);
        fill_pattern(shm.address, sizes[i]);
        assert_int_equal(os_channel_write(os_child_channel(kid.child, OS_CHANNEL), &frame, sizeof frame, shm.handle, 0),
                         0);
        os_shm_close(&shm); /* what is given is a copy */
        expect_line(&kid, "whole");
    }
    finish_well(&kid);
    assert_int_equal(support_handles(), handles);
}

static void nothing_is_given_to_the_dead(void **state)
{
    kid kid = start_role("exit 0");
    size_t handles;
    message frame = {.size = PAGE};
    os_shm shm;

    (void)state;
    wait_end(&kid);
    assert_int_equal(os_shm_create(&shm, PAGE, 0), 0);
    handles = support_handles();
    assert_int_equal(os_channel_write(os_child_channel(kid.child, OS_CHANNEL), &frame, sizeof frame, shm.handle, 0),
                     XF_EEND);
    assert_int_equal(support_handles(), handles);
    os_shm_close(&shm);
    close_kid(&kid);
}

static void attaching_needs_an_acknowledgement_where_it_says_so(void **state)
{
    kid kid = start_role("attach_and_end");
    message frame;
    os_shm shm;
    int rc;

    (void)state;
    wait_end_unread(&kid);
    hear_stream(&kid, OS_CHANNEL, &frame, sizeof frame);
    rc = take(&kid, token_of(&frame), PAGE, &shm);
    assert_int_equal(rc, os.attach_needs_ack ? XF_EPROTO : 0);
    if (rc == 0)
        os_shm_close(&shm);
    close_kid(&kid);
}

static void use_everything(void)
{
    attached_segments_are_taken(NULL);
    a_segment_smaller_than_said_is_refused(NULL);
    a_child_takes_what_it_is_given(NULL);
    a_full_channel_refuses_whole_writes(NULL);
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    expect_nothing_left(use_everything);
}

/* ---- The program ----------------------------------------------------------------------------- */

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_largest_first_message_arrives),
    cmocka_unit_test(reading_gives_bytes_then_nothing_then_the_end),
    cmocka_unit_test(a_stream_that_is_not_captured_is_at_its_end),
    cmocka_unit_test(what_was_sent_can_be_read_after_the_end),
    cmocka_unit_test(the_last_bytes_are_there_at_once_after_the_end),
    cmocka_unit_test(bytes_go_both_ways),
    cmocka_unit_test(a_large_write_waits_until_it_is_read),
    cmocka_unit_test(a_full_channel_refuses_whole_writes),
    cmocka_unit_test(writing_to_a_child_that_has_ended_is_the_end),
    cmocka_unit_test(a_childs_reading_times_out),
    cmocka_unit_test(a_parents_reading_times_out),
    cmocka_unit_test(a_parents_reading_waits),
    cmocka_unit_test(a_parents_writing_waits_for_room),
    cmocka_unit_test(attached_segments_are_taken),
    cmocka_unit_test(a_taken_segment_outlives_the_child),
    cmocka_unit_test(a_segment_smaller_than_said_is_refused),
    cmocka_unit_test(what_is_not_attached_is_refused),
    cmocka_unit_test(a_segment_cannot_be_taken_twice),
    cmocka_unit_test(a_child_takes_what_it_is_given),
    cmocka_unit_test(nothing_is_given_to_the_dead),
    cmocka_unit_test(attaching_needs_an_acknowledgement_where_it_says_so),
    cmocka_unit_test(nothing_is_left_behind),
};

int main(int argc, char **argv)
{
    seam_start(argc, argv, roles);
    return cmocka_run_group_tests(tests, open_method, close_method);
}
