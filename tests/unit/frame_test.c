/* Goal: the decoder returns the frames that were encoded, however the bytes are cut, and nothing else as a frame. */
#include "faults.h"
#include "os/identity.h"
#include "protocol/frame.h"
#include "tasks.h"

#include <math.h>

enum { FRAME_MAX = FRAME_HEADER + FRAME_PAYLOAD_MAX };

/* ---- Help ------------------------------------------------------------------------------------ */

/* Bytes that a peer sends. */
typedef struct sent {
    uint8_t bytes[2 * FRAME_MAX];
    size_t size;
} sent;

static sent stream;

static void send_header(uint32_t size, uint32_t type, uint64_t attached, uint64_t token)
{
    uint8_t *at = stream.bytes + stream.size;

    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(size >> (8 * i));
        at[4 + i] = (uint8_t)(type >> (8 * i));
    }
    for (int i = 0; i < 8; i++) {
        at[8 + i] = (uint8_t)(attached >> (8 * i));
        at[16 + i] = (uint8_t)(token >> (8 * i));
    }
    stream.size += FRAME_HEADER;
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + at / 256 + 5);
}

static void send_frame(frame_type type, uint32_t size, uint64_t attached, uint64_t token)
{
    send_header(size, type, attached, token);
    for (uint32_t i = 0; i < size; i++)
        stream.bytes[stream.size++] = pattern(i);
}

static frame_decoder open_decoder(void)
{
    frame_decoder decoder;

    assert_int_equal(frame_decoder_open(&decoder), 0);
    return decoder;
}

/* Gives the decoder as many of the bytes as it has room for. */
static size_t feed(frame_decoder *decoder, const uint8_t *bytes, size_t size)
{
    size_t room;
    uint8_t *space = frame_decoder_space(decoder, &room);

    if (size > room)
        size = room;
    memcpy(space, bytes, size);
    frame_decoder_filled(decoder, size);
    return size;
}

static void expect_frame(frame_decoder *decoder, frame_type type, size_t size, uint64_t attached, uint64_t token)
{
    frame frame;

    assert_int_equal(frame_decoder_next(decoder, &frame), 0);
    assert_int_equal(frame.type, type);
    assert_int_equal(frame.size, size);
    assert_true(frame.attached == attached && frame.token == token);
    for (size_t i = 0; i < size; i++)
        if (frame.payload[i] != pattern(i))
            fail_msg("byte %zu of %zu differs", i, size);
}

static void expect_more(frame_decoder *decoder)
{
    frame frame;
    size_t room = 0;

    assert_int_equal(frame_decoder_next(decoder, &frame), XF_EAGAIN);
    assert_non_null(frame_decoder_space(decoder, &room));
    assert_in_range(room, 1, FRAME_MAX);
}

static int begin(void **state)
{
    (void)state;
    stream.size = 0;
    return 0;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

static void a_header_is_little_endian(void **state)
{
    static const uint8_t expected[FRAME_HEADER] = {0x78, 0x56, 0x34, 0x12, 5,    0,    0,    0,
                                                   0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
                                                   0xF8, 0xF7, 0xF6, 0xF5, 0xF4, 0xF3, 0xF2, 0xF1};
    uint8_t header[FRAME_HEADER];
    const frame frame = {
        .type = FRAME_LOG, .size = 0x12345678, .attached = 0x0102030405060708, .token = 0xF1F2F3F4F5F6F7F8};

    (void)state;
    assert_int_equal(FRAME_LOG, 5);
    frame_put_header(header, &frame);
    assert_memory_equal(header, expected, sizeof header);
}

static void every_type_goes_round(void **state)
{
    frame_decoder decoder = open_decoder();

    (void)state;
    for (int type = FRAME_TASK; type < FRAME_TYPES; type++) {
        const frame frame = {.type = (frame_type)type, .attached = UINT64_MAX - (unsigned)type, .token = 7};
        uint8_t header[FRAME_HEADER];
        frame_put_header(header, &frame);
        assert_int_equal(feed(&decoder, header, sizeof header), sizeof header);
        expect_frame(&decoder, (frame_type)type, 0, UINT64_MAX - (unsigned)type, 7);
        expect_more(&decoder);
    }
    frame_decoder_close(&decoder);
}

static void expect_three_frames(frame_decoder *decoder, int *seen)
{
    static const size_t sizes[] = {0, 100, 1};
    frame frame;

    while (frame_decoder_next(decoder, &frame) == 0) {
        assert_in_range(*seen, 0, 2);
        assert_int_equal(frame.type, FRAME_HELLO + *seen);
        assert_int_equal(frame.size, sizes[*seen]);
        for (size_t i = 0; i < frame.size; i++)
            assert_int_equal(frame.payload[i], pattern(i));
        ++*seen;
    }
    expect_more(decoder);
}

static void frames_may_be_cut_anywhere(void **state)
{
    (void)state;
    send_frame(FRAME_HELLO, 0, 0, 0);
    send_frame(FRAME_LOG, 100, 0, 0);
    send_frame(FRAME_MESSAGE, 1, 0, 0);
    for (size_t cut = 0; cut <= stream.size; cut++) {
        frame_decoder decoder = open_decoder();
        int seen = 0;
        feed(&decoder, stream.bytes, cut);
        expect_three_frames(&decoder, &seen);
        feed(&decoder, stream.bytes + cut, stream.size - cut);
        expect_three_frames(&decoder, &seen);
        assert_int_equal(seen, 3);
        frame_decoder_close(&decoder);
    }
}

static void frames_may_come_byte_by_byte(void **state)
{
    frame_decoder decoder = open_decoder();
    int seen = 0;

    (void)state;
    send_frame(FRAME_HELLO, 0, 0, 0);
    send_frame(FRAME_LOG, 100, 0, 0);
    send_frame(FRAME_MESSAGE, 1, 0, 0);
    for (size_t at = 0; at < stream.size; at++) {
        feed(&decoder, stream.bytes + at, 1);
        expect_three_frames(&decoder, &seen);
    }
    assert_int_equal(seen, 3);
    frame_decoder_close(&decoder);
}

static void the_largest_frame_fits(void **state)
{
    frame_decoder decoder = open_decoder();

    (void)state;
    send_frame(FRAME_MESSAGE, FRAME_PAYLOAD_MAX, 0, 0);
    for (size_t at = 0; at < stream.size; at += feed(&decoder, stream.bytes + at, 1))
        expect_more(&decoder);
    expect_frame(&decoder, FRAME_MESSAGE, FRAME_PAYLOAD_MAX, 0, 0);
    expect_more(&decoder);
    frame_decoder_close(&decoder);
}

/* Bytes behind a frame take up room that a large frame needs. */
static void there_is_always_room_for_what_is_missing(void **state)
{
    (void)state;
    send_frame(FRAME_LOG, 10, 0, 0);
    send_frame(FRAME_MESSAGE, FRAME_PAYLOAD_MAX, 0, 0);
    send_frame(FRAME_RESULT, 3, 0, 0);
    for (size_t first = 1; first < FRAME_MAX; first += 997) {
        frame_decoder decoder = open_decoder();
        size_t at = feed(&decoder, stream.bytes, first);
        int seen = 0;
        while (seen < 3) {
            frame frame;
            if (frame_decoder_next(&decoder, &frame) == 0) {
                seen++;
                continue;
            }
            expect_more(&decoder);
            at += feed(&decoder, stream.bytes + at, stream.size - at);
        }
        assert_int_equal(at, stream.size);
        expect_more(&decoder);
        frame_decoder_close(&decoder);
    }
}

static void expect_broken(frame_decoder *decoder)
{
    frame frame;

    faults_forget_detail();
    assert_int_equal(frame_decoder_next(decoder, &frame), XF_EPROTO);
    assert_string_not_equal(xf_error_detail(), "");
}

/* The decoder stays broken when good bytes follow. */
static void check_broken(uint32_t size, uint32_t type)
{
    frame_decoder decoder = open_decoder();

    stream.size = 0;
    send_frame(FRAME_LOG, 3, 0, 0);
    send_header(size, type, 0, 0);
    send_frame(FRAME_LOG, 3, 0, 0);
    feed(&decoder, stream.bytes, FRAME_HEADER + 3 + FRAME_HEADER - 1);
    expect_frame(&decoder, FRAME_LOG, 3, 0, 0);
    expect_more(&decoder);
    feed(&decoder, stream.bytes + 2 * FRAME_HEADER + 2, 1);
    expect_broken(&decoder);
    expect_broken(&decoder);
    feed(&decoder, stream.bytes + 2 * FRAME_HEADER + 3, stream.size - 2 * FRAME_HEADER - 3);
    expect_broken(&decoder);
    frame_decoder_close(&decoder);
}

static void a_hostile_size_is_refused_for_ever(void **state)
{
    const uint32_t sizes[] = {FRAME_PAYLOAD_MAX + 1, 65536, INT32_MAX, (uint32_t)INT32_MAX + 1, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_broken(sizes[i], FRAME_LOG);
}

static void an_unknown_type_is_refused_for_ever(void **state)
{
    const uint32_t types[] = {0, FRAME_TYPES, 255, 0x10000 + FRAME_LOG, FRAME_LOG << 24, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        check_broken(3, types[i]);
}

static void a_decoder_without_memory_does_not_open(void **state)
{
    frame_decoder decoder;
    int rc;

    (void)state;
    faults_forget_detail();
    faults_arm(1);
    rc = frame_decoder_open(&decoder);
    assert_non_null(faults_disarm());
    assert_int_equal(rc, XF_ENOMEM);
    assert_string_not_equal(xf_error_detail(), "");
}

/* ---- Fields ---------------------------------------------------------------------------------- */

static frame_reader read_bytes(const void *bytes, size_t size)
{
    return frame_read(&(frame){.type = FRAME_LOG, .payload = bytes, .size = size});
}

static void put_all(frame_fields *fields)
{
    frame_put_u32(fields, 0xFEDCBA98);
    frame_put_u64(fields, 0xFEDCBA9876543210);
    frame_put_text(fields, "gr\xC3\xBC\xC3\x9F");
    frame_put(fields, "\0\1\2", 3);
    frame_put_text(fields, "");
    frame_put_u32(fields, 0);
}

static void fields_go_round(void **state)
{
    frame_fields fields = {.size = 0};
    frame_reader reader;
    char text[7], bytes[3];

    (void)state;
    put_all(&fields);
    reader = read_bytes(fields.bytes, fields.size);
    assert_true(frame_get_u32(&reader) == 0xFEDCBA98);
    assert_true(frame_get_u64(&reader) == 0xFEDCBA9876543210);
    frame_get_text(&reader, text, sizeof text);
    assert_string_equal(text, "gr\xC3\xBC\xC3\x9F");
    frame_get(&reader, bytes, sizeof bytes);
    assert_memory_equal(bytes, "\0\1\2", 3);
    frame_get_text(&reader, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(frame_get_u32(&reader), 0);
    assert_false(reader.bad);
    assert_int_equal(reader.left, 0);
}

static void fields_are_little_endian(void **state)
{
    static const uint8_t expected[] = {0x78, 0x56, 0x34, 0x12, 8, 7, 6, 5, 4, 3, 2, 1, 2, 0, 0, 0, 'h', 'i'};
    frame_fields fields = {.size = 0};

    (void)state;
    frame_put_u32(&fields, 0x12345678);
    frame_put_u64(&fields, 0x0102030405060708);
    frame_put_text(&fields, "hi");
    assert_int_equal(fields.size, sizeof expected);
    assert_memory_equal(fields.bytes, expected, sizeof expected);
}

/* The reader notices any cut, and reads nothing behind the end. */
static void fields_cut_short_are_bad(void **state)
{
    frame_fields fields = {.size = 0};

    (void)state;
    put_all(&fields);
    for (size_t size = 0; size < fields.size; size++) {
        uint8_t *block = malloc(size + 1), *exact = block + 1; /* the end of the block is the end of the bytes */
        frame_reader reader = read_bytes(exact, size);
        char text[7], bytes[3];
        memcpy(exact, fields.bytes, size);
        frame_get_u32(&reader);
        frame_get_u64(&reader);
        frame_get_text(&reader, text, sizeof text);
        frame_get(&reader, bytes, sizeof bytes);
        frame_get_text(&reader, text, sizeof text);
        frame_get_u32(&reader);
        assert_true(reader.bad);
        free(block);
    }
}

static void what_is_not_there_reads_as_zero(void **state)
{
    frame_reader reader = read_bytes("\1\1\1", 3);
    char bytes[4] = "abc", text[4] = "abc";

    (void)state;
    assert_int_equal(frame_get_u32(&reader), 0);
    assert_true(reader.bad);
    assert_true(frame_get_u64(&reader) == 0);
    frame_get(&reader, bytes, sizeof bytes);
    assert_memory_equal(bytes, "\0\0\0\0", sizeof bytes);
    frame_get_text(&reader, text, sizeof text);
    assert_string_equal(text, "");
    frame_get(&reader, bytes, 1); /* the rest may be read, and the reader stays bad */
    assert_true(reader.bad);
}

static void expect_bad_text(const char *bytes, size_t size, size_t room)
{
    frame_reader reader = read_bytes(bytes, size);
    char text[16] = "unchanged";

    frame_get_text(&reader, text, room);
    assert_true(reader.bad);
    assert_string_equal(text, "");
}

static void a_text_is_checked(void **state)
{
    frame_reader reader = read_bytes("\3\0\0\0abc", 7);
    char text[4];

    (void)state;
    frame_get_text(&reader, text, sizeof text);
    assert_false(reader.bad);
    assert_string_equal(text, "abc");
    expect_bad_text("\3\0\0\0abc", 7, 3);   /* no room for its end */
    expect_bad_text("\3\0\0\0ab", 6, 16);   /* cut short */
    expect_bad_text("\3\0\0\0a\0c", 7, 16); /* a zero inside */
    expect_bad_text("\3\0\0\0ab\0", 7, 16); /* and at the end */
    expect_bad_text("\xFF\xFF\xFF\xFF"      /* a hostile length */
                    "abc",
                    7, 16);
    expect_bad_text("\0\0\0", 3, 16);
    expect_bad_text("\1\0\0\0", 4, 16);
}

static void doubles_go_round(void **state)
{
    const double values[] = {0, -0.0, 1.5, -1e300, INFINITY, 1795392543.123456};

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        double back = frame_to_double(frame_from_double(values[i]));
        assert_memory_equal(&back, &values[i], sizeof back);
    }
    assert_true(frame_from_double(1.0) == 0x3FF0000000000000);
    assert_true(isnan(frame_to_double(UINT64_MAX)));
}

/* The largest TASK frame that process_start.c builds, with as much data as a frame may embed. */
static void a_task_with_the_longest_name_fits(void **state)
{
    frame_fields fields = {.size = 0};
    char name[XF_TASK_NAME_MAX + 1], back[XF_TASK_NAME_MAX + 1];
    uint8_t build[OS_BUILD_ID_SIZE] = {0};
    frame_reader reader;

    (void)state;
    memset(name, 'n', XF_TASK_NAME_MAX);
    name[XF_TASK_NAME_MAX] = 0;
    frame_put_u32(&fields, FRAME_VERSION);
    frame_put(&fields, build, sizeof build);
    frame_put_u32(&fields, 1);
    for (int i = 0; i < 3; i++)
        frame_put_u64(&fields, UINT64_MAX);
    frame_put_text(&fields, name);
    assert_in_range(fields.size, 1, sizeof fields.bytes);
    assert_true(sizeof fields.bytes + FRAME_INLINE_MAX <= FRAME_PAYLOAD_MAX);
    reader = read_bytes(fields.bytes + fields.size - XF_TASK_NAME_MAX - 4, XF_TASK_NAME_MAX + 4);
    frame_get_text(&reader, back, sizeof back);
    assert_false(reader.bad);
    assert_string_equal(back, name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_little_endian),
        cmocka_unit_test(every_type_goes_round),
        cmocka_unit_test_setup(frames_may_be_cut_anywhere, begin),
        cmocka_unit_test_setup(frames_may_come_byte_by_byte, begin),
        cmocka_unit_test_setup(the_largest_frame_fits, begin),
        cmocka_unit_test_setup(there_is_always_room_for_what_is_missing, begin),
        cmocka_unit_test(a_hostile_size_is_refused_for_ever),
        cmocka_unit_test(an_unknown_type_is_refused_for_ever),
        cmocka_unit_test(a_decoder_without_memory_does_not_open),
        cmocka_unit_test(fields_go_round),
        cmocka_unit_test(fields_are_little_endian),
        cmocka_unit_test(fields_cut_short_are_bad),
        cmocka_unit_test(what_is_not_there_reads_as_zero),
        cmocka_unit_test(a_text_is_checked),
        cmocka_unit_test(doubles_go_round),
        cmocka_unit_test(a_task_with_the_longest_name_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
