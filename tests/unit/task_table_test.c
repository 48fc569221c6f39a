/* Goal: tasks that are registered by hand are found, checked and distinguished; codecs write and fail as they should.
 */
#include "base/codec.h"
#include "base/writer.h"
#include "faults.h"
#include "protocol/task_table.h"
#include "tasks.h"

static int nothing(xf_call *call)
{
    (void)call;
    return 0;
}

/* A task that lives as long as the program. */
static xf_task *make(const char *name, size_t input_size, size_t output_size)
{
    static xf_task tasks[32];
    static int count;
    xf_task *task = &tasks[count++];

    assert_in_range(count, 1, 32);
    *task = (xf_task){.name = name, .entry = nothing, .input_size = input_size, .output_size = output_size};
    return task;
}

static void expect_invalid(xf_task *task)
{
    faults_forget_detail();
    assert_int_equal(xf_task_register(task), XF_EINVAL);
    assert_string_not_equal(xf_error_detail(), "");
    faults_forget_detail();
    assert_int_equal(task_table_check(task), XF_ENOTASK);
    assert_string_not_equal(xf_error_detail(), "");
}

/* ---- Registering ----------------------------------------------------------------------------- */

static void a_registered_task_is_found(void **state)
{
    xf_task *task = make("found", 1, 2);

    (void)state;
    faults_forget_detail();
    assert_null(xf_task_find("found"));
    assert_non_null(strstr(xf_error_detail(), "found"));
    assert_int_equal(task_table_check(task), XF_ENOTASK);
    assert_int_equal(xf_task_register(task), 0);
    assert_ptr_equal(xf_task_find("found"), task);
    assert_int_equal(task_table_check(task), 0);
    assert_null(xf_task_find("foun"));
    assert_null(xf_task_find("found "));
    assert_null(xf_task_find(""));
}

static void registering_again_does_nothing(void **state)
{
    uint64_t hash;
    xf_task *task = make("again", 1, 2), *other = make("another", 1, 2);

    (void)state;
    assert_int_equal(xf_task_register(task), 0);
    assert_int_equal(xf_task_register(other), 0);
    hash = task_table_hash();
    assert_int_equal(xf_task_register(task), 0);
    assert_int_equal(xf_task_register(other), 0);
    assert_int_equal(task_table_check(task), 0);
    assert_true(task_table_hash() == hash);
    assert_ptr_equal(xf_task_find("again"), task);
    assert_ptr_equal(xf_task_find("another"), other);
}

static void two_tasks_of_one_name_are_both_refused(void **state)
{
    xf_task *first = make("twice", 1, 2), *second = make("twice", 1, 2), *third = make("twice", 1, 2);

    (void)state;
    assert_int_equal(xf_task_register(first), 0);
    faults_forget_detail();
    assert_int_equal(xf_task_register(second), XF_EDUPTASK);
    assert_non_null(strstr(xf_error_detail(), "twice"));
    assert_int_equal(xf_task_register(third), XF_EDUPTASK);
    faults_forget_detail();
    assert_int_equal(task_table_check(first), XF_EDUPTASK);
    assert_non_null(strstr(xf_error_detail(), "twice"));
    assert_int_equal(task_table_check(second), XF_EDUPTASK);
    assert_int_equal(task_table_check(third), XF_EDUPTASK);
    assert_int_equal(xf_task_register(first), XF_EDUPTASK);
    assert_int_equal(task_table_check(first), XF_EDUPTASK);
}

static void expect_places(const xf_task *task, const char *one, const char *other)
{
    faults_forget_detail();
    assert_int_equal(task_table_check(task), XF_EDUPTASK);
    if (!strstr(xf_error_detail(), one) || !strstr(xf_error_detail(), other))
        fail_msg("neither %s nor %s: %s", one, other, xf_error_detail());
}

static void tasks_of_one_name_say_where_they_are(void **state)
{
    xf_task *first = make("placed", 1, 2), *second = make("placed", 1, 2), *third = make("placed", 1, 2);

    (void)state;
    first->where = "a.c:1";
    second->where = "b/b.c:22";
    assert_int_equal(xf_task_register(first), 0);
    assert_int_equal(xf_task_register(second), XF_EDUPTASK);
    expect_places(first, "a.c:1 in task_table_test", "b/b.c:22 in task_table_test");
    expect_places(second, "a.c:1 in task_table_test", "b/b.c:22 in task_table_test");
    assert_int_equal(xf_task_register(third), XF_EDUPTASK);
    expect_places(third, "a.c:1 in task_table_test", "+0x");
    expect_places(second, "a.c:1", "b/b.c:22");
}

static void a_name_has_1_to_255_bytes(void **state)
{
    static char longest[XF_TASK_NAME_MAX + 1], longer[XF_TASK_NAME_MAX + 2];
    xf_task *task;

    (void)state;
    memset(longest, 'n', XF_TASK_NAME_MAX);
    memset(longer, 'n', XF_TASK_NAME_MAX + 1);
    expect_invalid(make(NULL, 1, 1));
    expect_invalid(make("", 1, 1));
    expect_invalid(make(longer, 1, 1));
    task = make(longest, 1, 1);
    assert_int_equal(xf_task_register(task), 0);
    assert_ptr_equal(xf_task_find(longest), task);
    assert_null(xf_task_find(longer));
    assert_int_equal(xf_task_register(make("n", 1, 1)), 0);
}

static void a_task_without_an_entry_is_refused(void **state)
{
    xf_task *task = make("without_entry", 1, 1);

    (void)state;
    task->entry = NULL;
    expect_invalid(task);
    assert_null(xf_task_find("without_entry"));
    task->entry = nothing;
    assert_int_equal(xf_task_register(task), 0);
}

/* Exchanges two registered tasks: the table is as if they had been registered in the other order. */
static void exchange(xf_task *one, xf_task *other)
{
    xf_task kept = *one;

    one->name = other->name;
    one->input_size = other->input_size;
    one->output_size = other->output_size;
    other->name = kept.name;
    other->input_size = kept.input_size;
    other->output_size = kept.output_size;
}

static void the_hash_of_the_table_does_not_depend_on_the_order(void **state)
{
    uint64_t hash;
    xf_task *tasks[3] = {make("order_a", 1, 2), make("order_b", XF_ANY_SIZE, 4), make("order_c", 5, 6)};

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(xf_task_register(tasks[i]), 0);
    hash = task_table_hash();
    exchange(tasks[0], tasks[1]);
    assert_true(task_table_hash() == hash);
    exchange(tasks[0], tasks[2]);
    assert_true(task_table_hash() == hash);
}

static void the_hash_of_the_table_depends_on_all_in_it(void **state)
{
    uint64_t before = task_table_hash(), hash;
    xf_task *task = make("hashed", 1, 2), *other = make("hashed_too", 3, 4);

    (void)state;
    assert_int_equal(xf_task_register(task), 0);
    assert_int_equal(xf_task_register(other), 0);
    hash = task_table_hash();
    assert_true(hash != before);
    task->input_size = 2, task->output_size = 1;
    assert_true(task_table_hash() != hash);
    task->input_size = 1, task->output_size = 2;
    assert_true(task_table_hash() == hash);
    task->name = "hasheD";
    assert_true(task_table_hash() != hash);
    task->name = "hashed_too", other->name = "hashed"; /* with each other's sizes */
    assert_true(task_table_hash() != hash);
    task->name = "hashed", other->name = "hashed_too";
    assert_true(task_table_hash() == hash);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void a_writer_takes_pieces_of_all_sizes(void **state)
{
    static uint8_t all[200000];
    xf_writer writer = {0};
    size_t at = 0, piece = 0;

    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)(i * 31 + i / 256);
    assert_int_equal(xf_writer_put(&writer, NULL, 0), 0);
    while (at < sizeof all) {
        if (piece > sizeof all - at)
            piece = sizeof all - at;
        assert_int_equal(xf_writer_put(&writer, all + at, piece), 0);
        at += piece;
        piece = (piece * 7 + 1) % 5003;
        assert_int_equal(writer.size, at);
        assert_true(writer.size <= writer.room);
    }
    assert_memory_equal(writer.data, all, sizeof all);
    writer_free(&writer);
    assert_null(writer.data);
    assert_int_equal(writer.size, 0);
    assert_int_equal(xf_writer_put(&writer, "again", 5), 0);
    assert_memory_equal(writer.data, "again", 5);
    writer_free(&writer);
}

static void expect_no_memory(int rc, const xf_writer *writer)
{
    assert_int_equal(rc, XF_ENOMEM);
    assert_string_not_equal(xf_error_detail(), "");
    assert_int_equal(writer->size, 3);
    assert_memory_equal(writer->data, "abc", 3);
}

static void a_writer_without_memory_keeps_what_it_has(void **state)
{
    static const char large[1000];
    xf_writer writer = {0};
    long before = faults_blocks();
    int rc;

    (void)state;
    faults_arm(1);
    rc = xf_writer_put(&writer, "abc", 3);
    assert_non_null(faults_disarm());
    assert_int_equal(rc, XF_ENOMEM);
    assert_int_equal(xf_writer_put(&writer, "abc", 3), 0);
    faults_forget_detail();
    faults_arm(1);
    rc = xf_writer_put(&writer, large, sizeof large);
    assert_non_null(faults_disarm());
    expect_no_memory(rc, &writer);
    writer_free(&writer);
    assert_int_equal(faults_blocks(), before);
}

static void a_writer_refuses_more_than_memory_can_be(void **state)
{
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 3, SIZE_MAX / 2, SIZE_MAX / 2 - 2}; /* without asking for memory */
    xf_writer writer = {0};

    (void)state;
    assert_int_equal(xf_writer_put(&writer, "abc", 3), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        faults_forget_detail();
        expect_no_memory(xf_writer_put(&writer, "", sizes[i]), &writer);
    }
    writer_free(&writer);
}

/* ---- Codecs ---------------------------------------------------------------------------------- */

static int encode_text(xf_writer *writer, const void *object)
{
    return xf_writer_put(writer, object, strlen(object));
}

static int decode_text(const void *data, size_t size, void **object)
{
    char *text = malloc(size + 1);

    if (!text)
        return XF_ENOMEM;
    memcpy(text, data, size);
    text[size] = 0;
    *object = text;
    return 0;
}

static int fail_to_encode(xf_writer *writer, const void *object)
{
    (void)object;
    (void)xf_writer_put(writer, "half", 4);
    return -77;
}

static int fail_to_decode(const void *data, size_t size, void **object)
{
    (void)data, (void)size, (void)object;
    return -78;
}

static const xf_codec text_codec = {encode_text, decode_text, free};
static const xf_codec failing_codec = {fail_to_encode, fail_to_decode, free};

static void a_codec_goes_round(void **state)
{
    xf_task *task = make("codec", XF_ANY_SIZE, XF_ANY_SIZE);
    xf_writer writer = {0};
    void *object = NULL;

    (void)state;
    assert_int_equal(codec_encode_for(task, &text_codec, "text", &writer), 0);
    assert_int_equal(writer.size, 4);
    assert_int_equal(codec_decode_for(task, &text_codec, writer.data, writer.size, &object), 0);
    assert_string_equal(object, "text");
    free(object);
    writer_free(&writer);
}

static void a_failing_codec_is_named(void **state)
{
    xf_task *task = make("codec_that_fails", XF_ANY_SIZE, XF_ANY_SIZE);
    xf_writer writer = {0};
    void *object = &writer;

    (void)state;
    assert_int_equal(codec_encode_for(task, &failing_codec, "text", &writer), XF_ECODEC);
    assert_non_null(strstr(xf_error_detail(), "codec_that_fails"));
    assert_non_null(strstr(xf_error_detail(), "-77"));
    writer_free(&writer);
    faults_forget_detail();
    assert_int_equal(codec_decode_for(task, &failing_codec, "text", 4, &object), XF_ECODEC);
    assert_non_null(strstr(xf_error_detail(), "codec_that_fails"));
    assert_non_null(strstr(xf_error_detail(), "-78"));
    assert_ptr_equal(object, &writer);
}

static void a_codec_without_memory_fails(void **state)
{
    xf_task *task = make("codec_without_memory", XF_ANY_SIZE, XF_ANY_SIZE);
    xf_writer writer = {0};
    int rc;

    (void)state;
    faults_arm(1);
    rc = codec_encode_for(task, &text_codec, "text", &writer);
    assert_non_null(faults_disarm());
    assert_int_equal(rc, XF_ECODEC);
    writer_free(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_registered_task_is_found),
        cmocka_unit_test(registering_again_does_nothing),
        cmocka_unit_test(two_tasks_of_one_name_are_both_refused),
        cmocka_unit_test(tasks_of_one_name_say_where_they_are),
        cmocka_unit_test(a_name_has_1_to_255_bytes),
        cmocka_unit_test(a_task_without_an_entry_is_refused),
        cmocka_unit_test(the_hash_of_the_table_does_not_depend_on_the_order),
        cmocka_unit_test(the_hash_of_the_table_depends_on_all_in_it),
        cmocka_unit_test(a_writer_takes_pieces_of_all_sizes),
        cmocka_unit_test(a_writer_without_memory_keeps_what_it_has),
        cmocka_unit_test(a_writer_refuses_more_than_memory_can_be),
        cmocka_unit_test(a_codec_goes_round),
        cmocka_unit_test(a_failing_codec_is_named),
        cmocka_unit_test(a_codec_without_memory_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
