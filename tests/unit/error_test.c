/* Goal: every error code has one name and one text, and each thread its own detail. */
#include "base/error.h"
#include "tasks.h"

#include <limits.h>
#include <uv.h>

typedef struct row {
    const char *name;
    int value;
    const char *text;
} row;

#define ROW(name, value, text) {#name, name, text},
static const row rows[] = {XF_ERRORS(ROW)};
#undef ROW

enum { ROWS = sizeof rows / sizeof *rows };

static void every_code_has_its_name_and_text(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        assert_string_equal(xf_err_name(rows[i].value), rows[i].name);
        assert_string_equal(xf_strerror(rows[i].value), rows[i].text);
    }
    assert_string_equal(xf_err_name(XF_OK), "XF_OK");
    assert_string_equal(xf_strerror(XF_OK), "success");
}

/* The values never change, because programs are compiled with them. */
static void values_are_the_negative_numbers_in_order(void **state)
{
#define CHECK_VALUE(name, value, text) assert_int_equal(name, value);
    (void)state;
    XF_ERRORS(CHECK_VALUE)
#undef CHECK_VALUE
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(rows[i].value, -1 - i);
    assert_int_equal(XF_EINVAL, -1);
    assert_int_equal(XF_ESTATE, -27);
    assert_int_equal(XF_EOWNERDEAD, -28);
    assert_int_equal(XF_EEXIST, -29);
}

static void names_and_texts_are_unique(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(rows[i].name, rows[k].name);
            assert_string_not_equal(rows[i].text, rows[k].text);
        }
}

static void names_and_texts_read_well(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        size_t length = strlen(rows[i].text);
        assert_int_equal(strncmp(rows[i].name, "XF_E", 4), 0);
        assert_true(length > 3);
        assert_int_not_equal(rows[i].text[length - 1], '.');
        assert_string_not_equal(rows[i].text, "success");
        assert_string_not_equal(rows[i].text, "unknown error");
    }
}

static void other_numbers_are_unknown_errors(void **state)
{
    const int numbers[] = {1, 2, INT_MAX, INT_MIN, -1 - ROWS, -1000};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_string_equal(xf_err_name(numbers[i]), "XF_E?");
        assert_string_equal(xf_strerror(numbers[i]), "unknown error");
    }
}

static void the_newest_detail_counts(void **state)
{
    (void)state;
    assert_int_equal(error_detail(XF_ENOENT, "path %s, %d", "/there", 7), XF_ENOENT);
    assert_string_equal(xf_error_detail(), "path /there, 7");
    assert_int_equal(error_detail(XF_EIO, "short"), XF_EIO);
    assert_string_equal(xf_error_detail(), "short");
}

static void a_long_detail_is_cut(void **state)
{
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    error_detail(XF_EIO, "%s", text);
    assert_in_range(strlen(xf_error_detail()), 200, sizeof text - 1);
    assert_int_equal(strncmp(xf_error_detail(), text, strlen(xf_error_detail())), 0);
}

typedef struct seen {
    char first[64];
    char last[64];
} seen;

static void fail_in_thread(void *arg)
{
    seen *seen = arg;

    snprintf(seen->first, sizeof seen->first, "%s", xf_error_detail());
    error_detail(XF_EIO, "of the thread");
    snprintf(seen->last, sizeof seen->last, "%s", xf_error_detail());
}

static void each_thread_has_its_own_detail(void **state)
{
    uv_thread_t threads[2];
    seen seen[2];

    (void)state;
    error_detail(XF_EIO, "of the test");
    for (int i = 0; i < 2; i++)
        assert_int_equal(uv_thread_create(&threads[i], fail_in_thread, &seen[i]), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(uv_thread_join(&threads[i]), 0);
        assert_string_equal(seen[i].first, "");
        assert_string_equal(seen[i].last, "of the thread");
    }
    assert_string_equal(xf_error_detail(), "of the test");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_name_and_text),
        cmocka_unit_test(values_are_the_negative_numbers_in_order),
        cmocka_unit_test(names_and_texts_are_unique),
        cmocka_unit_test(names_and_texts_read_well),
        cmocka_unit_test(other_numbers_are_unknown_errors),
        cmocka_unit_test(the_newest_detail_counts),
        cmocka_unit_test(a_long_detail_is_cut),
        cmocka_unit_test(each_thread_has_its_own_detail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
