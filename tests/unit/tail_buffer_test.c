/* Goal: a tail buffer keeps the newest bytes up to its limit, and uses no more memory than they need. */
#include "faults.h"
#include "protocol/tail_buffer.h"
#include "tasks.h"

static void put(capture *capture, const char *text)
{
    assert_int_equal(capture_put(capture, text, strlen(text)), 0);
}

static void assert_holds(const capture *capture, const char *text)
{
    size_t size;
    const char *tail = capture_tail(capture, SIZE_MAX, &size);

    assert_int_equal(size, strlen(text));
    assert_string_equal(tail, text);
}

static void what_was_put_is_there(void **state)
{
    capture capture = {.limit = 100};

    (void)state;
    assert_holds(&capture, "");
    put(&capture, "one");
    put(&capture, "");
    put(&capture, " and two");
    assert_holds(&capture, "one and two");
    capture_close(&capture);
}

/* A NUL follows the bytes, however many they are. */
static void what_is_held_ends_in_a_nul(void **state)
{
    enum { MOST = 20000 };
    capture capture = {.limit = MOST};

    (void)state;
    for (size_t size = 1; size <= MOST; size++) {
        assert_int_equal(capture_put(&capture, "x", 1), 0);
        assert_int_equal(strlen(capture_tail(&capture, SIZE_MAX, &(size_t){0})), size);
    }
    capture_close(&capture);
}

static void the_oldest_is_dropped(void **state)
{
    capture capture = {.limit = 5};

    (void)state;
    put(&capture, "abcde");
    assert_holds(&capture, "abcde");
    put(&capture, "f");
    assert_holds(&capture, "bcdef");
    put(&capture, "ghij");
    assert_holds(&capture, "fghij");
    put(&capture, "klmno");
    assert_holds(&capture, "klmno");
    capture_close(&capture);
}

static void more_than_the_limit_at_once_keeps_its_end(void **state)
{
    capture capture = {.limit = 4};

    (void)state;
    put(&capture, "ab");
    put(&capture, "0123456789");
    assert_holds(&capture, "6789");
    put(&capture, "x");
    assert_holds(&capture, "789x");
    capture_close(&capture);
}

static void a_limit_of_one_byte_keeps_one(void **state)
{
    capture capture = {.limit = 1};

    (void)state;
    for (char byte[2] = "a"; *byte <= 'z'; ++*byte) {
        put(&capture, byte);
        assert_holds(&capture, byte);
    }
    capture_close(&capture);
}

static void a_tail_is_no_longer_than_asked_for(void **state)
{
    capture capture = {.limit = 10};
    size_t size;
    const char *tail;

    (void)state;
    put(&capture, "0123456789ab");
    tail = capture_tail(&capture, 3, &size);
    assert_int_equal(size, 3);
    assert_memory_equal(tail, "9ab", 3);
    capture_tail(&capture, 0, &size);
    assert_int_equal(size, 0);
    capture_close(&capture);
}

/* Puts pieces of all sizes, and compares the buffer with the end of all that was put. */
static void check_pieces(size_t limit, size_t largest)
{
    enum { TOTAL = 60000 };
    static char all[TOTAL];
    capture capture = {.limit = limit};
    uint32_t random = 12345;
    size_t at = 0;

    while (at < TOTAL) {
        size_t size, kept, piece = (random = random * 1664525 + 1013904223) % (largest + 1);
        const char *tail;
        if (piece > TOTAL - at)
            piece = TOTAL - at;
        for (size_t i = 0; i < piece; i++)
            all[at + i] = (char)((at + i) * 7 + (at + i) / 251);
        assert_int_equal(capture_put(&capture, all + at, piece), 0);
        at += piece;
        tail = capture_tail(&capture, SIZE_MAX, &size);
        kept = at < limit ? at : limit;
        assert_int_equal(size, kept);
        assert_memory_equal(tail, all + at - kept, kept);
        assert_in_range(capture.room, 0, 4 * limit > 4096 ? 4 * limit : 4096);
    }
    capture_close(&capture);
}

static void pieces_of_all_sizes_fit(void **state)
{
    (void)state;
    check_pieces(1000, 50);
    check_pieces(1000, 999);
    check_pieces(1000, 3000);
    check_pieces(2000, 50000);
    check_pieces(4096, 4096);
    check_pieces(5000, 300);
    check_pieces(1 << 20, 5000);
}

static void without_memory_what_was_there_stays(void **state)
{
    capture capture = {.limit = 100000};
    static char large[50000];
    int rc;

    (void)state;
    faults_arm(1);
    rc = capture_put(&capture, "abc", 3);
    assert_non_null(faults_disarm());
    assert_int_equal(rc, XF_ENOMEM);
    assert_string_not_equal(xf_error_detail(), "");
    assert_holds(&capture, "");
    put(&capture, "abc");
    faults_arm(1);
    rc = capture_put(&capture, large, sizeof large);
    assert_non_null(faults_disarm());
    assert_int_equal(rc, XF_ENOMEM);
    assert_holds(&capture, "abc");
    put(&capture, "d");
    assert_holds(&capture, "abcd");
    capture_close(&capture);
}

static void close_gives_the_memory_back(void **state)
{
    capture capture = {.limit = 10};
    long before = faults_blocks();

    (void)state;
    put(&capture, "abc");
    assert_int_equal(faults_blocks(), before + 1);
    capture_close(&capture);
    assert_int_equal(faults_blocks(), before);
    assert_null(capture.data);
    capture_close(&capture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_there),         cmocka_unit_test(what_is_held_ends_in_a_nul),
        cmocka_unit_test(the_oldest_is_dropped),         cmocka_unit_test(more_than_the_limit_at_once_keeps_its_end),
        cmocka_unit_test(a_limit_of_one_byte_keeps_one), cmocka_unit_test(a_tail_is_no_longer_than_asked_for),
        cmocka_unit_test(pieces_of_all_sizes_fit),       cmocka_unit_test(without_memory_what_was_there_stays),
        cmocka_unit_test(close_gives_the_memory_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
