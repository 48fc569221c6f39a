/* Goal: a tail buffer keeps the newest bytes up to its limit, and uses no more memory than they need. */
#include "faults.h"
#include "protocol/tail_buffer.h"
#include "tasks.h"

static void put(tail_buffer *buffer, const char *text)
{
    assert_int_equal(tail_buffer_put(buffer, text, strlen(text)), 0);
}

static void assert_holds(const tail_buffer *buffer, const char *text)
{
    size_t size;
    const char *tail = tail_buffer_get(buffer, SIZE_MAX, &size);

    assert_int_equal(size, strlen(text));
    assert_string_equal(tail, text);
}

static void what_was_put_is_there(void **state)
{
    tail_buffer buffer = {.limit = 100};

    (void)state;
    assert_holds(&buffer, "");
    put(&buffer, "one");
    put(&buffer, "");
    put(&buffer, " and two");
    assert_holds(&buffer, "one and two");
    tail_buffer_close(&buffer);
}

/* A NUL follows the bytes, however many they are. */
static void what_is_held_ends_in_a_nul(void **state)
{
    enum { MOST = 20000 };
    tail_buffer buffer = {.limit = MOST};

    (void)state;
    for (size_t size = 1; size <= MOST; size++) {
        assert_int_equal(tail_buffer_put(&buffer, "x", 1), 0);
        assert_int_equal(strlen(tail_buffer_get(&buffer, SIZE_MAX, &(size_t){0})), size);
    }
    tail_buffer_close(&buffer);
}

static void the_oldest_is_dropped(void **state)
{
    tail_buffer buffer = {.limit = 5};

    (void)state;
    put(&buffer, "abcde");
    assert_holds(&buffer, "abcde");
    put(&buffer, "f");
    assert_holds(&buffer, "bcdef");
    put(&buffer, "ghij");
    assert_holds(&buffer, "fghij");
    put(&buffer, "klmno");
    assert_holds(&buffer, "klmno");
    tail_buffer_close(&buffer);
}

static void more_than_the_limit_at_once_keeps_its_end(void **state)
{
    tail_buffer buffer = {.limit = 4};

    (void)state;
    put(&buffer, "ab");
    put(&buffer, "0123456789");
    assert_holds(&buffer, "6789");
    put(&buffer, "x");
    assert_holds(&buffer, "789x");
    tail_buffer_close(&buffer);
}

static void a_limit_of_one_byte_keeps_one(void **state)
{
    tail_buffer buffer = {.limit = 1};

    (void)state;
    for (char byte[2] = "a"; *byte <= 'z'; ++*byte) {
        put(&buffer, byte);
        assert_holds(&buffer, byte);
    }
    tail_buffer_close(&buffer);
}

static void a_tail_is_no_longer_than_asked_for(void **state)
{
    tail_buffer buffer = {.limit = 10};
    size_t size;
    const char *tail;

    (void)state;
    put(&buffer, "0123456789ab");
    tail = tail_buffer_get(&buffer, 3, &size);
    assert_int_equal(size, 3);
    assert_memory_equal(tail, "9ab", 3);
    tail_buffer_get(&buffer, 0, &size);
    assert_int_equal(size, 0);
    tail_buffer_close(&buffer);
}

/* Puts pieces of all sizes, and compares the buffer with the end of all that was put. */
static void check_pieces(size_t limit, size_t largest)
{
    enum { TOTAL = 60000 };
    static char all[TOTAL];
    tail_buffer buffer = {.limit = limit};
    uint32_t random = 12345;
    size_t at = 0;

    while (at < TOTAL) {
        size_t size, kept, piece = (random = random * 1664525 + 1013904223) % (largest + 1);
        const char *tail;
        if (piece > TOTAL - at)
            piece = TOTAL - at;
        for (size_t i = 0; i < piece; i++)
            all[at + i] = (char)((at + i) * 7 + (at + i) / 251);
        assert_int_equal(tail_buffer_put(&buffer, all + at, piece), 0);
        at += piece;
        tail = tail_buffer_get(&buffer, SIZE_MAX, &size);
        kept = at < limit ? at : limit;
        assert_int_equal(size, kept);
        assert_memory_equal(tail, all + at - kept, kept);
        assert_in_range(buffer.room, 0, 4 * limit > 4096 ? 4 * limit : 4096);
    }
    tail_buffer_close(&buffer);
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
    tail_buffer buffer = {.limit = 100000};
    static char large[50000];
    int rc;

    (void)state;
    faults_arm(1);
    rc = tail_buffer_put(&buffer, "abc", 3);
    assert_non_null(faults_disarm());
    assert_int_equal(rc, XF_ENOMEM);
    assert_string_not_equal(xf_error_detail(), "");
    assert_holds(&buffer, "");
    put(&buffer, "abc");
    faults_arm(1);
    rc = tail_buffer_put(&buffer, large, sizeof large);
    assert_non_null(faults_disarm());
    assert_int_equal(rc, XF_ENOMEM);
    assert_holds(&buffer, "abc");
    put(&buffer, "d");
    assert_holds(&buffer, "abcd");
    tail_buffer_close(&buffer);
}

static void close_gives_the_memory_back(void **state)
{
    tail_buffer buffer = {.limit = 10};
    long before = faults_blocks();

    (void)state;
    put(&buffer, "abc");
    assert_int_equal(faults_blocks(), before + 1);
    tail_buffer_close(&buffer);
    assert_int_equal(faults_blocks(), before);
    assert_null(buffer.data);
    tail_buffer_close(&buffer);
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
