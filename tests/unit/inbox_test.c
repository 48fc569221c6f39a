/* Goal: an inbox accepts the frames of a sound child, refuses all others, and keeps no more than its limits allow. */
#include "faults.h"
#include "protocol/inbox.h"
#include "tasks.h"

/* ---- Help ------------------------------------------------------------------------------------ */

typedef struct fixture {
    inbox inbox;
    inbox_log log;
    int take_rc;    /* what the taker answers */
    int takes;      /* how often it was asked */
    uint64_t token; /* of the last take */
    size_t mappings;
    size_t handles;
    long blocks;
} fixture;

/* Takes a segment as the seam does: a new one, filled with the token. */
static int take(void *arg, uint64_t token, size_t size, os_shm *shm)
{
    fixture *self = arg;
    int rc;

    self->takes++;
    self->token = token;
    if (self->take_rc < 0)
        return self->take_rc;
    rc = os_shm_create(shm, size, 0);
    if (rc == 0)
        memset(shm->address, (int)token, size);
    return rc;
}

static int put_frame(fixture *self, const frame *frame)
{
    faults_forget_detail();
    return inbox_put(&self->inbox, frame, take, self, &self->log);
}

static int put(fixture *self, frame_type type, const void *payload, size_t size)
{
    return put_frame(self, &(frame){.type = type, .payload = payload, .size = size});
}

static int put_attached(fixture *self, frame_type type, uint64_t size, uint64_t token)
{
    return put_frame(self, &(frame){.type = type, .payload = (const uint8_t *)"", .attached = size, .token = token});
}

static frame_fields hello_fields(const fixture *self)
{
    frame_fields fields = {.size = 0};

    frame_put_u32(&fields, FRAME_VERSION);
    frame_put(&fields, self->inbox.build, OS_BUILD_ID_SIZE);
    frame_put_u64(&fields, 0xABCDEF0123456789);
    frame_put_u64(&fields, 4711);
    return fields;
}

static int put_hello(fixture *self)
{
    frame_fields fields = hello_fields(self);

    return put(self, FRAME_HELLO, fields.bytes, fields.size);
}

static int put_log(fixture *self, uint32_t level, const char *text, size_t size)
{
    static uint8_t payload[512 + XF_LOG_LINE_MAX + 10];
    frame_fields fields = {.size = 0};

    frame_put_u32(&fields, level);
    frame_put_u64(&fields, frame_from_double(1.5));
    frame_put_u64(&fields, 7);
    frame_put_text(&fields, "a task");
    memcpy(payload, fields.bytes, fields.size);
    memcpy(payload + fields.size, text, size);
    return put(self, FRAME_LOG, payload, fields.size + size);
}

static int put_bye(fixture *self, uint32_t outcome, int code)
{
    frame_fields fields = {.size = 0};

    frame_put_u32(&fields, outcome);
    frame_put_u32(&fields, (uint32_t)code);
    return put(self, FRAME_BYE, fields.bytes, fields.size);
}

static void expect_refusal(int rc, int code)
{
    assert_string_equal(xf_err_name(rc), xf_err_name(code));
    assert_string_not_equal(xf_error_detail(), "");
}

static int setup(void **state)
{
    static fixture self;

    self = (fixture){.mappings = support_mappings(), .handles = support_handles(), .blocks = faults_blocks()};
    inbox_open(&self.inbox, 1000);
    *state = &self;
    return 0;
}

static int setup_after_hello(void **state)
{
    setup(state);
    assert_int_equal(put_hello(*state), 0);
    return 0;
}

/* The system allocates some things once: they have to exist before the test counts. */
static int warm_up(void **state)
{
    os_shm shm;

    (void)state;
    faults_forget_detail();
    assert_int_equal(os_shm_create(&shm, 1, 0), 0);
    os_shm_close(&shm);
    return support_handles() + support_mappings() > 0 ? 0 : -1;
}

/* After every test, nothing is left. */
static int teardown(void **state)
{
    fixture *self = *state;

    inbox_close(&self->inbox);
    assert_int_equal(faults_blocks(), self->blocks);
    assert_int_equal(support_mappings(), self->mappings);
    assert_int_equal(support_handles(), self->handles);
    return 0;
}

/* ---- The HELLO frame ------------------------------------------------------------------------- */

static void a_hello_frame_is_taken(void **state)
{
    fixture *self = *state;

    assert_int_equal(put_hello(self), 0);
    assert_true(self->inbox.hello);
    assert_true(self->inbox.table_hash == 0xABCDEF0123456789);
    assert_int_equal(self->inbox.pid, 4711);
}

static void a_frame_before_the_hello_frame_is_refused(void **state)
{
    fixture *self = *state;

    for (int type = FRAME_TASK; type < FRAME_TYPES; type++)
        if (type != FRAME_HELLO)
            expect_refusal(put(self, (frame_type)type, (const uint8_t *)"", 0), XF_EPROTO);
    expect_refusal(put_log(self, XF_LOG_INFO, "x", 1), XF_EPROTO);
    expect_refusal(put_bye(self, FRAME_OUTCOME_FAILED, 1), XF_EPROTO);
    assert_false(self->inbox.bye);
}

static void a_second_hello_frame_is_refused(void **state)
{
    expect_refusal(put_hello(*state), XF_EPROTO);
}

static void a_hello_frame_of_another_size_is_refused(void **state)
{
    fixture *self = *state;
    frame_fields fields = hello_fields(self);

    for (size_t size = 0; size < fields.size; size++)
        expect_refusal(put(self, FRAME_HELLO, fields.bytes, size), XF_EPROTO);
    expect_refusal(put(self, FRAME_HELLO, fields.bytes, fields.size + 1), XF_EPROTO);
    assert_false(self->inbox.hello);
}

static void a_hello_frame_of_another_build_is_refused(void **state)
{
    fixture *self = *state;

    for (size_t at = 0; at < 4 + OS_BUILD_ID_SIZE; at++) {
        frame_fields fields = hello_fields(self);
        fields.bytes[at] ^= 1;
        expect_refusal(put(self, FRAME_HELLO, fields.bytes, fields.size), XF_EBUILD);
    }
    assert_false(self->inbox.hello);
}

/* ---- Order ----------------------------------------------------------------------------------- */

static void frames_for_a_child_are_refused(void **state)
{
    fixture *self = *state;

    expect_refusal(put(self, FRAME_TASK, (const uint8_t *)"", 0), XF_EPROTO);
    expect_refusal(put(self, FRAME_STOP, (const uint8_t *)"", 0), XF_EPROTO);
    expect_refusal(put(self, FRAME_ACK, (const uint8_t *)"", 0), XF_EPROTO);
    expect_refusal(put(self, FRAME_ANSWER, (const uint8_t *)"", 0), XF_EPROTO);
}

static void a_goodbye_is_taken(void **state)
{
    fixture *self = *state;

    assert_int_equal(put_bye(self, FRAME_OUTCOME_FAILED, -7), 0);
    assert_true(self->inbox.bye);
    assert_int_equal(self->inbox.outcome, FRAME_OUTCOME_FAILED);
    assert_int_equal(self->inbox.code, -7);
}

static void a_frame_after_the_goodbye_is_refused(void **state)
{
    fixture *self = *state;

    assert_int_equal(put_bye(self, FRAME_OUTCOME_STOPPED, 0), 0);
    for (int type = FRAME_TASK; type < FRAME_TYPES; type++)
        expect_refusal(put(self, (frame_type)type, (const uint8_t *)"", 0), XF_EPROTO);
    expect_refusal(put_bye(self, FRAME_OUTCOME_FAILED, 0), XF_EPROTO);
    expect_refusal(put_hello(self), XF_EPROTO);
    assert_int_equal(self->inbox.outcome, FRAME_OUTCOME_STOPPED);
    assert_null(inbox_get(&self->inbox));
}

static void done_needs_a_result(void **state)
{
    fixture *self = *state;

    expect_refusal(put_bye(self, FRAME_OUTCOME_DONE, 0), XF_EPROTO);
    assert_false(self->inbox.bye);
    assert_int_equal(put(self, FRAME_RESULT, "r", 1), 0);
    assert_int_equal(put_bye(self, FRAME_OUTCOME_DONE, 0), 0);
    assert_true(self->inbox.bye);
}

static void only_done_has_a_result(void **state)
{
    fixture *self = *state;

    assert_int_equal(put(self, FRAME_RESULT, "r", 1), 0);
    expect_refusal(put_bye(self, FRAME_OUTCOME_FAILED, 1), XF_EPROTO);
    expect_refusal(put_bye(self, FRAME_OUTCOME_STOPPED, 0), XF_EPROTO);
    expect_refusal(put_bye(self, FRAME_OUTCOME_UNSTARTED, 0), XF_EPROTO);
    assert_false(self->inbox.bye);
}

static void an_unknown_outcome_is_refused(void **state)
{
    const uint32_t outcomes[] = {0, FRAME_OUTCOME_UNSTARTED + 1, UINT32_MAX};

    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        expect_refusal(put_bye(*state, outcomes[i], 0), XF_EPROTO);
}

static void a_goodbye_of_another_size_is_refused(void **state)
{
    static const uint8_t bytes[9] = {FRAME_OUTCOME_FAILED};
    fixture *self = *state;

    for (size_t size = 0; size <= sizeof bytes; size++)
        if (size != 8)
            expect_refusal(put(self, FRAME_BYE, bytes, size), XF_EPROTO);
    assert_false(self->inbox.bye);
}

static void a_second_result_or_failure_is_refused(void **state)
{
    fixture *self = *state;

    assert_int_equal(put(self, FRAME_RESULT, "first", 5), 0);
    expect_refusal(put(self, FRAME_RESULT, "second", 6), XF_EPROTO);
    assert_int_equal(self->inbox.result->size, 5);
    assert_memory_equal(message_data(self->inbox.result), "first", 5);
    assert_int_equal(put(self, FRAME_FAIL, "why", 3), 0);
    expect_refusal(put(self, FRAME_FAIL, "other", 5), XF_EPROTO);
    assert_string_equal(self->inbox.failure, "why");
}

/* The report shows the text as a string. */
static void the_text_of_a_failure_has_an_end(void **state)
{
    static char text[4096];
    fixture *self = *state;

    memset(text, 'w', sizeof text);
    assert_int_equal(put(self, FRAME_FAIL, text, sizeof text), 0);
    assert_int_equal(strlen(self->inbox.failure), sizeof text);
}

static void the_text_of_a_failure_may_be_empty(void **state)
{
    fixture *self = *state;

    assert_int_equal(put(self, FRAME_FAIL, "", 0), 0);
    assert_string_equal(self->inbox.failure, "");
}

static void a_result_may_be_empty(void **state)
{
    fixture *self = *state;

    assert_int_equal(put(self, FRAME_RESULT, "", 0), 0);
    assert_non_null(self->inbox.result);
    assert_non_null(message_data(self->inbox.result));
    assert_int_equal(self->inbox.result->size, 0);
    assert_int_equal(put_bye(self, FRAME_OUTCOME_DONE, 0), 0);
}

/* ---- Log lines ------------------------------------------------------------------------------- */

static void a_log_line_is_delivered(void **state)
{
    fixture *self = *state;

    assert_int_equal(put_log(self, XF_LOG_WARNING, "hello", 5), 0);
    assert_string_equal(self->log.text, "hello");
    assert_int_equal(self->log.level, XF_LOG_WARNING);
    assert_true(self->log.time == 1.5);
    assert_int_equal(self->log.item, 7);
    assert_string_equal(self->log.task, "a task");
    assert_int_equal(put_log(self, XF_LOG_DEBUG, "", 0), 0);
    assert_string_equal(self->log.text, "");
}

static void all_of_a_line_is_delivered(void **state)
{
    static char text[XF_LOG_LINE_MAX + 2];
    fixture *self = *state;
    long blocks = faults_blocks();

    memset(text, 'x', XF_LOG_LINE_MAX + 1);
    assert_int_equal(put_log(self, XF_LOG_INFO, text, XF_LOG_LINE_MAX), 0);
    assert_int_equal(strlen(self->log.text), XF_LOG_LINE_MAX);
    expect_refusal(put_log(self, XF_LOG_INFO, text, XF_LOG_LINE_MAX + 1), XF_EPROTO);
    assert_int_equal(faults_blocks(), blocks);
}

static void a_broken_log_line_is_refused(void **state)
{
    static const uint8_t bytes[24] = {XF_LOG_INFO}, name_without_end[28] = {[20] = 5};
    fixture *self = *state;

    for (size_t size = 0; size < sizeof bytes; size++)
        expect_refusal(put(self, FRAME_LOG, bytes, size), XF_EPROTO);
    expect_refusal(put(self, FRAME_LOG, name_without_end, sizeof name_without_end), XF_EPROTO);
    expect_refusal(put_log(self, (uint32_t)INT32_MAX + 1, "x", 1), XF_EPROTO);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void expect_message(fixture *self, const void *data, size_t size)
{
    message *message = inbox_get(&self->inbox);

    assert_non_null(message);
    assert_int_equal(message->size, size);
    assert_memory_equal(message_data(message), data, size);
    assert_true((uintptr_t)message_data(message) % _Alignof(max_align_t) == 0);
    message_free(message);
}

static void messages_come_out_in_order(void **state)
{
    fixture *self = *state;

    assert_null(inbox_get(&self->inbox));
    assert_int_equal(put(self, FRAME_MESSAGE, "one", 3), 0);
    assert_int_equal(put(self, FRAME_MESSAGE, "", 0), 0);
    expect_message(self, "one", 3);
    assert_int_equal(put(self, FRAME_MESSAGE, "three", 5), 0);
    expect_message(self, "", 0);
    expect_message(self, "three", 5);
    assert_null(inbox_get(&self->inbox));
    assert_int_equal(put(self, FRAME_MESSAGE, "four", 4), 0);
    assert_int_equal(put_bye(self, FRAME_OUTCOME_FAILED, 1), 0);
    expect_message(self, "four", 4);
    assert_null(inbox_get(&self->inbox));
}

static void what_nobody_received_is_limited(void **state)
{
    static const char data[1001];
    fixture *self = *state;
    int rc, kept = 0;

    expect_refusal(put(self, FRAME_MESSAGE, data, 1001), XF_ELIMIT);
    assert_null(inbox_get(&self->inbox));
    while ((rc = put(self, FRAME_MESSAGE, data, 100)) == 0 && kept < 100)
        kept++;
    expect_refusal(rc, XF_ELIMIT);
    assert_in_range(kept, 1, 10);
    expect_message(self, data, 100);
    assert_int_equal(put(self, FRAME_MESSAGE, data, 100), 0);
    expect_refusal(put(self, FRAME_MESSAGE, data, 100), XF_ELIMIT);
    while (kept-- > 0)
        expect_message(self, data, 100);
    assert_int_equal(self->inbox.kept, 0);
}

/* Memory is bounded for all messages: an empty one needs some too. */
static void empty_messages_are_limited_too(void **state)
{
    fixture *self = *state;
    int rc = 0;

    for (int i = 0; i < 2000 && rc == 0; i++)
        rc = put(self, FRAME_MESSAGE, "", 0);
    expect_refusal(rc, XF_ELIMIT);
}

static void segments_count_before_they_are_taken(void **state)
{
    fixture *self = *state;

    expect_refusal(put_attached(self, FRAME_MESSAGE, 1001, 1), XF_ELIMIT);
    expect_refusal(put_attached(self, FRAME_MESSAGE, UINT64_MAX, 1), XF_ELIMIT);
    assert_int_equal(self->takes, 0);
    assert_int_equal(put_attached(self, FRAME_MESSAGE, 600, 1), 0);
    expect_refusal(put_attached(self, FRAME_MESSAGE, 600, 1), XF_ELIMIT);
    assert_int_equal(self->takes, 1);
}

/* ---- Segments -------------------------------------------------------------------------------- */

static void a_segment_is_a_message_a_result_or_a_failure(void **state)
{
    fixture *self = *state;

    assert_int_equal(put_attached(self, FRAME_MESSAGE, 3, 'm'), 0);
    assert_int_equal(put_attached(self, FRAME_RESULT, 100000, 'r'), 0);
    assert_int_equal(put_attached(self, FRAME_FAIL, 5, 'f'), 0);
    assert_int_equal(self->takes, 3);
    assert_int_equal(self->token, 'f');
    assert_int_equal(self->inbox.result->size, 100000);
    assert_memory_equal(message_data(self->inbox.result), "rrr", 3);
    assert_string_equal(self->inbox.failure, "fffff");
    assert_int_equal(support_handles(), self->handles); /* a mapping is enough */
    expect_message(self, "mmm", 3);
}

static void a_segment_belongs_to_no_other_frame(void **state)
{
    fixture *self = *state;

    expect_refusal(put_attached(self, FRAME_LOG, 3, 1), XF_EPROTO);
    expect_refusal(put_attached(self, FRAME_BYE, 3, 1), XF_EPROTO);
    expect_refusal(put_attached(self, FRAME_STOP, 3, 1), XF_EPROTO);
    assert_int_equal(self->takes, 0);
}

static void a_hello_frame_carries_no_segment(void **state)
{
    fixture *self = *state;
    frame_fields fields = hello_fields(self);
    const frame frame = {.type = FRAME_HELLO, .payload = fields.bytes, .size = fields.size, .attached = 1, .token = 1};

    expect_refusal(put_frame(self, &frame), XF_EPROTO);
    assert_false(self->inbox.hello);
}

static void a_segment_has_no_bytes_beside_it(void **state)
{
    fixture *self = *state;
    frame frame = {.type = FRAME_MESSAGE, .payload = (const uint8_t *)"x", .size = 1, .attached = 10, .token = 1};

    expect_refusal(put_frame(self, &frame), XF_EPROTO);
    frame.type = FRAME_RESULT;
    expect_refusal(put_frame(self, &frame), XF_EPROTO);
    assert_int_equal(self->takes, 0);
    assert_null(self->inbox.result);
}

static void a_segment_of_impossible_size_is_refused(void **state)
{
    fixture *self = *state;

    expect_refusal(put_attached(self, FRAME_RESULT, UINT64_MAX, 1), XF_EPROTO);
    expect_refusal(put_attached(self, FRAME_FAIL, (uint64_t)SIZE_MAX / 2 + 1, 1), XF_EPROTO);
    assert_int_equal(self->takes, 0);
    assert_null(self->inbox.result);
    assert_null(self->inbox.failure);
}

static void a_segment_that_cannot_be_taken_leaves_nothing(void **state)
{
    const int codes[] = {XF_EPROTO, XF_ENOMEM, XF_EHANDLES};
    const frame_type types[] = {FRAME_MESSAGE, FRAME_RESULT, FRAME_FAIL};
    fixture *self = *state;

    for (size_t i = 0; i < 3; i++) {
        self->take_rc = codes[i];
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(put_attached(self, types[k], 100, 1), codes[i]);
    }
    assert_int_equal(self->takes, 9);
    assert_int_equal(self->inbox.kept, 0);
    assert_null(self->inbox.result);
    assert_null(self->inbox.failure);
    assert_null(inbox_get(&self->inbox));
    self->take_rc = 0;
    assert_int_equal(put_attached(self, FRAME_MESSAGE, 100, 1), 0);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void without_memory_nothing_is_kept(void **state)
{
    const frame_type types[] = {FRAME_MESSAGE, FRAME_RESULT, FRAME_FAIL};
    fixture *self = *state;
    int rc;

    for (size_t i = 0; i < 3; i++) {
        faults_arm(1);
        rc = put(self, types[i], "abc", 3);
        assert_non_null(faults_disarm());
        expect_refusal(rc, XF_ENOMEM);
    }
    faults_arm(2); /* the copy of the message */
    rc = put(self, FRAME_FAIL, "abc", 3);
    assert_non_null(faults_disarm());
    expect_refusal(rc, XF_ENOMEM);
    assert_int_equal(self->inbox.kept, 0);
    assert_null(inbox_get(&self->inbox));
    assert_null(self->inbox.result);
    assert_null(self->inbox.failure);
}

/* Everything at once, and nothing is fetched: the teardown checks that nothing is left. */
static void close_frees_what_nobody_fetched(void **state)
{
    fixture *self = *state;

    assert_int_equal(put_log(self, XF_LOG_INFO, "line", 4), 0);
    assert_int_equal(put(self, FRAME_MESSAGE, "small", 5), 0);
    assert_int_equal(put_attached(self, FRAME_MESSAGE, 500, 1), 0);
    assert_int_equal(put(self, FRAME_FAIL, "why", 3), 0);
    assert_int_equal(put_attached(self, FRAME_RESULT, 100000, 1), 0);
    assert_true(support_mappings() >= self->mappings + 2);
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define AFTER_HELLO(test) cmocka_unit_test_setup_teardown(test, setup_after_hello, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(a_hello_frame_is_taken),
        FRESH(a_frame_before_the_hello_frame_is_refused),
        AFTER_HELLO(a_second_hello_frame_is_refused),
        FRESH(a_hello_frame_of_another_size_is_refused),
        FRESH(a_hello_frame_of_another_build_is_refused),
        AFTER_HELLO(frames_for_a_child_are_refused),
        AFTER_HELLO(a_goodbye_is_taken),
        AFTER_HELLO(a_frame_after_the_goodbye_is_refused),
        AFTER_HELLO(done_needs_a_result),
        AFTER_HELLO(only_done_has_a_result),
        AFTER_HELLO(an_unknown_outcome_is_refused),
        AFTER_HELLO(a_goodbye_of_another_size_is_refused),
        AFTER_HELLO(a_second_result_or_failure_is_refused),
        AFTER_HELLO(the_text_of_a_failure_has_an_end),
        AFTER_HELLO(the_text_of_a_failure_may_be_empty),
        AFTER_HELLO(a_result_may_be_empty),
        AFTER_HELLO(a_log_line_is_delivered),
        AFTER_HELLO(all_of_a_line_is_delivered),
        AFTER_HELLO(a_broken_log_line_is_refused),
        AFTER_HELLO(messages_come_out_in_order),
        AFTER_HELLO(what_nobody_received_is_limited),
        AFTER_HELLO(empty_messages_are_limited_too),
        AFTER_HELLO(segments_count_before_they_are_taken),
        AFTER_HELLO(a_segment_is_a_message_a_result_or_a_failure),
        AFTER_HELLO(a_segment_belongs_to_no_other_frame),
        FRESH(a_hello_frame_carries_no_segment),
        AFTER_HELLO(a_segment_has_no_bytes_beside_it),
        AFTER_HELLO(a_segment_of_impossible_size_is_refused),
        AFTER_HELLO(a_segment_that_cannot_be_taken_leaves_nothing),
        AFTER_HELLO(without_memory_nothing_is_kept),
        AFTER_HELLO(close_frees_what_nobody_fetched),
    };

    return cmocka_run_group_tests(tests, warm_up, NULL);
}
